"""Whether the nodes have room for the pods that an action would make, or make bigger. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from adapters.kubernetes.objects import ContainerSpec, Node, Pod, Template
from adapters.kubernetes.quantities import exact
from schemas.action import ScaleWorkload, SetMemoryLimit
from schemas.preflight import Check
from schemas.words import CheckResult

_GIBIBYTE = 2**30
_NONE = Decimal(0)


class Room(NamedTuple):
    """Memory in bytes and processor cores."""

    memory: Decimal
    cores: Decimal

    def times_in(self, free: Room) -> int:
        """How many of this fit into `free`; a thousand where it needs nothing."""
        shares = [int(have / need) if have > 0 else 0 for have, need in zip(free, self, strict=True) if need > 0]
        return min(shares, default=1000)


def requested(containers: Iterable[ContainerSpec]) -> Room:
    """What the scheduler sets aside for a pod: its requests, and where one is missing the limit, as the API server fills it in."""
    memory = cores = _NONE
    for container in containers:
        limits, requests = container.resources.limits or {}, container.resources.requests or {}
        memory += exact(requests.get("memory", limits.get("memory"))) or _NONE
        cores += exact(requests.get("cpu", limits.get("cpu"))) or _NONE
    return Room(memory, cores)


def free_room(nodes: Iterable[Node], pods: Iterable[Pod], template: Template) -> list[Room] | None:
    """What is left on each node that takes pods of this template: ready, not cordoned, with the labels that it selects, and
    without a taint that it does not tolerate. None where its affinity narrows the nodes further, which is not weighed here."""
    spec = template.get("spec") or {}
    if ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
        return None
    used: dict[str, Room] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
            need, before = requested(pod.spec.containers), used.get(pod.spec.node_name, Room(_NONE, _NONE))
            used[pod.spec.node_name] = Room(before.memory + need.memory, before.cores + need.cores)
    free = []
    for node in nodes:
        if node.ready and not node.spec.unschedulable and _takes(node, spec):
            whole, taken = node.status.allocatable or {}, used.get(node.metadata.name, Room(_NONE, _NONE))
            memory, cores = exact(whole.get("memory")) or _NONE, exact(whole.get("cpu")) or _NONE
            free.append(Room(memory - taken.memory, cores - taken.cores))
    return free


def _takes(node: Node, spec: Mapping[str, Any]) -> bool:
    """Whether the node has the labels that a pod selects, and no taint that keeps the pod away."""
    labels = node.metadata.labels or {}
    taints = [taint for taint in node.spec.taints or () if taint.get("effect") in ("NoSchedule", "NoExecute")]
    selected = all(labels.get(name) == value for name, value in (spec.get("nodeSelector") or {}).items())
    return selected and all(any(_tolerates(one, taint) for one in spec.get("tolerations") or ()) for taint in taints)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """As the scheduler reads it: no effect tolerates every effect, and `Exists` without a key every taint."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("operator") == "Exists":
        return not toleration.get("key") or toleration["key"] == taint.get("key")
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")


def containers_after(action: ScaleWorkload | SetMemoryLimit, template: Template) -> list[ContainerSpec]:
    """The containers of the pods that the action makes."""
    specs: list[Mapping[str, Any]] = (template.get("spec") or {}).get("containers") or []
    found = msgspec.convert(specs, list[ContainerSpec])
    if isinstance(action, ScaleWorkload):
        return found
    raised = []
    for container in found:
        resources = container.resources
        if container.name == action.container:
            resources = msgspec.structs.replace(resources, limits={**(resources.limits or {}), "memory": action.memory})
        raised.append(msgspec.structs.replace(container, resources=resources))
    return raised


def room_check(need: Room, pods: int, free: list[Room] | None) -> Check:
    """The check `room`: whether `pods` more pods fit on the nodes as they are; `free` is None where that could not be read."""
    wanted = f"{pods} more {'pod' if pods == 1 else 'pods'} of {need.memory / _GIBIBYTE:.2f} GiB and {need.cores:.2f} cores"
    if free is None:
        return Check(name="room", result=CheckResult.NOT_CHECKED, detail="what is free on the nodes that it may run on could not be told")
    fit = sum(need.times_in(each) for each in free)
    if fit >= pods:
        return Check(name="room", result=CheckResult.PASSED, detail=f"there is room for {wanted}")
    detail = f"there is no room for {wanted}: {fit} would fit on the {len(free)} nodes that take pods"
    return Check(name="room", result=CheckResult.FAILED, detail=detail)
