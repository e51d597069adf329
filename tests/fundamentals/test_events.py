"""Every event has a golden file: its bytes as the first version wrote them must be readable, and be written, for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events as e
from schemas import learning as f
from schemas import words as w
from schemas.action import Action, RestartWorkload, ScaleWorkload
from schemas.codec import decode, encode, peek
from schemas.errors import InvalidIdentifier, UndecodableEvent, UnknownEventType
from schemas.event import Event
from schemas.identity import derived_id, is_identifier, new_id, time_of
from schemas.judgement import Judgement
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target

GOLDEN = Path(__file__).parent.parent / "golden"
AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
ID = "019b7c3d-e88e-7abc-8def-0123456789ab"
TARGET = Target(cluster="prod", kind=Kind.DEPLOYMENT, namespace="shop", name="api")
RESTART = RestartWorkload(target=TARGET)


def head(**more: str) -> dict[str, object]:
    return {"id": ID, "key": TARGET.key, "at": AT, "by": "stage/host", "incident": ID, "cause": ID, **more}


def decision(**more: object) -> dict[str, object]:
    return {**head(), "approval": ID, "action": RESTART, **more}


FINISHED = e.ExecutionFinished(
    **decision(operation=ID, outcome=w.Outcome.SUCCEEDED, automatic=True, attempts=1, started_at=AT, seconds=0.5),  # type: ignore[arg-type]
    severity=w.Severity.P2,
    before=ID,
    output="restarted",
)
SAMPLES: tuple[Event, ...] = (
    e.SignalReceived(
        **head(),  # type: ignore[arg-type]
        fingerprint="9c1b5d",
        status=w.SignalStatus.FIRING,
        starts_at=AT,
        labels={"alertname": "KubePodCrashLooping"},
        source="alertmanager",
    ),
    e.IncidentOpened(**head(), target=TARGET, severity=w.Severity.P1, title="t", alert="a", anomaly="a@k"),  # type: ignore[arg-type]
    e.IncidentUpdated(**head(), target=TARGET, severity=w.Severity.P1, alert="a", status=w.SignalStatus.FIRING, firing=2),  # type: ignore[arg-type]
    e.IncidentResolved(**head(), target=TARGET, disposition=w.Disposition.AUTO_REPAIRED, seconds=12.5),  # type: ignore[arg-type]
    e.IncidentClosed(**head(), target=TARGET),  # type: ignore[arg-type]
    e.ActionProposed(
        **head(),  # type: ignore[arg-type]
        action=RESTART,
        target_uid="uid",
        severity=w.Severity.P2,
        source=w.Source.TEMPLATE,
        provider="templates",
        proposer="propose/host",
        confidence=0.6,
        reasons=("because",),
        evidence=ID,
        risk=w.Risk.MEDIUM,
        checks=(Check(name="permission", result=w.CheckResult.FAILED, missing="patch deployments.apps in shop"),),
        blast=BlastRadius(score=20, tier=w.Tier.AUTO, pods=2, services=("api",)),
        inverse=ScaleWorkload(target=TARGET, replicas=2),
    ),
    e.ProposalOutdated(**head(), proposal=ID, action=RESTART, reason="its UID has changed"),  # type: ignore[arg-type]
    e.ApprovalRequested(
        **decision(proposal=ID, action_hash="h", risk=w.Risk.CRITICAL, signatures=2, rule="risk", mode=w.Mode.ASSIST, expires_at=AT)  # type: ignore[arg-type]
    ),
    e.ApprovalSigned(**head(), approval=ID, person="ana", missing=1),  # type: ignore[arg-type]
    e.VoteRefused(**head(), approval=ID, person="ana", reason="twice"),  # type: ignore[arg-type]
    e.ActionApproved(**decision(action_hash="h", risk=w.Risk.LOW, automatic=True)),  # type: ignore[arg-type]
    e.ActionRejected(**decision(person="ana", comment="no")),  # type: ignore[arg-type]
    e.ApprovalExpired(**decision()),  # type: ignore[arg-type]
    e.ApprovalWithdrawn(**decision(reason="resolved")),  # type: ignore[arg-type]
    e.ActionHeld(**head(), proposal=ID, action=RESTART, rule="shadow", reason="r", mode=w.Mode.SHADOW),  # type: ignore[arg-type]
    e.VoteCast(**head(), approval=ID, action_hash="h", person="ana", choice=w.Choice.SIGN, origin="cli", proof="p"),  # type: ignore[arg-type]
    f.FeedbackGiven(**head(), person="ana", rating=4, origin="cli", note="n", instead="i", operations=(ID,), proof="p"),  # type: ignore[arg-type]
    e.ExecutionStarted(**decision(operation=ID, attempt=1, token=7)),  # type: ignore[arg-type]
    FINISHED,
    e.VerificationFinished(
        **decision(operation=ID, outcome=w.Outcome.SUCCEEDED, verdict=w.Verdict.SUCCESS, measured=True, summary="healthy"),  # type: ignore[arg-type]
        judgements=(Judgement(about="deployment shop/api", health=w.Health.HEALTHY, reason="2 of 2 available"),),
        before=ID,
        after=ID,
        score=1.0,
        automatic=True,
        severity=w.Severity.P2,
        cleared=True,
    ),
    e.FailureClassified(**head(), subject=ID, failure=w.FailureClass.TIMEOUT, risk=w.Risk.LOW, confidence=0.4, summary="s"),  # type: ignore[arg-type]
    e.PeopleAsked(**head(), subject=ID, reason="r", question="q"),  # type: ignore[arg-type]
    e.RepairWanted(**head(), subject=ID, operation=ID, action=RESTART, failure=w.FailureClass.TIMEOUT, reason="r"),  # type: ignore[arg-type]
    e.RepairNotProposed(**head(), repair=ID, operation=ID, action=RESTART, reason="its dry run failed"),  # type: ignore[arg-type]
    e.GroupOutage(**head(), group="gate", source_topic="votes", partition=0, stopped=True, since=AT, waiting=7, oldest=301.5),  # type: ignore[arg-type]
    e.TrustChanged(**head(), pattern="restart:prod/shop/api", before=1, after=2, reason="verified"),  # type: ignore[arg-type]
    e.LessonLearned(**head(), lesson=ID, pattern="p", action=RESTART, verdict=w.Verdict.FAILED, summary="s"),  # type: ignore[arg-type]
    f.FeedbackKept(**head(), feedback=ID, person="ana", rating=4, counts=True, effects=("trust",)),  # type: ignore[arg-type]
    f.PlaybookChanged(**head(), playbook="restart", playbook_version=2, before="draft", after="approved", why="w"),  # type: ignore[arg-type]
    e.ApprovalDue(**head(), approval=ID),  # type: ignore[arg-type]
    e.ExecutionRetryDue(**head(), approval=ID, attempt=2),  # type: ignore[arg-type]
    e.VerificationDue(**head(), finished=FINISHED, look=1, until=AT),  # type: ignore[arg-type]
    e.IncidentCloseDue(**head()),  # type: ignore[arg-type]
    e.IncidentIdleDue(**head()),  # type: ignore[arg-type]
    e.DeadLettered(
        **head(),  # type: ignore[arg-type]
        source_topic="signals",
        group="ingest",
        entry="1-0",
        reason=w.DeadReason.UNDECODABLE,
        error="not an event",
        attempts=1,
        original=b"\xff\x00not json",
    ),
)


def test_every_event_has_a_sample() -> None:
    assert [type(sample).__name__ for sample in SAMPLES] == list(e.EVENT_TYPES)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_an_event_is_written_as_its_golden_file(sample: Event) -> None:
    golden = (GOLDEN / f"{type(sample).__name__}.v{type(sample).version}.json").read_bytes().strip()
    assert encode(sample) == golden
    assert decode(golden) == sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_fields_of_later_versions_are_accepted(sample: Event) -> None:
    body = msgspec.json.decode(encode(sample))
    assert decode(msgspec.json.encode({**body, "a_field_of_tomorrow": [1]})) == sample


def test_an_unknown_type_and_a_newer_version_are_told_apart_from_garbage() -> None:
    body = msgspec.json.decode(encode(SAMPLES[0]))
    with pytest.raises(UnknownEventType, match="version 2 is newer"):
        decode(msgspec.json.encode({**body, "v": 2}))
    with pytest.raises(UnknownEventType, match="'FromTheFuture'"):
        decode(msgspec.json.encode({**body, "type": "FromTheFuture"}))
    with pytest.raises(UndecodableEvent, match="fingerprint"):
        decode(msgspec.json.encode({key: value for key, value in body.items() if key != "fingerprint"}))
    with pytest.raises(UndecodableEvent, match=r"docs/producers\.md and `mend schemas export`"):
        decode(b"{}")
    for garbage in (b"", b"\xff\xfe", b"[]", b'{"type": 7}', b"{" * 2000):
        with pytest.raises(UndecodableEvent):
            decode(garbage)
        assert peek(garbage) == ("", "", "")


@given(st.binary(max_size=200))
def test_decoding_raises_nothing_else(data: bytes) -> None:
    with pytest.raises((UndecodableEvent, UnknownEventType)):
        decode(data)


text = st.text(st.characters(codec="utf-8"), max_size=30)
targets = st.builds(Target, cluster=text, kind=st.sampled_from(Kind), name=text, namespace=text)
actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(RestartWorkload, target=targets),
    st.builds(ScaleWorkload, target=targets, replicas=st.integers(0, 99)),
)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone


@given(action=actions, reasons=st.lists(text, max_size=3).map(tuple), at=moments, confidence=st.floats(0, 1))
def test_a_round_trip_changes_nothing(action: Action, reasons: tuple[str, ...], at: datetime, confidence: float) -> None:
    event = e.ActionProposed(
        id=new_id(at),
        key=action.target.key,
        at=at,
        by="propose/host",
        action=action,
        target_uid="u",
        severity=w.Severity.P2,
        source=w.Source.TEMPLATE,
        provider="p",
        proposer="p",
        confidence=confidence,
        reasons=reasons,
        evidence="",
    )
    assert decode(encode(event)) == event


@given(at=moments, stage=text, position=st.integers(0, 999))
def test_identifiers_keep_their_time_and_repeat_themselves(at: datetime, stage: str, position: int) -> None:
    fresh = new_id(at)
    child = derived_id(fresh, stage, position)
    assert child == derived_id(fresh, stage, position) != derived_id(fresh, stage, position + 1)
    assert is_identifier(fresh)
    assert is_identifier(child)
    assert time_of(child) == time_of(fresh)
    assert abs(time_of(fresh) - at) < timedelta(milliseconds=2)


def test_what_is_no_identifier_is_refused() -> None:
    with pytest.raises(InvalidIdentifier):
        time_of("not-an-id")
