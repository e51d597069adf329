"""What playbooks may speak of: the names of what is known of an alert, of its target and from evidence, each with its type.

A name that is not here can be neither compared nor looked up, and one that was not measured has no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from schemas.action import is_unit_name
from schemas.diagnosis import Fault, fault_of, job_finding, live_pods, unit_finding, wants_more, workload_finding
from schemas.evidence import HostView, NodeView, Snapshot, UnitView
from schemas.target import Target
from schemas.words import Health

Value = str | int | float | bool
Facts = Mapping[str, Value]


class Fact(msgspec.Struct, frozen=True):
    """One name: the type of its value and what it says, for people. `before`: only before an action, when it is proposed."""

    type: type
    says: str
    before: bool = False


FACTS: Mapping[str, Fact] = {
    "target.cluster": Fact(str, "the cluster or host group of the target"),
    "target.kind": Fact(str, "its kind, such as Deployment, Node or Host"),
    "target.namespace": Fact(str, "its namespace; empty for nodes and hosts"),
    "target.name": Fact(str, "its name"),
    "evidence.well": Fact(bool, "whether the target was seen to be well"),
    "evidence.alert.fires": Fact(bool, "whether one of the incident's alerts still fires, where Prometheus or Alertmanager is asked"),
    "evidence.pods.count": Fact(int, "how many pods it has, without those that ended or are being deleted"),
    "evidence.pods.ready": Fact(int, "how many of them are ready"),
    "evidence.pods.crashing": Fact(int, "how many crash"),
    "evidence.pods.out_of_memory": Fact(int, "how many are killed for lack of memory"),
    "evidence.pods.unpullable": Fact(int, "how many cannot pull their image"),
    "evidence.pods.unconfigured": Fact(int, "how many lack configuration that they refer to"),
    "evidence.pods.unscheduled": Fact(int, "how many fit no node"),
    "evidence.pods.unready": Fact(int, "how many run but are not ready"),
    "evidence.pods.restarts": Fact(int, "the most restarts of one container"),
    "evidence.workload.desired": Fact(int, "how many pods the workload wants"),
    "evidence.workload.available": Fact(int, "how many are available"),
    "evidence.workload.stuck": Fact(bool, "whether its controller calls its rollout stuck"),
    "evidence.workload.more": Fact(int, "replicas with `propose.scale_step` more, up to `propose.scale_limit`", before=True),
    "evidence.rollout.began": Fact(bool, "whether the fault began with a new revision", before=True),
    "evidence.rollout.recent": Fact(bool, "whether its images are at most `propose.rollout_window` older than the incident", before=True),
    "evidence.rollout.good": Fact(int, "the last revision with other images that is known of no fault", before=True),
    "evidence.restart.may_help": Fact(
        bool, "whether it is unwell in a way that a restart can heal and no new revision explains", before=True
    ),
    "evidence.memory.container": Fact(str, "the container that is killed at its memory limit", before=True),
    "evidence.memory.doubled": Fact(str, "twice its limit, up to `propose.memory_limit`", before=True),
    "evidence.autoscaler.name": Fact(str, "the autoscaler that holds its replicas"),
    "evidence.autoscaler.minimum": Fact(int, "the fewest replicas that it may choose"),
    "evidence.autoscaler.maximum": Fact(int, "the most replicas that it may choose"),
    "evidence.autoscaler.maxed": Fact(bool, "whether it is at its maximum"),
    "evidence.autoscaler.wants_more": Fact(bool, "whether it wants more than its maximum"),
    "evidence.autoscaler.more": Fact(int, "its maximum with `propose.autoscaler_step` more, up to `propose.autoscaler_limit`", before=True),
    "evidence.job.failed": Fact(bool, "whether the Job has failed"),
    "evidence.job.complete": Fact(bool, "whether it has completed"),
    "evidence.job.scheduled": Fact(bool, "whether a CronJob makes the next one by itself"),
    "evidence.node.ready": Fact(bool, "whether the node is ready"),
    "evidence.node.cordoned": Fact(bool, "whether it takes no new pods"),
    "evidence.lost.pods": Fact(int, "how many of its pods are on a node that is down"),
    "evidence.lost.pod": Fact(str, "one of these"),
    "evidence.host.memory_available": Fact(float, "the share of a host's memory that is available, 0 to 1"),
    "evidence.host.load": Fact(float, "its load over 5 minutes for each processor"),
    "evidence.host.room": Fact(float, "the share of its fullest file system that is free, 0 to 1"),
    "evidence.host.docker_room": Fact(float, "the same of the file system on which Docker keeps its data"),
    "evidence.unit.name": Fact(str, "the systemd unit of the host that the labels name, as it was seen"),
    "evidence.unit.failed": Fact(bool, "whether that unit is down"),
    "evidence.container.name": Fact(str, "the container of the host that the labels name, as it was seen"),
    "evidence.container.failed": Fact(bool, "whether that container is down or unhealthy"),
}
"""Every name but `labels.NAME`, which is any label of the alert."""

LABELS = "labels."
EVIDENCE = "evidence."
_BY_FAULT = {
    Fault.CRASH: "crashing",
    Fault.MEMORY: "out_of_memory",
    Fault.PULL: "unpullable",
    Fault.CONFIG: "unconfigured",
    Fault.UNSCHEDULED: "unscheduled",
    Fault.UNREADY: "unready",
}
_UNIT_LABELS = ("name", "unit", "systemd_unit", "service")
_CONTAINER_LABELS = ("container", "container_name", "name")


def facts_of(snapshot: Snapshot, labels: Mapping[str, str]) -> dict[str, Value]:
    """What one look says of the target, by name, as far as it was measured."""
    found: dict[str, Value] = {f"{LABELS}{name}": value for name, value in labels.items()}
    found |= _of_target(snapshot.target)
    for part in (_of_pods, _of_workload, _of_autoscaler, _of_job, _of_node, _of_host):
        found |= {f"evidence.{name}": value for name, value in part(snapshot) if value is not None}
    found |= {f"evidence.{name}": value for name, value in _of_units(snapshot, labels)}
    known = [alert.fires for alert in snapshot.alerts if alert.fires is not None]
    if known:
        found["evidence.alert.fires"] = any(known)
    if (well := _well(snapshot, found)) is not None:
        found["evidence.well"] = well
    return found


def _of_target(target: Target) -> dict[str, Value]:
    named = {"cluster": target.cluster, "kind": target.kind.value, "namespace": target.namespace, "name": target.name}
    return {f"target.{name}": value for name, value in named.items()}


Named = Iterator[tuple[str, Value | None]]


def _of_pods(snapshot: Snapshot) -> Named:
    if not snapshot.saw("pods"):
        return
    live = live_pods(snapshot)
    faults = [fault_of(pod) for pod in live]
    yield "pods.count", len(live)
    yield "pods.ready", sum(pod.ready for pod in live)
    yield "pods.restarts", max((one.restarts for pod in live for one in pod.containers), default=0)
    for fault, name in _BY_FAULT.items():
        yield f"pods.{name}", faults.count(fault)


def _of_workload(snapshot: Snapshot) -> Named:
    workload = snapshot.workload
    if workload is None:
        return
    yield "workload.desired", workload.desired
    yield "workload.available", workload.available
    yield "workload.stuck", bool(workload.progress_failed)


def _of_autoscaler(snapshot: Snapshot) -> Named:
    scaler = snapshot.autoscaler
    if scaler is None:
        return
    yield "autoscaler.name", scaler.name
    yield "autoscaler.minimum", scaler.minimum
    yield "autoscaler.maximum", scaler.maximum
    yield "autoscaler.maxed", scaler.maxed
    yield "autoscaler.wants_more", wants_more(scaler)


def _of_job(snapshot: Snapshot) -> Named:
    if snapshot.job is None:
        return
    yield "job.failed", snapshot.job.has_failed
    yield "job.complete", snapshot.job.complete
    yield "job.scheduled", any(owner.kind == "CronJob" for owner in snapshot.owners)


def _of_node(snapshot: Snapshot) -> Named:
    node = next((one for one in snapshot.nodes if one.name == snapshot.target.name), None)
    if node is not None:
        yield "node.ready", node.ready
        yield "node.cordoned", node.cordoned
    lost = lost_pods(snapshot)
    if snapshot.nodes:
        yield "lost.pods", len(lost)
    if lost:
        yield "lost.pod", lost[0]


def lost_pods(snapshot: Snapshot) -> tuple[str, ...]:
    """The names of the target's pods that are on a node which is down."""
    down = {node.name for node in _nodes_down(snapshot.nodes)}
    return tuple(pod.name for pod in snapshot.pods if pod.node in down and not pod.ready and not pod.deleting)


