"""An executor killed by SIGKILL at every point of an operation: the next one continues, and the side effect happens once.

The points are all calls to the world and both sides of all commits, at the first attempt and at one that was put off. That every
state of the ledger is met is itself a test: no row, pending, running before and after the side effect, and each of the three ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec
import pytest

from adapters.errors import OutcomeUnknown, Transient
from bus.handler import Retry
from schemas.action import DeletePod
from schemas.event import Event, Output
from schemas.events import ExecutionFinished, ExecutionRetryDue
from schemas.target import Kind
from schemas.words import OperationState, Outcome
from sql.approvals import ApprovalRow
from sql.database import Database
from sql.operations import Operation
from stages.execute.options import ExecuteOptions
from tests.chaos.execute_process import LEASE
from tests.chaos.killing import killed
from tests.integration.healing import Healing, Unsteady, executor, healing_scene, only, restart
from tests.patience import PATIENCE

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

RETRY_POINTS = [
    (OperationState.PENDING, "commit-1-after", False),
    (OperationState.PENDING, "commit-2-before", False),
    (OperationState.RUNNING, "apply-after", True),
    (OperationState.SUCCEEDED, "commit-3-after", True),
]
DOUBTFUL_POINTS = [
    (OperationState.RUNNING, "commit-1-after"),
    (OperationState.RUNNING, "find-before"),
    (OperationState.RUNNING, "find-after"),
]
ENDS = [("refused", "commit-3-after", OperationState.FAILED), ("untold", "commit-3-after", OperationState.UNKNOWN)]


def test_every_state_of_the_ledger_is_met() -> None:
    met = {state for state, _, _ in (*POINTS, *RETRY_POINTS)} | {state for state, _ in DOUBTFUL_POINTS} | {state for _, _, state in ENDS}
    assert met == {None, *OperationState}


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Healing]:
    async with healing_scene(database) as scene:
        yield scene


async def redelivered(scene: Healing, event: Event) -> Sequence[Output]:
    """The event as the bus brings it again, to another executor, until it is handled."""
    stage = executor(scene.database, scene.world, ExecuteOptions(lease=LEASE))
    async with asyncio.timeout(PATIENCE):
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
    await killed("execute", postgres_url, scene.sandbox.url, event, point)

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


async def put_off(scene: Healing, row: ApprovalRow, world: Unsteady) -> ExecutionRetryDue:
    """The first attempt, which this world ends for now; what drives the second one."""
    return only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionRetryDue)


@pytest.mark.parametrize(("state", "point", "done"), RETRY_POINTS)
async def test_what_waited_for_its_second_attempt_is_continued_and_happens_once(
    scene: Healing, postgres_url: str, state: OperationState, point: str, done: bool
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    world = Unsteady(scene.world)
    world.before["apply"] = [Transient("connection refused")]
    event = await put_off(scene, row, world)
    await ended_once(scene, postgres_url, row, event, Killed(state, point, generation, done))


@pytest.mark.parametrize("happened", [True, False], ids=["it happened", "it did not happen"])
@pytest.mark.parametrize(("state", "point"), DOUBTFUL_POINTS)
async def test_what_waited_in_doubt_is_looked_for_and_happens_once(
    scene: Healing, postgres_url: str, state: OperationState, point: str, happened: bool
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    world = Unsteady(scene.world)
    (world.after if happened else world.before)["apply"] = [OutcomeUnknown("the connection broke")]
    world.before["find"] = [Transient("connection refused")]
    event = await put_off(scene, row, world)
    await ended_once(scene, postgres_url, row, event, Killed(state, point, generation, happened))


class Killed(NamedTuple):
    """Where a second attempt was killed, and what the ledger and the world say then."""

    state: OperationState
    point: str
    generation: int
    done: bool


async def ended_once(scene: Healing, postgres: str, row: ApprovalRow, event: ExecutionRetryDue, at: Killed) -> None:
    """Kills the second attempt, and has another executor continue it."""
    target = row.action.target
    later = ExecuteOptions().retry_after
    scene.later(later)
    await killed("execute", postgres, scene.sandbox.url, event, at.point, later=later)
    left = await scene.operation(row)
    assert left is not None
    assert left.state is at.state
    assert await scene.generation(target) == at.generation + at.done

    outputs = await redelivered(scene, event)
    finished = only(outputs, ExecutionFinished)
    assert (finished.outcome, finished.attempts) == (Outcome.SUCCEEDED, 2)
    assert await redelivered(scene, event) == outputs
    assert await scene.generation(target) == at.generation + 1
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["retried", "success"]
    assert not await scene.database.fetch("SELECT * FROM leases")


@pytest.mark.parametrize(("fault", "point", "state"), ENDS)
async def test_an_end_that_was_written_is_told_and_not_tried_again(
    scene: Healing, postgres_url: str, fault: str, point: str, state: OperationState
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    event = scene.announce(row)
    await killed("execute", postgres_url, scene.sandbox.url, event, point, fault)
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
    event = scene.announce(await scene.approve(action, signers=["ann"]))
    await killed("execute", postgres_url, scene.sandbox.url, event, "apply-after")
    await scene.kubectl.until(target, lambda _, pods: [one["metadata"]["uid"] for one in pods] not in ([], [pod.uid]))
    replaced = {one.uid for one in (await scene.world.observe(target)).pods}
    finished = only(await redelivered(scene, event), ExecutionFinished)
    assert finished.outcome is Outcome.UNKNOWN
    assert {one.uid for one in (await scene.world.observe(target)).pods} == replaced
