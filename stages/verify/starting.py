"""Whether a rollout was, or is, only under way: a look then tells little of what was done. Pure reading of snapshots."""

from __future__ import annotations

from schemas.action import Action, RollBackWorkload
from schemas.diagnosis import Fault, fault_of, live_pods, pod_finding
from schemas.evidence import PodView, Snapshot
from schemas.words import Health
from stages.verify.evidence import faults_in


def only_starting(before: Snapshot, after: Snapshot) -> bool:
    """Whether all that is wrong with a workload is that pods made since `before` are being started, none of which shows a fault.

    What is wrong with pods of before that its rollout has still to replace tells nothing then. Never where its controller says
    that the rollout is stuck.
    """
    if not (before.saw("pods") and after.saw("pods")) or after.workload is None or after.workload.progress_failed:
        return False
    known = {pod.uid for pod in before.pods}
    unwell = [pod for pod in live_pods(after) if pod_finding(pod).health is not Health.HEALTHY]
    new = [pod for pod in unwell if pod.uid not in known]
    return bool(new) and all(_starts(pod) for pod in new) and (len(new) == len(unwell) or _rolls_out(before, after))


def was_under_way(before: Snapshot | None, action: Action) -> bool:
    """Whether all that was wrong before may have been that a rollout had not ended yet, so that waiting had healed it as well.

    New pods that are not ready yet look like wedged ones: while all that are wanted are available, only a rollback heals those.
    Not for restarts: what is stuck, such as a pod on a lost node, shows no fault, and they heal it.
    """
    if before is None or before.workload is None:
        return False
    faults = faults_in(before)
    if not faults:
        return True
    served = before.workload.available >= before.workload.desired
    return served and not any(fault.is_broken for fault in faults) and not isinstance(action, RollBackWorkload)


def _starts(pod: PodView) -> bool:
    return fault_of(pod) in (None, Fault.UNREADY) and not any(container.restarts for container in pod.containers)


def _rolls_out(before: Snapshot, after: Snapshot) -> bool:
    """Whether the workload was changed since, and has still pods to replace."""
    earlier, later = before.workload, after.workload
    if earlier is None or later is None or (earlier.uid, earlier.generation) == (later.uid, later.generation):
        return False
    return later.updated < later.desired or len(live_pods(after)) > later.desired
