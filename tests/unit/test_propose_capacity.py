"""The templates against a lack of something: a higher limit, wider bounds, never beyond what the settings allow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import Investigate, RerunJob, RestartWorkload, SetAutoscalerBounds, SetMemoryLimit
from schemas.evidence import AutoscalerView, OwnerView, PodView, Snapshot
from schemas.target import Kind
from stages.propose.options import ProposeOptions
from stages.propose.templates import suggest
from tests.unit.snapshots import TARGET, autoscaler, held_by, pod, snapshot
from tests.unit.test_propose_templates import ONE_REVISION, case, suggested

MEBIBYTE = 2**20


def limited(name: str, limit: int | None, state: str = "oom") -> PodView:
    """A pod whose container has this memory limit, in bytes."""
    plain = pod(name, state)
    return msgspec.structs.replace(plain, containers=tuple(msgspec.structs.replace(one, memory_limit=limit) for one in plain.containers))


def killed(limit: int | None) -> Snapshot:
    return snapshot(limited("a", limit), limited("b", limit), revisions=ONE_REVISION)


def autoscaled(current: int, maximum: int, **fields: Any) -> Snapshot:
    view = AutoscalerView(name="api", uid="u", minimum=2, maximum=maximum, current=current, desired=current)
    return snapshot(*(pod(f"p{number}") for number in range(current)), autoscaler=view, revisions=ONE_REVISION, **fields)


def test_a_container_killed_for_memory_gets_twice_its_limit_or_a_restart_where_there_is_no_room() -> None:
    found = suggested("ContainerOOMKilled", killed(100 * MEBIBYTE))
    assert found.action == SetMemoryLimit(target=TARGET, container="web", memory="200Mi")
    assert "100Mi" in found.reasons[0]
    assert found.otherwise is not None
    assert found.otherwise.action == RestartWorkload(target=TARGET)


@pytest.mark.parametrize("limit", [None, 0, 2049 * MEBIBYTE])
def test_without_a_limit_or_beyond_the_setting_it_is_restarted(limit: int | None) -> None:
    assert suggested("ContainerOOMKilled", killed(limit)).action == RestartWorkload(target=TARGET)


@given(st.integers(1, 2**40), st.integers(1, 2**20))
def test_no_limit_beyond_the_setting_is_proposed_and_it_is_exactly_twice(limit: int, most: int) -> None:
    action = suggest(case("ContainerOOMKilled", killed(limit)), ProposeOptions(memory_limit=most)).action
    if isinstance(action, SetMemoryLimit):
        size = int(action.memory.removesuffix("Mi")) * (MEBIBYTE if action.memory.endswith("Mi") else 1)
        assert size == 2 * limit <= most * MEBIBYTE
    else:
        assert 2 * limit > most * MEBIBYTE


def test_a_crash_that_is_not_for_memory_raises_no_limit() -> None:
    seen = snapshot(limited("a", 100 * MEBIBYTE, "crash"), revisions=ONE_REVISION)
    assert suggested("ContainerOOMKilled", seen).action == RestartWorkload(target=TARGET)


@pytest.mark.parametrize("alert", ["HighLatency", "HighCPU", "KubeHpaMaxedOut"])
def test_an_autoscaler_at_its_maximum_gets_more_room_and_keeps_its_minimum(alert: str) -> None:
    found = suggested(alert, autoscaled(4, 4))
    assert found.action == SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=2, maximum=6)


@pytest.mark.parametrize("seen", [autoscaled(2, 4), autoscaled(19, 19), autoscaled(25, 25)])
@pytest.mark.parametrize("alert", ["HighLatency", "HighCPU"])
def test_an_autoscaler_with_room_or_at_the_setting_is_left_and_people_are_asked(alert: str, seen: Snapshot) -> None:
    found = suggested(alert, seen)
    assert isinstance(found.action, Investigate)
    assert found.question
    assert "Autoscaler api" in found.reasons[0]


def holding(scaler: AutoscalerView) -> Snapshot:
    return held_by(snapshot(*(pod(f"p{number}") for number in range(scaler.current)), revisions=ONE_REVISION), scaler)


@pytest.mark.parametrize("alert", ["HighLatency", "KubeHpaMaxedOut", "KubernetesHpaScaleMaximum"])
def test_only_one_that_wants_more_gets_more_room(alert: str) -> None:
    found = suggested(alert, holding(autoscaler(3, 3, more=True)))
    assert found.action == SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=5)
    assert "wants more" in found.reasons[0]
    for scaler, said in ((autoscaler(3, 3), "wants no more"), (autoscaler(3, 3, blind="no metrics returned"), "no metrics returned")):
        left = suggested(alert, holding(scaler))
        assert isinstance(left.action, Investigate)
        assert left.question
        assert said in left.reasons[0]


JOB = msgspec.structs.replace(TARGET, kind=Kind.JOB, name="import")


def job(**fields: Any) -> Snapshot:
    return msgspec.structs.replace(snapshot(target=JOB, **fields), workload=None)


def test_a_job_that_failed_is_run_again() -> None:
    assert suggested("KubeJobFailed", job()).action == RerunJob(target=JOB)


@pytest.mark.parametrize(
    ("alert", "seen"),
    [("KubeJobFailed", job(owners=(OwnerView(kind="CronJob", name="nightly", uid="u"),))), ("KubeJobSuspended", job())],
)
def test_a_job_of_a_schedule_or_that_has_not_failed_is_for_people(alert: str, seen: Snapshot) -> None:
    found = suggested(alert, seen)
    assert isinstance(found.action, Investigate)
    assert found.question


@pytest.mark.parametrize("state", ["config", "unschedulable"])
def test_what_kubernetes_says_of_it_is_told_to_people(state: str) -> None:
    plain = pod("a", state, message="0/3 nodes are available: 3 Insufficient cpu" if state == "unschedulable" else "")
    said = "key MODE not found" if state == "config" else "Insufficient cpu"
    containers = tuple(msgspec.structs.replace(one, message=said) for one in plain.containers)
    found = suggested("KubePodNotReady", snapshot(msgspec.structs.replace(plain, containers=containers), revisions=ONE_REVISION))
    assert said in found.question
