"""The templates: the alert's words choose a row, and what is really seen corrects it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import Action, Investigate, RestartContainer, RestartUnit, RestartWorkload, RollBackWorkload, ScaleWorkload
from schemas.evidence import PodView, Snapshot
from schemas.target import Kind
from schemas.words import Severity
from stages.propose.case import Case, Suggestion
from stages.propose.hosts import parts_named
from stages.propose.options import ProposeOptions
from stages.propose.symptoms import Symptom, symptom_of
from stages.propose.templates import suggest
from tests.unit.snapshots import HOST, NOW, TARGET, host, pod, revision, snapshot, unit, without

ONE_REVISION = (revision(1, "api:1", current=True, minutes=9000),)


def case(alert: str, seen: Snapshot, **fields: Any) -> Case:
    plain: dict[str, Any] = {"incident": "i", "target": seen.target, "severity": Severity.P2, "labels": {}, "opened_at": NOW}
    return Case(**(plain | fields), alerts=(alert,), snapshot=seen)


def suggested(alert: str, seen: Snapshot, **fields: Any) -> Suggestion:
    return suggest(case(alert, seen, **fields), ProposeOptions())


def rollout(state: str, *, minutes: float = 2, good: int = 0, images: tuple[str, str] = ("api:1", "api:2")) -> Snapshot:
    """Revision 2, `minutes` old, whose two pods are in `state`; `good` pods of revision 1 still serve."""
    old = tuple(pod(f"old-{number}", owner="api-1", image=images[0]) for number in range(good))
    new = tuple(pod(f"new-{number}", state, owner="api-2", image=images[1]) for number in range(2))
    revisions = (revision(2, images[1], minutes=minutes, current=True), revision(1, images[0], minutes=9000, available=good))
    return snapshot(*new, *old, revisions=revisions, desired=2, updated=2)


@pytest.mark.parametrize(
    ("alert", "symptom"),
    [
        ("KubePodCrashLooping", Symptom.CRASH),
        ("ContainerRestartsTooOften", Symptom.CRASH),
        ("ContainerOOMKilled", Symptom.CRASH),
        ("KubePodNotReady", Symptom.CRASH),
        ("BathroomTooWarm", Symptom.OTHER),
        ("HighErrorRate", Symptom.ERROR),
        ("KubeJobFailed", Symptom.ERROR),
        ("FailoverDone", Symptom.OTHER),
        ("ErrorsAfterTimeout", Symptom.ERROR),
        ("HighLatency", Symptom.LATENCY),
        ("SlowQueries", Symptom.LATENCY),
        ("RequestTimeouts", Symptom.LATENCY),
        ("CPUThrottlingHigh", Symptom.RESOURCE),
        ("NodeMemoryPressure", Symptom.RESOURCE),
        ("ResourceQuotaFull", Symptom.RESOURCE),
        ("ConfigChanged", Symptom.OTHER),
        ("Watchdog", Symptom.OTHER),
        ("", Symptom.OTHER),
    ],
)
def test_the_first_row_that_fits_names_the_symptom(alert: str, symptom: Symptom) -> None:
    assert symptom_of((alert,), {}) is symptom


def test_a_reason_label_speaks_where_the_name_says_nothing() -> None:
    assert symptom_of(("PodWaiting",), {"reason": "CrashLoopBackOff"}) is Symptom.CRASH
    assert symptom_of(("HighLatency",), {"reason": "CrashLoopBackOff"}) is Symptom.LATENCY


@pytest.mark.parametrize(
    ("alert", "seen", "action"),
    [
        ("KubePodCrashLooping", snapshot(pod("a", "crash"), revisions=ONE_REVISION), RestartWorkload(target=TARGET)),
        ("KubePodNotReady", snapshot(pod("a", "unready"), pod("b"), revisions=ONE_REVISION), RestartWorkload(target=TARGET)),
        ("ContainerOOMKilled", snapshot(pod("a", "oom"), revisions=ONE_REVISION), RestartWorkload(target=TARGET)),
        ("HighLatency", snapshot(pod("a"), pod("b")), ScaleWorkload(target=TARGET, replicas=3)),
        ("HighCPU", snapshot(pod("a")), ScaleWorkload(target=TARGET, replicas=3)),
        ("HighErrorRate", rollout("ok", minutes=5), RollBackWorkload(target=TARGET, to_revision=1)),
    ],
)
def test_each_kind_of_alert_has_its_remedy(alert: str, seen: Snapshot, action: Action) -> None:
    assert suggested(alert, seen).action == action


@pytest.mark.parametrize("alert", ["KubePodCrashLooping", "HighErrorRate", "HighLatency", "HighCPU", "Watchdog"])
@pytest.mark.parametrize("state", ["crash", "oom", "pull", "config"])
def test_a_fault_that_came_with_new_images_is_rolled_back_whatever_the_alert_is_called(alert: str, state: str) -> None:
    found = suggested(alert, rollout(state))
    assert found.action == RollBackWorkload(target=TARGET, to_revision=1)
    assert "revision 2" in found.root_cause
    assert not found.question


def test_a_crash_long_after_the_rollout_is_not_the_rollouts() -> None:
    assert suggested("KubePodCrashLooping", rollout("crash", minutes=9000)).action == RestartWorkload(target=TARGET)


def test_a_rollout_that_never_got_through_is_to_blame_however_old_it_is() -> None:
    assert isinstance(suggested("KubePodCrashLooping", rollout("crash", minutes=9000, good=1)).action, RollBackWorkload)


def test_a_restart_makes_a_new_revision_but_brings_no_new_images() -> None:
    revisions = (
        revision(3, "api:2", minutes=1, current=True),
        revision(2, "api:2", minutes=9000),
        revision(1, "api:1", minutes=9999),
    )
    seen = snapshot(pod("a", "crash", owner="api-3", image="api:2"), revisions=revisions)
    assert suggested("KubePodCrashLooping", seen).action == RestartWorkload(target=TARGET)


def test_one_pod_of_the_new_revision_that_works_acquits_it() -> None:
    seen = rollout("crash")
    healthy = pod("fine", owner="api-2", image="api:2")
    seen = msgspec.structs.replace(seen, pods=(*seen.pods, healthy))
    assert suggested("KubePodCrashLooping", seen).action == RestartWorkload(target=TARGET)


def test_the_last_good_revision_is_one_that_serves_then_one_that_lasted() -> None:
    bad = pod("a", "crash", owner="api-4", image="api:4")
    hasty = (revision(3, "api:3", minutes=3), revision(2, "api:2", minutes=9000), revision(1, "api:1", minutes=9999))
    current = revision(4, "api:4", minutes=1, current=True)
    assert suggested("Crash", snapshot(bad, revisions=(current, *hasty))).action == RollBackWorkload(target=TARGET, to_revision=2)
    serving = (revision(3, "api:3", minutes=3, available=1), *hasty[1:])
    assert suggested("Crash", snapshot(bad, revisions=(current, *serving))).action == RollBackWorkload(target=TARGET, to_revision=3)


def test_a_revision_that_was_once_available_comes_before_one_that_is_newer_and_one_that_failed_is_none() -> None:
    bad = pod("a", "crash", owner="api-4", image="api:4")
    current = revision(4, "api:4", minutes=1, current=True)
    old = (revision(3, "api:3", minutes=3), revision(2, "api:2", minutes=4, was_available=True), revision(1, "api:1", minutes=5))
    assert suggested("Crash", snapshot(bad, revisions=(current, *old))).action == RollBackWorkload(target=TARGET, to_revision=2)
    failed = (revision(3, "api:3", minutes=3, was_available=False), revision(1, "api:1", minutes=5))
    assert suggested("Crash", snapshot(bad, revisions=(current, *failed))).action == RollBackWorkload(target=TARGET, to_revision=1)
    alone = (revision(3, "api:3", minutes=3, was_available=False),)
    assert suggested("Crash", snapshot(bad, revisions=(current, *alone))).action == RestartWorkload(target=TARGET)


def test_a_revision_whose_pods_show_the_fault_too_is_not_gone_back_to() -> None:
    pods = (pod("new", "crash", owner="api-3", image="api:3"), pod("old", "crash", owner="api-2", image="api:2"))
    revisions = (revision(3, "api:3", minutes=1, current=True), revision(2, "api:2", minutes=2), revision(1, "api:1", minutes=90))
    assert suggested("Crash", snapshot(*pods, revisions=revisions)).action == RollBackWorkload(target=TARGET, to_revision=1)


@pytest.mark.parametrize("state", ["pull", "config", "unschedulable"])
@pytest.mark.parametrize("alert", ["KubePodCrashLooping", "HighErrorRate", "HighLatency", "Whatever"])
def test_what_a_restart_cannot_heal_is_never_restarted_and_people_are_asked(state: str, alert: str) -> None:
    found = suggested(alert, snapshot(pod("a", state), pod("b"), revisions=ONE_REVISION))
    assert isinstance(found.action, Investigate)
    assert found.question


def test_a_pod_that_is_not_ready_counts_though_the_workloads_counts_come_late() -> None:
    seen = snapshot(pod("a", "unready"), pod("b"), ready=2, available=2, revisions=ONE_REVISION)
    assert suggested("WebWedged", seen).action == RestartWorkload(target=TARGET)


@pytest.mark.parametrize("alert", ["KubePodCrashLooping", "HighErrorRate"])
def test_what_has_healed_meanwhile_is_left_alone(alert: str) -> None:
    found = suggested(alert, snapshot(pod("a", restarts=2), pod("b"), revisions=ONE_REVISION))
    assert isinstance(found.action, Investigate)
    assert not found.question
    assert "healthy" in found.reasons[0] or "healed" in found.reasons[0]


def test_errors_without_an_earlier_revision_are_for_people() -> None:
    found = suggested("HighErrorRate", snapshot(pod("a", "crash"), revisions=ONE_REVISION))
    assert isinstance(found.action, Investigate)
    assert found.question


@pytest.mark.parametrize(
    ("alert", "seen"),
    [
        ("HighLatency", snapshot(*(pod(f"p{number}") for number in range(10)))),
        ("HighCPU", snapshot(*(pod(f"p{number}") for number in range(3)))),
        ("HighLatency", snapshot(pod("a"), target=msgspec.structs.replace(TARGET, kind=Kind.DAEMONSET))),
    ],
)
def test_no_more_replicas_than_the_bound_and_never_fewer_than_there_are(alert: str, seen: Snapshot) -> None:
    found = suggested(alert, seen)
    assert isinstance(found.action, Investigate)
    assert found.question


def test_a_workload_scaled_to_nothing_is_not_touched() -> None:
    assert isinstance(suggested("KubePodCrashLooping", snapshot(desired=0)).action, Investigate)


def test_pods_left_over_by_an_eviction_are_no_fault() -> None:
    evicted = pod("gone", "unready", phase="Failed", reason="Evicted")
    found = suggested("KubePodCrashLooping", snapshot(pod("a"), evicted, desired=1, updated=1, revisions=ONE_REVISION))
    assert isinstance(found.action, Investigate)


def test_an_unmeasured_workload_is_never_changed() -> None:
    seen = msgspec.structs.replace(snapshot(pod("a", "crash")), workload=None)
    assert isinstance(suggested("KubePodCrashLooping", seen).action, Investigate)


@pytest.mark.parametrize(
    ("labels", "seen", "action"),
    [
        ({"name": "nginx.service"}, host(unit("nginx.service", "failed")), RestartUnit(target=HOST, unit="nginx.service")),
        ({"unit": "nginx"}, host(unit("nginx.service", "failed")), RestartUnit(target=HOST, unit="nginx.service")),
        ({"container": "web"}, host(unit("web", "exited")), RestartContainer(target=HOST, container="web")),
        ({"container": "web"}, host(unit("web", "running", "unhealthy")), RestartContainer(target=HOST, container="web")),
        ({"unit": "web"}, host(unit("web", "running"), unit("web.service", "failed")), RestartUnit(target=HOST, unit="web.service")),
    ],
)
def test_a_host_restarts_the_unit_or_container_that_is_named_and_down(labels: dict[str, str], seen: Snapshot, action: Action) -> None:
    assert suggested("SystemdUnitFailed", seen, labels=labels).action == action


@pytest.mark.parametrize(
    ("labels", "seen"),
    [
        ({"name": "nginx.service"}, host(unit("nginx.service", "active", "running"))),
        ({"name": "ngin.service"}, host(unit("nginx.service", "failed"))),
        ({}, host(unit("nginx.service", "failed"))),
        ({"container": "web"}, host(unit("web", "running", "healthy"))),
        ({"container": "web"}, host(unit("web", "running", "starting"))),
        ({"container": "web"}, host(unit("web.service", "failed"))),
        ({"unit": "web"}, host(unit("web", "exited"))),
        ({"unit": "web"}, host(unit("web.service", "inactive", "dead", type="oneshot", result="success", status=0))),
        ({"unit": "web"}, host(unit("web.service", "inactive", "dead", type="oneshot", result="success"))),
    ],
)
def test_a_host_is_left_alone_when_the_name_does_not_fit_or_it_runs(labels: dict[str, str], seen: Snapshot) -> None:
    assert isinstance(suggested("SystemdUnitFailed", seen, labels=labels).action, Investigate)


@pytest.mark.parametrize("name", ["reboot.target", "data.mount", "systemd-poweroff.service"])
def test_a_label_restarts_nothing_that_ends_the_host_or_is_no_service(name: str) -> None:
    found = suggested("SystemdUnitFailed", host(unit(name, "inactive", "dead")), labels={"unit": name})
    assert isinstance(found.action, Investigate)
    assert f"{name} on host" in found.reasons[0]
    assert "is never restarted" in found.reasons[0]
    assert found.question


def test_a_container_that_is_being_started_is_not_said_to_have_healed() -> None:
    found = suggested("ContainerDown", host(unit("web", "running", "starting")), labels={"container": "web"})
    assert "is being started" in found.reasons[0]
    assert "healed" not in found.reasons[0]
    assert found.question


@pytest.mark.parametrize(("labels", "sensor"), [({"unit": "nginx"}, "units"), ({"container": "web"}, "containers")])
def test_what_could_not_be_looked_at_on_a_host_is_not_said_to_be_missing(labels: dict[str, str], sensor: str) -> None:
    seen = without(host(unit("nginx.service", "failed"), unit("web", "exited")), sensor)
    found = suggested("SystemdUnitFailed", seen, labels=labels)
    assert isinstance(found.action, Investigate)
    assert "could not be looked at" in found.reasons[0]
    assert found.question


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        ({"unit": "nginx"}, ("nginx.service",)),
        ({"name": "data.mount"}, ()),
        ({"systemd_unit": "data.mount"}, ("data.mount",)),
        ({"container_name": "web"}, ("web",)),
        ({"job": "node"}, ()),
    ],
)
def test_what_the_labels_name_is_asked_for_by_its_name(labels: dict[str, str], parts: tuple[str, ...]) -> None:
    assert parts_named(HOST, labels) == parts
    assert parts_named(TARGET, labels) == ()


def test_a_workload_whose_pods_were_not_seen_is_not_said_to_have_healed() -> None:
    found = suggested("KubePodCrashLooping", without(snapshot(pod("a"), pod("b")), "pods"))
    assert isinstance(found.action, Investigate)
    assert "healed" not in found.reasons[0]
    assert found.question


PODS = st.builds(
    pod,
    st.text("abc", min_size=1, max_size=3),
    st.sampled_from(["ok", "unready", "crash", "oom", "pull", "config", "pending", "unschedulable"]),
    owner=st.sampled_from(["api-1", "api-2", "api-3"]),
    image=st.sampled_from(["api:1", "api:2", "api:3"]),
    deleting=st.booleans(),
)
REVISIONS = st.lists(
    st.builds(
        revision, st.integers(1, 9), st.sampled_from(["api:1", "api:2", "api:3"]), minutes=st.floats(0, 99999), current=st.booleans()
    ),
    max_size=4,
    unique_by=lambda one: one.revision,
)


@given(st.text(max_size=40), st.lists(PODS, max_size=4), REVISIONS, st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3))
def test_whatever_is_seen_the_action_is_on_the_incidents_own_target_and_says_why(
    alert: str, pods: list[PodView], revisions: list[Any], labels: dict[str, str]
) -> None:
    seen = snapshot(*pods, revisions=tuple(revisions))
    found = suggested(alert, seen, labels=labels)
    assert found.action.target == TARGET
    assert all(found.reasons)
    assert 0 <= found.confidence <= 1
    if isinstance(found.action, RollBackWorkload):
        chosen = next(one for one in revisions if one.revision == found.action.to_revision)
        assert not chosen.current
    if isinstance(found.action, ScaleWorkload):
        assert len(pods) < found.action.replicas <= ProposeOptions().scale_limit
