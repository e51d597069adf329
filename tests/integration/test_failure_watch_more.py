"""What failure_watch watches besides single failures: valves, playbooks that fail, causes that repeat, held repairs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bus.handler import Reject
from schemas.action import DeletePod
from schemas.event import Output
from schemas.events import (
    ActionApproved,
    ActionHeld,
    ActionProposed,
    DeadLettered,
    FailureClassified,
    GroupOutage,
    PeopleAsked,
    RepairNotProposed,
    RepairWanted,
)
from schemas.identity import new_id
from schemas.learning import PlaybookChanged
from schemas.playbook import Playbook
from schemas.target import Kind
from schemas.words import DeadReason, Language, Mode, Outcome, Risk, Severity, Source, Verdict
from sql import approvals, playbooks
from sql.approvals import ApprovalRow
from sql.card_facts import card_facts, note_news
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.evidence import store_snapshot
from sql.failures import list_failures
from sql.incidents import timeline
from sql.outages import OutageRow, begin_outage, end_outage
from sql.playbooks import PlaybookStatus
from sql.repair_attempts import get_repair, propose_repair
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.stage import FailureWatch
from stages.failure_watch.valves import Limit, Valves
from stages.gate.options import GateOptions
from stages.notify.card import card_of
from stages.notify.text import lines_of
from stages.propose.stage import ProposeStage
from tests.integration.model_scene import Permitting
from tests.integration.scene import RESTART, TARGET, Scene, deployment, gate, only, row
from tests.unit.playbook_cases import playbook
from tests.unit.snapshots import pod, snapshot


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def approved(scene: Scene, *, name: str = "api", **fields: Any) -> ApprovalRow:
    """The row of an action that the gate let run by itself, in an incident of its own."""
    target = deployment(name)
    incident = await scene.incident(target)
    proposal = scene.proposal(incident, msgspec.structs.replace(RESTART, target=target), **fields)
    await scene.handle(gate(scene), proposal)
    async with scene.database.connection() as connection:
        found = await approvals.get_by_proposal(connection, proposal.id)
    assert found is not None
    return await row(scene, found)


async def failed(scene: Scene, watch: FailureWatch, name: str = "api", error: str = "connection refused") -> Sequence[Output]:
    return await scene.handle(watch, scene.finished(await approved(scene, name=name), Outcome.FAILED, error=error))


def asked(outputs: Sequence[Output]) -> list[PeopleAsked]:
    return [output for output in outputs if isinstance(output, PeopleAsked)]


async def test_the_valves_hold_for_those_who_ask_at_once_and_count_what_is_only_wanted(scene: Scene) -> None:
    """The approvals of the failed actions count as the gate counts them, and so does a repair that the gate has not decided."""
    watch = FailureWatch(scene.database, FailureWatchOptions(same_cause=100), valves=Valves(anywhere=Limit(actions=8, seconds=600)))
    events = [scene.finished(await approved(scene, name=f"web{one}"), Outcome.FAILED, error="connection refused") for one in range(6)]
    outputs = await asyncio.gather(*(scene.handle(watch, event) for event in events))
    risks = [only(found, FailureClassified).risk for found in outputs]
    wanted = [output for found in outputs for output in found if isinstance(output, RepairWanted)]
    assert (len(wanted), risks.count(Risk.CRITICAL), risks.count(Risk.LOW)) == (2, 4, 2)
    blocked = [question.question for found in outputs for question in asked(found)]
    assert all("automatic actions are blocked: 8 automatic actions anywhere in 600 s" in question for question in blocked)
    scene.later(601)
    assert only(await failed(scene, watch, "late"), RepairWanted)


async def test_while_the_store_cannot_answer_nothing_is_wanted(scene: Scene) -> None:
    event = scene.finished(await approved(scene), Outcome.FAILED, error="connection refused")
    await scene.back(event)
    away = Database("postgresql://127.0.0.1:1/nowhere")
    with pytest.raises(StoreUnavailable):
        await scene.handle(FailureWatch(away), event, backed=False)


async def test_one_cause_within_an_incident_is_repaired_once(scene: Scene, watch: FailureWatch) -> None:
    held = await approved(scene)
    assert only(await scene.handle(watch, scene.finished(held, Outcome.FAILED, error="connection refused")), RepairWanted)
    again = await scene.handle(watch, scene.finished(held, Outcome.FAILED, error="no route to host", operation=new_id(scene.now)))
    assert only(again, FailureClassified).risk is Risk.MEDIUM
    assert "one was tried for this cause in this incident before" in asked(again)[0].question


async def test_the_one_pod_that_a_restart_left_behind_is_deleted_through_the_gate(scene: Scene, watch: FailureWatch) -> None:
    held, seen = await approved(scene), snapshot(pod("api-1-a"), pod("api-1-b", "crash"), pod("api-1-c"))
    async with scene.database.transaction() as connection:
        await store_snapshot(connection, id="after", incident=held.incident, phase="after", snapshot=seen)
    verified = scene.verified(scene.finished(held), Verdict.FAILED, after="after", summary="1 of its 3 pods: api-1-b crashes")
    wanted = only(await scene.handle(watch, verified), RepairWanted)
    target = msgspec.structs.replace(TARGET, kind=Kind.POD, name="api-1-b")
    assert wanted.action == DeletePod(target=target, uid="uid-api-1-b")
    for world, proposes in ((Permitting(snapshot(pod("api-1-a"), pod("api-1-b"))), False), (Permitting(seen), True)):
        propose = ProposeStage(scene.database, world)
        if proposes:
            await scene.database.fetch("DELETE FROM outbox WHERE stage = 'propose' AND input = $1", wanted.id)
        outputs = await scene.handle(propose, wanted, backed=False)
        assert any(isinstance(output, ActionProposed) for output in outputs) is proposes
    proposed = only(outputs, ActionProposed)
    assert (proposed.source, proposed.repairs, proposed.action) == (Source.REPAIR, wanted.operation, wanted.action)
    approval = await row(scene, only(await scene.handle(gate(scene), proposed, backed=False), ActionApproved).approval)
    assert (approval.inputs["source"], approval.inputs["repairs"]) == ("repair", wanted.operation)


async def test_a_wish_that_was_answered_needs_no_proof_any_more(scene: Scene, watch: FailureWatch) -> None:
    """Long afterwards nobody remembers who told it; told again, it is answered with nothing, and nothing is kept of it."""
    wanted = only(await failed(scene, watch), RepairWanted)
    propose = ProposeStage(scene.database, Permitting(snapshot(pod("api-1-a"))))
    async with scene.database.transaction() as connection:
        assert await propose_repair(connection, wanted.id, proposal="p")
    await scene.database.fetch("DELETE FROM outbox")
    assert await scene.handle(propose, wanted, backed=False) == []
    assert await scene.database.fetch("SELECT FROM outbox") == []
    other = msgspec.structs.replace(wanted, operation="another")
    with pytest.raises(Reject, match="not genuine"):
        await scene.handle(propose, other, backed=False)


async def test_settings_and_people_keep_repairs_away(scene: Scene) -> None:
    none = FailureWatch(scene.database, FailureWatchOptions(repairs=False))
    assert "the settings want none" in asked(await failed(scene, none))[0].question
    watch = FailureWatch(scene.database)
    over = await approved(scene, name="b")
    await scene.resolve(over.incident)
    late = await scene.handle(watch, scene.finished(over, Outcome.FAILED, error="connection refused"))
    assert "its incident is not open" in asked(late)[0].question


async def test_a_repair_that_the_gate_holds_is_put_to_people_by_failure_watch_alone(scene: Scene, watch: FailureWatch) -> None:
    wanted = only(await failed(scene, watch), RepairWanted)
    proposal = scene.proposal(wanted.incident, source=Source.REPAIR, repairs=wanted.operation, checks=())
    shadow = gate(scene, GateOptions(mode=Mode.SHADOW))
    (held,) = await scene.handle(shadow, proposal)
    assert isinstance(held, ActionHeld)
    async with scene.database.transaction() as connection:
        assert await propose_repair(connection, wanted.id, proposal=proposal.id)
    outputs = await scene.handle(watch, held)
    (question,) = asked(outputs)
    assert "held (shadow)" in question.reason
    assert "Tried so far:" in question.question
    assert list(await scene.handle(watch, held)) == list(outputs)
    async with scene.database.connection() as connection:
        repair = await get_repair(connection, wanted.id)
    assert repair is not None
    assert "held (shadow)" in repair.result


async def test_what_a_repair_became_is_believed_from_no_stranger(scene: Scene, watch: FailureWatch) -> None:
    wanted = only(await failed(scene, watch), RepairWanted)
    told = RepairNotProposed(
        **scene.header(wanted.incident), repair=wanted.id, operation=wanted.operation, action=wanted.action, reason="because I say so"
    )
    held = ActionHeld(**scene.header(), proposal="p", action=RESTART, rule="r", reason="x", mode=Mode.AUTO)
    async with scene.database.transaction() as connection:
        await propose_repair(connection, wanted.id, proposal="p")
    outage = GroupOutage(
        **scene.header(), group="gate", source_topic="votes", partition=0, stopped=True, since=scene.now, waiting=1, oldest=1.0
    )
    for forged in (told, held, outage):
        with pytest.raises(Reject, match=r"not genuine|never"):
            await scene.handle(watch, forged, backed=False)


async def test_a_cause_that_repeats_becomes_one_escalation(scene: Scene) -> None:
    watch = FailureWatch(scene.database, FailureWatchOptions(repairs=False))
    outputs = [await failed(scene, watch, f"web{number}", f"pod web{number}-5d9c8f7b6d-x2x9p: connection refused") for number in range(9)]
    counts = [len(asked(found)) for found in outputs]
    assert counts == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert all(any(isinstance(output, FailureClassified) for output in found) for found in outputs)
    (many,) = asked(outputs[3])
    assert "4 incidents in 60 min fail of one cause" in many.reason
    assert all(only(found, FailureClassified).incident in many.question for found in outputs[:4])
    notes = []
    async with scene.database.connection() as connection:
        for found in outputs:
            notes += [line.what for line in await timeline(connection, only(found, FailureClassified).incident) if "(network" in line.what]
    said = [note.partition(" (network")[0] for note in notes]
    asked_each, quiet = ["people were asked"] * 3, "people were not asked again, for they know that incidents fail of this cause"
    assert said == [*asked_each, "people were asked, about all incidents of this cause at once", *[quiet] * 5]
    assert len(asked(await failed(scene, watch, "other", "permission denied"))) == 1, "another cause"
    scene.later(FailureWatchOptions().same_cause_window + 1)
    assert "fail of one cause" not in asked(await failed(scene, watch, "late"))[0].reason, "the count begins anew"


async def test_what_may_have_happened_is_put_to_people_by_itself_however_often(scene: Scene, watch: FailureWatch) -> None:
    for number in range(9):
        held = await approved(scene, name=f"web{number}")
        outputs = await scene.handle(watch, scene.finished(held, Outcome.UNKNOWN, error="the answer was lost"))
        (question,) = asked(outputs)
        assert "fail of one cause" not in question.reason
        assert f"web{number}" in question.question


async def test_what_was_tried_is_bounded_and_on_the_card(scene: Scene, watch: FailureWatch) -> None:
    incident = await scene.incident()
    for number in range(12):
        scene.later(60)
        await scene.back(scene.finished(incident=incident, outcome=Outcome.FAILED, error="x" * 500, seconds=float(number)))
    last = scene.finished(incident=incident, outcome=Outcome.FAILED, error="denied " * 1000)
    (question,) = asked(await scene.handle(watch, last))
    head, _, tried = question.question.partition("\nTried so far:\n")
    lines = tried.splitlines()
    assert head
    assert lines[0] == "… 5 earlier"
    assert len(lines) == 9
    assert len(question.question) <= 2000
    told = lines_of(question)
    assert told[2] == "Tried so far:"
    assert told[3:12] == lines
    async with scene.database.transaction() as connection:
        await note_news(connection, question)
        facts = await card_facts(connection, incident)
    assert facts is not None
    labels = [line.label for line in card_of(facts, Language.ENGLISH).lines]
    assert labels.count("Tried") == 6
    assert not [line for line in card_of(facts, Language.CHINESE).lines if "Tried so far" in line.text]


async def known(scene: Scene, book: Playbook, status: PlaybookStatus) -> playbooks.PlaybookRow:
    """The newest version of a playbook, with this status."""
    async with scene.database.transaction() as connection:
        await playbooks.add_version(connection, book, at=scene.now, by="ana")
        await playbooks.set_status(connection, book.name, 1, status, by="ana", at=scene.now)
        found = await playbooks.get_playbook(connection, book.name)
    assert found is not None
    return found


async def judged(scene: Scene, watch: FailureWatch, book: Playbook, verdict: Verdict | None, error: str = "") -> Sequence[Output]:
    """What is told of one more action of the playbook, as it was verified; without a verdict its execution failed with the error."""
    scene.later(400)
    held = await approved(scene, source=Source.PLAYBOOK, playbook=book.name, playbook_version=1)
    await scene.resolve(held.incident)
    finished = scene.finished(held, Outcome.SUCCEEDED if verdict else Outcome.FAILED, playbook=book.name, error=error)
    async with scene.database.transaction() as connection:
        await approvals.finish_approval(connection, held.id, at=scene.now)
    await scene.back(finished)
    await scene.database.fetch("UPDATE operations SET finished_at = $2 WHERE id = $1", finished.operation, scene.now)
    if verdict is None:
        return await scene.handle(watch, finished)
    event = scene.verified(finished, verdict, playbook=book.name, approval=held.id)
    await scene.back(event)
    await scene.database.fetch("UPDATE verifications SET ended_at = $2 WHERE operation = $1", event.operation, scene.now)
    return await scene.handle(watch, event)


async def test_a_playbook_that_fails_in_a_row_loses_its_approval(scene: Scene) -> None:
    watch, book = FailureWatch(scene.database, FailureWatchOptions(same_cause=100)), playbook()
    await known(scene, book, PlaybookStatus.APPROVED)
    for verdict in (Verdict.FAILED, Verdict.FAILED, Verdict.SUCCESS, Verdict.FAILED, Verdict.DEGRADED, Verdict.FAILED):
        assert not [one for one in await judged(scene, watch, book, verdict) if isinstance(one, PlaybookChanged)]
    outputs = await judged(scene, watch, book, Verdict.FAILED)
    changed = only(outputs, PlaybookChanged)
    assert (changed.playbook, changed.playbook_version, changed.before, changed.after) == (book.name, 1, "approved", "deprecated")
    assert "3 of its actions in a row failed since it was approved" in changed.why
    assert any(f"playbook {book.name} version 1 is deprecated" in question.reason for question in asked(outputs))
    scene.later(1)
    assert (await known(scene, book, PlaybookStatus.APPROVED)).status is PlaybookStatus.APPROVED
    for _ in range(2):
        assert not [one for one in await judged(scene, watch, book, Verdict.FAILED) if isinstance(one, PlaybookChanged)]
    assert only(await judged(scene, watch, book, Verdict.FAILED), PlaybookChanged)


async def test_an_execution_of_a_playbook_that_failed_counts_unless_its_target_could_not_be_reached(scene: Scene) -> None:
    watch, book = FailureWatch(scene.database, FailureWatchOptions(same_cause=100)), playbook()
    await known(scene, book, PlaybookStatus.APPROVED)
    for verdict, error in ((Verdict.FAILED, ""), (None, "connection refused"), (Verdict.TIMEOUT, ""), (None, "forbidden")):
        assert not [one for one in await judged(scene, watch, book, verdict, error) if isinstance(one, PlaybookChanged)]
    assert only(await judged(scene, watch, book, None, "forbidden"), PlaybookChanged).after == "deprecated"


async def test_an_outage_of_a_group_is_told_once_and_its_end_too(scene: Scene, watch: FailureWatch) -> None:
    place: dict[str, Any] = {"group": "gate", "topic": "votes", "partition": 0}
    began = OutageRow(id=new_id(scene.now), **place, since=scene.now - timedelta(minutes=5), waiting=7, oldest=301.0)
    plain: dict[str, Any] = {"group": "gate", "source_topic": "votes", "partition": 0, "since": began.since, "waiting": 7, "oldest": 301.0}
    async with scene.database.transaction() as connection:
        assert await begin_outage(connection, began)
        assert not await begin_outage(connection, msgspec.structs.replace(began, id="another"))
    stopped = GroupOutage(**scene.header(id=began.id, cause=""), stopped=True, **plain)
    (question,) = asked(await scene.handle(watch, stopped))
    assert "gate has settled nothing of votes, partition 0" in question.reason
    assert question.severity is Severity.P1
    over = GroupOutage(**scene.header(cause=began.id), stopped=False, **plain)
    assert await scene.handle(watch, over) == [], "it is not over by what an event says"
    async with scene.database.transaction() as connection:
        assert await end_outage(connection, **place, at=scene.now)
    (question,) = asked(await scene.handle(watch, GroupOutage(**scene.header(cause=began.id), stopped=False, **plain)))
    assert "works on votes, partition 0, again, after 5 min" in question.reason


async def test_its_own_dead_letters_are_told_and_end_there(scene: Scene, watch: FailureWatch) -> None:
    plain: dict[str, Any] = {"entry": "1-1", "reason": DeadReason.EXHAUSTED, "error": "KeyError: 'x'", "attempts": 5, "original": b"{}"}
    own = DeadLettered(**scene.header(), source_topic="executions", group="failure_watch", original_type="ExecutionFinished", **plain)
    (question,) = asked(await scene.handle(watch, own))
    assert "failure_watch could not handle ExecutionFinished" in question.reason
    of_itself = DeadLettered(**scene.header(), source_topic="dead", group="failure_watch", original_type="DeadLettered", **plain)
    assert await scene.handle(watch, of_itself) == []
    async with scene.database.connection() as connection:
        assert len(await list_failures(connection)) == 1
