"""What people read from the approval to the verdict, through the real stages: only a verification that bore it out says healed."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.memory import MemoryBus
from ops.sandbox.kubectl import settled, unready, waiting
from schemas.events import IncidentResolved, VerificationFinished
from schemas.judgement import Judgement
from schemas.target import Target
from schemas.words import Disposition, Ground, Health, Outcome, Severity, Verdict
from stages.failure_watch.stage import FailureWatch
from stages.learn.stage import Learn
from stages.notify.stage import Notify
from stages.notify.text import lines_of
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import Healing, executor, restart
from tests.integration.scene import RESTART, TARGET, Kept
from tests.patience import PATIENCE
from tests.unit.snapshots import NOW

_CLAIM = re.compile(r"(?<!NOT )\bHEALED\b|\bhealed\b(?! anything)|repaired|HEALTHY")
QUICK = VerifyOptions(settle=0.05, interval=0.05, limit=3, hold_down=0)


async def told(scene: Healing, target: Target, options: VerifyOptions) -> tuple[VerificationFinished, list[str]]:
    """A restart of the target, executed, verified and learned from; the verdict, and the first line of each message in their order."""
    kept = Kept()
    database, world = scene.database, scene.world
    execute, verify = executor(database, world), VerifyStage(database, world, options)
    stages = (execute, verify, Learn(database), FailureWatch(database), Notify(database, [kept]))
    bus = MemoryBus(clock=lambda: scene.now)
    approved = scene.announce(await scene.approve(restart(target)))
    await scene.back(approved)
    await bus.append([approved])
    async with asyncio.timeout(PATIENCE):
        while not (verdicts := bus.events(VerificationFinished)):
            await bus.run(stages)
            if bus.delayed():
                await asyncio.sleep(max((bus.delayed()[0][0] - scene.now).total_seconds(), 0))
        await bus.run(stages)
    (verdict,) = verdicts
    assert isinstance(verdict, VerificationFinished)
    return verdict, kept.messages


async def test_an_execution_that_succeeded_and_did_not_heal_is_never_called_healed(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:oom-200Mi", resources={"limits": {"memory": "100Mi"}})
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    verdict, messages = await told(scene, target, QUICK)
    assert (verdict.outcome, verdict.verdict) == (Outcome.SUCCEEDED, Verdict.FAILED)
    assert [message.split(":")[0] for message in messages] == [
        "APPROVED by itself ()",
        "DONE, NOT YET VERIFIED",
        "NOT HEALED (failed)",
        "P2 PEOPLE NEEDED",
    ]
    assert not [message for message in messages if _CLAIM.search(message)]


async def test_what_came_back_is_never_called_healed_although_it_was_for_a_while(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:wedge-30s")
    await scene.kubectl.until(target, unready)
    verdict, messages = await told(scene, target, VerifyOptions(settle=0.05, interval=0.05, limit=3, hold_down=1.6))
    assert verdict.relapse
    assert "NOT HEALED (it came back)" in [message.split(":")[0] for message in messages]
    assert not [message for message in messages if _CLAIM.search(message.partition(": ")[0])]


async def test_what_healed_is_told_once_and_after_its_hold_down(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    verdict, messages = await told(scene, target, VerifyOptions(settle=0.05, interval=0.05, hold_down=0.5))
    assert (verdict.verdict, verdict.held >= 0.5) == (Verdict.SUCCESS, True)
    *said, drafted = messages
    assert [message.split(":")[0] for message in said] == ["APPROVED by itself ()", "DONE, NOT YET VERIFIED", "HEALED"]
    assert re.fullmatch(r"playbook learned-[0-9a-f]{12} version 1 was drafted", drafted)


@pytest.mark.parametrize("disposition", list(Disposition))
def test_the_end_of_the_alert_claims_no_repair(disposition: Disposition) -> None:
    """It may come before the verdict, while the success is still held; nor is it said that nothing was done."""
    event = IncidentResolved(id="e", key="k", at=NOW, by="t", incident="i", target=TARGET, disposition=disposition, seconds=60)
    assert not [line for line in lines_of(event) if _CLAIM.search(line) or "without an action" in line]


@given(
    st.sampled_from(Verdict),
    st.sampled_from([Outcome.SUCCEEDED, Outcome.UNKNOWN]),
    st.booleans(),
    st.booleans(),
    st.none() | st.sampled_from(Ground),
)
def test_only_a_measured_success_of_a_known_action_is_called_healed(
    verdict: Verdict, outcome: Outcome, measured: bool, relapse: bool, ground: Ground | None
) -> None:
    event = VerificationFinished(
        id="e",
        key="k",
        at=NOW,
        by="t",
        operation="o",
        approval="a",
        action=RESTART,
        outcome=outcome,
        verdict=verdict,
        measured=measured,
        summary="s",
        judgements=(Judgement(about="x", health=Health.HEALTHY, reason="r"),),
        before="",
        after="",
        score=1.0,
        automatic=True,
        severity=Severity.P2,
        relapse=relapse,
        ground=ground,
    )
    first = lines_of(event)[0]
    if verdict is not Verdict.SUCCESS or outcome is not Outcome.SUCCEEDED or not measured or relapse:
        assert not first.startswith("HEALED")
    if not measured:
        assert first.startswith("NOT KNOWN WHETHER IT HEALED (nothing could be measured)")
