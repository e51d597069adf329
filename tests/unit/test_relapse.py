"""What a success comes to after its hold-down: each row of the table, and laws that no look breaks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import Action, RestartContainer, RestartWorkload, SetMemoryLimit
from schemas.evidence import Snapshot
from schemas.words import Ground, Outcome, Verdict
from stages.verify.judge import Assessment, Question, assess
from stages.verify.relapse import Held, assess_held
from tests.unit.snapshots import HOST, TARGET, host, pod, snapshot, unit
from tests.unit.test_judge import GONE, OK, SNAPSHOTS, UNMEASURED

RESTART = RestartWorkload(target=TARGET)
WEDGED = snapshot(pod("a", "unready"), pod("b", "unready"))
CRASHED = snapshot(pod("a", "crash"), pod("b", "crash"))
DONE: dict[str, Any] = {"generation": 2, "observed_generation": 2}
ELSE: dict[str, Any] = {"generation": 3, "observed_generation": 3}
HEALED = snapshot(pod("c"), pod("d"), **DONE)


def judged(
    after: Snapshot,
    before: Snapshot = WEDGED,
    first: Snapshot = HEALED,
    *,
    action: Action = RESTART,
    gone: tuple[str, ...] = (),
    **fields: Any,
) -> Assessment:
    question = Question(**({"action": action, "outcome": Outcome.SUCCEEDED} | fields), before=before, after=after)
    return assess_held(question, Held(after=first, gone=gone, seconds=120))


def said(found: Assessment) -> tuple[Verdict, Ground, bool, bool]:
    return found.verdict, found.ground, found.relapse, found.settled


SUCCESS = (Verdict.SUCCESS, Ground.HEALED, False, True)
RELAPSE = (Verdict.FAILED, Ground.RELAPSED, True, True)
LATER_A_RELAPSE = (Verdict.FAILED, Ground.RELAPSED, True, False)
STARTS = (Verdict.TIMEOUT, Ground.STARTING, False, False)
CHANGED = (Verdict.DEGRADED, Ground.CHANGED_SINCE, False, True)

Names = tuple[str, ...]
ALERTS: st.SearchStrategy[Names] = st.sampled_from([(), ("A",), ("B",), ("A", "B")])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (WEDGED, HEALED, SUCCESS),
        (WEDGED, snapshot(pod("c"), pod("d", "unready"), **DONE), LATER_A_RELAPSE),
        (CRASHED, snapshot(pod("c"), pod("d", "crash"), **DONE), RELAPSE),
        (WEDGED, snapshot(pod("c"), pod("d", "crash"), **DONE), RELAPSE),
        (CRASHED, snapshot(pod("c"), pod("d", restarts=1), **DONE), RELAPSE),
        (CRASHED, snapshot(pod("c"), pod("e", restarts=1), **DONE), RELAPSE),
        (CRASHED, snapshot(pod("c"), pod("e"), **DONE), SUCCESS),
        # Pods that an autoscaler has added, or that took the place of others.
        (WEDGED, snapshot(pod("c"), pod("d"), pod("e", "unready"), **DONE), STARTS),
        (WEDGED, snapshot(pod("c"), pod("e", "pending"), **DONE), STARTS),
        (OK, snapshot(pod("c"), pod("d"), pod("e", "unready"), **DONE), STARTS),
        (WEDGED, snapshot(pod("c", "unready"), pod("d"), pod("e", "unready"), **DONE), LATER_A_RELAPSE),
        (WEDGED, snapshot(pod("c", restarts=1), pod("d"), pod("e", "unready"), **DONE), LATER_A_RELAPSE),
        (WEDGED, snapshot(pod("c"), pod("d"), pod("e", "unready", restarts=1), **DONE), LATER_A_RELAPSE),
        # Somebody else's change.
        (WEDGED, snapshot(pod("e"), pod("f"), **ELSE), SUCCESS),
        (WEDGED, snapshot(pod("c"), pod("e", "pull"), **ELSE), CHANGED),
        (WEDGED, snapshot(pod("c"), pod("e", restarts=2), **ELSE), CHANGED),
        (WEDGED, snapshot(pod("c"), pod("d", restarts=2), pod("e"), **ELSE), RELAPSE),
        (CRASHED, snapshot(pod("c"), pod("e", "crash"), **ELSE), RELAPSE),
        (WEDGED, GONE, CHANGED),
        # Nothing to be seen.
        (WEDGED, UNMEASURED, (Verdict.DEGRADED, Ground.UNMEASURED, False, False)),
    ],
)
def test_each_row_of_the_table(before: Snapshot, after: Snapshot, expected: object) -> None:
    found = judged(after, before)
    assert said(found) == expected, found.summary
    assert found.measured is (after is not UNMEASURED)


def test_an_alert_that_was_gone_and_holds_again_is_the_fault_that_came_back() -> None:
    again = judged(HEALED, gone=("Wedged",), asked=2, fires=True, holding=("Slow", "Wedged"), firing=2)
    assert said(again) == RELAPSE
    assert "an alert that was gone fires again: Wedged" in again.summary
    assert said(judged(HEALED, gone=("Wedged",), asked=1, fires=False, firing=1)) == SUCCESS
    assert said(judged(HEALED, gone=("Wedged",), asked=1, fires=None, firing=0)) == SUCCESS


@pytest.mark.parametrize("gone", [(), ("Wedged",)])
def test_an_alert_that_was_not_known_to_be_gone_and_holds_is_no_relapse(gone: tuple[str, ...]) -> None:
    """It has joined since, or nobody could say whether it held."""
    joined = judged(HEALED, gone=gone, asked=2, fires=True, holding=("Slow",), firing=2)
    assert said(joined) == (Verdict.DEGRADED, Ground.STILL_FIRING, False, False)
    assert joined.score > 0.5


def test_what_is_only_told_of_alerts_makes_no_relapse() -> None:
    assert said(judged(HEALED, firing=3)) == SUCCESS
    more = judged(HEALED, gone=("Wedged",), asked=1, fires=False, firing=2)
    assert said(more) == SUCCESS, "as many of one name as there are pods: the one that is asked about is gone"


def test_what_somebody_took_back_says_nothing_of_the_action_though_the_same_fault_is_back() -> None:
    limit = SetMemoryLimit(target=TARGET, container="web", memory="200Mi")
    before = snapshot(pod("a", "oom"), pod("b", "oom"), memory_limits={"web": 100 * 2**20})
    first = snapshot(pod("c"), pod("d"), memory_limits={"web": 200 * 2**20}, **DONE)
    kept = snapshot(pod("c"), pod("d", "oom"), memory_limits={"web": 200 * 2**20}, **DONE)
    taken_back = snapshot(pod("e"), pod("f", "oom"), memory_limits={"web": 100 * 2**20}, **ELSE)
    assert said(judged(kept, before, first, action=limit)) == RELAPSE
    found = judged(taken_back, before, first, action=limit)
    assert (found.verdict, found.ground, found.relapse) == (Verdict.DEGRADED, Ground.CHANGED_SINCE, False)
    assert "healed at first, and now not what the action left: somebody set its memory limit to 100 MiB" in found.summary


def test_a_relapse_says_what_came_back_and_scores_under_a_half() -> None:
    found = judged(snapshot(pod("c"), pod("d", restarts=1), **DONE), CRASHED, firing=0)
    assert found.summary == "it came back 120 s later: healthy at this moment, but restarted 1 times since"
    assert found.regressions == ("1 container restarts since the action", "it was healed and did not stay so")
    assert found.score < 0.5
    assert (found.parts["state"], found.parts["change"]) == (0.0, 0.0)


def test_what_nobody_knows_to_have_happened_has_not_failed() -> None:
    found = judged(snapshot(pod("a", "crash"), pod("b")), snapshot(pod("a", "crash"), pod("b", "crash")), outcome=Outcome.UNKNOWN)
    assert said(found)[:3] == (Verdict.DEGRADED, Ground.ACTION_UNKNOWN, False)


def test_a_container_of_a_host_that_restarted_again() -> None:
    action = RestartContainer(target=HOST, container="web")
    down, up = host(unit("web", "exited")), host(unit("web", "running", restarts=1), unit("other", "running", restarts=0))
    again = host(unit("web", "running", restarts=2), unit("other", "running", restarts=0))
    elsewhere = host(unit("web", "running", restarts=1), unit("other", "running", restarts=5))
    assert said(judged(again, down, up, action=action)) == RELAPSE
    assert said(judged(elsewhere, down, up, action=action)) == SUCCESS


@given(SNAPSHOTS, SNAPSHOTS, SNAPSHOTS, ALERTS, ALERTS, st.none() | st.integers(0, 2), st.sampled_from([1, 2]))
def test_laws_of_every_look_after_a_hold_down(
    before: Snapshot, first: Snapshot, after: Snapshot, gone: Names, holding: Names, firing: int | None, generation: int
) -> None:
    assert after.workload is not None
    after = msgspec.structs.replace(after, workload=msgspec.structs.replace(after.workload, generation=generation))
    question = Question(
        action=RESTART, outcome=Outcome.SUCCEEDED, before=before, after=after, firing=firing, asked=2, fires=bool(holding), holding=holding
    )
    plain, found = assess(question), assess_held(question, Held(after=first, gone=gone, seconds=1))
    assert 0 <= found.score <= plain.score, "holding never makes a look better"
    assert found.relapse is (found.ground is Ground.RELAPSED)
    if found.verdict is Verdict.SUCCESS:
        assert plain.verdict is Verdict.SUCCESS
    if found.relapse:
        assert found.verdict is Verdict.FAILED
        assert plain.verdict is not Verdict.DEGRADED or plain.ground is not Ground.STILL_FIRING or set(gone) & set(holding)
        assert found.measured
        assert found.regressions
