"""Which failure has which automatic repair. A pure function: only typed actions, and only on the target of the failed one.

| What failed                                   | How                                         | Repair                      |
|-----------------------------------------------|---------------------------------------------|-----------------------------|
| restart of a workload, unit, container        | the execution, by timeout, network or       | the same restart again      |
| or compose service, reload of nginx           | Kubernetes: known to have failed            |                             |
| restart of a container                        | the execution, for want of space            | its log is emptied          |
| restart of a workload                         | its verification: one pod stayed behind,    | that pod is deleted, by UID |
|                                               | with a fault that a new pod may not have    |                             |

What a permission forbids, what is unknown, and what came back after it had helped has no repair: doing it again would not help.
"""

from __future__ import annotations

import msgspec

from schemas.action import (
    Action,
    DeletePod,
    ReloadNginx,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    TruncateContainerLog,
)
from schemas.diagnosis import fault_of, live_pods
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.evidence import Snapshot
from schemas.target import Kind
from schemas.words import FailureClass, Ground, Outcome, Verdict

_AGAIN = (RestartWorkload, RestartUnit, RestartContainer, RestartComposeService, ReloadNginx)
_PASSING = (FailureClass.TIMEOUT, FailureClass.NETWORK, FailureClass.KUBERNETES)
_FEWEST = 2  # pods, of which one may be deleted: the others must be well


def repair_of_execution(event: ExecutionFinished, failure: FailureClass) -> Action | None:
    """The repair of an execution that is known to have failed; what may have happened is never repeated."""
    if event.outcome is not Outcome.FAILED:
        return None
    action = event.action
    if failure is FailureClass.RESOURCE and isinstance(action, RestartContainer):
        return TruncateContainerLog(target=action.target, container=action.container)
    return action if failure in _PASSING and isinstance(action, _AGAIN) else None


def repair_of_verification(event: VerificationFinished, after: Snapshot | None) -> Action | None:
    """The repair of a restart that was done and left one pod behind; None where nothing was measured, or it came back."""
    if not isinstance(event.action, RestartWorkload) or event.outcome is not Outcome.SUCCEEDED or not event.measured:
        return None
    if event.relapse or event.verdict is Verdict.SUCCESS or event.ground in (Ground.STARTING, Ground.CHANGED_SINCE) or after is None:
        return None
    return pod_left_behind(after)


def pod_left_behind(seen: Snapshot) -> DeletePod | None:
    """The one pod of a workload that is broken while all others are well, where a new pod could be better than it."""
    pods = live_pods(seen)
    broken = [pod for pod in pods if fault_of(pod) is not None]
    if len(pods) < _FEWEST or len(broken) != 1 or not seen.target.kind.is_workload:
        return None
    (pod,) = broken
    fault = fault_of(pod)
    if fault is None or not fault.heals_by_restart or not pod.uid:
        return None
    return DeletePod(target=msgspec.structs.replace(seen.target, kind=Kind.POD, name=pod.name), uid=pod.uid)
