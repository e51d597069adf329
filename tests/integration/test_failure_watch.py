"""failure_watch on a real Postgres: every failure gets its class and reaches people once, with a question they can act on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bus.handler import Reject
from schemas.action import Action, CordonNode, EvictPod, Investigate, RerunJob, RollBackWorkload, UncordonNode
from schemas.events import ApprovalRequested, DeadLettered, FailureClassified, PeopleAsked
from schemas.target import Kind
from schemas.words import DeadReason, FailureClass, Mode, Outcome, Risk, Severity, Verdict
from sql.approvals import get_approval
from sql.audit import audit_open, audit_rows
from sql.database import Database
from sql.evidence import store_snapshot
from sql.failures import list_failures, way_back_of
from sql.incidents import timeline
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.stage import FailureWatch
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from tests.integration.scene import KEYS, TARGET, Scene
from tests.unit.snapshots import pod, revision, snapshot


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def told(scene: Scene, watch: FailureWatch, event: Any) -> tuple[FailureClassified, PeopleAsked]:
    classified, asked = await scene.handle(watch, event)
    assert isinstance(classified, FailureClassified)
    assert isinstance(asked, PeopleAsked)
    assert classified.subject == asked.subject == event.id
    assert classified.confidence == 0.4
    return classified, asked


def dead(scene: Scene, **fields: Any) -> DeadLettered:
    plain: dict[str, Any] = {
        "source_topic": "executions",
        "group": "verify",
        "entry": "1-1",
        "reason": DeadReason.EXHAUSTED,
        "error": "KeyError: 'x'",
        "attempts": 5,
        "original": b"{}",
        "original_type": "ExecutionFinished",
    }
    return DeadLettered(**scene.header(), **(plain | fields))


async def test_a_failed_execution_is_classified_and_people_know_what_to_do(scene: Scene, watch: FailureWatch) -> None:
    incident = await scene.incident()
    event = scene.finished(outcome=Outcome.FAILED, incident=incident, error="User cannot patch: forbidden", attempts=3)
    classified, asked = await told(scene, watch, event)
    assert (classified.failure, classified.risk, classified.operation) == (FailureClass.PERMISSION, Risk.LOW, event.operation)
    assert "'restart deployment shop/api' failed after 3 attempts (permission_denied): User cannot patch: forbidden" in asked.reason
    assert "give the permission that the error names" in asked.question
    assert f"mend incidents show {incident}" in asked.question
    assert asked.severity is Severity.P2
    async with scene.database.connection() as connection:
        lines = [line.what for line in await timeline(connection, incident)]
    assert any(line.startswith("people were asked (permission_denied)") for line in lines)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.UNKNOWN, ("nobody can say whether", "before anybody does it again")),
        (Outcome.REFUSED, ("was refused and nothing was changed", "still wanted")),
        (Outcome.DRY_RUN_BLOCKED, ("dry run", "nothing was changed")),
    ],
)
async def test_people_are_asked_about_what_was_not_done_or_is_not_known(
    scene: Scene, watch: FailureWatch, outcome: Outcome, words: tuple[str, ...]
) -> None:
    _, asked = await told(scene, watch, scene.finished(outcome=outcome, error="the answer was lost"))
    for word in words:
        assert word in asked.reason + asked.question


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.DEGRADED, Verdict.TIMEOUT])
async def test_an_action_that_did_not_heal_is_put_to_people(scene: Scene, watch: FailureWatch, verdict: Verdict) -> None:
    event = scene.verified(scene.finished(), verdict, summary="container api was OOMKilled again", regressions=("restarts",))
    classified, asked = await told(scene, watch, event)
    assert classified.failure is FailureClass.RESOURCE
    assert "made worse: restarts" in asked.reason
    assert "needs a person" in asked.question


async def test_going_back_is_proposed_to_people_only_for_a_low_score(scene: Scene, watch: FailureWatch) -> None:
    incident = await scene.incident()
    inverse = RollBackWorkload(target=TARGET, to_revision=4)
    gate = Gate(scene.database, GateOptions(mode=Mode.ASSIST), KEYS)
    requested = (await scene.handle(gate, scene.proposal(incident, inverse=inverse)))[0]
    assert isinstance(requested, ApprovalRequested)
    async with scene.database.connection() as connection:
        row = await get_approval(connection, requested.approval)
    questions = []
    for score in (0.4, 0.5):
        _, asked = await told(scene, watch, scene.verified(scene.finished(row), Verdict.FAILED, score=score))
        questions.append(asked)
    low, enough = questions
    assert "Shall it go back? Proposed, for the self-healing score is 0.4 of 1: roll back deployment shop/api to revision 4" in low.question
    assert low.question.count("It is not run by itself.") == 1
    assert (low.proposed, enough.proposed) == (inverse, None)
    assert "go back" not in enough.question


@pytest.mark.parametrize(("limit", "back"), [(0.0, False), (0.4, False), (0.41, True), (1.0, True)])
async def test_the_score_under_which_a_way_back_is_put_to_people_is_a_setting(scene: Scene, limit: float, back: bool) -> None:
    watch = FailureWatch(scene.database, FailureWatchOptions(unhealed=limit))
    good = revision(3, "api:3", was_available=True)
    async with scene.database.transaction() as connection:
        seen = snapshot(pod("a", "crash"), revisions=(good, revision(4, "api:4", current=True)))
        await store_snapshot(connection, id="seen", incident="", phase="after", snapshot=seen)
    finished = scene.finished()
    _, asked = await told(scene, watch, scene.verified(finished, Verdict.FAILED, score=0.4, after="seen"))
    assert (asked.proposed is not None) is back
    async with scene.database.connection() as connection:
        assert await way_back_of(connection, finished.operation) == asked.proposed
        (kept,) = await list_failures(connection)
    assert kept.proposed == asked.proposed
    succeeded = await scene.handle(watch, scene.verified(scene.finished(), score=0.4))
    assert bool(succeeded) is back, "a success that healed little is told only under the limit"


async def test_without_an_inverse_the_last_good_revision_is_the_way_back(scene: Scene, watch: FailureWatch) -> None:
    incident = await scene.incident()
    good = revision(3, "api:3", was_available=True, availability="its rollout was completed")
    seen = snapshot(pod("a", "crash"), revisions=(good, revision(4, "api:4"), revision(5, "api:5", current=True)))
    async with scene.database.transaction() as connection:
        await store_snapshot(connection, id="seen", incident=incident, phase="after", snapshot=seen)
    finished = scene.finished(incident=incident)
    low = scene.verified(finished, Verdict.FAILED, score=0.2, after="seen", parts={"state": 0.0, "steadiness": 0.2}, relapse=True)
    _, asked = await told(scene, watch, low)
    assert asked.proposed == RollBackWorkload(target=TARGET, to_revision=3)
    assert (
        "score is 0.2 of 1 (state 0, steadiness 0.2): roll back deployment shop/api to revision 3, the last one that is known"
        in asked.question
    )
    assert "(its rollout was completed)" in asked.question
    assert f"`mend approvals undo {finished.approval}` puts it to the gate" in asked.question
    assert "helped at first, and it came back" in asked.reason
    other = scene.verified(scene.finished(incident=incident), Verdict.FAILED, score=0.2, after="lost")
    assert (await told(scene, watch, other))[1].proposed is None


@pytest.mark.parametrize(
    "action", [CordonNode(target=TARGET), EvictPod(target=TARGET, uid="uid-a"), RerunJob(target=TARGET)], ids=lambda action: action.verb
)
async def test_what_is_not_to_be_undone_has_no_way_back(scene: Scene, watch: FailureWatch, action: Action) -> None:
    """Neither the inverse that was kept, so that a person can undo a cordon, nor a roll back, which has nothing to do with it."""
    incident = await scene.incident()
    good = revision(3, "api:3", was_available=True)
    seen = snapshot(pod("a", "crash"), revisions=(good, revision(4, "api:4", current=True)))
    async with scene.database.transaction() as connection:
        await store_snapshot(connection, id="seen", incident=incident, phase="after", snapshot=seen)
    gate = Gate(scene.database, GateOptions(mode=Mode.ASSIST), KEYS)
    inverse = UncordonNode(target=msgspec.structs.replace(TARGET, kind=Kind.NODE, namespace="", name="n1"))
    requested = (await scene.handle(gate, scene.proposal(incident, inverse=inverse)))[0]
    assert isinstance(requested, ApprovalRequested)
    async with scene.database.connection() as connection:
        row = await get_approval(connection, requested.approval)
    low = scene.verified(scene.finished(row, action=action), Verdict.FAILED, score=0.1, after="seen")
    _, asked = await told(scene, watch, low)
    assert asked.proposed is None
    assert "go back" not in asked.question


async def test_what_was_not_measured_is_told_as_that_and_is_no_reason_to_go_back(scene: Scene, watch: FailureWatch) -> None:
    incident = await scene.incident()
    gate = Gate(scene.database, GateOptions(mode=Mode.ASSIST), KEYS)
    requested = (await scene.handle(gate, scene.proposal(incident, inverse=RollBackWorkload(target=TARGET, to_revision=4))))[0]
    assert isinstance(requested, ApprovalRequested)
    async with scene.database.connection() as connection:
        row = await get_approval(connection, requested.approval)
    blind = scene.verified(scene.finished(row), Verdict.DEGRADED, measured=False, score=0.0, summary="nothing could be measured")
    _, asked = await told(scene, watch, blind)
    assert "whether it healed anything is not known" in asked.reason
    assert asked.proposed is None


async def test_a_success_that_healed_little_is_put_to_people_as_well(scene: Scene, watch: FailureWatch) -> None:
    _, asked = await told(scene, watch, scene.verified(scene.finished(), score=0.3))
    assert "was done, and it is well again" in asked.reason


async def test_nobody_is_bothered_by_what_went_well_or_only_looked(scene: Scene, watch: FailureWatch) -> None:
    look = scene.finished(action=Investigate(target=TARGET))
    quiet = [
        scene.finished(),
        scene.finished(outcome=Outcome.SHADOWED),
        scene.verified(scene.finished()),
        scene.verified(look, Verdict.DEGRADED),
        scene.verified(scene.finished(outcome=Outcome.FAILED), Verdict.FAILED),
        dead(scene, group="failure_watch", source_topic="dead", original_type="DeadLettered"),
    ]
    assert [await scene.handle(watch, event) for event in quiet] == [[]] * len(quiet)


async def test_nobody_is_asked_twice_about_the_same_thing(scene: Scene, watch: FailureWatch) -> None:
    first = scene.finished(outcome=Outcome.FAILED)
    again = scene.finished(outcome=Outcome.FAILED, operation=first.operation)
    outputs = await asyncio.gather(scene.handle(watch, first), scene.handle(watch, again))
    assert sorted(len(found) for found in outputs) == [0, 2]
    await told(scene, watch, dead(scene))
    assert await scene.handle(watch, dead(scene)) == []
    await told(scene, watch, dead(scene, group="learn"))


async def test_a_storm_of_dead_letters_is_put_to_people_once_in_a_while(scene: Scene, database: Database) -> None:
    watch = FailureWatch(database, FailureWatchOptions(quiet=600.0))
    storm = [dead(scene, entry=f"2-{number}") for number in range(40)]
    outputs = await asyncio.gather(*(scene.handle(watch, event) for event in storm))
    kinds = [type(output) for found in outputs for output in found]
    assert kinds.count(FailureClassified) == 40
    assert kinds.count(PeopleAsked) == 1
    (first,) = (output for found in outputs for output in found if isinstance(output, PeopleAsked))
    assert "Others of this kind in the next 10 min are not told one by one: `mend dead ls` has them." in first.question
    await told(scene, watch, dead(scene, entry="2-99", reason=DeadReason.REJECTED))
    scene.now += timedelta(seconds=599)
    assert len(await scene.handle(watch, dead(scene, entry="3-1"))) == 1
    scene.now += timedelta(seconds=1)
    _, asked = await told(scene, watch, dead(scene, entry="3-2"))
    assert "40 more of this kind since people were last asked" in asked.question
    assert len(await list_failures_of(database)) == 43
    failed = [scene.finished(outcome=Outcome.FAILED) for _ in range(3)]
    assert [len(await scene.handle(watch, event)) for event in failed] == [2, 2, 2], "only dead letters are damped"


async def list_failures_of(database: Database) -> list[object]:
    async with database.connection() as connection:
        return list(await list_failures(connection, limit=1000))


@pytest.mark.parametrize("reason", list(DeadReason))
async def test_every_kind_of_dead_letter_says_what_to_do(scene: Scene, watch: FailureWatch, reason: DeadReason) -> None:
    event = dead(scene, reason=reason)
    classified, asked = await told(scene, watch, event)
    assert "verify could not handle ExecutionFinished from executions" in asked.reason
    assert f"mend dead show {event.id}" in asked.question
    assert classified.risk is Risk.MEDIUM


async def test_the_audit_row_gets_the_class(scene: Scene, watch: FailureWatch) -> None:
    event = scene.finished(outcome=Outcome.FAILED, error="connection refused")
    async with scene.database.transaction() as connection:
        await audit_open(connection, id=f"{event.operation}#1", at=scene.now, who="execute", what="restart", about="x")
    await told(scene, watch, event)
    async with scene.database.connection() as connection:
        (row,) = await audit_rows(connection)
        (kept,) = await list_failures(connection)
    assert row.failure == "network_error"
    assert (kept.about, kept.failure) == (f"execution/{event.operation}", FailureClass.NETWORK)


async def test_hostile_text_is_cleaned_and_bounded(scene: Scene, watch: FailureWatch) -> None:
    error = "\x1b[2J\x00 password=hunter2 " + "x" * 9000
    for event in (scene.finished(outcome=Outcome.FAILED, error=error), dead(scene, error=error, entry="9-9")):
        classified, asked = await told(scene, watch, event)
        for text in (classified.summary, asked.reason, asked.question):
            assert "\x1b" not in text
            assert "hunter2" not in text
            assert len(text) <= 2000


async def test_a_failure_that_no_stage_told_of_asks_nobody(scene: Scene, watch: FailureWatch) -> None:
    for forged in (scene.finished(outcome=Outcome.FAILED), scene.verified(scene.finished(), Verdict.FAILED)):
        with pytest.raises(Reject, match="the event is not genuine"):
            await scene.handle(watch, forged, backed=False)
    async with scene.database.connection() as connection:
        assert await list_failures(connection) == []
