"""learn on a real Postgres: what really happened moves trust, closes the incident's books and is found again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from bus.handler import Reject
from schemas.action import Investigate
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ApprovalRequested, LessonLearned, TrustChanged
from schemas.identity import new_id
from schemas.learning import PlaybookChanged
from schemas.playbook_file import read_playbook, write_playbook
from schemas.preflight import BlastRadius
from schemas.words import UNKNOWN_GROUNDS, Debate, Ground, Mode, Outcome, Risk, Severity, Tier, Verdict
from sql import (
    approvals,
    declarations,
    diagnoses,
    incidents,
    knowledge,
    lessons,
    playbook_statistics,
    playbooks,
    recurrence,
    repairs,
    trust,
)
from sql.database import Database
from sql.knowledge_search import search
from sql.lessons import LessonRow, category_of
from sql.playbooks import PlaybookStatus
from sql.projections.rebuild import rebuild
from sql.proof import Proof
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.learn.stage import Learn
from tests.integration.scene import KEYS, RESTART, TARGET, Scene, only

PATTERN = "restart:prod/shop/api"


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def learn(database: Database) -> Learn:
    return Learn(database)


async def score(scene: Scene) -> int:
    async with scene.database.connection() as connection:
        return await trust.score(connection, PATTERN, at=scene.now, half_life=86400.0)


async def outcome(scene: Scene, incident: str) -> tuple[bool | None, int | None, str]:
    async with scene.database.connection() as connection:
        row = await incidents.get_incident(connection, incident)
    assert row is not None
    return row.succeeded, row.effectiveness, row.notes


async def test_a_verified_success_is_trusted_one_more(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    event = scene.verified(scene.finished(incident=incident))
    changed, drafted, lesson = await scene.handle(learn, event)
    assert isinstance(changed, TrustChanged)
    assert isinstance(drafted, PlaybookChanged)
    assert (changed.pattern, changed.before, changed.after) == (PATTERN, 0, 1)
    assert isinstance(lesson, LessonLearned)
    assert (lesson.lesson, lesson.verdict, lesson.pattern) == (event.operation, Verdict.SUCCESS, PATTERN)
    assert await outcome(scene, incident) == (True, 5, "success: all replicas are available")
    assert await scene.handle(learn, event) == [changed, drafted, lesson]
    assert await score(scene) == 1


async def test_a_forged_event_is_a_dead_letter_and_teaches_nothing(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    genuine = scene.verified(scene.finished(incident=incident), cleared=None)
    await scene.handle(learn, genuine)
    known = await outcome(scene, incident)
    decided: dict[str, Any] = {"approval": "a", "action": RESTART}
    forged: list[Event] = [
        scene.verified(scene.finished(incident=incident)),
        msgspec.structs.replace(genuine, id=new_id(scene.now)),
        msgspec.structs.replace(genuine, id=new_id(scene.now), cleared=True),
        msgspec.structs.replace(genuine, id=new_id(scene.now), verdict=Verdict.FAILED),
        scene.finished(outcome=Outcome.FAILED, incident=incident),
        ActionRejected(**scene.header(incident), **decided, person="eve"),
        ActionApproved(**scene.header(incident), **decided, action_hash="h", risk=Risk.LOW, automatic=False, signers=("eve",)),
    ]
    for event in forged:
        with pytest.raises(Reject, match="not genuine"):
            await scene.handle(learn, event, backed=False)
    async with scene.database.connection() as connection:
        (row,) = await trust.list_trust(connection)
        (book,) = await playbooks.list_playbooks(connection)
        (found,) = await search(connection, "")
    assert (row.score, row.approvals, row.rejections, row.failures, row.last_event) == (1, 0, 0, 0, genuine.id)
    assert (book.status, found.entry.verified_at, await outcome(scene, incident)) == (PlaybookStatus.DRAFT, genuine.at, known)


@pytest.mark.parametrize("automatic", [True, False])
async def test_an_execution_that_failed_begins_again_at_zero(scene: Scene, learn: Learn, automatic: bool) -> None:
    incident = await scene.incident()
    for _ in range(3):
        await scene.handle(learn, scene.verified(scene.finished(incident=incident)))
    scene.later(1)
    failed = scene.finished(outcome=Outcome.FAILED, incident=incident, error="forbidden", automatic=automatic)
    changed, lesson = await scene.handle(learn, failed)
    assert isinstance(changed, TrustChanged)
    assert (changed.before, changed.after) == (3, 0)
    assert isinstance(lesson, LessonLearned)
    assert lesson.verdict is Verdict.FAILED
    assert await outcome(scene, incident) == (False, 1, "failed: forbidden")


@pytest.mark.parametrize("rejected", [True, False])
async def test_a_failed_verification_and_a_rejection_begin_again_at_zero(scene: Scene, learn: Learn, rejected: bool) -> None:
    await scene.handle(learn, scene.verified(scene.finished()))
    scene.later(1)
    rejection = ActionRejected(**scene.header(), approval="a", action=RESTART, person="eve")
    changed = (await scene.handle(learn, rejection if rejected else scene.verified(scene.finished(), Verdict.FAILED)))[0]
    assert isinstance(changed, TrustChanged)
    assert (changed.before, changed.after, await score(scene)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"verdict": Verdict.SUCCESS, "cleared": None}, (True, 4)),
        ({"verdict": Verdict.SUCCESS, "regressions": ("latency",)}, (True, 4)),
        ({"verdict": Verdict.DEGRADED}, (False, 2)),
        ({"verdict": Verdict.DEGRADED, "ground": Ground.REGRESSED}, (False, 2)),
        *(({"verdict": Verdict.DEGRADED, "ground": ground}, (None, None)) for ground in sorted(UNKNOWN_GROUNDS)),
        ({"verdict": Verdict.FAILED}, (False, 1)),
        ({"verdict": Verdict.TIMEOUT}, (None, None)),
        ({"verdict": Verdict.DEGRADED, "measured": False}, (None, None)),
        ({"verdict": Verdict.SUCCESS, "outcome": Outcome.UNKNOWN}, (None, None)),
    ],
)
async def test_the_outcome_of_the_incident(scene: Scene, learn: Learn, fields: dict[str, Any], expected: tuple[Any, Any]) -> None:
    incident = await scene.incident()
    await scene.handle(learn, scene.verified(scene.finished(incident=incident), **fields))
    assert (await outcome(scene, incident))[:2] == expected


@pytest.mark.parametrize("result", [Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED, Outcome.SHADOWED, Outcome.UNKNOWN])
async def test_what_was_not_tried_moves_no_trust_but_leaves_an_entry(scene: Scene, learn: Learn, result: Outcome) -> None:
    await scene.handle(learn, scene.verified(scene.finished()))
    finished = scene.finished(outcome=result, error="changed since")
    assert await scene.handle(learn, finished) == []
    assert await score(scene) == 1
    async with scene.database.connection() as connection:
        entry = await lessons.get_lesson(connection, finished.operation)
    assert entry is not None
    assert entry.result == result


@pytest.mark.parametrize("verdict", [Verdict.DEGRADED, Verdict.TIMEOUT, Verdict.FAILED, Verdict.SUCCESS])
async def test_what_was_not_measured_counts_neither_as_success_nor_as_failure(scene: Scene, learn: Learn, verdict: Verdict) -> None:
    """Whatever the verdict is called: the trust that was earned stays, none is added, and no playbook learns from it."""
    for _ in range(2):
        await scene.handle(learn, scene.verified(scene.finished()))
    scene.later(1)
    incident = await scene.incident()
    finished = scene.finished(incident=incident, playbook="p1")
    blind = scene.verified(finished, verdict, measured=False, score=0.0, ground=Ground.UNMEASURED, playbook="p1")
    assert [type(output) for output in await scene.handle(learn, blind)] == [LessonLearned]
    assert await score(scene) == 2
    assert (await outcome(scene, incident))[:2] == (None, None)
    async with scene.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM playbook_ledger") == 0


async def test_a_relapse_begins_again_at_zero_and_its_notes_say_that_it_came_back(scene: Scene, learn: Learn) -> None:
    await scene.handle(learn, scene.verified(scene.finished()))
    scene.later(1)
    incident = await scene.incident()
    relapse = scene.verified(
        scene.finished(incident=incident), Verdict.FAILED, relapse=True, ground=Ground.RELAPSED, summary="its pods crash 120 s later"
    )
    changed = (await scene.handle(learn, relapse))[0]
    assert isinstance(changed, TrustChanged)
    assert (changed.before, changed.after) == (1, 0)
    assert await outcome(scene, incident) == (False, 1, "failed: it came back: its pods crash 120 s later")


async def test_looking_moves_nothing(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    looked = scene.finished(incident=incident, action=Investigate(target=TARGET))
    await scene.handle(learn, looked)
    (lesson,) = await scene.handle(learn, scene.verified(looked, Verdict.DEGRADED))
    assert isinstance(lesson, LessonLearned)
    async with scene.database.connection() as connection:
        assert await trust.list_trust(connection) == []
    assert await outcome(scene, incident) == (None, None, "")


async def test_signatures_are_counted_and_change_no_score(scene: Scene, learn: Learn) -> None:
    fields: dict[str, Any] = {"approval": "a", "action": RESTART, "action_hash": "h", "risk": "medium"}
    signed = ActionApproved(**scene.header(), **fields, automatic=False, signers=("ann", "bob"))
    assert await scene.handle(learn, signed) == []
    assert await scene.handle(learn, ActionApproved(**scene.header(), **fields, automatic=True)) == []
    async with scene.database.connection() as connection:
        row = await trust.get_trust(connection, PATTERN)
    assert row is not None
    assert (row.approvals, row.score, row.last_by, row.last_at) == (1, 0, "bob", signed.at)


async def entry_of_an_approved_action(scene: Scene, learn: Learn) -> LessonRow:
    """An action that the gate approved by itself, executed and verified, as its entry in the knowledge base."""
    incident = await scene.incident(severity=Severity.P3)
    gate = Gate(scene.database, GateOptions(mode=Mode.AUTO), KEYS)
    blast = BlastRadius(score=5, tier=Tier.AUTO, services=("checkout", "basket"))
    (approved,) = await scene.handle(gate, scene.proposal(incident, blast=blast))
    assert isinstance(approved, ActionApproved)
    async with scene.database.connection() as connection:
        row = await approvals.get_approval(connection, approved.approval)
    finished = scene.finished(row, seconds=2.5)
    judged = scene.verified(finished)
    await asyncio.gather(scene.handle(learn, judged), scene.handle(learn, finished))
    async with scene.database.connection() as connection:
        entry = await lessons.get_lesson(connection, finished.operation)
    assert entry is not None
    return entry


async def test_every_execution_leaves_an_entry_with_all_that_is_known(scene: Scene, learn: Learn) -> None:
    entry = await entry_of_an_approved_action(scene, learn)
    assert (entry.alert, entry.category, entry.pattern) == ("KubePodCrashLooping", "crash", PATTERN)
    assert (entry.services, entry.risk, entry.path, entry.result) == (("checkout", "basket"), "low", "automatic", "success")
    assert (entry.outcome, entry.seconds, entry.verdict, entry.score) == (Outcome.SUCCEEDED, 2.5, Verdict.SUCCESS, 1.0)
    assert {"restart", "deployment", "shop", "prod", "template", "crash"} <= set(entry.tags)


@pytest.mark.parametrize(
    ("alert", "category"),
    [
        ("KubePodCrashLooping", "crash"),
        ("HighErrorRate", "error"),
        ("SlowRequests", "latency"),
        ("CPUThrottling", "resource"),
        ("Odd", "other"),
    ],
)
def test_the_category_of_an_alert(alert: str, category: str) -> None:
    assert category_of(alert) == category


async def test_a_success_without_a_playbook_drafts_one_once(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    first = scene.verified(scene.finished(incident=incident), cleared=None)
    await scene.handle(learn, first)
    await scene.handle(learn, scene.verified(scene.finished(incident=incident), cleared=None))
    async with scene.database.transaction() as connection:
        (book,) = await playbooks.list_playbooks(connection)
        assert (book.status, book.version, book.alert, book.pattern) == (PlaybookStatus.DRAFT, 1, "KubePodCrashLooping", PATTERN)
        symptoms, (step,) = book.playbook.symptoms, book.playbook.steps
        assert symptoms.alerts == ('alertname="KubePodCrashLooping"',)
        assert symptoms.targets == (RESTART.target.key,)
        assert symptoms.severities == (Severity.P1, Severity.P2, Severity.P3)
        assert (type(step).__name__, step.when) == ("RestartWorkload", ("evidence.restart.may_help == true",))
        assert read_playbook(write_playbook(book.playbook)) == book.playbook
        assert await playbooks.set_status(connection, book.name, 1, PlaybookStatus.APPROVED, by="ann", at=scene.now)
        changed = await playbooks.get_playbook(connection, book.name)
    assert changed is not None
    assert (changed.status, changed.changed_by) == (PlaybookStatus.APPROVED, "ann")


async def test_a_wholly_effective_remedy_is_approved_and_then_trusted_by_its_outcomes(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    told = only(await scene.handle(learn, scene.verified(scene.finished(incident=incident))), PlaybookChanged)
    async with scene.database.connection() as connection:
        (book,) = await playbooks.list_playbooks(connection, statuses=[PlaybookStatus.APPROVED])
    assert (told.playbook, told.before, told.after) == (book.name, "", "approved")
    assert (book.trust, book.successes) == (0.5, 0)
    events: list[Event] = []
    for verdict in (Verdict.SUCCESS, Verdict.FAILED, Verdict.DEGRADED):
        events.append(scene.verified(scene.finished(incident=incident), verdict, playbook=book.name))
        scene.later(1)
    events.append(scene.finished(incident=incident, outcome=Outcome.FAILED, playbook=book.name, error="forbidden"))
    for event in (*events, events[0]):
        await scene.handle(learn, event)
    async with scene.database.connection() as connection:
        (after,) = await playbooks.list_playbooks(connection)
    assert (after.successes, after.failures) == (1, 2)
    assert after.trust == pytest.approx(0.6 * 0.8**4)
    await scene.archive(*events)
    assert (await rebuild(scene.database, "playbooks")).rows == 1
    async with scene.database.connection() as connection:
        assert await playbooks.list_playbooks(connection) == [after]


async def test_a_failure_to_which_a_critic_had_objected_weighs_more(scene: Scene, learn: Learn) -> None:
    """The objection goes with the proposal into the approval's inputs, and from there into the playbook's ledger."""
    incident = await scene.incident(severity=Severity.P3)
    gate = Gate(scene.database, GateOptions(mode=Mode.AUTO), KEYS)
    proposal = scene.proposal(incident, objection="the critic objects: too soon", debate=Debate.OBJECTED, playbook="p1")
    asked = only(await scene.handle(gate, proposal), ApprovalRequested)
    async with scene.database.connection() as connection:
        row = await approvals.get_approval(connection, asked.approval)
    finished = scene.finished(row, playbook="p1")
    await scene.back(finished)
    await scene.handle(learn, scene.verified(finished, Verdict.FAILED, playbook="p1"))
    async with scene.database.connection() as connection:
        (one,) = await playbook_statistics.outcomes(connection, "p1")
    assert (one.success, one.weight, one.about) == (False, 3, finished.operation)


async def test_the_timeline_tells_the_change_of_trust(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    await scene.handle(learn, scene.verified(scene.finished(incident=incident)))
    async with scene.database.connection() as connection:
        lines = [line.what for line in await incidents.timeline(connection, incident)]
    assert f"trust of {PATTERN} 0 → 1: verified as success" in lines


async def test_what_proves_an_event_is_asked_for_once_for_all_projections(scene: Scene, learn: Learn) -> None:
    finished = scene.finished(incident=await scene.incident())
    event = scene.verified(msgspec.structs.replace(finished, approval=finished.operation))
    asked: list[str] = []
    await scene.handle(learn, event)
    async with scene.database.transaction() as connection:
        proof = Proof(connection)
        with connection.query_logger(lambda query: asked.append(query.query)):
            for projection in (trust, lessons, knowledge, repairs, recurrence, diagnoses, declarations, playbook_statistics):
                await projection.take(proof, [event])
        assert await proof.borne_out([event]) == [event]
    for store in ("FROM told_events", "FROM operations", "inputs, blast FROM approvals"):
        assert sum(store in query for query in asked) == 1, store
