"""The stop switch on real stores: what every stage does while it is thrown, and what never runs because it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from adapters.errors import OutcomeUnknown, Transient
from bus.handler import Retry
from schemas.action import Investigate
from schemas.events import (
    ActionApproved,
    ActionProposed,
    ActionRejected,
    ApprovalRequested,
    ApprovalSigned,
    ExecutionFinished,
    ExecutionRetryDue,
    ExecutionStarted,
    VoteRefused,
)
from schemas.target import Target
from schemas.words import ApprovalState, Choice, Outcome
from sql import switch
from sql.errors import StoreUnavailable
from sql.switch import SwitchState
from stages.failure_watch.stage import FailureWatch
from stages.learn.stage import Learn
from stages.propose.stage import ProposeStage
from tests.integration.healing import Healing, Unsteady, executor, only, restart
from tests.integration.scene import crowded, deployment, gate, requested
from tests.integration.scene import row as row_of
from tests.integration.test_propose import opened

AWAY = Transient("connection refused")
LOST = OutcomeUnknown("the connection broke after the request was sent")


async def stop(scene: Healing) -> SwitchState:
    async with scene.database.transaction() as connection:
        return await switch.stop(connection, by="ann", reason="the database moves", at=scene.now)


async def resume(scene: Healing) -> SwitchState:
    async with scene.database.transaction() as connection:
        return await switch.resume(connection, by="bob", at=scene.now)


async def test_nothing_is_proposed_while_it_is_stopped_and_afterwards_it_is(scene: Healing, world: Unsteady, target: Target) -> None:
    event = await opened(scene, target)
    stage = ProposeStage(scene.database, world)
    await stop(scene)
    with pytest.raises(Retry, match=r"stopped by ann since .*: the database moves; again in 1 s"):
        await scene.handle(stage, event)
    assert world.calls == []
    await resume(scene)
    only(await scene.handle(stage, event), ActionProposed)


async def test_a_stop_during_the_look_keeps_the_proposal_from_being_made(scene: Healing, world: Unsteady, target: Target) -> None:
    event = await opened(scene, target)
    world.after["observe"] = [lambda: stop(scene)]
    with pytest.raises(Retry, match="stopped by ann"):
        await scene.handle(ProposeStage(scene.database, world), event)


async def test_the_gate_decides_nothing_while_it_is_stopped(scene: Healing) -> None:
    proposal = scene.proposal(await scene.incident())
    await stop(scene)
    with pytest.raises(Retry, match="stopped by ann"):
        await scene.handle(gate(scene), proposal)
    assert not await scene.database.fetch("SELECT * FROM approvals")
    assert not await scene.database.fetch("SELECT * FROM decisions")


async def test_what_was_proposed_before_a_stop_never_runs_alone_after_it(scene: Healing) -> None:
    proposal = scene.proposal(await scene.incident())
    await stop(scene)
    await resume(scene)
    asked = only(await scene.handle(gate(scene), proposal), ApprovalRequested)
    assert (asked.signatures, asked.rule) == (1, "stopped")
    only(await scene.handle(gate(scene), scene.proposal(await scene.incident(deployment("b")), restart(deployment("b")))), ActionApproved)


async def test_no_signature_counts_while_it_is_stopped_and_a_rejection_does(scene: Healing) -> None:
    waiting = await requested(scene)
    await stop(scene)
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, "ann")), VoteRefused)
    assert "stopped by ann" in refused.reason
    assert "mend resume" in refused.reason
    assert (await row_of(scene, waiting.id)).state is ApprovalState.WAITING
    await resume(scene)
    only(await scene.handle(gate(scene), scene.vote(waiting, "ann")), ApprovalSigned)
    await stop(scene)
    only(await scene.handle(gate(scene), scene.vote(waiting, "bob", Choice.REJECT)), ActionRejected)


@pytest.mark.parametrize("looks", [False, True])
async def test_what_was_approved_is_not_begun_and_nobody_is_alarmed(scene: Healing, world: Unsteady, target: Target, looks: bool) -> None:
    row = await scene.approve(Investigate(target=target) if looks else restart(target), signers=["ann"])
    generation = await scene.generation(target)
    await stop(scene)
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert "stopped by ann" in finished.error
    assert world.calls == []
    assert await scene.generation(target) == generation
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["withdrawn"]
    assert any("the database moves" in line for line in await scene.told(row.incident))
    assert await scene.handle(FailureWatch(scene.database), finished) == []
    assert await scene.handle(Learn(scene.database), finished) == []


async def test_a_resumption_brings_nothing_back_that_was_approved_before(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target), signers=["ann"])
    await stop(scene)
    await resume(scene)
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert (finished.outcome, world.calls) == (Outcome.WITHDRAWN, [])
    assert "after this was approved" in finished.error
    later = await scene.approve(restart(target), signers=["ann"], decided_at=scene.now + timedelta(seconds=1))
    assert only(await scene.handle(executor(scene.database, world), scene.announce(later)), ExecutionFinished).outcome is Outcome.SUCCEEDED


async def test_a_stop_in_the_last_moment_keeps_the_action_from_beginning(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    world.after["preflight"] = [lambda: stop(scene)]
    (finished,) = await scene.handle(executor(scene.database, world), scene.announce(row))
    assert isinstance(finished, ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert "apply" not in world.calls


async def test_no_further_try_is_made_after_a_stop(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world)
    world.before["apply"] = [AWAY]
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    await stop(scene)
    await resume(scene)
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert world.calls.count("apply") == 1


async def test_a_try_that_is_under_way_ends_truthfully(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    world.before["apply"] = [lambda: stop(scene)]
    outputs = await scene.handle(executor(scene.database, world), scene.announce(row))
    only(outputs, ExecutionStarted)
    assert only(outputs, ExecutionFinished).outcome is Outcome.SUCCEEDED


async def test_what_was_in_doubt_is_looked_for_after_a_stop_and_not_repeated(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world)
    world.after["apply"], world.before["find"] = [LOST], [AWAY]
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    await stop(scene)
    assert only(await scene.handle(stage, retry), ExecutionFinished).outcome is Outcome.SUCCEEDED
    assert world.calls.count("apply") == 1


async def test_a_stop_waits_for_the_decision_that_is_being_made_and_comes_before_the_next(scene: Healing, postgres_url: str) -> None:
    first, second = scene.proposal(await scene.incident()), scene.proposal(await scene.incident(deployment("b")), restart(deployment("b")))
    async with crowded(postgres_url) as crowd:
        deciding = asyncio.create_task(scene.handle(gate(scene), first))
        await crowd.wait_for(1)
        stopping = asyncio.create_task(stop(scene))
        await crowd.wait_for(2)
        late = asyncio.create_task(scene.handle(gate(scene), second))
        await crowd.wait_for(3)
        assert not stopping.done()
    only(await deciding, ActionApproved)
    assert (await stopping).stopped
    with pytest.raises(Retry, match="stopped by ann"):
        await late


async def test_a_switch_that_is_missing_or_cannot_be_read_stops_everything(scene: Healing) -> None:
    proposal = scene.proposal(await scene.incident())
    await scene.database.fetch("DELETE FROM stop_switch")
    with pytest.raises(Retry, match="the stop switch is missing"):
        await scene.handle(gate(scene), proposal)
    await resume(scene)
    only(await scene.handle(gate(scene), proposal), ActionApproved)
    await scene.database.close()
    with pytest.raises(StoreUnavailable):
        await scene.handle(gate(scene), scene.proposal(proposal.incident), backed=False)


async def test_who_stops_and_resumes_is_in_the_audit_log_and_what_is_under_way_is_said(
    scene: Healing, world: Unsteady, target: Target
) -> None:
    await requested(scene)
    await scene.approve(restart(deployment("cart")), uid="u", basis="b")
    row = await scene.approve(restart(target))
    world.before["apply"] = [AWAY]
    await scene.handle(executor(scene.database, world), scene.announce(row))
    await stop(scene)
    async with scene.database.connection() as connection:
        rest = await switch.in_flight(connection, at=scene.now)
    assert (rest.approved, rest.waiting, len(rest.operations)) == (1, 1, 1)
    assert "not begun any more: restart deployment shop/api" in rest.operations[0].said
    await resume(scene)
    rows = [audit for audit in await scene.audit() if audit["about"] == "everything"]
    said = [(audit["what"], audit["who"], audit["input"], audit["state"]) for audit in rows]
    assert said == [("stop", "ann", "the database moves", "success"), ("resume", "bob", "", "success")]
