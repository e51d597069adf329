"""What could not be seen is never taken for what is well: for every action, each sensor that its judgement needs."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    DiagnoseHost,
    EvictPod,
    Investigate,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RerunJob,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    TruncateContainerLog,
    UncordonNode,
)
from schemas.evidence import Sensor, Snapshot
from schemas.target import Kind, Target
from schemas.words import UNKNOWN_GROUNDS, Ground, Health, Outcome, Verdict
from stages.verify.evidence import left_a_trace, sensors_for
from stages.verify.judge import Assessment, Question, assess
from stages.verify.relapse import Held, assess_held
from tests.unit.snapshots import HOST, TARGET, autoscaler, disks, held_by, host, job, node, pod, revision, snapshot, unit, without
from tests.unit.test_judge import SNAPSHOTS

POD = Target(cluster="prod", namespace="shop", kind=Kind.POD, name="a")
NODE, JOB = node(ready=True).target, job().target
SICK, WELL = snapshot(pod("a", "unready"), pod("b")), snapshot(pod("c"), pod("b"), generation=2, observed_generation=2)
SCALED = snapshot(pod("a"), pod("b"), pod("c"), generation=2, observed_generation=2)
LIMITED = held_by(snapshot(pod("a"), pod("b")), autoscaler(2, 2, more=True))
SCALED_OUT = held_by(SCALED, autoscaler(3, 5))
DOWN = host(unit("nginx.service", "failed"), unit("web", "exited", service="shop/web"), host=disks(0.05))
UP = host(unit("nginx.service", "active", "running"), unit("web", "running", "healthy", service="shop/web"), host=disks(0.4))


def with_past(seen: Snapshot) -> Snapshot:
    return msgspec.structs.replace(seen, revisions=(revision(1, "api:1"), revision(2, "api:2", current=True)))


RAISED = snapshot(pod("c"), pod("b"), generation=2, observed_generation=2, memory_limits={"web": 2**30})
ROLLED_BACK = snapshot(pod("c"), pod("b"), generation=2, observed_generation=2, images=("api:1",))
Pair = tuple[Action, Snapshot, Snapshot, Verdict]
BEST: tuple[Pair, ...] = (
    (RestartWorkload(target=TARGET), SICK, WELL, Verdict.SUCCESS),
    (RollBackWorkload(target=TARGET, to_revision=1), with_past(SICK), ROLLED_BACK, Verdict.SUCCESS),
    (ScaleWorkload(target=TARGET, replicas=3), SICK, SCALED, Verdict.SUCCESS),
    (SetMemoryLimit(target=TARGET, container="web", memory="1Gi"), SICK, RAISED, Verdict.SUCCESS),
    (SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=5), LIMITED, SCALED_OUT, Verdict.SUCCESS),
    (DeletePod(target=POD, uid="uid-a"), SICK, WELL, Verdict.SUCCESS),
    (EvictPod(target=POD, uid="uid-a"), SICK, WELL, Verdict.SUCCESS),
    (CordonNode(target=NODE), node(ready=False), node(ready=True, cordoned=True), Verdict.DEGRADED),
    (UncordonNode(target=NODE), node(ready=False, cordoned=True), node(ready=True), Verdict.DEGRADED),
    (RerunJob(target=JOB), job("Failed"), job("Complete", name="import-again"), Verdict.SUCCESS),
    (RestartUnit(target=HOST, unit="nginx"), DOWN, UP, Verdict.SUCCESS),
    (RestartContainer(target=HOST, container="web"), DOWN, UP, Verdict.SUCCESS),
    (RestartComposeService(target=HOST, service="web", project="shop"), DOWN, UP, Verdict.SUCCESS),
    (ReloadNginx(target=HOST), DOWN, UP, Verdict.SUCCESS),
    (TruncateContainerLog(target=HOST, container="web"), DOWN, UP, Verdict.SUCCESS),
    (PruneImages(target=HOST), DOWN, UP, Verdict.SUCCESS),
    (PruneVolumes(target=HOST), DOWN, UP, Verdict.SUCCESS),
    (PruneSystem(target=HOST), DOWN, UP, Verdict.SUCCESS),
    (RenewCertificates(target=HOST), DOWN, UP, Verdict.DEGRADED),
    (Investigate(target=TARGET), SICK, WELL, Verdict.DEGRADED),
    (DiagnoseHost(target=HOST), DOWN, UP, Verdict.DEGRADED),
)
"""For every kind of action what is seen where all went as well as can be, and what that comes to."""

NEEDED = [(*pair[:3], sensor) for pair in BEST for sensor in sensors_for(pair[0], pair[2].target.kind)]
CHANGES = [pair for pair in BEST if not isinstance(pair[0], Investigate | DiagnoseHost)]


def judged(action: Action, before: Snapshot, after: Snapshot, **fields: Any) -> Assessment:
    return assess(Question(**({"action": action, "outcome": Outcome.SUCCEEDED} | fields), before=before, after=after))


def named(value: object) -> str | None:
    return getattr(value, "verb", None) or (value if isinstance(value, str) else "")


def test_the_pairs_are_of_every_kind_of_action() -> None:
    assert {type(pair[0]) for pair in BEST} == set(get_args(Action))


@pytest.mark.parametrize(("action", "before", "after", "verdict"), BEST, ids=named)
def test_with_all_sensors_it_is_judged(action: Action, before: Snapshot, after: Snapshot, verdict: Verdict) -> None:
    found = judged(action, before, after)
    assert found.verdict is verdict, found.summary
    assert found.measured is (not isinstance(action, RenewCertificates))


@pytest.mark.parametrize(("action", "before", "after", "sensor"), NEEDED, ids=named)
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.UNKNOWN])
def test_a_needed_sensor_that_failed_alone_never_leaves_a_success(
    action: Action, before: Snapshot, after: Snapshot, sensor: str, outcome: Outcome
) -> None:
    unseen, blind = without(after, sensor), without(before, sensor)
    now = judged(action, before, unseen, outcome=outcome, firing=0)
    assert now.verdict is Verdict.DEGRADED
    assert now.ground in UNKNOWN_GROUNDS
    assert now.regressions == ()
    assert (now.measured, now.score) == (False, 0.0)
    for pair in ((blind, after), (blind, unseen)):
        earlier = judged(action, *pair, outcome=outcome, firing=0)
        assert earlier.verdict is Verdict.DEGRADED, earlier.summary
        assert earlier.ground in UNKNOWN_GROUNDS


@pytest.mark.parametrize(("action", "before", "after", "sensor"), NEEDED, ids=named)
def test_a_held_success_is_not_borne_out_by_a_look_that_did_not_see_it(
    action: Action, before: Snapshot, after: Snapshot, sensor: str
) -> None:
    question = Question(action=action, outcome=Outcome.SUCCEEDED, before=before, after=without(after, sensor), firing=0)
    found = assess_held(question, Held(after=after, gone=(), seconds=120))
    assert found.verdict is Verdict.DEGRADED
    assert not found.relapse


@pytest.mark.parametrize(("action", "before", "after", "verdict"), CHANGES, ids=named)
def test_a_sensor_that_is_not_needed_changes_nothing(action: Action, before: Snapshot, after: Snapshot, verdict: Verdict) -> None:
    others = [one.name for one in after.sensors if one.name not in sensors_for(action, after.target.kind)]
    for other in others:
        assert judged(action, before, without(after, other)).verdict is verdict, other


@given(SNAPSHOTS, SNAPSHOTS, st.sampled_from(["workload", "pods"]), st.sampled_from(["before", "after", "both"]), st.booleans())
def test_no_workload_is_well_whose_pods_or_counts_were_not_seen(
    before: Snapshot, after: Snapshot, sensor: str, where: str, known: bool
) -> None:
    pair = [without(seen, sensor) if where in (name, "both") else seen for name, seen in (("before", before), ("after", after))]
    found = judged(RestartWorkload(target=TARGET), *pair, outcome=Outcome.SUCCEEDED if known else Outcome.UNKNOWN)
    assert found.verdict is not Verdict.SUCCESS
    if where != "before":
        assert not found.measured


def test_pods_that_were_not_listed_are_no_trace_of_an_action() -> None:
    restart = RestartWorkload(target=TARGET)
    assert left_a_trace(SICK, snapshot(pod("c"), pod("b")), restart)
    for pair in ((without(SICK, "pods"), SICK), (SICK, without(SICK, "pods"))):
        assert not left_a_trace(*pair, restart)


def test_a_unit_that_it_is_not_about_is_no_trace_of_it() -> None:
    restart = RestartUnit(target=HOST, unit="nginx")
    then = host(unit("nginx.service", "active", since="1"), unit("timer.service", "active", since="1"))
    assert not left_a_trace(then, host(unit("nginx.service", "active", since="1"), unit("timer.service", "active", since="2")), restart)
    assert left_a_trace(then, host(unit("nginx.service", "active", since="2"), unit("timer.service", "active", since="1")), restart)


def test_what_was_not_seen_before_has_not_restarted_since() -> None:
    worn = snapshot(pod("a", restarts=7), pod("b", restarts=7))
    found = judged(ScaleWorkload(target=TARGET, replicas=2), without(worn, "pods"), worn)
    assert (found.ground, found.regressions) == (Ground.NOTHING_BEFORE, ())


def test_a_sensor_that_never_ran_has_seen_nothing() -> None:
    bare = msgspec.structs.replace(WELL, sensors=(Sensor(name="workload", seconds=0.1),))
    found = judged(RestartWorkload(target=TARGET), SICK, bare)
    assert (found.health, found.verdict) == (Health.UNKNOWN, Verdict.DEGRADED)
