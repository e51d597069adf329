"""Which revisions of a workload are known to have been fully available, from what Kubernetes really keeps. Pure functions.

Kubernetes has no record of past health. What it does keep, and what counts here as known:

  serving     a ReplicaSet whose pods are all available now, and no fewer than a rollout of its Deployment must leave available (all,
              where it need leave none); for the other workloads, a revision of which the same is true of ready pods
  completed   the condition Progressing of a Deployment with the reason NewReplicaSetAvailable: its message names the ReplicaSet
              whose rollout came to its end, and stays when pods break later. Of a StatefulSet, `currentRevision` where it differs
              from `updateRevision`: it moves only when an update is complete; the first revision alone has it from the start,
              so that one is not believed
  noted       the annotation mendstream.dev/available, written in the same request as a change of ours: the revision that the change
              replaced, where every pod of the workload was available then and none had ever restarted. Never one that was rolled
              back from: that its rollout was completed once says little, for a container without a readiness probe that runs for
              three seconds completes it

and, the other way round,

  failed      the condition Progressing with the reason ProgressDeadlineExceeded: it names a ReplicaSet whose rollout failed
  rolled back the annotation mendstream.dev/rolled-back-from, written in the same request as a rollback of ours: the number of the
              revision that it left. Whoever brings that revision again gives it a new number, of which nothing is said

Of everything else nothing is known. That a revision is old, or that a later one replaced it, proves nothing. A rollout that was
completed while the Deployment was scaled to zero is told as completed: Kubernetes does not tell the two apart afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from adapters.kubernetes.objects import Condition, ControllerRevision, Pod, Workload
from adapters.kubernetes.rollouts import desired_of, revision_number, unavailable_at_once
from schemas.target import Kind

AVAILABLE = "mendstream.dev/available"
ROLLED_BACK = "mendstream.dev/rolled-back-from"
REVISION_HASH = "controller-revision-hash"
_KEPT = 8
_NAMED = re.compile(r'"([a-z0-9.-]{1,253})"')


class Known(NamedTuple):
    """What is known of one revision: was it fully available, and from what.

    `rolled_back`: an earlier action left it, which says that it is none to go back to, not that it surely failed.
    """

    available: bool
    why: str
    rolled_back: bool = False


_NOTED = Known(available=True, why="all its pods were available when an earlier action replaced it")
_LEFT = Known(available=False, why="an earlier action rolled back from it", rolled_back=True)


def of_sets(workload: Workload, sets: Iterable[Workload]) -> dict[str, Known]:
    """What is known of a Deployment's ReplicaSets, by name."""
    found: dict[str, Known] = {}
    failed = _named(workload, "ProgressDeadlineExceeded")
    if failed:
        found[failed] = Known(available=False, why="its rollout missed its deadline")
    sets = list(sets)
    for item in [workload, *sets]:
        found |= dict.fromkeys(noted(item.metadata.annotations or {}, AVAILABLE), _NOTED)
    completed = completed_set(workload)
    if completed:
        found[completed] = Known(available=True, why="its rollout was completed")
    least = _least(workload, Kind.DEPLOYMENT)
    for item in sets:
        wanted, available = item.spec.replicas or 0, item.status.available_replicas or 0
        if 0 < max(wanted, least) <= available:
            found[item.metadata.name] = Known(available=True, why=f"all of its {wanted} pods are available now")
    return found | _left([workload, *sets], {item.metadata.name: revision_number(item) for item in sets})


def of_revisions(workload: Workload, kind: Kind, revisions: Iterable[ControllerRevision], pods: Iterable[Pod]) -> dict[str, Known]:
    """What is known of a StatefulSet's or DaemonSet's ControllerRevisions, by name."""
    found = dict.fromkeys(noted(workload.metadata.annotations or {}, AVAILABLE), _NOTED)
    numbers = {item.metadata.name: item.revision for item in revisions}
    status = workload.status
    current = status.current_revision
    if current in numbers and current != status.update_revision and numbers[current] > min(numbers.values()):
        found[current] = Known(available=True, why="its update was completed")
    for name, (ready, total) in pods_by_revision(pods).items():
        if name in numbers and max(total, _least(workload, kind)) <= ready:
            found[name] = Known(available=True, why=f"all of its {total} pods are ready now")
    return found | _left([workload], numbers)


def _least(workload: Workload, kind: Kind) -> int:
    """How many available pods a rollout must leave; all that are wanted, where it need leave none."""
    desired = desired_of(workload, kind)
    return max(desired - unavailable_at_once(workload, kind, desired), 0) or desired


def _left(noting: Iterable[Workload], numbers: Mapping[str, int | None]) -> dict[str, Known]:
    """The revisions, by name, that an earlier action rolled back from and that nobody has brought again since."""
    left = {word for item in noting for word in noted(item.metadata.annotations or {}, ROLLED_BACK)}
    return {name: _LEFT for name, number in numbers.items() if str(number) in left}


def pods_by_revision(pods: Iterable[Pod]) -> dict[str, tuple[int, int]]:
    """How many pods of each ControllerRevision are ready, and how many there are, by name; pods that are being deleted aside."""
    counts: dict[str, tuple[int, int]] = {}
    for pod in pods:
        name = (pod.metadata.labels or {}).get(REVISION_HASH, "")
        if (owner := pod.metadata.controller) is not None and owner.kind == "DaemonSet":
            name = f"{owner.name}-{name}"  # its pods carry the hash alone, those of a StatefulSet the whole name
        if name and pod.metadata.deletion_timestamp is None:
            ready, total = counts.get(name, (0, 0))
            counts[name] = (ready + pod.ready, total + 1)
    return counts


def completed_set(workload: Workload) -> str:
    """The ReplicaSet of the newest rollout of a Deployment, when that came to its end; else empty."""
    return _named(workload, "NewReplicaSetAvailable") if (workload.spec.replicas or 0) > 0 else ""


def whole_revision(workload: Workload) -> str:
    """The revision of a Deployment or StatefulSet that all its pods are of, with all that are wanted available now; else empty."""
    status, wanted = workload.status, workload.spec.replicas or 0
    available = status.ready_replicas if status.available_replicas is None else status.available_replicas
    counts = {status.replicas, status.updated_replicas, status.ready_replicas, available}
    if not wanted or counts != {wanted} or status.observed_generation != workload.metadata.generation:
        return ""
    return completed_set(workload) or (status.update_revision if status.current_revision == status.update_revision else "")


def noted(annotations: Mapping[str, str], key: str) -> tuple[str, ...]:
    """The revisions that earlier actions of ours noted in this annotation, the newest first."""
    return tuple(word for word in annotations.get(key, "").split(",")[:_KEPT] if word)


def with_note(annotations: Mapping[str, str], key: str, word: str) -> dict[str, str]:
    """The annotations with a revision noted in this one; eight are kept."""
    if not word:
        return dict(annotations)
    return {**annotations, key: ",".join([word, *(each for each in noted(annotations, key) if each != word)][:_KEPT])}


def _named(workload: Workload, reason: str) -> str:
    """The ReplicaSet that the condition Progressing names for this reason."""
    for condition in workload.status.conditions or ():
        if condition.type == "Progressing" and condition.reason == reason:
            return _name_in(condition)
    return ""


def _name_in(condition: Condition) -> str:
    match = _NAMED.search(condition.message)
    return match[1] if match else ""
