"""What lets an approved action run, and which failures are worth another try."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AdapterError, Failed, OutcomeUnknown, Refused, TargetMissing, Transient, UnknownCluster, WrongSettings
from schemas.action import RestartWorkload, ScaleWorkload, action_hash
from schemas.preflight import BlastRadius
from schemas.target import Kind, Target
from schemas.words import ApprovalState, Choice, Mode, Risk, Severity, Tier
from sql.approvals import ApprovalRow, SignatureRow
from stages.execute.authority import outgrown, refusal
from stages.execute.classify import is_transient
from tests.unit.snapshots import NOW, TARGET

RESTART = RestartWorkload(target=TARGET)


def approval(**fields: Any) -> ApprovalRow:
    plain: dict[str, Any] = {
        "id": "a",
        "proposal": "p",
        "incident": "i",
        "place": TARGET.key,
        "action": RESTART,
        "target": TARGET,
        "target_uid": "uid",
        "action_hash": action_hash(RESTART, "uid"),
        "severity": Severity.P1,
        "risk": Risk.CRITICAL,
        "needed": 2,
        "state": ApprovalState.APPROVED,
        "requested_at": NOW,
        "decided_at": NOW,
        "expires_at": NOW + timedelta(seconds=600),
        "automatic": False,
        "proposer": "mendstream",
        "rule": "risk",
        "mode": Mode.AUTO,
        "trust_score": 0,
        "inputs": {},
        "evidence": "",
    }
    return ApprovalRow(**(plain | fields))


def signed(*people: str, choice: Choice = Choice.SIGN) -> list[SignatureRow]:
    return [
        SignatureRow(approval="a", person=person, choice=choice, vote=f"v{number}", at=NOW, origin="cli", comment="", told_by="api")
        for number, person in enumerate(people)
    ]


def test_an_approved_row_with_its_signatures_may_run() -> None:
    assert refusal(approval(), signed("ann", "bob"), NOW) == ""
    assert refusal(approval(needed=0, automatic=True), [], NOW) == ""


@pytest.mark.parametrize("state", [state for state in ApprovalState if state is not ApprovalState.APPROVED])
def test_no_other_state_lets_it_run(state: ApprovalState) -> None:
    assert state.value in refusal(approval(state=state), signed("ann", "bob"), NOW)


def test_the_time_to_begin_ends() -> None:
    late = NOW + timedelta(seconds=601)
    assert "approved again" in refusal(approval(), signed("ann", "bob"), late)
    assert refusal(approval(), signed("ann", "bob"), NOW + timedelta(seconds=600)) == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"action": ScaleWorkload(target=TARGET, replicas=0)},
        {"action": RestartWorkload(target=msgspec.structs.replace(TARGET, name="other"))},
        {"target_uid": "another"},
        {"action_hash": "0" * 64},
    ],
)
def test_a_row_that_was_changed_after_it_was_approved_does_not_run(changed: dict[str, Any]) -> None:
    assert "hash" in refusal(approval(**changed), signed("ann", "bob"), NOW)


def test_a_change_without_a_uid_does_not_run() -> None:
    assert "UID" in refusal(approval(target_uid="", action_hash=action_hash(RESTART, "")), signed("ann", "bob"), NOW)


@pytest.mark.parametrize(
    "signatures",
    [
        [],
        signed("ann"),
        signed("ann", "Ann "),
        signed("ann", "mendstream"),
        [*signed("ann", "bob"), *signed("eve", choice=Choice.REJECT)],
    ],
)
def test_signatures_are_counted_again(signatures: list[SignatureRow]) -> None:
    assert refusal(approval(), signatures, NOW)


def test_the_present_mode_counts_and_not_the_one_of_the_decision() -> None:
    alone = approval(needed=0, automatic=True, mode=Mode.AUTO)
    assert "assist" in refusal(alone, [], NOW, Mode.ASSIST)
    assert "assist" in refusal(alone, signed("mendstream"), NOW, Mode.ASSIST)
    assert refusal(alone, signed("ann"), NOW, Mode.ASSIST) == ""
    assert refusal(approval(mode=Mode.ASSIST), signed("ann", "bob"), NOW, Mode.AUTO) == ""


@pytest.mark.parametrize(
    ("agreed", "tier", "may"),
    [
        (None, Tier.AUTO, True),
        (None, Tier.HUMAN, False),
        (Tier.AUTO, Tier.AUTO, True),
        (Tier.AUTO, Tier.HUMAN, False),
        (Tier.HUMAN, Tier.HUMAN, True),
        (Tier.HUMAN, Tier.AUTO, True),
        (Tier.HUMAN, Tier.DUAL, False),
        (Tier.DUAL, Tier.DUAL, True),
        (Tier.DUAL, Tier.BLOCKED, False),
        (Tier.BLOCKED, Tier.BLOCKED, False),
    ],
)
def test_a_worse_blast_radius_than_was_agreed_to_is_outgrown(agreed: Tier | None, tier: Tier, may: bool) -> None:
    blast = None if agreed is None else BlastRadius(score=1, tier=agreed)
    said = outgrown(approval(blast=blast), BlastRadius(score=1, tier=tier))
    assert (said == "") is may
    assert may or tier.value in said


@pytest.mark.parametrize(
    "text",
    [
        "connection refused",
        "reset by peer",
        "timeout",
        "timed out",
        "i/o error",
        "temporary failure",
        "unavailable",
        "too many requests",
        "EOF",
    ],
)
def test_transient_words_are_tried_again(text: str) -> None:
    assert is_transient(AdapterError(text), TARGET)
    assert is_transient(Transient(text), TARGET)


PERMANENT = ["not found", "forbidden", "access denied", "unauthorized", "already exists", "invalid", "immutable", "destructive", "blocked"]


@pytest.mark.parametrize("text", PERMANENT)
def test_permanent_words_win(text: str) -> None:
    assert not is_transient(Transient(f"timeout, then {text}"), TARGET)
    assert not is_transient(AdapterError(text), TARGET)


@pytest.mark.parametrize("kind", [Failed, Refused, TargetMissing, UnknownCluster, WrongSettings])
def test_some_errors_are_permanent_whatever_their_words(kind: type[AdapterError]) -> None:
    assert not is_transient(kind("connection refused"), TARGET)


def test_words_without_meaning_go_by_the_type() -> None:
    assert is_transient(Transient("the moon is full"), TARGET)
    assert not is_transient(AdapterError("the moon is full"), TARGET)
    assert not is_transient(OutcomeUnknown("the moon is full"), TARGET)


def test_the_targets_name_says_nothing() -> None:
    target = Target(cluster="prod", namespace="blocked", kind=Kind.DEPLOYMENT, name="not-found-page")
    assert is_transient(Transient("deployment blocked/not-found-page: timeout"), target)


@given(st.text(), st.sampled_from(PERMANENT), st.text())
def test_a_permanent_word_anywhere_is_never_tried_again(before: str, word: str, after: str) -> None:
    assert not is_transient(Transient(f"{before} {word} {after}"), Target(cluster="c", kind=Kind.HOST, name="zzzzzz"))
