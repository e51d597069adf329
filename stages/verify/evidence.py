"""What two snapshots say about the target of one action: its health, its faults, and what happened in between. Pure reading."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from schemas.action import (
    NGINX,
    Action,
    DeletePod,
    EvictPod,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RerunJob,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    SetAutoscalerBounds,
    TruncateContainerLog,
    unit_name,
)
from schemas.diagnosis import (
    ENOUGH_ROOM,
    Fault,
    Finding,
    autoscaler_finding,
    fault_of,
    job_finding,
    live_pods,
    pod_finding,
    room_finding,
    speaks_of_maximum,
    unit_finding,
    workload_finding,
    worst_of,
)
from schemas.evidence import FileSystemView, PodView, Snapshot, UnitView
from schemas.target import Kind
from schemas.words import Health

_MAKES_ROOM = (TruncateContainerLog, PruneImages, PruneVolumes, PruneSystem)
_ENDS_POD = (DeletePod, EvictPod)
_FREED = 0.01  # share of a file system, below which more room is what comes and goes by itself
_SENSORS: dict[Kind, tuple[str, ...]] = {
    Kind.POD: ("pod",),
    Kind.NODE: ("node",),
    Kind.JOB: ("job",),
    Kind.HOST: ("units",),
}


def counts_autoscaler(action: Action, kind: Kind, alerts: Iterable[str] = ()) -> bool:
    """Whether a workload of this kind is well only where its autoscaler has the replicas that it wants.

    That is what new bounds are for, and what an alert about its maximum is about, whatever is done. To all others it is no fault:
    a crash is healed at the maximum as well.
    """
    return kind in (Kind.DEPLOYMENT, Kind.STATEFULSET) and (isinstance(action, SetAutoscalerBounds) or speaks_of_maximum(alerts))


def sensors_for(action: Action, kind: Kind, alerts: Iterable[str] = ()) -> tuple[str, ...]:
    """The sensors that the judgement of an action needs, where the snapshot is of this kind; empty where none can tell."""
    match action:
        case RestartUnit() | ReloadNginx():
            return ("units",)
        case RestartContainer() | RestartComposeService():
            return ("containers",)
        case RenewCertificates():
            return ()
        case _ if isinstance(action, _MAKES_ROOM):
            return ("disk",)
    if kind.is_workload:
        return ("workload", "pods", "autoscaler") if counts_autoscaler(action, kind, alerts) else ("workload", "pods")
    own = _SENSORS.get(kind, ("pods",))
    return (*own, "pods") if isinstance(action, _ENDS_POD) and kind is not Kind.POD and "pods" not in own else own


def finding_of(snapshot: Snapshot, action: Action, alerts: Iterable[str] = (), room: float = ENOUGH_ROOM) -> Finding:
    """The health of what the action, and these alerts, are about; unknown when any part that tells it could not be measured.

    `room` is the share of Docker's file system, 0 to 1, that is enough after an action which makes room.

    What is missing is never taken for what is well: no failed unit where units could not be listed, no pod where pods could not.
    """
    if isinstance(action, RenewCertificates):
        return Finding(Health.UNKNOWN, "nothing that is measured here tells whether its certificates are good")
    if snapshot.exists is False:
        return _absent(action)
    if not snapshot.measured:
        return Finding(Health.UNKNOWN, "no sensor answered")
    if unseen := [name for name in sensors_for(action, snapshot.target.kind, alerts) if not snapshot.saw(name)]:
        return Finding(Health.UNKNOWN, f"not seen: {', '.join(unseen)}")
    found = _measured(snapshot, action, room)
    if snapshot.autoscaler is None or not counts_autoscaler(action, snapshot.target.kind, alerts):
        return found
    return worst_of([found, autoscaler_finding(snapshot.autoscaler)])


def _absent(action: Action) -> Finding:
    """A Job that is gone may have done its work before: some are deleted as soon as they have ended."""
    if isinstance(action, RerunJob):
        return Finding(Health.UNKNOWN, "the Job is not there, so how it ended cannot be told")
    return Finding(Health.ABSENT, "it does not exist")


def _measured(snapshot: Snapshot, action: Action, room: float) -> Finding:
    kind = snapshot.target.kind
    if (pattern := _name_of(action)) is not None:
        return _unit(snapshot, pattern)
    if isinstance(action, _MAKES_ROOM):
        return _room(snapshot, room)
    # A pod that is being deleted counts as gone: on a node that is down it stays so for good, and its controller does not wait.
    if isinstance(action, _ENDS_POD) and any(pod.uid == action.uid and not pod.deleting for pod in snapshot.pods):
        return Finding(Health.PROGRESSING, f"pod {action.target.name} is still there")
    if kind.is_workload:
        return workload_finding(snapshot)
    if kind is Kind.NODE:
        return _node(snapshot)
    if kind is Kind.HOST:
        return _host(snapshot)
    if kind is Kind.JOB:
        return job_finding(snapshot.job) if snapshot.job else Finding(Health.UNKNOWN, "its state could not be measured")
    return _pods(snapshot)


def _name_of(action: Action) -> re.Pattern[str] | None:
    """How the unit or the containers are named that the action is about, or None for other actions."""
    match action:
        case RestartUnit():
            return re.compile(re.escape(unit_name(action.unit)))
        case ReloadNginx():
            return re.compile(re.escape(NGINX))
        case RestartContainer():
            return re.compile(re.escape(action.container))
        case RestartComposeService():
            project = re.escape(action.project) or ".+"
            service = re.escape(action.service)
            return re.compile(rf"{project}/{service}|{project}[-_]{service}[-_]\d+|{service}")
        case _:
            return None


def _of_name(snapshot: Snapshot, name: re.Pattern[str]) -> list[UnitView]:
    return [unit for unit in snapshot.units if name.fullmatch(unit.service) or name.fullmatch(unit.name)]


def _unit(snapshot: Snapshot, name: re.Pattern[str]) -> Finding:
    """The worst of those of that name, for a compose service may have several containers."""
    findings = [unit_finding(unit) for unit in _of_name(snapshot, name)]
    return worst_of(findings) if findings else Finding(Health.UNKNOWN, "what it is about was not seen")


def _node(snapshot: Snapshot) -> Finding:
    if snapshot.node_ready is None:
        return Finding(Health.UNKNOWN, "its conditions could not be measured")
    return Finding(Health.HEALTHY, "ready") if snapshot.node_ready else Finding(Health.UNHEALTHY, "not ready")


def _host(snapshot: Snapshot) -> Finding:
    down: list[UnitView] = [unit for unit in snapshot.units if unit_finding(unit).health is Health.UNHEALTHY and unit.active == "failed"]
    if down:
        return Finding(Health.UNHEALTHY, f"{len(down)} failed units, such as {down[0].name}")
    return Finding(Health.HEALTHY, "it answers, and no unit has failed")


def _of_docker(snapshot: Snapshot) -> FileSystemView | None:
    """The file system that Docker keeps its data on: what is deleted there frees no other."""
    systems = snapshot.host.file_systems if snapshot.host else ()
    return next((system for system in systems if system.docker), None)


def _room(snapshot: Snapshot, enough: float) -> Finding:
    system = _of_docker(snapshot)
    if system is None:
        return Finding(Health.UNKNOWN, "the file system that Docker keeps its data on was not seen")
    return room_finding(system, enough)


def has_more_room(before: Snapshot, after: Snapshot, action: Action) -> bool:
    """Whether an action that makes room has made some, by at least a hundredth of the file system."""
    if not isinstance(action, _MAKES_ROOM):
        return False
    pair = _of_docker(before), _of_docker(after)
    rooms = [system.room for system in pair if system is not None and system.room is not None]
    return len(rooms) == len(pair) and rooms[1] - rooms[0] >= _FREED


def _pods(snapshot: Snapshot) -> Finding:
    if not snapshot.pods:
        return Finding(Health.UNKNOWN, "no pod of it was seen")
    return worst_of([pod_finding(pod) for pod in snapshot.pods])


def stays_broken(snapshot: Snapshot, action: Action) -> bool:
    """Whether what is broken is so for good, as far as its own controller says, or stays so unless somebody acts."""
    if snapshot.workload is not None and snapshot.workload.progress_failed:
        return True
    failed_job = snapshot.job is not None and snapshot.job.has_failed
    return failed_job or _name_of(action) is not None or isinstance(action, _MAKES_ROOM)


def same_fault(before: Snapshot, after: Snapshot, action: Action, alerts: Iterable[str] = (), room: float = ENOUGH_ROOM) -> bool:
    """Whether what was wrong before is wrong still: of what consists of pods, a fault of theirs; else the thing itself.

    Where its autoscaler counts, also that it is at its maximum and wants more.
    """
    if counts_autoscaler(action, before.target.kind, alerts) and all(_is_limited(seen) for seen in (before, after)):
        return True
    if faults_in(before).keys() & faults_in(after).keys():
        return True
    unwell = [finding_of(seen, action, room=room).health is Health.UNHEALTHY for seen in (before, after)]
    return not before.target.kind.is_workload and all(unwell)


def only_limited(after: Snapshot, action: Action, alerts: Iterable[str] = ()) -> bool:
    """Whether all of a workload's pods are well, where its autoscaler counts as well and may not be."""
    counts = after.autoscaler is not None and counts_autoscaler(action, after.target.kind, alerts)
    return counts and workload_finding(after).health is Health.HEALTHY


