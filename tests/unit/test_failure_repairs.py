"""Which failure has which repair, and what failures have in common: pure functions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import (
    Action,
    DeletePod,
    EvictPod,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    TruncateContainerLog,
    is_observation,
)
from schemas.events import ExecutionFinished, RepairWanted, VerificationFinished
from schemas.evidence import Snapshot
from schemas.target import Kind
from schemas.words import FailureClass, Ground, Outcome, Severity, Verdict
from stages.failure_watch.causes import cause_of, without_names
from stages.failure_watch.repairs import pod_left_behind, repair_of_execution, repair_of_verification
from stages.propose.case import Case
from stages.propose.repair import repair_suggestion
from tests.unit.snapshots import HOST, NOW, TARGET, host, pod, snapshot, unit

RESTART = RestartWorkload(target=TARGET)
UNIT = RestartUnit(target=HOST, unit="nginx")
CONTAINER = RestartContainer(target=HOST, container="web")
HEAD: dict[str, Any] = {"id": "e", "key": TARGET.key, "at": NOW, "by": "test", "incident": "i", "operation": "o", "approval": "a"}
HEAD_WANTED = {name: HEAD[name] for name in ("id", "key", "at", "by", "incident", "operation")} | {
    "subject": "e",
    "failure": FailureClass.NETWORK,
    "reason": "connection refused",
}
PASSING = (FailureClass.TIMEOUT, FailureClass.NETWORK, FailureClass.KUBERNETES)


def finished(action: Action, outcome: Outcome = Outcome.FAILED) -> ExecutionFinished:
    plain: dict[str, Any] = {"automatic": True, "attempts": 3, "started_at": NOW, "seconds": 1.0, "severity": Severity.P2}
    return ExecutionFinished(**HEAD, **plain, action=action, outcome=outcome)


def verified(action: Action = RESTART, verdict: Verdict = Verdict.FAILED, **fields: Any) -> VerificationFinished:
    plain: dict[str, Any] = {"outcome": Outcome.SUCCEEDED, "measured": True, "summary": "s", "judgements": (), "before": "", "after": ""}
    plain |= {"score": 0.2, "automatic": True, "severity": Severity.P2}
    return VerificationFinished(**HEAD, action=action, verdict=verdict, **(plain | fields))


@pytest.mark.parametrize("failure", list(FailureClass))
@pytest.mark.parametrize("action", [RESTART, UNIT, CONTAINER], ids=lambda action: action.verb)
def test_a_restart_that_failed_in_passing_is_done_again(action: Action, failure: FailureClass) -> None:
    wanted: Action | None = action if failure in PASSING else None
    if failure is FailureClass.RESOURCE and action is CONTAINER:
        wanted = TruncateContainerLog(target=HOST, container="web")
    assert repair_of_execution(finished(action), failure) == wanted


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.FAILED])
def test_only_what_is_known_to_have_failed_is_done_again(outcome: Outcome) -> None:
    assert repair_of_execution(finished(RESTART, outcome), FailureClass.NETWORK) is None


@pytest.mark.parametrize(
    "action",
    [ScaleWorkload(target=TARGET, replicas=3), RollBackWorkload(target=TARGET, to_revision=1), EvictPod(target=TARGET, uid="u")],
    ids=lambda action: action.verb,
)
def test_other_actions_have_no_repair(action: Action) -> None:
    seen = snapshot(pod("a"), pod("b", "crash"))
    assert repair_of_execution(finished(action), FailureClass.NETWORK) is None
    assert repair_of_verification(verified(action), seen) is None


def test_the_one_pod_that_stayed_behind_is_deleted_by_its_uid() -> None:
    wanted = DeletePod(target=msgspec.structs.replace(TARGET, kind=Kind.POD, name="b"), uid="uid-b")
    assert repair_of_verification(verified(), snapshot(pod("a"), pod("b", "crash"), pod("c"))) == wanted


@pytest.mark.parametrize(
    "seen",
    [
        snapshot(pod("a", "crash")),
        snapshot(pod("a", "crash"), pod("b", "crash"), pod("c")),
        snapshot(pod("a"), pod("b", "pull")),
        snapshot(pod("a"), pod("b", "config")),
        snapshot(pod("a"), pod("b")),
        snapshot(pod("a"), pod("b", "crash"), target=msgspec.structs.replace(TARGET, kind=Kind.POD)),
    ],
    ids=["the only one", "several", "no image", "no configuration", "all well", "no workload"],
)
def test_no_pod_is_deleted_that_a_new_one_would_not_better(seen: Snapshot) -> None:
    assert pod_left_behind(seen) is None


@pytest.mark.parametrize(
    "fields",
    [{"relapse": True}, {"measured": False}, {"outcome": Outcome.UNKNOWN}, {"ground": Ground.STARTING}, {"verdict": Verdict.SUCCESS}],
    ids=str,
)
def test_what_came_back_or_is_not_known_has_no_repair(fields: dict[str, Any]) -> None:
    assert repair_of_verification(verified(**fields), snapshot(pod("a"), pod("b", "crash"))) is None
    assert repair_of_verification(verified(), None) is None


@pytest.mark.parametrize(
    ("error", "rest"),
    [
        ('pods "api-7d4b9c-x2x9p" is forbidden', "pods * is forbidden"),
        ("dial tcp 10.0.0.1:6443: connect: connection refused", "dial tcp *: connect: connection refused"),
        ("pod api-7d4b9cdf8b-x2x9p of shop: no answer within 8 s", "pod * of *: no answer within *"),
        ("open /var/lib/x/1f.log: No space left on device", "open *: no space left on device"),
        ("operation 019b7c3d-e88e-7abc-8def-0123456789ab failed at 12:03:04", "operation * failed at *"),
    ],
)
def test_an_error_without_what_is_of_this_one_only(error: str, rest: str) -> None:
    assert without_names(error, ("shop", "api")) == rest


@given(
    name=st.from_regex(r"[a-z]{3,8}(-[a-z]{3,8})?", fullmatch=True).filter(lambda name: name not in ("restart", "deployment", "failed")),
    number=st.integers(0, 10**9),
    after=st.integers(0, 3600),
)
def test_one_cause_is_one_name_whomever_it_strikes(name: str, number: int, after: int) -> None:
    def cause(name: str, number: int, after: int) -> str:
        target = msgspec.structs.replace(TARGET, name=name)
        at = f"{NOW + timedelta(seconds=after):%H:%M:%S}"
        error = f"{name}-{number}x not ready at {at}: '{name}' answered {number} from 10.0.0.{number % 250}"
        return cause_of(FailureClass.TIMEOUT, RestartWorkload(target=target), error)

    assert cause(name, number, after) == cause("other", 7, 0)


@given(st.text(max_size=2000))
def test_any_error_has_a_short_cause(error: str) -> None:
    assert len(cause_of(FailureClass.UNKNOWN, RESTART, error)) <= 300


@pytest.mark.parametrize(("state", "why"), [("active", "nginx.service on host web-1 is well by now"), ("failed", "")])
async def test_a_unit_that_is_well_by_now_is_not_restarted_again(state: str, why: str) -> None:
    seen = host(unit("nginx.service", state, "running" if state == "active" else "failed"), unit("db.service", "active", "running"))
    case = Case(incident="i", target=HOST, severity=Severity.P2, alerts=("A",), labels={}, opened_at=NOW, snapshot=seen)
    wanted = RepairWanted(**HEAD_WANTED, action=UNIT)
    suggestion = await repair_suggestion(case, wanted)
    assert (suggestion.reasons[0] if why else "") == why
    assert is_observation(suggestion.action) is bool(why)
    assert suggestion.repairs == ("" if why else "o")
