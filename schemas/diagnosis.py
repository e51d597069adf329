"""What one snapshot says: the faults of its pods and the health of its workload. Pure reading of typed state, for every stage alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from schemas.evidence import (
    AutoscalerView,
    ConditionView,
    ContainerView,
    FileSystemView,
    JobView,
    PodView,
    Snapshot,
    UnitView,
    WorkloadView,
)
from schemas.words import Health

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable"})
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError"})
_CRASH = frozenset({"CrashLoopBackOff", "RunContainerError", "StartError", "PostStartHookError"})
_ENDED_WELL = frozenset({"", "Completed"})
_AT_MAXIMUM = re.compile(r"(?:hpa|autoscaler)(?:at|is|scale|scaling|replicas|[ _-])*max", re.IGNORECASE)
_SEVERITY = (Health.ABSENT, Health.UNHEALTHY, Health.UNKNOWN, Health.PROGRESSING, Health.HEALTHY)


ENOUGH_ROOM = 0.15
"""The share of a file system that is to be free, unless told otherwise: with less the kubelet, too, takes what images lie on for full."""

_BY_CHECK = {"unhealthy": Health.UNHEALTHY, "starting": Health.PROGRESSING}
"""What Docker says of the health check of a container that runs, where it is not `healthy`."""


class Fault(StrEnum):
    """What is wrong with one pod."""

    CRASH = "crashes"
    MEMORY = "is killed for lack of memory"
    PULL = "cannot pull its image"
    CONFIG = "lacks configuration that it refers to"
    UNSCHEDULED = "fits no node"
    ENDED = "has failed"
    UNREADY = "runs but is not ready"

    @property
    def heals_by_restart(self) -> bool:
        """Whether new pods of the same template could be better than these."""
        return self in (Fault.CRASH, Fault.MEMORY, Fault.ENDED, Fault.UNREADY)

    @property
    def is_broken(self) -> bool:
        """Whether waiting alone is unlikely to help: an unready pod may just be starting."""
        return self is not Fault.UNREADY


class Finding(msgspec.Struct, frozen=True):
    """The health of one thing, and why, in a few words."""

    health: Health
    reason: str


def fault_of(pod: PodView) -> Fault | None:
    """What is wrong with a pod; None when nothing is, when it is being deleted, and while it is being started."""
    if pod.deleting or pod.phase == "Succeeded":
        return None
    for container in pod.containers:
        if (fault := _container_fault(container)) is not None:
            return fault
    if pod.phase == "Failed":
        return Fault.ENDED
    if pod.phase == "Pending":
        return Fault.UNSCHEDULED if pod.reason == "Unschedulable" else None
    return None if pod.ready else Fault.UNREADY


def _container_fault(container: ContainerView) -> Fault | None:
    if container.waiting in _PULL:
        return Fault.PULL
    if container.waiting in _CONFIG:
        return Fault.CONFIG
    if "OOMKilled" in (container.terminated, container.last_terminated if container.waiting in _CRASH else ""):
        return Fault.MEMORY
    if container.waiting in _CRASH or container.terminated not in _ENDED_WELL:
        return Fault.CRASH
    return None


def pod_finding(pod: PodView) -> Finding:
    """The health of a pod; one that runs but is not ready, or is being started, is progressing."""
    fault = fault_of(pod)
    if fault is None:
        if pod.ready or pod.phase == "Succeeded":
            return Finding(Health.HEALTHY, "ready" if pod.ready else "completed")
        return Finding(Health.PROGRESSING, "is being deleted" if pod.deleting else "is being started")
    waiting = next((container.waiting for container in pod.containers if container.waiting), pod.reason)
    detail = f"{fault} ({waiting})" if waiting else str(fault)
    return Finding(Health.UNHEALTHY if fault.is_broken else Health.PROGRESSING, detail)


def workload_finding(snapshot: Snapshot) -> Finding:
    """The health of a workload by its own counts and its pods: healthy only when it has converged and nothing is left over.

    Where the pods could not be seen, its counts can still say that it is not well, and never that it is.
    """
    workload = snapshot.workload
    if snapshot.exists is False:
        return Finding(Health.ABSENT, "it does not exist")
    if workload is None:
        return Finding(Health.UNKNOWN, "its state could not be measured")
    if workload.progress_failed:
        return Finding(Health.UNHEALTHY, f"its rollout is stuck: {workload.progress_failed}")
    if workload.observed_generation < workload.generation:
        return Finding(Health.PROGRESSING, "its controller has not seen the newest change yet")
    found = _pods_finding(workload, live_pods(snapshot))
    if found.health is Health.HEALTHY and not snapshot.saw("pods"):
        return Finding(Health.UNKNOWN, f"{found.reason} by its counts, but its pods could not be seen")
    return found


def live_pods(snapshot: Snapshot) -> tuple[PodView, ...]:
    """The pods that count: not those being deleted, nor those that ended and were left lying, such as evicted ones."""
    return tuple(pod for pod in snapshot.pods if not pod.deleting and pod.phase not in ("Failed", "Succeeded"))


def _pods_finding(workload: WorkloadView, live: tuple[PodView, ...]) -> Finding:
    broken = [pod for pod in live if (fault := fault_of(pod)) is not None and fault.is_broken]
    if broken:
        return Finding(Health.UNHEALTHY, f"{len(broken)} of its {len(live)} pods: {broken[0].name} {pod_finding(broken[0]).reason}")
    counts = {"updated": workload.updated, "ready": workload.ready, "available": workload.available}
    short = [f"{count} {name}" for name, count in counts.items() if count < workload.desired]
    if short:
        return Finding(Health.PROGRESSING, f"of {workload.desired} pods wanted: {', '.join(short)}")
    if len(live) > workload.desired:
        return Finding(Health.PROGRESSING, f"{len(live)} pods where {workload.desired} are wanted: old ones are still to go")
    unwell = [pod for pod in live if fault_of(pod) is not None]
    if unwell:  # the counts are its controller's, which comes a moment after the pods
        return Finding(Health.PROGRESSING, f"{len(unwell)} of its {len(live)} pods: {unwell[0].name} {pod_finding(unwell[0]).reason}")
    return Finding(Health.HEALTHY, f"{workload.available} of {workload.desired} pods available")


def wants_more(scaler: AutoscalerView) -> bool | None:
    """Whether an autoscaler wants more replicas than its maximum; None where its controller cannot say, as without metrics."""
    limited = _condition(scaler, "ScalingLimited")
    if limited is None or why_blind(scaler):
        return None
    return limited.status == "True" and limited.reason == "TooManyReplicas"


def why_blind(scaler: AutoscalerView) -> str:
    """Why it cannot tell how many replicas are needed, in its controller's words; empty where it can, or where nothing is told."""
    active = _condition(scaler, "ScalingActive")
    return "" if active is None or active.status == "True" else active.message or active.reason or "no reason is told"


