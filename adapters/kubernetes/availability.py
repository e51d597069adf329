"""Which revisions of a workload are known to have been fully available, from what Kubernetes really keeps. Pure functions.

Kubernetes has no record of past health. What it does keep, and what counts here as known:

  serving     a ReplicaSet that wants pods and whose pods are all available now; for the other workloads, a revision all of whose
              pods are ready now
  completed   the condition Progressing of a Deployment with the reason NewReplicaSetAvailable: its message names the ReplicaSet
              whose rollout came to its end, and stays when pods break later. Of a StatefulSet, `currentRevision` where it differs
              from `updateRevision`: it moves only when an update is complete; the first revision alone has it from the start,
              so that one is not believed
  noted       the annotation mendstream.dev/available, written in the same request as a change of ours: what was known of the
              revision that the change replaced, which its rollout would make Kubernetes forget

and, the other way round, the condition Progressing with the reason ProgressDeadlineExceeded names a ReplicaSet whose rollout failed.
Of everything else nothing is known. That a revision is old, or that a later one replaced it, proves nothing. A rollout that was
completed while the Deployment was scaled to zero is told as completed: Kubernetes does not tell the two apart afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from adapters.kubernetes.objects import Condition, ControllerRevision, Pod, Workload

AVAILABLE = "mendstream.dev/available"
REVISION_HASH = "controller-revision-hash"
_NOTED = 8
_NAMED = re.compile(r'"([a-z0-9.-]{1,253})"')


class Known(NamedTuple):
    """What is known of one revision: was it fully available, and from what."""

    available: bool
    why: str


def of_sets(workload: Workload, sets: Iterable[Workload]) -> dict[str, Known]:
    """What is known of a Deployment's ReplicaSets, by name."""
    found: dict[str, Known] = {}
    failed = _named(workload, "ProgressDeadlineExceeded")
    if failed:
        found[failed] = Known(available=False, why="its rollout missed its deadline")
    sets = list(sets)
    for item in [workload, *sets]:
        for name in noted(item.metadata.annotations or {}):
            found[name] = Known(available=True, why="all its pods were available when an earlier action replaced it")
    completed = completed_set(workload)
    if completed:
        found[completed] = Known(available=True, why="its rollout was completed")
    for item in sets:
        wanted, available = item.spec.replicas or 0, item.status.available_replicas or 0
        if 0 < wanted <= available:
            found[item.metadata.name] = Known(available=True, why=f"all of its {wanted} pods are available now")
    return found


def of_revisions(workload: Workload, revisions: Iterable[ControllerRevision], pods: Iterable[Pod]) -> dict[str, Known]:
    """What is known of a StatefulSet's or DaemonSet's ControllerRevisions, by name."""
    found = {
        name: Known(available=True, why="all its pods were available when an earlier action replaced it")
        for name in noted(workload.metadata.annotations or {})
    }
    numbers = {item.metadata.name: item.revision for item in revisions}
    status = workload.status
    current = status.current_revision
    if current in numbers and current != status.update_revision and numbers[current] > min(numbers.values()):
        found[current] = Known(available=True, why="its update was completed")
    for name, (ready, total) in pods_by_revision(pods).items():
        if name in numbers and ready == total:
            found[name] = Known(available=True, why=f"all of its {total} pods are ready now")
    return found


def pods_by_revision(pods: Iterable[Pod]) -> dict[str, tuple[int, int]]:
    """How many pods of each ControllerRevision are ready, and how many there are; pods that are being deleted aside."""
    counts: dict[str, tuple[int, int]] = {}
    for pod in pods:
        name = (pod.metadata.labels or {}).get(REVISION_HASH, "")
        if name and pod.metadata.deletion_timestamp is None:
            ready, total = counts.get(name, (0, 0))
            counts[name] = (ready + pod.ready, total + 1)
    return counts


def completed_set(workload: Workload) -> str:
    """The ReplicaSet of the newest rollout of a Deployment, when that came to its end; else empty."""
    return _named(workload, "NewReplicaSetAvailable") if (workload.spec.replicas or 0) > 0 else ""


def completed_revision(workload: Workload) -> str:
    """The revision of a StatefulSet all of whose pods are of it and ready; else empty."""
    status, wanted = workload.status, workload.spec.replicas or 0
    whole = 0 < wanted == status.ready_replicas == status.replicas
    return status.update_revision if whole and status.current_revision == status.update_revision else ""


def noted(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The revisions that an earlier action of ours noted as available, the newest first."""
    return tuple(name for name in annotations.get(AVAILABLE, "").split(",")[:_NOTED] if name)


def with_note(annotations: Mapping[str, str], name: str) -> dict[str, str]:
    """The annotations with a revision noted as available; eight are kept."""
    if not name:
        return dict(annotations)
    return {**annotations, AVAILABLE: ",".join([name, *(each for each in noted(annotations) if each != name)][:_NOTED])}


def _named(workload: Workload, reason: str) -> str:
    """The ReplicaSet that the condition Progressing names for this reason."""
    for condition in workload.status.conditions or ():
        if condition.type == "Progressing" and condition.reason == reason:
            return _name_in(condition)
    return ""


def _name_in(condition: Condition) -> str:
    match = _NAMED.search(condition.message)
    return match[1] if match else ""
