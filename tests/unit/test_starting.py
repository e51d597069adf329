"""New pods that are only being started are no fault, until their controller says so or they show one of their own."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.action import Action, DeletePod, RestartWorkload
from schemas.evidence import Snapshot
from schemas.target import Kind, Target
from schemas.words import Ground, Health, Verdict
from tests.unit.snapshots import TARGET, pod, snapshot, without
from tests.unit.test_judge import judged

RESTART = RestartWorkload(target=TARGET)
DELETE = DeletePod(target=Target(cluster="prod", namespace="shop", kind=Kind.POD, name="b"), uid="uid-b")
WEDGED = snapshot(pod("a", "unready"), pod("b", "unready"))
CRASHED = snapshot(pod("a", "crash"), pod("b", "crash"))
OK = snapshot(pod("a"), pod("b"))
CHANGED: dict[str, Any] = {"generation": 2, "observed_generation": 2}
HALF: dict[str, Any] = CHANGED | {"desired": 2, "updated": 1}
STARTING = (Verdict.TIMEOUT, Ground.STARTING)
SAME = (Verdict.FAILED, Ground.SAME_FAULT)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WEDGED, snapshot(pod("c", "unready"), pod("d", "unready"), **CHANGED)),
        (WEDGED, snapshot(pod("c"), pod("d", "pending"), **CHANGED)),
        (WEDGED, snapshot(pod("a", "unready"), pod("b", "unready"), pod("c", "unready"), **HALF)),
        (WEDGED, snapshot(pod("a", "unready"), pod("c"), pod("d", "unready"), **HALF | {"updated": 2})),
        (CRASHED, snapshot(pod("a", "crash"), pod("b", "crash"), pod("c", "unready"), **HALF)),
        (OK, snapshot(pod("a"), pod("b"), pod("c", "unready"), **HALF)),
    ],
)
def test_a_slow_start_is_not_known_yet_and_no_reason_to_go_back(before: Snapshot, after: Snapshot) -> None:
    found = judged(before, after)
    assert (found.verdict, found.ground, found.settled) == (*STARTING, False), found.summary
    assert found.health is Health.PROGRESSING
    assert "its new pods are still being started" in found.summary


@pytest.mark.parametrize(
    ("before", "after", "action", "expected"),
    [
        # Its own controller says that it takes too long.
        (WEDGED, snapshot(pod("c", "unready"), progress_failed="ProgressDeadlineExceeded", **CHANGED), RESTART, SAME),
        # A new pod shows a fault of its own.
        (WEDGED, snapshot(pod("c", "unready"), pod("d", "crash"), **CHANGED), RESTART, SAME),
        (WEDGED, snapshot(pod("c", "unready"), pod("d", "pull"), **CHANGED), RESTART, SAME),
        (CRASHED, snapshot(pod("c", "unready"), pod("d", "crash"), **CHANGED), RESTART, SAME),
        (WEDGED, snapshot(pod("c", "unready", restarts=1), pod("d", "unready"), **CHANGED), RESTART, SAME),
        # A pod of before is still wrong, and nothing is to replace it, or nothing new is on its way.
        (WEDGED, snapshot(pod("a", "unready"), pod("c", "unready")), DELETE, SAME),
        (WEDGED, snapshot(pod("a", "unready"), pod("b", "unready"), **HALF | {"updated": 0}), RESTART, SAME),
        (CRASHED, snapshot(pod("a", "crash"), pod("c"), **HALF), RESTART, (Verdict.DEGRADED, Ground.BETTER)),
        # It served more before.
        (OK, snapshot(pod("a"), pod("c", "unready"), **HALF), RESTART, (Verdict.FAILED, Ground.WORSE)),
        # Which pods are new is not known.
        (without(WEDGED, "pods"), snapshot(pod("c", "unready"), **CHANGED), RESTART, (Verdict.TIMEOUT, Ground.NOT_CONVERGED)),
    ],
)
def test_what_is_more_than_a_slow_start_is_judged_as_ever(
    before: Snapshot, after: Snapshot, action: Action, expected: tuple[Verdict, Ground]
) -> None:
    found = judged(before, after, action)
    assert (found.verdict, found.ground) == expected, found.summary
