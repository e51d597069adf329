"""Trust as a fold: what each event does to it, and that neither order nor repetition of the events matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import Investigate, RestartWorkload
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, VerificationFinished
from schemas.identity import derived_id, new_id
from schemas.target import Kind as TargetKind
from schemas.target import Target
from schemas.words import Ground, Outcome, Risk, Severity, Verdict
from sql.playbook_confidence import fold_confidence
from sql.playbook_signals import Kind, Signal, kind_of, weight_of
from sql.playbook_statistics import fold as fold_playbook
from sql.trust import LedgerRow, Move, TrustRow, entry_of, fold, step

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TARGET = Target(cluster="prod", namespace="shop", kind=TargetKind.DEPLOYMENT, name="api")
RESTART = RestartWorkload(target=TARGET)
PATTERN = "restart:prod/shop/api"


def header() -> dict[str, Any]:
    return {"id": new_id(NOW), "key": TARGET.key, "at": NOW, "by": "verify/one"}


def verified(verdict: Verdict, **changes: Any) -> VerificationFinished:
    fields: dict[str, Any] = {
        **header(),
        "operation": "o",
        "approval": "a",
        "action": RESTART,
        "outcome": Outcome.SUCCEEDED,
        "verdict": verdict,
        "measured": True,
        "summary": "",
        "judgements": (),
        "before": "",
        "after": "",
        "score": 1.0,
        "automatic": True,
        "severity": Severity.P2,
    }
    return VerificationFinished(**(fields | changes))


def finished(outcome: Outcome, **changes: Any) -> ExecutionFinished:
    fields: dict[str, Any] = {
        **header(),
        "operation": "o",
        "approval": "a",
        "action": RESTART,
        "outcome": outcome,
        "automatic": True,
        "attempts": 1,
        "started_at": NOW,
        "seconds": 1.0,
        "severity": Severity.P2,
    }
    return ExecutionFinished(**(fields | changes))


def approved(**changes: Any) -> ActionApproved:
    fields: dict[str, Any] = {"approval": "a", "action": RESTART, "action_hash": "h", "risk": Risk.MEDIUM, "automatic": False}
    return ActionApproved(**header(), **(fields | changes))


REJECTED = ActionRejected(**header(), approval="a", action=RESTART, person="eve")
LOOK = Investigate(target=TARGET)


@pytest.mark.parametrize(
    ("event", "move"),
    [
        (verified(Verdict.SUCCESS), Move.SUCCESS),
        (verified(Verdict.FAILED), Move.FAILURE),
        (verified(Verdict.FAILED, outcome=Outcome.UNKNOWN), Move.FAILURE),
        (verified(Verdict.SUCCESS, outcome=Outcome.UNKNOWN), None),
        (verified(Verdict.SUCCESS, outcome=Outcome.FAILED), None),
        (verified(Verdict.SUCCESS, measured=False), None),
        (verified(Verdict.FAILED, measured=False), None),
        (verified(Verdict.DEGRADED), None),
        (verified(Verdict.TIMEOUT), None),
        (verified(Verdict.SUCCESS, action=LOOK), None),
        (finished(Outcome.FAILED), Move.FAILURE),
        (finished(Outcome.FAILED, action=LOOK), None),
        (finished(Outcome.SUCCEEDED), None),
        (finished(Outcome.UNKNOWN), None),
        (finished(Outcome.REFUSED), None),
        (finished(Outcome.DRY_RUN_BLOCKED), None),
        (finished(Outcome.SHADOWED), None),
        (REJECTED, Move.REJECTION),
        (approved(signers=("ann",)), Move.APPROVAL),
        (approved(automatic=True), None),
    ],
)
def test_what_an_event_does_to_trust(event: Event, move: Move | None) -> None:
    entry = entry_of(event)
    assert (entry.kind if entry else None) is move
    if entry:
        assert (entry.pattern, entry.event) == (PATTERN, event.id)


def test_who_moved_it_is_the_person_where_there_is_one() -> None:
    told = [entry_of(event) for event in (REJECTED, approved(signers=("ann", "bob")), verified(Verdict.SUCCESS))]
    assert [entry.told_by for entry in told if entry] == ["eve", "bob", "verify/one"]


def entry(number: int, kind: Move, seconds: int) -> LedgerRow:
    event = derived_id(new_id(NOW), "test", number)
    return LedgerRow(event=event, pattern=PATTERN, at=NOW + timedelta(seconds=seconds), kind=kind, told_by=f"by {number}")


entries = st.lists(st.tuples(st.sampled_from(list(Move)), st.integers(0, 5)), max_size=12).map(
    lambda drawn: [entry(number, kind, seconds) for number, (kind, seconds) in enumerate(drawn)]
)


@given(entries.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations([*rows, *rows[: len(rows) // 2]]))))
def test_law_any_order_and_any_repetition_come_to_the_same_trust(case: tuple[list[LedgerRow], list[LedgerRow]]) -> None:
    assert fold(PATTERN, case[0]) == fold(PATTERN, case[1])


@given(entries)
def test_law_the_score_is_the_successes_since_the_last_setback(rows: list[LedgerRow]) -> None:
    ordered = sorted(rows, key=lambda row: (row.at, row.event))
    setbacks = [place for place, row in enumerate(ordered) if row.kind in (Move.FAILURE, Move.REJECTION, Move.BLAME)]
    since = ordered[setbacks[-1] + 1 :] if setbacks else ordered
    trust = fold(PATTERN, rows)
    assert trust.score == sum(row.kind in (Move.SUCCESS, Move.PRAISE) for row in since)
    counts = {kind: sum(row.kind is kind for row in rows) for kind in Move}
    assert (trust.successes, trust.failures) == (counts[Move.SUCCESS], counts[Move.FAILURE])
    assert (trust.approvals, trust.rejections) == (counts[Move.APPROVAL], counts[Move.REJECTION])
    assert trust.last_event == (ordered[-1].event if ordered else "")


@given(entries, st.sampled_from(list(Move)))
def test_law_one_more_step_is_the_fold_of_one_more_entry(rows: list[LedgerRow], kind: Move) -> None:
    newest = entry(99, kind, 10)
    assert step(fold(PATTERN, rows), newest) == fold(PATTERN, [*rows, newest])


def test_nothing_known_is_a_score_of_zero() -> None:
    assert fold(PATTERN, []) == TrustRow(pattern=PATTERN)


def signal(number: int, success: bool, *, kind: Kind = Kind.VERIFIED, objected: bool = False, about: str = "") -> Signal:
    named = {"event": derived_id(new_id(NOW), "test", number), "playbook": "p", "about": about or f"operation {number}"}
    return Signal(**named, at=NOW + timedelta(seconds=number), success=success, kind=kind, weight=weight_of(success, objected=objected))


def test_a_failure_weighs_twice_in_the_trust_of_a_playbook() -> None:
    up, down, warned = fold_playbook([signal(1, True)]), fold_playbook([signal(1, False)]), fold_playbook([signal(1, False, objected=True)])
    assert up.trust == pytest.approx(0.6)
    assert down.trust == pytest.approx(0.5 * 0.8**2)
    assert warned.trust == pytest.approx(0.5 * 0.8**3)
    assert (up.successes, up.failures, down.successes, down.failures, warned.failures) == (1, 0, 0, 1, 1)
    assert fold_playbook([]).trust == 0.5


def test_a_verification_goes_before_an_exit_code() -> None:
    ended, judged = signal(1, False, kind=Kind.EXECUTED, about="o"), signal(2, True, about="o")
    assert fold_playbook([judged, ended]).trust == fold_playbook([judged]).trust
    assert fold_playbook([ended]).failures == 1


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (verified(Verdict.SUCCESS, playbook="p"), (Kind.VERIFIED, True)),
        (verified(Verdict.FAILED, playbook="p"), (Kind.VERIFIED, False)),
        (verified(Verdict.DEGRADED, playbook="p", ground=Ground.HEALED_NOTHING), (Kind.MISDIAGNOSED, False)),
        (verified(Verdict.DEGRADED, playbook="p", ground=Ground.HEALED_NOTHING, outcome=Outcome.UNKNOWN), None),
        (verified(Verdict.DEGRADED, playbook="p"), None),
        (verified(Verdict.SUCCESS, playbook="p", measured=False), None),
        (verified(Verdict.SUCCESS), None),
        (finished(Outcome.FAILED, playbook="p"), (Kind.EXECUTED, False)),
        (finished(Outcome.REFUSED, playbook="p"), None),
        (finished(Outcome.FAILED), None),
        (REJECTED, None),
    ],
)
def test_what_an_event_says_of_its_playbook(event: Event, said: tuple[Kind, bool] | None) -> None:
    assert kind_of(event) == said


@given(st.lists(st.booleans(), max_size=60), st.randoms(use_true_random=False))
def test_law_the_trust_of_a_playbook_stays_between_0_and_1_in_any_order(outcomes: list[bool], chance: Random) -> None:
    signals = [signal(number, outcome) for number, outcome in enumerate(outcomes)]
    trust = fold_playbook(signals)
    assert 0 <= trust.trust <= 1
    assert fold_playbook(chance.sample(signals, len(signals))) == trust
    assert fold_playbook([*signals, signal(99, True)]).trust > trust.trust or trust.trust > 0.999


def test_ratings_move_confidence_within_its_bounds() -> None:
    assert [fold_confidence(0.5, ratings) for ratings in ([], [3], [4], [5, 4], [2], [1, 2])] == [0.5, 0.5, 0.6, 0.7, 0.35, 0.2]
    assert (fold_confidence(0.95, [5]), fold_confidence(0.1, [1])) == (1.0, 0.0)
    assert (fold_confidence(0.5, [5] * 6 + [1]), fold_confidence(0.5, [1] + [5] * 6)) == (0.85, 0.95)


@given(st.floats(0, 1), st.lists(st.integers(1, 5), max_size=40))
def test_law_confidence_stays_between_0_and_1(start: float, ratings: list[int]) -> None:
    assert 0 <= fold_confidence(start, ratings) <= 1
