"""Whether what an action set is still there, and what that means for its judgement."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.action import (
    Action,
    CordonNode,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.evidence import NodeView, Sensor, Snapshot
from schemas.target import Kind, Target
from schemas.words import UNKNOWN_GROUNDS, Ground, Outcome, Verdict
from stages.verify.in_place import Standing, place_of
from stages.verify.judge import Assessment, Question, assess
from tests.unit.snapshots import NOW, TARGET, autoscaler, held_by, pod, revision, snapshot

NODE = Target(cluster="prod", kind=Kind.NODE, name="n1")
BOUNDS = SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=2, maximum=6)
LIMIT = SetMemoryLimit(target=TARGET, container="web", memory="1.5Gi")
ROLL_BACK = RollBackWorkload(target=TARGET, to_revision=3)
SCALE = ScaleWorkload(target=TARGET, replicas=2)
REVISIONS = (revision(4, "api:4", template="four"), revision(3, "api:3", template="three"), revision(2, "api:3"))
SICK = snapshot(pod("a", "unready"), pod("b"), revisions=REVISIONS)
WEDGED = held_by(SICK, autoscaler(2, 5))
THERE, BACK, UNSEEN = Standing.IN_PLACE, Standing.TAKEN_BACK, Standing.UNSEEN


def well(*names: str, **fields: Any) -> Snapshot:
    done: dict[str, Any] = {"generation": 2, "observed_generation": 2}
    return snapshot(*(pod(name) for name in names or ("c", "d")), **(done | fields))


def scaled(minimum: int, maximum: int, name: str = "api") -> Snapshot:
    return held_by(well(), autoscaler(2, maximum, minimum=minimum, name=name))


def node(*, cordoned: bool, name: str = "n1") -> Snapshot:
    view = NodeView(name=name, ready=False, cordoned=cordoned)
    return Snapshot(target=NODE, at=NOW, sensors=(Sensor(name="node", seconds=0.1),), exists=True, nodes=(view,), node_ready=False)


def judged(action: Action, after: Snapshot, before: Snapshot = WEDGED, outcome: Outcome = Outcome.SUCCEEDED) -> Assessment:
    return assess(Question(action=action, outcome=outcome, before=before, after=after))


LOST = (Sensor(name="workload", seconds=0.1), Sensor(name="pods", seconds=0.1), Sensor(name="autoscaler", seconds=8, error="timeout"))
SEEN = (*LOST[:2], Sensor(name="autoscaler", seconds=0.1))
CASES = [
    (SCALE, well(), THERE),
    (SCALE, well("c"), BACK),
    (ScaleWorkload(target=TARGET, replicas=0), snapshot(), THERE),
    (BOUNDS, scaled(2, 6), THERE),
    (BOUNDS, scaled(2, 5), BACK),
    (BOUNDS, scaled(1, 6), BACK),
    (BOUNDS, scaled(2, 6, "other"), BACK),
    (BOUNDS, well(sensors=SEEN), BACK),
    (BOUNDS, well(sensors=LOST), UNSEEN),
    (LIMIT, well(memory_limits={"web": 3 * 2**29}), THERE),
    (LIMIT, well(memory_limits={"web": 2**29}), BACK),
    (LIMIT, well(memory_limits={"sidecar": 3 * 2**29}), BACK),
    (ROLL_BACK, well(images=("api:3",), template="three"), THERE),
    (ROLL_BACK, well(images=("api:4",), template="three"), BACK),
    (ROLL_BACK, well(images=("api:3",), template="another environment"), BACK),
    (ROLL_BACK, well(images=("api:3",)), BACK),
    (msgspec.structs.replace(ROLL_BACK, to_revision=2), well(images=("api:3",), template="not kept of it"), THERE),
    (RollBackWorkload(target=TARGET, to_revision=1), well(images=("api:1",)), UNSEEN),
    (RestartWorkload(target=TARGET), well(), THERE),
    (RestartWorkload(target=TARGET), snapshot(), BACK),
    (LIMIT, snapshot(memory_limits={"web": 3 * 2**29}), BACK),
    (CordonNode(target=NODE), node(cordoned=True), THERE),
    (CordonNode(target=NODE), node(cordoned=False), BACK),
    (CordonNode(target=NODE), node(cordoned=True, name="n2"), UNSEEN),
    (UncordonNode(target=NODE), node(cordoned=False), THERE),
    (UncordonNode(target=NODE), node(cordoned=True), BACK),
]


@pytest.mark.parametrize(("action", "after", "standing"), CASES)
def test_whether_the_effect_of_an_action_is_in_place(action: Action, after: Snapshot, standing: Standing) -> None:
    found = place_of(action, WEDGED, after)
    assert found.standing is standing, found.reason
    assert bool(found.reason) is (standing is not THERE)


@pytest.mark.parametrize(("action", "after", "standing"), CASES)
def test_only_what_is_in_place_can_be_a_success(action: Action, after: Snapshot, standing: Standing) -> None:
    found = judged(action, after)
    if standing is THERE and action.target.kind.is_workload and after.pods:
        assert (found.verdict, found.ground) == (Verdict.SUCCESS, Ground.HEALED), found.summary
    if standing is BACK:
        assert (found.verdict, found.ground) == (Verdict.DEGRADED, Ground.CHANGED_SINCE), found.summary
    if standing is UNSEEN:
        assert (found.verdict, found.ground, found.settled) == (Verdict.DEGRADED, Ground.UNMEASURED, False), found.summary


def test_what_was_scaled_to_nothing_is_not_healed() -> None:
    found = judged(RestartWorkload(target=TARGET), snapshot(generation=3, observed_generation=3))
    assert found.summary == "healthy, but no pod of it is wanted any more: 0 of 0 pods available"
    assert found.ground in UNKNOWN_GROUNDS


def test_a_fault_that_is_still_there_is_not_held_against_an_action_that_was_taken_back() -> None:
    broken, kept = (
        snapshot(pod("c", "oom"), pod("d", "oom"), memory_limits={"web": limit}, generation=3, observed_generation=3)
        for limit in (2**29, 3 * 2**29)
    )
    before = snapshot(pod("a", "oom"), pod("b", "oom"), memory_limits={"web": 2**29})
    found = judged(LIMIT, broken, before)
    assert (found.verdict, found.ground) == (Verdict.DEGRADED, Ground.CHANGED_SINCE)
    assert judged(LIMIT, kept, before).verdict is Verdict.FAILED


def test_what_nobody_knows_to_have_been_set_was_not_taken_back() -> None:
    assert judged(LIMIT, well(memory_limits={"web": 2**29}), outcome=Outcome.UNKNOWN).ground is Ground.ACTION_UNKNOWN


def test_a_cordon_that_is_done_as_wanted_heals_nothing_and_has_not_failed() -> None:
    dead = node(cordoned=True)
    found = judged(CordonNode(target=NODE), dead, node(cordoned=False))
    assert (found.verdict, found.ground, found.settled) == (Verdict.DEGRADED, Ground.CONTAINED, True)
    back = msgspec.structs.replace(dead, node_ready=True)
    assert judged(CordonNode(target=NODE), back, node(cordoned=False)).ground is Ground.CONTAINED
    assert found.ground in UNKNOWN_GROUNDS
