"""verify on an autoscaler at its maximum: judged by what its controller says, for new bounds and for alerts about it alone."""

from __future__ import annotations

import pytest

from adapters.kubernetes.resources import AUTOSCALERS
from ops.sandbox.kubectl import settled, unready
from schemas.action import SetAutoscalerBounds
from schemas.events import PeopleAsked
from schemas.target import Target
from schemas.words import Ground, Verdict
from stages.failure_watch.stage import FailureWatch
from stages.verify.stage import VerifyStage
from tests.integration.healing import NAMESPACE, Healing, only, restart
from tests.integration.test_verify import AT_ONCE, executed, verified

NAME = "api"


@pytest.fixture
def stage(scene: Healing) -> VerifyStage:
    return VerifyStage(scene.database, scene.world, AT_ONCE)


async def limited(scene: Healing, wanted: int, image: str = "sim/web:ok") -> Target:
    """A workload at its autoscaler's maximum of 3 replicas, for whose load so many are wanted."""
    target = await scene.deploy(NAME, image, replicas=3)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    meta = {"name": NAME, "annotations": {"sim/wanted": str(wanted)}}
    body = {"metadata": meta, "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 3}}
    await scene.kubectl.create(AUTOSCALERS, NAMESPACE, body)
    await scene.kubectl.wait(lambda item: "TooManyReplicas" in str(item["metadata"].get("annotations")), AUTOSCALERS, NAMESPACE, NAME)
    await scene.kubectl.until(target, settled)
    return target


def bounds(target: Target, maximum: int = 5) -> SetAutoscalerBounds:
    return SetAutoscalerBounds(target=target, autoscaler=NAME, minimum=1, maximum=maximum)


async def test_a_higher_maximum_that_is_enough_heals(scene: Healing, stage: VerifyStage) -> None:
    target = await limited(scene, 5)
    result = await verified(scene, stage, await executed(scene, bounds(target)))
    assert (result.verdict, result.ground) == (Verdict.SUCCESS, Ground.HEALED), result.summary
    assert result.judgements[0].before == "autoscaler api is at its maximum of 3 replicas and wants more"


async def test_one_that_is_not_enough_is_put_to_people_and_not_taken_back(scene: Healing, stage: VerifyStage) -> None:
    target = await limited(scene, 9)
    finished = await executed(scene, bounds(target), inverse=bounds(target, 3))
    await scene.kubectl.until(target, lambda item, pods: settled(item, pods) and item["spec"]["replicas"] == 5)
    await scene.kubectl.wait(lambda item: item["status"]["currentReplicas"] == 5, AUTOSCALERS, NAMESPACE, NAME)
    result = await verified(scene, stage, finished, limit=True)
    assert (result.verdict, result.ground) == (Verdict.DEGRADED, Ground.BETTER), result.summary
    asked = only(await scene.handle(FailureWatch(scene.database), result), PeopleAsked)
    assert "autoscaler api is at its maximum of 5 replicas and wants more" in asked.reason
    assert asked.proposed is None
    assert "go back" not in asked.question, "the same load would be left to fewer pods"


@pytest.mark.parametrize(("alert", "verdict"), [("KubeHpaMaxedOut", Verdict.DEGRADED), ("KubePodNotReady", Verdict.SUCCESS)])
async def test_a_restart_at_the_maximum_heals_a_wedge_and_not_the_maximum(
    scene: Healing, stage: VerifyStage, alert: str, verdict: Verdict
) -> None:
    target = await limited(scene, 5, "sim/web:wedge-30s")
    await scene.kubectl.until(target, unready)
    finished = await executed(scene, restart(target), incident=await scene.incident(target, alert=alert))
    await scene.kubectl.until(target, settled)
    result = await verified(scene, stage, finished, limit=True)
    assert result.verdict is verdict, result.summary
