"""An executor killed by SIGKILL at every point of an operation: the next one continues, and the side effect happens once.

The points are all calls to the world and both sides of all commits, so every state of the ledger is met: no row, pending,
running before and after the side effect, and each of the three ends.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from bus.handler import Retry
from schemas.action import DeletePod
from schemas.codec import encode
from schemas.event import Event, Output
from schemas.events import ExecutionFinished
from schemas.target import Kind
from schemas.words import OperationState, Outcome
from sql.database import Database
from sql.operations import Operation
from stages.execute import ExecuteOptions, ExecuteStage
from tests.chaos.execute_process import LEASE
from tests.integration.healing import Healing, healing_scene, only, restart

POINTS = [
    (None, "commit-1-before", False),
    (OperationState.PENDING, "commit-1-after", False),
    (OperationState.PENDING, "observe-before", False),
    (OperationState.PENDING, "preflight-after", False),
    (OperationState.PENDING, "commit-2-before", False),
    (OperationState.RUNNING, "commit-2-after", False),
    (OperationState.RUNNING, "apply-before", False),
    (OperationState.RUNNING, "apply-after", True),
    (OperationState.RUNNING, "commit-3-before", True),
    (OperationState.SUCCEEDED, "commit-3-after", True),
    (OperationState.SUCCEEDED, "the end", True),
]


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Healing]:
    async with healing_scene(database) as scene:
        yield scene


async def killed(scene: Healing, postgres: str, event: Event, point: str, fault: str = "none") -> None:
    """Runs the event through an executor of its own process until that dies at `point`."""
    arguments = ("-m", "tests.chaos.execute_process", postgres, scene.sandbox.url, point, fault)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate(encode(event))
    assert process.returncode == -signal.SIGKILL, complaint.decode()


async def redelivered(scene: Healing, event: Event) -> Sequence[Output]:
    """The event as the bus brings it again, to another executor, until it is handled."""
    stage = ExecuteStage(scene.database, scene.world, ExecuteOptions(lease=LEASE))
    async with asyncio.timeout(20):
        while True:
            try:
                return await scene.handle(stage, event, attempt=2)
            except Retry as retry:
                await asyncio.sleep(min(retry.after, 0.1))


@pytest.mark.parametrize(("state", "point", "done"), POINTS)
async def test_the_next_executor_continues_and_the_side_effect_happens_once(
    scene: Healing, postgres_url: str, state: OperationState | None, point: str, done: bool
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    generation = await scene.generation(target)
    row = await scene.approve(restart(target))
    event = scene.announce(row)
    await killed(scene, postgres_url, event, point)

    left: Operation | None = await scene.operation(row)
    assert (left.state if left else None) is state
    assert await scene.generation(target) == generation + done

    outputs = await redelivered(scene, event)
    finished = only(outputs, ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert await scene.generation(target) == generation + 1
    assert await redelivered(scene, event) == outputs
    assert await scene.generation(target) == generation + 1
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["success"]
    assert not await scene.database.fetch("SELECT * FROM leases")


@pytest.mark.parametrize(
    ("fault", "point", "state"),
    [("refused", "commit-3-after", OperationState.FAILED), ("untold", "commit-3-after", OperationState.UNKNOWN)],
)
async def test_an_end_that_was_written_is_told_and_not_tried_again(
    scene: Healing, postgres_url: str, fault: str, point: str, state: OperationState
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    event = scene.announce(row)
    await killed(scene, postgres_url, event, point, fault)
    left = await scene.operation(row)
    assert left is not None
    assert left.state is state
    generation = await scene.generation(target)
    finished = only(await redelivered(scene, event), ExecutionFinished)
    assert finished.outcome is left.outcome
    assert await scene.generation(target) == generation


async def test_where_no_mark_can_be_left_it_is_unknown_and_not_repeated(scene: Healing, postgres_url: str) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, lambda _, pods: len(pods) == 1)
    pod = (await scene.world.observe(target)).pods[0]
    action = DeletePod(target=msgspec.structs.replace(target, kind=Kind.POD, name=pod.name), uid=pod.uid)
    event = scene.announce(await scene.approve(action))
    await killed(scene, postgres_url, event, "apply-after")
    await scene.kubectl.until(target, lambda _, pods: [one["metadata"]["uid"] for one in pods] not in ([], [pod.uid]))
    replaced = {one.uid for one in (await scene.world.observe(target)).pods}
    finished = only(await redelivered(scene, event), ExecutionFinished)
    assert finished.outcome is Outcome.UNKNOWN
    assert {one.uid for one in (await scene.world.observe(target)).pods} == replaced