def _condition(scaler: AutoscalerView, kind: str) -> ConditionView | None:
    return next((one for one in scaler.conditions if one.type == kind), None)


def autoscaler_finding(scaler: AutoscalerView) -> Finding:
    """Whether an autoscaler has the replicas that it wants. Unknown where its controller cannot say.

    It is unhealthy at its maximum when it wants more: there is more load than so many pods should carry. One that may have more, or
    has just asked for them, is progressing: its controller looks at the load again, every 15 s as a rule.
    """
    name, more, has = f"autoscaler {scaler.name}", wants_more(scaler), f"{scaler.current} replicas"
    if more is None:
        blind = why_blind(scaler)
        return Finding(Health.UNKNOWN, f"{name} does not tell how many replicas it wants{f': {blind}' if blind else ''}")
    if more and scaler.current >= scaler.maximum:
        return Finding(Health.UNHEALTHY, f"{name} is at its maximum of {scaler.maximum} replicas and wants more")
    if more or scaler.current != scaler.desired:
        return Finding(Health.PROGRESSING, f"{name} had {has} when it looked last, wants other ones, and may have {scaler.maximum}")
    return Finding(Health.HEALTHY, f"{name} has the {has} that it wants, and may have {scaler.maximum}")


def speaks_of_maximum(alerts: Iterable[str]) -> bool:
    """Whether the name of any of these alerts says that an autoscaler is at its maximum, such as KubeHpaMaxedOut."""
    return any(_AT_MAXIMUM.search(alert) for alert in alerts)


