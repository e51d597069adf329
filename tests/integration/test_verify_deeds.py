"""verify on what has no workload: a Job that is run again is judged by the new one, a cordon by its mark on the node."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.kubernetes.resources import JOBS, NODES
from schemas.action import CordonNode, RerunJob, UncordonNode, rerun_name
from schemas.events import PeopleAsked, TrustChanged
from schemas.target import Kind, Target
from schemas.words import Ground, Verdict
from sql.evidence import get_snapshot
from stages.failure_watch.stage import FailureWatch
from stages.learn.stage import Learn
from stages.verify.stage import VerifyStage
from tests.integration.healing import CLUSTER, NAMESPACE, Healing, only
from tests.integration.test_verify import AT_ONCE, executed, verified

JOB = Target(cluster=CLUSTER, namespace=NAMESPACE, kind=Kind.JOB, name="import")


@pytest.fixture
def stage(scene: Healing) -> VerifyStage:
    return VerifyStage(scene.database, scene.world, AT_ONCE)


async def nodes(scene: Healing) -> list[str]:
    return [item["metadata"]["name"] for item in await scene.kubectl.items(NODES, "")]


async def keep_pods_away(scene: Healing, *, away: bool) -> None:
    for name in await nodes(scene):
        await scene.kubectl.patch(NODES, "", name, {"spec": {"unschedulable": True if away else None}})


async def failed_job(scene: Healing, image: str, **spec: Any) -> None:
    """A Job that has failed, whatever its image would do: no node took its pod in time."""
    await keep_pods_away(scene, away=True)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": image}]}}
    plain = {"activeDeadlineSeconds": 20, "backoffLimit": 0, "template": template}
    await scene.kubectl.create(JOBS, NAMESPACE, {"metadata": {"name": JOB.name}, "spec": plain | spec})
    await scene.kubectl.wait(lambda item: "DeadlineExceeded" in str(item.get("status")), JOBS, NAMESPACE, JOB.name)


async def test_a_job_that_succeeds_when_it_is_run_again_is_healed(scene: Healing) -> None:
    stage = VerifyStage(scene.database, scene.world)
    await failed_job(scene, "sim/job:done-1s")
    await keep_pods_away(scene, away=False)
    finished = await executed(scene, RerunJob(target=JOB))
    result = await verified(scene, stage, finished)
    assert (result.verdict, result.ground) == (Verdict.SUCCESS, Ground.HEALED), result.summary
    assert "it has completed" in result.summary
    assert result.judgements[0].before == "it has failed: DeadlineExceeded"
    assert result.held == 0, "a Job that has completed stays so"
    async with scene.database.connection() as connection:
        before, after = await get_snapshot(connection, result.before), await get_snapshot(connection, result.after)
    assert before is not None
    assert after is not None
    assert (before.target.name, after.target.name) == (JOB.name, rerun_name(JOB.name, finished.operation))
    assert (before.job is not None and before.job.has_failed, after.job is not None and after.job.complete) == (True, True)


async def test_a_job_that_fails_again_is_not_healed_and_nobody_is_told_to_go_back(scene: Healing, stage: VerifyStage) -> None:
    await failed_job(scene, "sim/job:done-1s")
    result = await verified(scene, stage, await executed(scene, RerunJob(target=JOB)))
    assert (result.verdict, result.ground) == (Verdict.FAILED, Ground.SAME_FAULT), result.summary
    asked = only(await scene.handle(FailureWatch(scene.database), result), PeopleAsked)
    assert asked.proposed is None


async def test_a_job_that_is_gone_when_it_is_looked_at_is_not_known(scene: Healing, stage: VerifyStage) -> None:
    await failed_job(scene, "sim/job:done-1s")
    await keep_pods_away(scene, away=False)
    finished = await executed(scene, RerunJob(target=JOB))
    await scene.kubectl.delete(JOBS, NAMESPACE, rerun_name(JOB.name, finished.operation))
    result = await verified(scene, stage, finished, limit=True)
    assert (result.verdict, result.ground, result.measured) == (Verdict.DEGRADED, Ground.UNMEASURED, False)


async def test_a_cordon_of_a_node_that_is_down_is_done_heals_nothing_and_costs_no_trust(scene: Healing, stage: VerifyStage) -> None:
    name = (await nodes(scene))[0]
    lost = Target(cluster=CLUSTER, kind=Kind.NODE, name=name)
    await scene.kubectl.patch(NODES, "", name, {"metadata": {"annotations": {"sim/down": "true"}}})
    await scene.kubectl.wait(lambda node: _ready(node) != "True", NODES, "", name)
    finished = await executed(scene, CordonNode(target=lost), inverse=UncordonNode(target=lost))
    result = await verified(scene, stage, finished)
    assert (result.verdict, result.ground, result.measured) == (Verdict.DEGRADED, Ground.CONTAINED, True), result.summary
    learned = await scene.handle(Learn(scene.database), result, backed=False)
    assert not any(isinstance(event, TrustChanged) for event in learned)
    assert result.score < 0.5, "the node is as it was"
    asked = only(await scene.handle(FailureWatch(scene.database), result), PeopleAsked)
    assert asked.proposed is None, "the node that is down is not to be uncordoned"
    assert "heals nothing by itself" in asked.reason


def _ready(node: dict[str, Any]) -> str:
    return next((str(one["status"]) for one in node["status"]["conditions"] if one["type"] == "Ready"), "")
