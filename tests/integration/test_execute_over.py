"""execute when the incident is over before the action has begun: it is not run, nobody is alarmed, and nothing is learned from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.errors import OutcomeUnknown, Transient
from schemas.action import Action, Investigate, ScaleWorkload
from schemas.events import ActionApproved, ActionHeld, ExecutionFinished, ExecutionRetryDue, PeopleAsked
from schemas.target import Target
from schemas.words import Disposition, IncidentState, Outcome, Severity
from sql.incidents import IncidentRow, get_incident
from stages.failure_watch.stage import FailureWatch
from stages.learn.stage import Learn
from tests.integration.healing import Healing, Unsteady, executor, only, restart
from tests.integration.scene import gate

PERSON = {"situation": {"person": True}}


async def incident_of(scene: Healing, incident: str) -> IncidentRow:
    async with scene.database.connection() as connection:
        found = await get_incident(connection, incident)
    assert found is not None
    return found


async def test_a_retry_is_not_made_once_the_incident_is_over(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target), signers=["ann"])
    generation = await scene.generation(target)
    stage = executor(scene.database, world)
    world.before["apply"] = [Transient("connection refused")]
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    await scene.resolve(row.incident)

    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert "its incident is over" in finished.error
    assert world.calls.count("apply") == 1
    assert await scene.generation(target) == generation
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["retried", "withdrawn"]
    assert any("withdrawn: restart" in line for line in await scene.told(row.incident))

    assert await scene.handle(FailureWatch(scene.database), finished) == []
    assert await scene.handle(Learn(scene.database), finished) == []
    incident = await incident_of(scene, row.incident)
    assert (incident.state, incident.disposition) == (IncidentState.RESOLVED, Disposition.SELF_RESOLVED)
    assert (incident.succeeded, incident.effectiveness) == (None, None)


@pytest.mark.parametrize("kind", [restart, lambda target: Investigate(target=target)])
async def test_what_was_approved_while_no_executor_ran_is_not_run_after_the_incident(
    scene: Healing, world: Unsteady, target: Target, kind: Callable[[Target], Action]
) -> None:
    row = await scene.approve(kind(target))
    await scene.resolve(row.incident)
    (finished,) = await scene.handle(executor(scene.database, world), scene.announce(row))
    assert isinstance(finished, ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert world.calls == []


async def test_an_incident_that_ends_in_the_last_moment_keeps_the_action_from_beginning(
    scene: Healing, world: Unsteady, target: Target
) -> None:
    row = await scene.approve(restart(target))
    world.after["preflight"] = [lambda: scene.resolve(row.incident)]
    (finished,) = await scene.handle(executor(scene.database, world), scene.announce(row))
    assert isinstance(finished, ExecutionFinished)
    assert finished.outcome is Outcome.WITHDRAWN
    assert "apply" not in world.calls


@pytest.mark.parametrize("signers", [(), ("ann",)])
async def test_what_was_approved_at_a_lower_severity_is_not_begun(
    scene: Healing, world: Unsteady, target: Target, signers: tuple[str, ...]
) -> None:
    row = await scene.approve(restart(target), signers=signers, severity=Severity.P2)
    worse = "UPDATE incidents SET severity = 'P0' WHERE id = $1 RETURNING id"
    world.after["preflight"] = [lambda: scene.database.fetch(worse, row.incident)]
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.REFUSED
    assert "its incident is P0 now, and was P2" in finished.error
    assert "apply" not in world.calls
    assert (await incident_of(scene, row.incident)).state is IncidentState.INVESTIGATING
    asked = only(await scene.handle(FailureWatch(scene.database), finished), PeopleAsked)
    assert "propose or do it anew" in asked.question


async def test_what_was_in_doubt_is_looked_for_before_it_is_withdrawn(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    stage = executor(scene.database, world)
    lost = OutcomeUnknown("the connection broke after the request was sent")
    world.after["apply"], world.before["find"] = [lost], [Transient("connection refused")]
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    await scene.resolve(row.incident)
    finished = only(await scene.handle(stage, retry), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert "found done" in finished.output


async def test_what_a_person_takes_back_after_the_incident_is_done(scene: Healing, world: Unsteady, target: Target) -> None:
    incident = await scene.incident(target)
    await scene.resolve(incident)
    row = await scene.approve(ScaleWorkload(target=target, replicas=2), incident=incident, inputs=PERSON, signers=["ann"])
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert (await incident_of(scene, incident)).state is IncidentState.RESOLVED


async def test_what_is_not_begun_any_more_keeps_no_other_incident_waiting(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    world.before["apply"] = [Transient("connection refused")]
    await scene.handle(executor(scene.database, world), scene.announce(row))
    held = only(await scene.handle(gate(scene), scene.proposal(row.incident, restart(target))), ActionHeld)
    assert held.rule == "one_at_a_time"

    await scene.resolve(row.incident)
    again = await scene.incident(target)
    approved = only(await scene.handle(gate(scene), scene.proposal(again, restart(target))), ActionApproved)
    assert approved.approval != row.id


async def test_what_a_person_proposed_or_what_has_begun_keeps_the_target(scene: Healing, world: Unsteady, target: Target) -> None:
    row = await scene.approve(restart(target))
    world.before["apply"], world.before["find"] = [OutcomeUnknown("lost")], [Transient("connection refused")]
    await scene.handle(executor(scene.database, world), scene.announce(row))
    await scene.resolve(row.incident)
    again = await scene.incident(target)
    assert only(await scene.handle(gate(scene), scene.proposal(again, restart(target))), ActionHeld).rule == "one_at_a_time"

    other = await scene.deploy("db", "sim/web:ok")
    over = await scene.incident(other)
    await scene.resolve(over)
    await scene.approve(restart(other), incident=over, inputs=PERSON)
    again = await scene.incident(other)
    assert only(await scene.handle(gate(scene), scene.proposal(again, restart(other))), ActionHeld).rule == "one_at_a_time"