def is_eased(before: Snapshot, after: Snapshot, action: Action, alerts: Iterable[str] = ()) -> bool:
    """Whether nothing but its autoscaler is unwell any more, and more of its pods are well than before."""
    if not only_limited(after, action, alerts) or before.workload is None or after.workload is None:
        return False
    return workload_finding(before).health is not Health.HEALTHY or after.workload.available > before.workload.available


def left_unused(before: Snapshot, after: Snapshot, action: Action) -> bool:
    """Whether an autoscaler that wanted more than its maximum has taken none of what it was given: its load fell by itself then."""
    if not isinstance(action, SetAutoscalerBounds) or before.autoscaler is None or after.autoscaler is None:
        return False
    return _is_limited(before) and after.autoscaler.current <= before.autoscaler.maximum


def _is_limited(snapshot: Snapshot) -> bool:
    return snapshot.autoscaler is not None and autoscaler_finding(snapshot.autoscaler).health is Health.UNHEALTHY


def faults_in(snapshot: Snapshot) -> Counter[Fault]:
    """How many live pods show which fault."""
    return Counter(fault for pod in live_pods(snapshot) if (fault := fault_of(pod)) is not None)


def restarts_since(before: Snapshot, after: Snapshot) -> int:
    """Container restarts between two snapshots; a pod that is new since has had all of its restarts since.

    None are known where the pods of before were not seen, so none is counted.
    """
    if not (before.saw("pods") or before.saw("pod")):
        return 0
    earlier = {(pod.uid, container.name): container.restarts for pod in before.pods for container in pod.containers}
    return sum(
        max(container.restarts - earlier.get((pod.uid, container.name), 0), 0) for pod in live_pods(after) for container in pod.containers
    )


