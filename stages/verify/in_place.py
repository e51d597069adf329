"""Whether what an action set is still there: a GitOps tool, an operator or a person may have taken it back since. Pure reading.

| the action           | in place means                                                     |
|----------------------|--------------------------------------------------------------------|
| scale                | that many replicas are wanted                                      |
| bounds               | the autoscaler has these bounds                                    |
| limit                | the container has this limit in the pod template                   |
| rollback             | the pod template specifies pods as the revision did                |
| cordon, uncordon     | the node is marked so                                              |
| any, of a workload   | and pods of it are still wanted, where some were before the action |

What an action sets nowhere, such as a restart, cannot be taken back.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from adapters.kubernetes.quantities import number_of
from schemas.action import Action, CordonNode, RollBackWorkload, ScaleWorkload, SetAutoscalerBounds, SetMemoryLimit, UncordonNode
from schemas.evidence import Snapshot, WorkloadView


class Standing(StrEnum):
    IN_PLACE = "in_place"
    TAKEN_BACK = "taken_back"
    UNSEEN = "unseen"


class Place(msgspec.Struct, frozen=True):
    """What became of the effect of an action, and how one sees it, in a few words; those are empty where it is in place."""

    standing: Standing
    reason: str = ""


_THERE = Place(Standing.IN_PLACE)


def place_of(action: Action, before: Snapshot | None, after: Snapshot) -> Place:
    """Whether the effect is in place by the snapshot `after`; of `before`, which may be None, it takes what was there to choose from."""
    if isinstance(action, CordonNode | UncordonNode):
        return _marked(after, isinstance(action, CordonNode))
    workload = after.workload
    if workload is None:
        return _THERE  # there is nothing to hold it; its health says that
    found = _set(action, before, after, workload)
    emptied = workload.desired == 0 and before is not None and before.workload is not None and before.workload.desired > 0
    if found is _THERE and emptied and not isinstance(action, ScaleWorkload):
        return _taken("no pod of it is wanted any more")
    return found


def _set(action: Action, before: Snapshot | None, after: Snapshot, workload: WorkloadView) -> Place:
    match action:
        case ScaleWorkload():
            return _THERE if workload.desired == action.replicas else _taken(f"somebody set it to {workload.desired} replicas")
        case SetAutoscalerBounds():
            return _bounded(action, after)
        case SetMemoryLimit():
            limit = workload.memory_limits.get(action.container)
            return _THERE if limit == number_of(action.memory) else _taken(f"somebody set its memory limit to {_size(limit)}")
        case RollBackWorkload():
            return _rolled_back(action, before, workload)
        case _:
            return _THERE


def _bounded(action: SetAutoscalerBounds, after: Snapshot) -> Place:
    scaler = after.autoscaler
    if scaler is None:
        return _taken("its autoscaler is gone") if after.saw("autoscaler") else _unseen("its autoscaler could not be looked at")
    if (scaler.name, scaler.minimum, scaler.maximum) == (action.autoscaler, action.minimum, action.maximum):
        return _THERE
    return _taken(f"somebody set autoscaler {scaler.name} to {scaler.minimum} to {scaler.maximum} replicas")


def _rolled_back(action: RollBackWorkload, before: Snapshot | None, workload: WorkloadView) -> Place:
    revisions = before.revisions if before else ()
    wanted = next((one for one in revisions if one.revision == action.to_revision), None)
    if wanted is None:
        return _unseen(f"nothing was kept of what revision {action.to_revision} was, to see whether it is still there")
    if workload.images != wanted.images:
        return _taken(f"somebody changed its images to {', '.join(workload.images)}")
    if wanted.template and wanted.template != workload.template:
        return _taken("somebody changed how its pods are specified, though not their images")
    return _THERE


def _marked(after: Snapshot, wanted: bool) -> Place:
    if after.exists is False:
        return _taken("the node is gone")
    node = next((one for one in after.nodes if one.name == after.target.name), None)
    if node is None:
        return _unseen("the node could not be looked at")
    if node.cordoned is wanted:
        return _THERE
    return _taken("somebody lets pods onto the node again" if wanted else "somebody keeps pods away from the node again")


def _size(limit: int | None) -> str:
    return "none" if limit is None else f"{limit / 2**20:.4g} MiB"


def _taken(reason: str) -> Place:
    return Place(Standing.TAKEN_BACK, reason)


def _unseen(reason: str) -> Place:
    return Place(Standing.UNSEEN, reason)
