"""execute when the world fails it: tried again, found again, or said to be unknown; one side effect at most, always."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from adapters.errors import AdapterError, OutcomeUnknown, Refused, Transient
from bus.handler import Reject, Retry
from ops.sandbox.kubectl import settled
from schemas.action import DeletePod, ScaleWorkload
from schemas.event import Delayed, Output
from schemas.events import ExecutionFinished, ExecutionRetryDue, ExecutionStarted
from schemas.target import Kind, Target
from schemas.words import OperationState, Outcome
from sql import trust
from sql.approvals import ApprovalRow
from sql.proof import Proof
from stages.execute.options import ExecuteOptions
from stages.execute.stage import ExecuteStage
from tests.integration.healing import Healing, Unsteady, executor, only, restart

OPTIONS = ExecuteOptions()
LOST = OutcomeUnknown("the connection broke after the request was sent")


def due(scene: Healing, outputs: Sequence[Output]) -> ExecutionRetryDue:
    """The retry that was put off by 30 s."""
    (delayed,) = [output for output in outputs if isinstance(output, Delayed)]
    assert 29 < (delayed.until - scene.now).total_seconds() <= OPTIONS.retry_after
    return only(outputs, ExecutionRetryDue)


async def test_a_transient_failure_is_tried_again_later(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [Transient("connection refused")]
    outputs = await scene.handle(stage, scene.announce(row))
    retry = due(scene, outputs)
    operation = await scene.operation(row)
    assert operation is not None
    assert operation.state is OperationState.PENDING
    assert await scene.generation(target) == generation

    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert (finished.outcome, finished.attempts) == (Outcome.SUCCEEDED, 2)
    assert await scene.generation(target) == generation + 1
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["retried", "success"]


async def test_while_it_waits_for_its_retry_nothing_else_moves_it(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [Transient("connection refused")]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    for forged in (ExecutionRetryDue(**scene.header(row.incident), approval=row.id, attempt=2), msgspec.structs.replace(retry, attempt=1)):
        with pytest.raises(Reject, match="execute never set this timer"):
            await scene.handle(stage, forged)
    with pytest.raises(Retry, match="came early"):
        await scene.handle(stage, retry, backed=False)
    assert await scene.handle(stage, scene.announce(row)) == []
    assert await scene.generation(target) == generation
    assert only(await scene.handle(stage, retry), ExecutionFinished).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("call", ["observe", "preflight", "apply"])
async def test_after_two_retries_it_has_failed(scene: Healing, world: Unsteady, target: Target, call: str) -> None:
    """It counts against the action only where it had begun: a cluster that is away all the time says nothing of what a restart does."""
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world)
    world.before[call] = [Transient("connection refused") for _ in range(3)]
    first = due(scene, await scene.handle(stage, scene.announce(row)))
    second = due(scene, await scene.handle(stage, first))
    finished = only(await scene.handle(stage, second), ExecutionFinished)
    assert (finished.outcome, finished.attempts) == (Outcome.FAILED, 3)
    assert "attempt 3 of 3" in finished.error
    assert only(await scene.handle(stage, second), ExecutionFinished) == finished
    async with scene.database.transaction() as connection:
        move = await trust.apply(Proof(connection), finished)
    assert (move is not None) is (call == "apply")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Transient("timeout: the field is immutable"), Outcome.FAILED),
        (AdapterError("something new"), Outcome.FAILED),
        (Refused("blocked by an admission webhook"), Outcome.REFUSED),
    ],
)
async def test_a_permanent_failure_is_not_tried_again(
    scene: Healing, world: Unsteady, target: Target, error: AdapterError, outcome: Outcome
) -> None:
    row = await scene.approve(restart(target))
    world.before["apply"] = [error]
    outputs = await scene.handle(executor(scene.database, world), scene.announce(row))
    assert only(outputs, ExecutionFinished).outcome is outcome
    assert not [output for output in outputs if isinstance(output, Delayed)]


async def test_a_lost_answer_is_looked_for_and_found(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    world.after["apply"] = [LOST]
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert "found done" in finished.output
    assert await scene.generation(target) == generation + 1
    assert world.calls.count("apply") == 1


async def test_a_lost_request_is_looked_for_again_before_it_is_repeated(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [LOST]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    operation = await scene.operation(row)
    assert operation is not None
    assert operation.state is OperationState.RUNNING
    world.calls.clear()
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert world.calls[0] == "find"
    assert await scene.generation(target) == generation + 1


async def test_a_request_that_arrives_late_is_found_and_not_repeated(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [LOST]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    operation = await scene.operation(row)
    assert operation is not None
    await scene.world.apply(row.action, operation=operation.id, token=operation.token, uid=row.target_uid)
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert await scene.generation(target) == generation + 1
    assert world.calls.count("apply") == 1


async def scaled(scene: Healing, target: Target, times: int) -> None:
    """Other operations on the target, each to its end."""
    for number in range(times):
        row = await scene.approve(ScaleWorkload(target=target, replicas=2 + number % 2))
        finished = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
        assert finished.outcome is Outcome.SUCCEEDED
    await scene.kubectl.until(target, settled)


async def test_a_lost_request_is_known_as_lost_after_however_many_operations(scene: Healing, world: Unsteady, target: Target) -> None:
    await scaled(scene, target, 10)
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [LOST]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    assert await scene.generation(target) == generation
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert await scene.generation(target) == generation + 1


async def test_what_was_done_before_so_many_others_that_its_mark_is_forgotten_is_not_repeated(
    scene: Healing, world: Unsteady, target: Target
) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.after["apply"] = [LOST]
    world.before["find"] = [Transient("connection refused")]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    await scaled(scene, target, 10)
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.UNKNOWN
    assert "cannot be told" in finished.error
    assert await scene.generation(target) == generation + 11
    assert world.calls.count("apply") == 1


async def test_what_cannot_be_found_out_is_unknown(scene: Healing, world: Unsteady, target: Target) -> None:
    await scene.kubectl.until(target, lambda _, pods: len(pods) == 1)
    pod = (await scene.world.observe(target)).pods[0]
    action = DeletePod(target=msgspec.structs.replace(target, kind=Kind.POD, name=pod.name), uid=pod.uid)
    row = await scene.approve(action, signers=["ann"])

    async def gone() -> None:
        await scene.kubectl.until(target, lambda _, pods: all(one["metadata"]["uid"] != pod.uid for one in pods))
        raise LOST

    world.after["apply"] = [gone]
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.UNKNOWN
    assert "cannot be told" in finished.error
    operation = await scene.operation(row)
    assert operation is not None
    assert operation.state is OperationState.UNKNOWN


async def test_a_lost_answer_and_a_cluster_that_stays_away_end_as_unknown(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world)
    world.after["apply"] = [LOST]
    world.before["find"] = [Transient("connection refused") for _ in range(3)]
    first = due(scene, await scene.handle(stage, scene.announce(row)))
    second = due(scene, await scene.handle(stage, first))
    finished = only(await scene.handle(stage, second), ExecutionFinished)
    assert finished.outcome is Outcome.UNKNOWN
    assert world.calls.count("apply") == 1


async def test_an_apply_without_an_answer_does_not_hold_the_executor_forever(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world, ExecuteOptions(apply_limit=0.5))
    world.after["apply"] = [asyncio.Event().wait]
    finished = only(await scene.handle(stage, scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert "found done" in finished.output


@pytest.mark.parametrize(("where", "found"), [("before", False), ("after", True)])
async def test_an_executor_cut_off_in_the_act_is_continued(
    scene: Healing, world: Unsteady, target: Target, where: str, found: bool
) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    event = scene.announce(row)
    reached = asyncio.Event()

    async def stuck() -> None:
        reached.set()
        await asyncio.Event().wait()

    getattr(world, where)["apply"] = [stuck]
    options = ExecuteOptions(lease=1)
    cut_off = asyncio.create_task(_handled(scene, executor(scene.database, world, options), event))
    await reached.wait()
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)
    assert await scene.generation(target) == generation + found

    other = executor(scene.database, world, options)
    with pytest.raises(Retry):
        await scene.handle(other, event, attempt=2)
    outputs = await _until_free(scene, other, event)
    finished = only(outputs, ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert ("found done" in finished.output) is found
    assert only(outputs, ExecutionStarted).attempt == 1
    assert await scene.generation(target) == generation + 1
    assert finished.before


async def test_two_executors_with_the_same_event_act_once(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    event = scene.announce(row)
    stages = [executor(scene.database, world) for _ in range(4)]
    results = await asyncio.gather(*(_handled(scene, stage, event) for stage in stages), return_exceptions=True)
    told = [result for result in results if not isinstance(result, BaseException)]
    assert all(isinstance(result, Retry) for result in results if isinstance(result, BaseException))
    assert told
    assert all(outputs == told[0] for outputs in told)
    assert world.calls.count("apply") == 1
    assert await scene.generation(target) == generation + 1
    assert await scene.handle(stages[0], event) == told[0]


async def test_an_executor_that_lost_its_lease_has_no_say(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    event = scene.announce(row)
    theirs: list[Sequence[Output]] = []

    async def overtaken() -> None:
        await scene.database.fetch("UPDATE leases SET expires_at = now() - interval '1 second' RETURNING target")
        theirs.append(await scene.handle(executor(scene.database, scene.world), event))

    generation = await scene.generation(target)
    world.before["apply"] = [overtaken]
    outputs = await scene.handle(executor(scene.database, world), event)
    assert outputs == theirs[0]
    assert await scene.generation(target) == generation + 1
    operation = await scene.operation(row)
    assert operation is not None
    assert operation.token == only(outputs, ExecutionStarted).token


async def test_an_approval_that_ran_out_during_a_retry_is_refused(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [Transient("connection refused")]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    scene.later(700)
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.REFUSED
    assert await scene.generation(target) == generation


async def _handled(scene: Healing, stage: ExecuteStage, event: Any) -> Sequence[Output]:
    return await scene.handle(stage, event)


async def _until_free(scene: Healing, stage: ExecuteStage, event: Any) -> Sequence[Output]:
    """Delivered again and again, as the bus does, until the lease of the one that was cut off has run out."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await scene.handle(stage, event, attempt=2)
            except Retry as retry:
                await asyncio.sleep(min(retry.after, 0.2))


