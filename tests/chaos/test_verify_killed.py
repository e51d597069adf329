"""A verifier killed by SIGKILL at every point of a verification: the next one continues, and one judgement is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from ops.sandbox.kubectl import settled, waiting
from schemas.action import RollBackWorkload
from schemas.event import Delayed, Event
from schemas.events import ExecutionFinished, VerificationDue, VerificationFinished
from schemas.words import Ground, Verdict
from sql.database import Database
from sql.evidence import evidence_of
from sql.verifications import get_verification
from stages.verify.stage import VerifyStage
from tests.chaos.execute_process import HOLD
from tests.chaos.killing import killed
from tests.integration.healing import Healing, executor, healing_scene, only
from tests.patience import PATIENCE

STATES = ("none", "begun", "held", "ended")
POINTS = [  # the state that is left, the event that was being handled (of three), and where
    ("none", 0, "commit-1-before"),
    ("begun", 0, "commit-1-after"),
    ("begun", 1, "observe-before"),
    ("begun", 1, "commit-1-before"),
    ("held", 1, "commit-1-after"),
    ("held", 2, "observe-after"),
    ("held", 2, "commit-1-before"),
    ("ended", 2, "commit-1-after"),
]


def test_every_state_of_a_verification_is_met() -> None:
    assert {state for state, _, _ in POINTS} == set(STATES)


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Healing]:
    async with healing_scene(database) as scene:
        yield scene


async def rolled_back(scene: Healing) -> ExecutionFinished:
    """A roll back that was done, and has healed."""
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    row = await scene.approve(RollBackWorkload(target=target, to_revision=1))
    finished = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
    await scene.kubectl.until(target, settled)
    return finished


async def state_of(scene: Healing, operation: str) -> str:
    async with scene.database.connection() as connection:
        row = await get_verification(connection, operation)
    if row is None:
        return "none"
    return "ended" if not row.awaits else "held" if row.held else "begun"


async def following(scene: Healing, event: Event) -> Event:
    """What the next delivery of the event decides; a further look that the state did not call for is passed over."""
    finished = event if isinstance(event, ExecutionFinished) else None
    async with asyncio.timeout(PATIENCE):
        while True:
            (output,) = await scene.handle(VerifyStage(scene.database, scene.world, HOLD), event, attempt=2)
            event = output.event if isinstance(output, Delayed) else output
            if finished or not isinstance(event, VerificationDue) or await state_of(scene, event.finished.operation) == "held":
                return event


@pytest.mark.parametrize(("state", "number", "point"), POINTS)
async def test_the_next_verifier_continues_and_one_judgement_is_told(
    scene: Healing, postgres_url: str, state: str, number: int, point: str
) -> None:
    finished = await rolled_back(scene)
    event: Event = finished
    for _ in range(number):
        event = await following(scene, event)
    scene.later(HOLD.hold_down)
    later = (scene.now - datetime.now(UTC)).total_seconds()
    await killed("verify", postgres_url, scene.sandbox.url, event, point, later=later)
    assert await state_of(scene, finished.operation) == state

    last = event
    while not isinstance(event, VerificationFinished):
        last, event = event, await following(scene, event)
    assert (event.verdict, event.ground) == (Verdict.SUCCESS, Ground.HEALED)
    assert await following(scene, last) == event
    assert await state_of(scene, finished.operation) == "ended"
    told = await scene.told(finished.incident)
    assert sum(line.startswith("healthy so far, held until") for line in told) == 1
    assert sum(line.startswith("verified as") for line in told) == 1
    async with scene.database.connection() as connection:
        assert [row.phase for row in await evidence_of(connection, finished.incident)] == ["before", "after", "after"]