def most_restarts_of_new(before: Snapshot, after: Snapshot) -> int:
    """The most restarts that any container has had in a pod that was made since."""
    known = {pod.uid for pod in before.pods}
    return max((_restarts(pod) for pod in live_pods(after) if pod.uid not in known), default=0)


def _restarts(pod: PodView) -> int:
    return max((container.restarts for container in pod.containers), default=0)


def left_a_trace(before: Snapshot, after: Snapshot, action: Action) -> bool:
    """Whether anything shows that the target was acted on.

    That is a new generation of the workload, other pods, a newer start of the unit that it is about, or the Job that only this
    operation makes. What was not seen on both sides shows nothing.
    """
    if isinstance(action, RerunJob):
        return after.job is not None
    if before.workload and after.workload and before.workload.generation != after.workload.generation:
        return True
    if _both_saw(before, after, "pods") and {pod.uid for pod in before.pods} != {pod.uid for pod in after.pods}:
        return True
    pattern = _name_of(action)
    if pattern is None or not all(_both_saw(before, after, sensor) for sensor in sensors_for(action, before.target.kind)):
        return False
    started = {unit.name: unit.since for unit in _of_name(before, pattern)}
    return any(started.get(unit.name, unit.since) != unit.since for unit in _of_name(after, pattern))


def _both_saw(before: Snapshot, after: Snapshot, sensor: str) -> bool:
    return before.saw(sensor) and after.saw(sensor)


def unit_restarts_since(before: Snapshot, after: Snapshot, action: Action) -> int:
    """Restarts between two snapshots of the units or containers of a host that the action is about."""
    pattern = _name_of(action)
    if pattern is None:
        return 0
    earlier = {unit.name: unit.restarts for unit in before.units}
    return sum(max(unit.restarts - earlier.get(unit.name, unit.restarts), 0) for unit in _of_name(after, pattern))
