"""What was approved is stopped by people: by a mode that is another one by now, or by a rejection, as long as it does not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters.errors import OutcomeUnknown, Transient
from ops.settings import Settings
from ops.wiring import Parts, make_stage
from schemas.action import Investigate, ScaleWorkload, pattern_of
from schemas.event import Output
from schemas.events import ActionHeld, ActionRejected, ExecutionFinished, ExecutionRetryDue, PeopleAsked, VoteRefused
from schemas.secret import Secret
from schemas.target import Target
from schemas.words import ApprovalState, Choice, Mode, Outcome
from sql import trust
from sql.approvals import ApprovalRow
from stages.execute.stage import ExecuteStage
from stages.failure_watch.stage import FailureWatch
from stages.gate.options import GateOptions
from stages.learn.stage import Learn
from tests.integration.healing import Healing, Unsteady, executor, only, restart
from tests.integration.scene import gate
from tests.integration.scene import row as row_of

LOST = OutcomeUnknown("the connection broke after the request was sent")
AWAY = Transient("connection refused")


async def run_with(scene: Healing, world: Unsteady, row: ApprovalRow, **mode: Any) -> ExecutionFinished:
    """How it ends in a process that was started again with these settings of the gate."""
    worlds: Any = world
    parts = Parts(settings=Settings(gate=GateOptions(**mode)), database=scene.database, votes_key=Secret("x" * 32), worlds=worlds)
    return only(await scene.handle(make_stage("execute", parts), scene.announce(row)), ExecutionFinished)


async def reject(scene: Healing, row: ApprovalRow, person: str = "ann") -> Sequence[Output]:
    return await scene.handle(gate(scene), scene.vote(row, person, Choice.REJECT, comment="stop"))


@pytest.mark.parametrize("mode", [{"mode": Mode.SHADOW}, {"mode": Mode.AUTO, "namespaces": {"prod/shop": Mode.SHADOW}}], ids=str)
@pytest.mark.parametrize("signers", [(), ("ann",)])
async def test_what_was_approved_does_not_run_once_the_mode_is_shadow(
    scene: Healing, world: Unsteady, target: Target, mode: dict[str, Any], signers: Sequence[str]
) -> None:
    row = await scene.approve(restart(target), signers=signers)
    generation = await scene.generation(target)
    finished = await run_with(scene, world, row, **mode)
    assert finished.outcome is Outcome.SHADOWED
    assert "shadow" in finished.output
    assert "restart deployment shop/api" in finished.output
    assert world.calls == []
    assert await scene.generation(target) == generation
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["shadowed"]
    assert any("restart deployment shop/api" in line and "shadow" in line for line in await scene.told(row.incident))


async def test_what_nobody_signed_does_not_run_once_the_mode_is_assist_and_people_are_asked(
    scene: Healing, world: Unsteady, target: Target
) -> None:
    finished = await run_with(scene, world, await scene.approve(restart(target)), mode=Mode.ASSIST)
    assert finished.outcome is Outcome.REFUSED
    assert "the mode is assist now" in finished.error
    assert world.calls == []
    asked = only(await scene.handle(FailureWatch(scene.database), finished), PeopleAsked)
    assert "nobody has signed this one" in asked.reason


async def test_what_a_person_signed_runs_in_assist_and_so_does_a_look(scene: Healing, world: Unsteady, target: Target) -> None:
    for row in (await scene.approve(restart(target), signers=["ann"]), await scene.approve(Investigate(target=target))):
        assert (await run_with(scene, world, row, mode=Mode.ASSIST)).outcome is Outcome.SUCCEEDED


async def test_another_mode_elsewhere_stops_nothing(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    finished = await run_with(scene, world, row, mode=Mode.SHADOW, namespaces={"shop": Mode.AUTO})
    assert finished.outcome is Outcome.SUCCEEDED


async def test_what_was_in_doubt_is_looked_for_before_it_is_said_that_shadow_stopped_it(
    scene: Healing, world: Unsteady, target: Target
) -> None:
    row = await scene.approve(restart(target))
    world.after["apply"], world.before["find"] = [LOST], [AWAY]
    retry = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionRetryDue)
    shadow = ExecuteStage(scene.database, world, mode_of=lambda _: Mode.SHADOW)
    finished = only(await scene.handle(shadow, retry), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert "found done" in finished.output


@pytest.mark.parametrize("signers", [(), ("ann",), ("bob",)])
async def test_what_waits_for_its_second_attempt_is_stopped_by_a_rejection(
    scene: Healing, world: Unsteady, target: Target, signers: Sequence[str]
) -> None:
    row = await scene.approve(restart(target), signers=signers)
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["preflight"] = [AWAY]
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)

    rejected = only(await reject(scene, row), ActionRejected)
    assert (rejected.approval, rejected.person, rejected.comment) == (row.id, "ann", "stop")
    assert (await row_of(scene, row.id)).state is ApprovalState.REJECTED

    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert "ann rejected it" in finished.error
    assert "apply" not in world.calls
    assert await scene.generation(target) == generation
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["retried", "withdrawn"]
    told = await scene.told(row.incident)
    assert any("ann rejected restart" in line for line in told)
    assert any(line.startswith("withdrawn: restart") for line in told)
    assert await scene.handle(FailureWatch(scene.database), finished) == []

    await scene.handle(Learn(scene.database), rejected)
    async with scene.database.connection() as connection:
        known = await trust.get_trust(connection, pattern_of(row.action))
    assert known is not None
    assert (known.score, known.rejections) == (0, 1)


async def test_what_no_executor_has_taken_up_yet_is_stopped_by_a_rejection(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target), signers=["bob"])
    only(await reject(scene, row), ActionRejected)
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert world.calls == []


async def test_a_rejection_in_the_last_moment_keeps_the_action_from_beginning(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    world.after["preflight"] = [lambda: reject(scene, row)]
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert "apply" not in world.calls


async def test_what_runs_right_now_or_has_ended_is_not_stopped_and_who_rejects_is_told(
    scene: Healing, world: Unsteady, target: Target
) -> None:
    row = await scene.approve(restart(target))
    said: list[str] = []

    async def in_between() -> None:
        said.append(only(await reject(scene, row), VoteRefused).reason)

    world.before["apply"] = [in_between]
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    await in_between()
    assert "being run right now" in said[0]
    assert "ended already (succeeded)" in said[1]
    kept = await row_of(scene, row.id)
    assert (kept.state, kept.signers) == (ApprovalState.APPROVED, ())
    assert not await scene.database.fetch("SELECT * FROM approval_signatures")


@pytest.mark.parametrize("happened", [True, False])
async def test_what_is_rejected_in_doubt_is_looked_for_and_never_tried_again(
    scene: Healing, world: Unsteady, target: Target, happened: bool
) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world)
    (world.after if happened else world.before)["apply"], world.before["find"] = [LOST], [AWAY]
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    only(await reject(scene, row), ActionRejected)
    held = only(await scene.handle(gate(scene), scene.proposal(row.incident, ScaleWorkload(target=target, replicas=2))), ActionHeld)
    assert held.rule == "one_at_a_time"

    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is (Outcome.SUCCEEDED if happened else Outcome.WITHDRAWN)
    assert world.calls.count("apply") == 1
