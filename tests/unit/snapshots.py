"""Snapshots for tests of pure functions: a workload with pods in the states that a kubelet reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from schemas.evidence import (
    AutoscalerView,
    ConditionView,
    ContainerView,
    FileSystemView,
    HostView,
    JobView,
    NodeView,
    PodView,
    RevisionView,
    Sensor,
    Snapshot,
    UnitView,
    WorkloadView,
)
from schemas.target import Kind, Target

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TARGET = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
HOST = Target(cluster="hosts", kind=Kind.HOST, name="web-1")

CONTAINERS: dict[str, dict[str, Any]] = {
    "ok": {"ready": True},
    "unready": {"ready": False},
    "crash": {"ready": False, "waiting": "CrashLoopBackOff", "last_terminated": "Error", "exit_code": 1, "restarts": 4},
    "oom": {"ready": False, "waiting": "CrashLoopBackOff", "last_terminated": "OOMKilled", "exit_code": 137, "restarts": 4},
    "pull": {"ready": False, "waiting": "ImagePullBackOff"},
    "config": {"ready": False, "waiting": "CreateContainerConfigError"},
}


def pod(name: str, state: str = "ok", *, owner: str = "api-1", image: str = "api:1", **fields: Any) -> PodView:
    """A pod with one container in one of the states above, or `pending` and `unschedulable`."""
    waits = state in ("pending", "unschedulable", "pull", "config")
    reason = "Unschedulable" if state == "unschedulable" else ""
    kept = {name: fields.pop(name) for name in ("restarts",) if name in fields}
    view = CONTAINERS.get(state)
    bare: dict[str, Any] = {"name": "web", "image": image, "restarts": 0}
    containers = (ContainerView(**(bare | view | kept)),) if view else ()
    plain: dict[str, Any] = {"uid": f"uid-{name}", "phase": "Pending" if waits else "Running", "ready": state == "ok", "reason": reason}
    return PodView(name=name, owner=owner, containers=containers, **(plain | fields))


def revision(number: int, image: str, *, minutes: float = 60, **fields: Any) -> RevisionView:
    """A revision that was made `minutes` before NOW."""
    created = NOW - timedelta(minutes=minutes)
    return RevisionView(revision=number, name=f"api-{number}", images=(image,), created_at=created, **fields)


def snapshot(*pods: PodView, target: Target = TARGET, **fields: Any) -> Snapshot:
    """A measured snapshot of a workload whose counts follow from its pods; fields of the workload may be given as well."""
    ready = sum(one.ready for one in pods)
    names = WorkloadView.__struct_fields__
    counts: dict[str, Any] = {"desired": len(pods), "updated": len(pods), "ready": ready, "available": ready}
    plain: dict[str, Any] = {"uid": "uid-api", "generation": 1, "observed_generation": 1}
    workload = WorkloadView(**(plain | counts | {name: fields.pop(name) for name in names if name in fields}))
    sensors = (Sensor(name="workload", seconds=0.1), Sensor(name="pods", seconds=0.1))
    parts: dict[str, Any] = {"sensors": sensors, "exists": True, "workload": workload}
    parts |= {"target": target, "at": NOW, "pods": pods}
    return Snapshot(**(parts | fields))


def host(*units: UnitView, **fields: Any) -> Snapshot:
    """A host of which units, containers and file systems were measured."""
    sensors = tuple(Sensor(name=name, seconds=0.1) for name in ("units", "containers", "disk"))
    parts: dict[str, Any] = {"target": HOST, "at": NOW, "sensors": sensors, "exists": True, "units": units}
    return Snapshot(**(parts | fields))


def autoscaler(current: int, maximum: int, *, more: bool = False, blind: str = "", **fields: Any) -> AutoscalerView:
    """An autoscaler that has these replicas; `more`: it wants more than its maximum; `blind`: why it cannot tell."""
    limited = ("True", "TooManyReplicas") if more else ("False", "DesiredWithinRange")
    active = ("False", "FailedGetResourceMetric") if blind else ("True", "ValidMetricFound")
    said = (("ScalingActive", *active, blind), ("ScalingLimited", *limited, ""))
    conditions = tuple(ConditionView(type=kind, status=status, reason=reason, message=text) for kind, status, reason, text in said)
    plain: dict[str, Any] = {"name": "api", "uid": "uid-hpa", "minimum": 1, "desired": current, "conditions": conditions}
    return AutoscalerView(**(plain | {"current": current, "maximum": maximum} | fields))


def held_by(seen: Snapshot, scaler: AutoscalerView | None) -> Snapshot:
    """The same look, at a workload that an autoscaler holds, or none."""
    return msgspec.structs.replace(seen, sensors=(*seen.sensors, Sensor(name="autoscaler", seconds=0.1)), autoscaler=scaler)


def without(seen: Snapshot, name: str) -> Snapshot:
    """The same look, in which one sensor failed: its part is empty, as an adapter leaves it."""
    failed = tuple(Sensor(name=one.name, seconds=8, error="timeout") if one.name == name else one for one in seen.sensors)
    empty: dict[str, dict[str, Any]] = {
        "workload": {"workload": None},
        "job": {"job": None},
        "node": {"nodes": (), "node_ready": None},
        "disk": {"host": None},
        "autoscaler": {"autoscaler": None},
        "pods": {"pods": ()},
        "pod": {"pods": ()},
        "units": {"units": tuple(unit for unit in seen.units if not unit.name.endswith(".service"))},
        "containers": {"units": tuple(unit for unit in seen.units if unit.name.endswith(".service"))},
    }
    return msgspec.structs.replace(seen, sensors=failed, **empty.get(name, {}))


def unit(name: str, active: str, sub: str = "", **fields: Any) -> UnitView:
    return UnitView(name=name, active=active, sub=sub, **fields)


def node(*, ready: bool, cordoned: bool = False, **fields: Any) -> Snapshot:
    """A node that was measured."""
    target = Target(cluster="prod", kind=Kind.NODE, name="node-1")
    views = (NodeView(name=target.name, ready=ready, cordoned=cordoned),)
    sensors = (Sensor(name="node", seconds=0.1), Sensor(name="pods", seconds=0.1))
    parts: dict[str, Any] = {"target": target, "at": NOW, "sensors": sensors, "exists": True, "nodes": views, "node_ready": ready}
    return Snapshot(**(parts | fields))


def job(end: str = "", *, name: str = "import", reason: str = "BackoffLimitExceeded", **fields: Any) -> Snapshot:
    """A Job that was measured; `end` is `Complete` or `Failed`, or empty while it runs."""
    target = Target(cluster="prod", namespace="shop", kind=Kind.JOB, name=name)
    ends = (ConditionView(type=end, status="True", reason=reason if end == "Failed" else ""),) if end else ()
    view = JobView(uid=f"uid-{name}", active=0 if end else 1, succeeded=int(end == "Complete"), conditions=ends)
    sensors = (Sensor(name="job", seconds=0.1), Sensor(name="pods", seconds=0.1))
    parts: dict[str, Any] = {"target": target, "at": NOW, "sensors": sensors, "exists": True, "job": view}
    return Snapshot(**(parts | fields))


def disks(docker: float, other: float = 0.5, **fields: Any) -> HostView:
    """A host's file systems by the share of them that is free: the one of Docker's data, and another one."""
    size = 100 * 2**30
    systems = [FileSystemView(mount="/", size=size, available=round(size * other))]
    systems.append(FileSystemView(mount="/var/lib/docker", size=size, available=round(size * docker), docker=True, **fields))
    return HostView(file_systems=tuple(systems))
