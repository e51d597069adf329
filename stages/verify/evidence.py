"""What two snapshots say about the target of one action: its health, its faults, and what happened in between. Pure reading."""

from __future__ import annotations

import re
from collections import Counter

from schemas.action import Action, DeletePod, EvictPod, RestartComposeService, RestartContainer, RestartUnit
from schemas.diagnosis import Fault, Finding, fault_of, live_pods, pod_finding, unit_finding, workload_finding
from schemas.evidence import PodView, Snapshot, UnitView
from schemas.target import Kind
from schemas.words import Health


def finding_of(snapshot: Snapshot, action: Action) -> Finding:
    """The health of what the action is about; unknown when it could not be measured."""
    kind = snapshot.target.kind
    if (pattern := _name_of(action)) is not None:
        return _unit(snapshot, pattern)
    if snapshot.exists is False:
        return Finding(Health.ABSENT, "it does not exist")
    if not snapshot.measured:
        return Finding(Health.UNKNOWN, "no sensor answered")
    # A pod that is being deleted counts as gone: on a node that is down it stays so for good, and its controller does not wait.
    if isinstance(action, DeletePod | EvictPod) and any(pod.uid == action.uid and not pod.deleting for pod in snapshot.pods):
        return Finding(Health.PROGRESSING, f"pod {action.target.name} is still there")
    if kind.is_workload:
        return workload_finding(snapshot)
    if kind is Kind.NODE:
        return _node(snapshot)
    if kind is Kind.HOST:
        return _host(snapshot)
    return _pods(snapshot)


def _name_of(action: Action) -> re.Pattern[str] | None:
    """How the unit or the containers are named that the action restarts, or None for other actions."""
    match action:
        case RestartUnit():
            return re.compile(rf"{re.escape(action.unit)}(?:\.service)?")
        case RestartContainer():
            return re.compile(re.escape(action.container))
        case RestartComposeService():
            project = re.escape(action.project) or ".+"
            service = re.escape(action.service)
            return re.compile(rf"{project}/{service}|{project}[-_]{service}[-_]\d+|{service}")
        case _:
            return None


def _unit(snapshot: Snapshot, name: re.Pattern[str]) -> Finding:
    """The worst of those of that name, for a compose service may have several containers."""
    findings = [unit_finding(unit) for unit in snapshot.units if name.fullmatch(unit.service) or name.fullmatch(unit.name)]
    bad = [one for one in findings if one.health is not Health.HEALTHY]
    return bad[0] if bad else findings[0] if findings else Finding(Health.UNKNOWN, "what was restarted was not seen")


def _node(snapshot: Snapshot) -> Finding:
    if snapshot.node_ready is None:
        return Finding(Health.UNKNOWN, "its conditions could not be measured")
    return Finding(Health.HEALTHY, "ready") if snapshot.node_ready else Finding(Health.UNHEALTHY, "not ready")


def _host(snapshot: Snapshot) -> Finding:
    down: list[UnitView] = [unit for unit in snapshot.units if unit_finding(unit).health is Health.UNHEALTHY and unit.active == "failed"]
    if down:
        return Finding(Health.UNHEALTHY, f"{len(down)} failed units, such as {down[0].name}")
    return Finding(Health.HEALTHY, "it answers, and no unit has failed")


def _pods(snapshot: Snapshot) -> Finding:
    if not snapshot.pods:
        return Finding(Health.UNKNOWN, "no pod of it was seen")
    findings = [pod_finding(pod) for pod in snapshot.pods]
    return next((one for one in findings if one.health is not Health.HEALTHY), findings[0])


def faults_in(snapshot: Snapshot) -> Counter[Fault]:
    """How many live pods show which fault."""
    return Counter(fault for pod in live_pods(snapshot) if (fault := fault_of(pod)) is not None)


def restarts_since(before: Snapshot, after: Snapshot) -> int:
    """Container restarts between two snapshots; a pod that is new since has had all of its restarts since."""
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


def left_a_trace(before: Snapshot, after: Snapshot) -> bool:
    """Whether anything shows that the target was acted on: a new generation of the workload, or other pods, or a newer start of a unit."""
    if before.workload and after.workload and before.workload.generation != after.workload.generation:
        return True
    started = {unit.name: unit.since for unit in before.units}
    return {pod.uid for pod in before.pods} != {pod.uid for pod in after.pods} or any(
        started.get(unit.name, unit.since) != unit.since for unit in after.units
    )


def unit_restarts_since(before: Snapshot, after: Snapshot, action: Action) -> int:
    """Restarts between two snapshots of the units or containers of a host that the action is about."""
    pattern = _name_of(action)
    if pattern is None:
        return 0
    earlier = {unit.name: unit.restarts for unit in before.units}
    return sum(
        max(unit.restarts - earlier.get(unit.name, unit.restarts), 0)
        for unit in after.units
        if pattern.fullmatch(unit.service) or pattern.fullmatch(unit.name)
    )