def _nodes_down(nodes: Iterable[NodeView]) -> list[NodeView]:
    return [node for node in nodes if node.ready is False]


def _of_host(snapshot: Snapshot) -> Named:
    host = snapshot.host
    if host is None:
        return
    if host.memory_total and host.memory_available is not None:
        yield "host.memory_available", host.memory_available / host.memory_total
    if host.load_5 is not None and host.processors:
        yield "host.load", host.load_5 / host.processors
    yield "host.room", _room(host)
    yield "host.docker_room", _room(host, docker=True)


def _room(host: HostView, *, docker: bool = False) -> float | None:
    rooms = [system.room for system in host.file_systems if system.docker or not docker]
    return min((room for room in rooms if room is not None), default=None)


def _of_units(snapshot: Snapshot, labels: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    for part, names, is_unit in (("unit", _UNIT_LABELS, True), ("container", _CONTAINER_LABELS, False)):
        seen = _named(snapshot.units, (labels.get(name, "") for name in names), unit=is_unit)
        if seen is not None:
            yield f"{part}.name", seen.name
            yield f"{part}.failed", unit_finding(seen).health is Health.UNHEALTHY


def _named(units: Iterable[UnitView], names: Iterable[str], *, unit: bool) -> UnitView | None:
    """The unit, or the container, with the first of these names that was seen: a unit's name has a suffix, in the label or not."""
    wanted = [full for name in names if name for full in ((name, f"{name}.service") if unit else (name,))]
    of_kind = {one.name: one for one in units if is_unit_name(one.name) is unit}
    return next((of_kind[name] for name in wanted if name in of_kind), None)


def _well(snapshot: Snapshot, found: Facts) -> bool | None:
    """Whether what the alert is about was seen to be well; None where that could not be told."""
    for part in ("unit", "container"):
        if f"evidence.{part}.failed" in found:
            return not found[f"evidence.{part}.failed"]
    if snapshot.job is not None:
        return job_finding(snapshot.job).health is Health.HEALTHY
    if snapshot.workload is not None:
        health = workload_finding(snapshot).health
        return None if health is Health.UNKNOWN else health is Health.HEALTHY
    ready = found.get("evidence.node.ready")
    return bool(ready) if ready is not None else None
