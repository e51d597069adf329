"""From a step to its action: the values are put in, and what comes out is that very kind of action, on the target or what is part of it.

A value that was looked up may have been written by anybody. It is a name or it is nothing, and it must name what was seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import msgspec

from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    HostAction,
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
    is_observation,
    is_unit_name,
    unit_name,
)
from schemas.evidence import PodView, Snapshot
from schemas.facts import Facts
from schemas.playbook_steps import ACTIONS, Step, looked_up, own_fields
from schemas.target import Kind, Target
from schemas.text import clean

_NAME = re.compile(r"[A-Za-z0-9@_.:][A-Za-z0-9@_.:-]{0,252}")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_ON_WORKLOAD = (RestartWorkload, RollBackWorkload, ScaleWorkload, SetAutoscalerBounds, SetMemoryLimit, DeletePod, EvictPod)
_ON_NODE = (CordonNode, UncordonNode)
_REPLACES = (RestartWorkload, RollBackWorkload, DeletePod, EvictPod, RerunJob, RestartUnit, RestartContainer, RestartComposeService)


class NotDone(ValueError):
    """The step cannot be done here; the message says why, in words that follow the name of its action."""


def build(step: Step, snapshot: Snapshot, facts: Facts, *, chosen: bool) -> Action:
    """The action of a step on the snapshot's target. Raises NotDone.

    `chosen` says that conditions on evidence led to it; without any, what is well, or was not measured, is not replaced.
    """
    action = ACTIONS[type(step).__name__]
    if why := _misplaced(action, snapshot.target):
        raise NotDone(why)
    if issubclass(action, _REPLACES) and not chosen and facts.get("evidence.well") is not False:
        raise NotDone("is for what is not well, and it was not seen to be so")
    values = {name: _value(value, facts, plain=name == "reason") for name, value in own_fields(step).items()}
    target: Target = snapshot.target
    if "pod" in values:
        pod = _pod(values.pop("pod"), snapshot)
        values["uid"] = pod.uid
        target = msgspec.structs.replace(target, kind=Kind.POD, name=pod.name)
    try:
        made = cast("Action", msgspec.convert({"do": action.__name__, "target": msgspec.to_builtins(target), **values}, action))
    except msgspec.ValidationError as error:
        raise NotDone(f"cannot be: {clean(str(error), 200)}") from None
    _require_seen(made, snapshot)
    return made


def _misplaced(action: type, target: Target) -> str:
    wanted = ""
    if issubclass(action, _ON_WORKLOAD) and not target.kind.is_workload:
        wanted = "a workload"
    elif issubclass(action, _ON_NODE) and target.kind is not Kind.NODE:
        wanted = "a node"
    elif issubclass(action, HostAction.__args__) and target.kind is not Kind.HOST:
        wanted = "a host"
    elif issubclass(action, RerunJob) and target.kind is not Kind.JOB:
        wanted = "a Job"
    return f"is for {wanted}, and the alert is about {target}" if wanted else ""


def _value(value: Any, facts: Facts, *, plain: bool) -> Any:
    """What is written down, or what is known by the name that it looks up. Raises NotDone."""
    if plain or not isinstance(value, str) or not (name := looked_up(value)):
        return msgspec.to_builtins(value)
    found = facts.get(name)
    if found is None:
        raise NotDone(f"needs {name}, which is not known")
    if isinstance(found, str) and _NAME.fullmatch(found) is None:
        raise NotDone(f"needs a name in {name}, and {clean(found, 60)!r} is none")
    return found


def _pod(name: str, snapshot: Snapshot) -> PodView:
    pod = next((one for one in snapshot.pods if one.name == name and not one.deleting), None)
    if pod is None:
        raise NotDone(f"needs a pod of {snapshot.target}, and {clean(name, 60)!r} was not seen to be one")
    return pod


def _require_seen(action: Action, snapshot: Snapshot) -> None:
    """Lets only an action pass that is about what was seen of the target, and that changes something. Raises NotDone."""
    if is_observation(action):
        return
    check = _CHECKS.get(type(action))
    if check is not None:
        check(action, snapshot)


def _one_of(what: str, name: str, seen: Collection[str]) -> None:
    if name not in seen:
        raise NotDone(f"needs a {what} of the target, and {clean(name, 60)!r} was not seen to be one")


def _revision(action: RollBackWorkload, snapshot: Snapshot) -> None:
    _one_of("revision", str(action.to_revision), [str(one.revision) for one in snapshot.revisions if not one.current and not one.same])


def _replicas(action: ScaleWorkload, snapshot: Snapshot) -> None:
    if snapshot.autoscaler is not None:
        raise NotDone(f"changes nothing: autoscaler {snapshot.autoscaler.name} holds its replicas")
    if snapshot.workload is None or snapshot.workload.desired in (0, action.replicas) or action.replicas < 1:
        raise NotDone("changes nothing: it has so many replicas, or is switched off, or that was not measured")


def _bounds(action: SetAutoscalerBounds, snapshot: Snapshot) -> None:
    scaler = snapshot.autoscaler
    _one_of("autoscaler", action.autoscaler, [scaler.name] if scaler else [])
    if scaler is not None and (action.minimum, action.maximum) == (scaler.minimum, scaler.maximum):
        raise NotDone("changes nothing: the autoscaler has these bounds")
    if not 1 <= action.minimum <= action.maximum:
        raise NotDone("needs a minimum of 1 at least, and no more than the maximum")


def _limited(action: SetMemoryLimit, snapshot: Snapshot) -> None:
    _one_of("container", action.container, {one.name for pod in snapshot.pods for one in pod.containers})
    limits = snapshot.workload.memory_limits if snapshot.workload else {}
    if (size := _bytes(action.memory)) is not None and limits.get(action.container) == size:
        raise NotDone("changes nothing: the container has that limit")


def _bytes(quantity: str) -> int | None:
    """A quantity of memory as Kubernetes spells it, in bytes; None for a spelling that is not simple."""
    match = re.fullmatch(r"(\d{1,15})(Ki|Mi|Gi|Ti|k|M|G|T)?", quantity)
    return int(match[1]) * _UNITS[match[2] or ""] if match else None


def _unit(action: RestartUnit, snapshot: Snapshot) -> None:
    _one_of("unit", unit_name(action.unit), {one.name for one in snapshot.units})


def _container(action: RestartContainer | TruncateContainerLog, snapshot: Snapshot) -> None:
    _one_of("container", action.container, {one.name for one in snapshot.units if not is_unit_name(one.name)})


def _service(action: RestartComposeService, snapshot: Snapshot) -> None:
    seen = [one.service.partition("/") for one in snapshot.units if one.service]
    _one_of("compose service", action.service, {name for project, _, name in seen if action.project in ("", project)})


_CHECKS: Mapping[type, Callable[[Any, Snapshot], None]] = {
    RollBackWorkload: _revision,
    ScaleWorkload: _replicas,
    SetAutoscalerBounds: _bounds,
    SetMemoryLimit: _limited,
    RestartUnit: _unit,
    RestartContainer: _container,
    TruncateContainerLog: _container,
    RestartComposeService: _service,
}