def job_finding(job: JobView) -> Finding:
    """The health of a Job: healthy once it has completed, for only that is what it is for."""
    if job.has_failed:
        return Finding(Health.UNHEALTHY, f"it has failed: {job.why_failed or 'no reason is told'}")
    if job.complete:
        return Finding(Health.HEALTHY, f"it has completed, {job.succeeded} of its pods succeeded")
    if job.suspended:
        return Finding(Health.PROGRESSING, "it is suspended")
    return Finding(Health.PROGRESSING, f"it has not ended yet: {job.active} of its pods run, {job.failed} have failed")


def room_finding(system: FileSystemView, enough: float = ENOUGH_ROOM) -> Finding:
    """The health of a file system by the room that is left on it; the share `enough`, 0 to 1, and more is well."""
    room = system.room
    if room is None:
        return Finding(Health.UNKNOWN, f"the size of {system.mount} could not be measured")
    return Finding(Health.HEALTHY if room >= enough else Health.UNHEALTHY, f"{room:.0%} of {system.mount} is free")


def worst_of(findings: Sequence[Finding]) -> Finding:
    """The worst of several, at least one: of those that are equally bad the first."""
    return min(findings, key=lambda one: _SEVERITY.index(one.health))


def unit_finding(unit: UnitView) -> Finding:
    """The health of a systemd unit, or of a container on a host: of one that has a health check, also what that says.

    A service that runs to its end is as well as its last run ended.
    """
    state = f"{unit.active} ({unit.sub})" if unit.sub else unit.active
    if unit.active == "running" and unit.sub in _BY_CHECK:
        return Finding(_BY_CHECK[unit.sub], state)
    if unit.active in ("active", "running"):
        return Finding(Health.HEALTHY, state)
    if unit.active in ("activating", "reloading", "deactivating", "created", "restarting"):
        return Finding(Health.PROGRESSING, state)
    if unit.active == "inactive" and unit.ends:
        return _last_run(unit, state)
    ended = f", its last run ended with {_ending(unit)}" if unit.active == "failed" and unit.result else ""
    return Finding(Health.UNHEALTHY, f"{state}{ended}" or "unknown")


def _last_run(unit: UnitView, state: str) -> Finding:
    """The health of a service between its runs.

    systemd says `success` also of a service that has not run since it was loaded, and of one whose failure it was told to
    forget: only an exit status of 0 beside it tells of a run that ended well.
    """
    if unit.result == "success" and unit.status == 0:
        return Finding(Health.HEALTHY, f"{state}, its last run ended well")
    if unit.status is None and unit.result in ("", "success"):
        return Finding(Health.UNKNOWN, f"{state}, no run of it is known")
    if unit.result in ("", "success"):
        return Finding(Health.UNKNOWN, f"{state}, its last run ended with status {unit.status}, which counts as no failure")
    if unit.result == "exec-condition":
        return Finding(Health.UNKNOWN, f"{state}, its last run was skipped by its own condition")
    return Finding(Health.UNHEALTHY, f"{state}, its last run ended with {_ending(unit)}")


def _ending(unit: UnitView) -> str:
    return f"{unit.result} (status {unit.status})" if unit.status else unit.result
