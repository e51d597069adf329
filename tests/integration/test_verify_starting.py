"""A rollout whose new pods are slow to start: not known yet, until they are ready or their controller calls it stuck."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from adapters.kubernetes.resources import BY_KIND
from ops.sandbox.kubectl import settled, unready
from schemas.event import Output
from schemas.events import ExecutionFinished, LessonLearned, PeopleAsked, TrustChanged, VerificationDue, VerificationFinished
from schemas.target import Kind
from schemas.words import Ground, Verdict
from stages.failure_watch.stage import FailureWatch
from stages.learn.stage import Learn
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import Healing, only, restart
from tests.integration.test_verify import AT_ONCE, delayed, executed

LIMIT, RARER = VerifyOptions().limit, 6 * VerifyOptions().interval


@pytest.fixture
def stage(scene: Healing) -> VerifyStage:
    return VerifyStage(scene.database, scene.world, AT_ONCE)


async def restarted(scene: Healing, image: str, *, deadline: int | None = None, kind: Kind = Kind.DEPLOYMENT) -> ExecutionFinished:
    """A workload whose pod is not ready, restarted; `deadline` is its controller's, in seconds."""
    target = await scene.deploy("api", image, kind=kind)
    if deadline is not None:
        await scene.kubectl.patch(BY_KIND[kind], target.namespace, target.name, {"spec": {"progressDeadlineSeconds": deadline}})
    await scene.kubectl.until(target, unready)
    return await executed(scene, restart(target))


async def after_the_limit(scene: Healing, stage: VerifyStage, finished: ExecutionFinished) -> tuple[VerificationDue, list[Output]]:
    """The first look, at the end of the warm-up, and what came of it."""
    due, _ = delayed(await scene.handle(stage, finished))
    scene.later(LIMIT + 1)
    return due, list(await scene.handle(stage, due))


def is_stuck(workload: Mapping[str, Any], _pods: object) -> bool:
    return any(one.get("reason") == "ProgressDeadlineExceeded" for one in workload["status"].get("conditions", []))


def rolls_out(workload: Mapping[str, Any], pods: list[dict[str, Any]]) -> bool:
    """Some of its pods are new ones, and all run and are not ready."""
    status = workload["status"]
    return bool(status.get("updatedNumberScheduled")) and all(unready(dict(workload), [pod]) for pod in pods)


async def test_a_start_that_takes_longer_than_the_warm_up_is_waited_for_as_long_as_its_controller_does(
    scene: Healing, stage: VerifyStage
) -> None:
    finished = await restarted(scene, "sim/web:slow-100s", deadline=600)
    _, outputs = await after_the_limit(scene, stage, finished)
    due, seconds = delayed(outputs)
    assert seconds == pytest.approx(RARER, abs=0.5)
    await scene.kubectl.until(finished.action.target, settled)
    result = only(await scene.handle(stage, due), VerificationFinished)
    assert (result.verdict, result.ground) == (Verdict.SUCCESS, Ground.HEALED), result.summary


async def test_what_its_controller_calls_stuck_has_failed(scene: Healing, stage: VerifyStage) -> None:
    finished = await restarted(scene, "sim/web:wedge-0s", deadline=240)
    _, outputs = await after_the_limit(scene, stage, finished)
    due, _ = delayed(outputs)
    await scene.kubectl.until(finished.action.target, is_stuck)
    result = only(await scene.handle(stage, due), VerificationFinished)
    assert (result.verdict, result.ground) == (Verdict.FAILED, Ground.SAME_FAULT), result.summary
    assert result.score < 0.5


async def test_after_the_deadline_no_controller_kept_it_is_not_known_and_people_are_asked(scene: Healing, stage: VerifyStage) -> None:
    finished = await restarted(scene, "sim/web:wedge-0s", deadline=100_000)
    _, outputs = await after_the_limit(scene, stage, finished)
    due, _ = delayed(outputs)
    scene.later(1801)
    result = only(await scene.handle(stage, due), VerificationFinished)
    assert (result.verdict, result.ground) == (Verdict.TIMEOUT, Ground.STARTING), result.summary


async def test_where_no_controller_keeps_a_deadline_people_are_asked_after_the_warm_up_and_no_trust_moves(
    scene: Healing, stage: VerifyStage
) -> None:
    finished = await restarted(scene, "sim/web:wedge-0s", kind=Kind.DAEMONSET)
    await scene.kubectl.until(finished.action.target, rolls_out)
    _, outputs = await after_the_limit(scene, stage, finished)
    result = only(outputs, VerificationFinished)
    assert (result.verdict, result.ground) == (Verdict.TIMEOUT, Ground.STARTING), result.summary
    learned = await scene.handle(Learn(scene.database), result, backed=False)
    assert only(learned, LessonLearned).verdict is Verdict.TIMEOUT
    assert not any(isinstance(event, TrustChanged) for event in learned)
    asked = only(await scene.handle(FailureWatch(scene.database), result, backed=False), PeopleAsked)
    assert "it did not become well in time: its new pods are still being started" in asked.reason
    assert "go back" not in asked.question
