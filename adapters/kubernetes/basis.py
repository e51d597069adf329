"""What an approval rests on: a short hash of the part of the object that an action changes, as it is before it. Pure functions."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from adapters.kubernetes.trees import Tree
from schemas.action import (
    Action,
    CordonNode,
    RerunJob,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
)

_LETTERS = 16


def basis_of(action: Action, live: Tree) -> str:
    """Sixteen hex letters; the same as long as nobody changes what the action changes. Empty where the UID alone binds.

    restart, roll back, limit, rerun: the pod template · scale: `replicas` · bounds: both bounds and what they scale · cordon,
    uncordon: whether it is schedulable · delete, evict, investigate: empty. Status, labels, other fields and the object's version,
    which change all the time, are not part of it.
    """
    spec: Tree = live.get("spec") or {}
    part: Any
    match action:
        case RestartWorkload() | RollBackWorkload() | SetMemoryLimit() | RerunJob():
            part = spec.get("template")
        case ScaleWorkload():
            part = spec.get("replicas")
        case SetAutoscalerBounds():
            part = [spec.get("minReplicas"), spec.get("maxReplicas"), spec.get("scaleTargetRef")]
        case CordonNode() | UncordonNode():
            part = bool(spec.get("unschedulable"))
        case _:
            return ""
    return hashlib.sha256(msgspec.json.encode([action.verb, part], order="sorted")).hexdigest()[:_LETTERS]