async def _landed(scene: Healing, row: ApprovalRow) -> None:
    """The request of the first attempt, which had hung somewhere, reaches the cluster now."""
    operation = await scene.operation(row)
    assert operation is not None
    await scene.world.apply(row.action, operation=operation.id, token=operation.token, uid=row.target_uid)


async def test_a_late_request_that_lands_during_the_checks_is_not_told_as_refused(scene: Healing, world: Unsteady, target: Target) -> None:
    """It changes what the action was approved on, so the checks refuse: because of our own side effect."""
    row = await scene.approve(ScaleWorkload(target=target, replicas=2))
    stage = executor(scene.database, world)
    world.before["apply"] = [LOST]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))
    world.before["preflight"] = [lambda: _landed(scene, row)]

    finished = only(await scene.handle(stage, retry), ExecutionFinished)

    assert finished.outcome is Outcome.SUCCEEDED, finished.error
    assert "found done" in finished.output
    assert world.calls.count("apply") == 1


@pytest.mark.parametrize(
    ("found", "outcome"), [(LOST, Outcome.UNKNOWN), (None, Outcome.REFUSED)], ids=["cannot be looked for", "surely not there"]
)
async def test_after_a_doubt_nothing_was_changed_is_said_only_when_it_is_sure(
    scene: Healing, world: Unsteady, target: Target, found: Exception | None, outcome: Outcome
) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world, ExecuteOptions(retries=1))
    world.before["apply"] = [LOST, Refused("blocked by an admission webhook")]
    retry = due(scene, await scene.handle(stage, scene.announce(row)))

    async def nothing() -> None: ...

    world.before["find"] = [nothing, found or nothing]
    finished = only(await scene.handle(stage, retry), ExecutionFinished)

    assert finished.outcome is outcome
    assert "blocked by an admission webhook" in finished.error
    assert world.calls.count("find") == 3, "after the lost request, before the second attempt, and before its end is told"
