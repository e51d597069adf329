"""A success is held before it is told: the fault that comes back turns it into a failure, with everything that follows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.errors import Transient
from ops.sandbox.kubectl import settled, unready, waiting
from schemas.event import Delayed, Output
from schemas.events import ExecutionFinished, LessonLearned, PeopleAsked, TrustChanged, VerificationDue, VerificationFinished
from schemas.target import Target
from schemas.words import Ground, Verdict
from sql import incidents
from sql.evidence import evidence_of
from stages.failure_watch.stage import FailureWatch
from stages.learn.stage import Learn
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import Healing, Unsteady, only, restart
from tests.integration.test_verify import AT_ONCE, delayed, executed, verified
from tests.patience import PATIENCE

HOLD = VerifyOptions().hold_down


@pytest.fixture
def stage(scene: Healing) -> VerifyStage:
    return VerifyStage(scene.database, scene.world)


async def held(scene: Healing, stage: VerifyStage, finished: ExecutionFinished) -> VerificationDue:
    """Lets the warm-up pass until the success is held; the look after the hold-down, whose time has not come yet."""
    due, _ = delayed(await scene.handle(stage, finished))
    async with asyncio.timeout(PATIENCE):
        while True:
            due, seconds = delayed(await scene.handle(stage, due))
            if seconds > VerifyOptions().interval:
                assert seconds == pytest.approx(HOLD, abs=0.5)
                return due
            await asyncio.sleep(0.05)


async def wedged(scene: Healing, image: str) -> Target:
    target = await scene.deploy("api", image)
    await scene.kubectl.until(target, unready)
    return target


def down(workload: dict[str, Any], _pods: object) -> bool:
    """No pod is ready, those that are just going included: for `until`."""
    return not workload["status"].get("readyReplicas")


def told(outputs: Sequence[Output]) -> VerificationFinished:
    return only(outputs, VerificationFinished)


async def test_a_success_is_told_once_and_only_after_its_hold_down(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    finished = await executed(scene, restart(target))
    due = await held(scene, stage, finished)
    lines = await scene.told(finished.incident)
    assert any(line.startswith("healthy so far, held until") for line in lines)
    assert not any("verified" in line for line in lines)
    scene.later(HOLD)
    result = told(await scene.handle(stage, due))
    assert (result.verdict, result.relapse, result.ground) == (Verdict.SUCCESS, False, Ground.STAYED_WELL)
    assert result.held >= HOLD
    assert "and so 120 s later" in result.summary
    assert sum(result.parts.values()) == pytest.approx(result.score, abs=0.001)
    async with scene.database.connection() as connection:
        assert [row.phase for row in await evidence_of(connection, finished.incident)] == ["before", "after", "after"]


async def test_a_second_delivery_holds_once_and_a_stray_event_ends_nothing(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    finished = await executed(scene, restart(target))
    first, _ = delayed(await scene.handle(stage, finished))
    await scene.kubectl.until(target, settled)
    outputs = await scene.handle(stage, first)
    assert await scene.handle(stage, first, attempt=2) == outputs
    due, _ = delayed(outputs)
    scene.later(HOLD)
    result = await scene.handle(stage, due)
    assert await scene.handle(stage, due, attempt=2) == result
    assert told(result)


async def test_a_wedge_that_comes_back_turns_success_into_failure_with_everything_that_follows(scene: Healing, stage: VerifyStage) -> None:
    target = await wedged(scene, "sim/web:wedge-30s")
    finished = await executed(scene, restart(target))
    due = await held(scene, stage, finished)
    await scene.kubectl.until(target, down)
    scene.later(HOLD)
    again, seconds = delayed(await scene.handle(stage, due))
    assert seconds == pytest.approx(VerifyOptions().interval, abs=0.5)
    scene.later(VerifyOptions().limit + 1)
    result = told(await scene.handle(stage, again))
    assert (result.verdict, result.relapse, result.ground) == (Verdict.FAILED, True, Ground.RELAPSED)
    assert result.score < 0.5
    assert "came back" in result.summary

    learned = await scene.handle(Learn(scene.database), result, backed=False)
    assert only(learned, LessonLearned).verdict is Verdict.FAILED
    asked = only(await scene.handle(FailureWatch(scene.database), result, backed=False), PeopleAsked)
    assert "helped at first, and it came back" in asked.reason
    async with scene.database.connection() as connection:
        incident = await incidents.get_incident(connection, finished.incident)
    assert incident is not None
    assert (incident.succeeded, incident.effectiveness) == (False, 1)
    assert "it came back" in incident.notes


async def test_a_relapse_resets_the_trust_that_an_earlier_success_earned(scene: Healing, stage: VerifyStage) -> None:
    learn = Learn(scene.database)
    target = await wedged(scene, "sim/web:wedge-30s")
    first = await verified(scene, VerifyStage(scene.database, scene.world, AT_ONCE), await executed(scene, restart(target)))
    earned = only(await scene.handle(learn, first, backed=False), TrustChanged)
    assert (earned.before, earned.after) == (0, 1)

    await scene.kubectl.until(target, unready)
    due = await held(scene, stage, await executed(scene, restart(target)))
    await scene.kubectl.until(target, down)
    scene.later(HOLD + VerifyOptions().limit + 1)
    result = told(await scene.handle(stage, due))
    assert result.relapse
    lost = only(await scene.handle(learn, result, backed=False), TrustChanged)
    assert (lost.pattern, lost.before, lost.after) == (earned.pattern, 1, 0)


async def test_a_blip_at_the_second_look_is_looked_at_again(scene: Healing) -> None:
    world = Unsteady(scene.world)
    stage = VerifyStage(scene.database, world)
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    due = await held(scene, stage, await executed(scene, restart(target)))
    world.before["observe"] = [Transient("connection refused")]
    scene.later(HOLD)
    again, _ = delayed(await scene.handle(stage, due))
    assert told(await scene.handle(stage, again)).verdict is Verdict.SUCCESS


async def test_what_cannot_be_looked_at_again_is_not_known_and_moves_no_trust(scene: Healing) -> None:
    world = Unsteady(scene.world)
    stage = VerifyStage(scene.database, world)
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    due = await held(scene, stage, await executed(scene, restart(target)))
    world.before["observe"] = [Transient("connection refused")]
    scene.later(HOLD + VerifyOptions().limit + 1)
    result = told(await scene.handle(stage, due))
    assert (result.verdict, result.measured, result.ground, result.score) == (Verdict.DEGRADED, False, Ground.UNMEASURED, 0.0)
    learned = await scene.handle(Learn(scene.database), result, backed=False)
    assert not any(isinstance(event, TrustChanged) for event in learned)


async def test_somebody_elses_bad_rollout_during_the_hold_down_is_not_held_against_the_action(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    due = await held(scene, stage, await executed(scene, restart(target)))
    await scene.kubectl.set_image(target, "sim/web:pull")
    await scene.kubectl.until(target, waiting("ImagePullBackOff"))
    scene.later(HOLD)
    result = told(await scene.handle(stage, due))
    assert (result.verdict, result.relapse, result.ground) == (Verdict.DEGRADED, False, Ground.CHANGED_SINCE)
    assert "somebody changed it" in result.summary


@pytest.mark.parametrize(("playbook", "seconds"), [("leaks", 900), ("others", HOLD), ("", HOLD)])
async def test_a_playbook_may_have_a_hold_down_of_its_own(scene: Healing, playbook: str, seconds: float) -> None:
    stage = VerifyStage(scene.database, scene.world, VerifyOptions(hold_downs={"leaks": 900, "": 5}))
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    first, _ = delayed(await scene.handle(stage, await executed(scene, restart(target), playbook=playbook)))
    await scene.kubectl.until(target, settled)
    due, wait = delayed(await scene.handle(stage, first))
    assert wait == pytest.approx(seconds, abs=0.5)
    assert (due.until - due.at).total_seconds() == pytest.approx(seconds + VerifyOptions().limit, abs=0.5)


async def test_a_playbook_may_have_no_hold_down(scene: Healing) -> None:
    stage = VerifyStage(scene.database, scene.world, VerifyOptions(hold_downs={"plain": 0}))
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    first, _ = delayed(await scene.handle(stage, await executed(scene, restart(target), playbook="plain")))
    await scene.kubectl.until(target, settled)
    assert told(await scene.handle(stage, first)).held == 0
    with pytest.raises(ValueError, match="no hold-down may be negative"):
        VerifyOptions(hold_downs={"plain": -1})


async def test_without_a_hold_down_a_success_is_told_at_once(scene: Healing) -> None:
    stage = VerifyStage(scene.database, scene.world, VerifyOptions(hold_down=0))
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    due, _ = delayed(await scene.handle(stage, await executed(scene, restart(target))))
    await scene.kubectl.until(target, settled)
    outputs = await scene.handle(stage, due)
    assert not any(isinstance(output, Delayed) for output in outputs)
    assert told(outputs).held == 0
