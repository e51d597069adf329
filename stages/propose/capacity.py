"""The templates against a lack of something: more replicas, wider bounds of an autoscaler, a higher memory limit.

Each is bounded by a setting. Whether the nodes have the room is for the preflight to say.
"""

from __future__ import annotations

from schemas.action import ScaleWorkload, SetAutoscalerBounds, SetMemoryLimit
from schemas.diagnosis import Fault, fault_of, live_pods, wants_more, why_blind
from schemas.evidence import AutoscalerView, ContainerView
from schemas.target import Kind
from stages.propose.case import Case, Suggestion
from stages.propose.investigation import investigate
from stages.propose.options import ProposeOptions

_MEBIBYTE = 2**20
_KILLED = "OOMKilled"


def scale_up(case: Case, options: ProposeOptions) -> Suggestion:
    """Against latency: `scale_step` more replicas, or more room for the autoscaler."""
    return _more(case, _desired(case) + options.scale_step, options, "It answers slowly: one more replica shares the load.")


def scale_for_resources(case: Case, options: ProposeOptions) -> Suggestion:
    """Against a lack of cpu or memory: `resource_replicas` replicas, or more room for the autoscaler."""
    return _more(case, options.resource_replicas, options, "It lacks cpu or memory: more replicas share the load.")


def _more(case: Case, replicas: int, options: ProposeOptions, reason: str) -> Suggestion:
    question = f"What should relieve {case.target}?"
    if case.snapshot.autoscaler is not None:
        return _autoscaled(case, case.snapshot.autoscaler, options)
    if case.target.kind is Kind.DAEMONSET:
        return investigate(case, "A DaemonSet has one pod for each node: it cannot be scaled.", question=question)
    desired = _desired(case)
    if replicas <= desired or replicas > options.scale_limit:
        return investigate(case, f"It has {desired} replicas already: more are not added without a person.", question=question)
    return Suggestion(
        action=ScaleWorkload(target=case.target, replicas=replicas),
        reasons=(reason, f"It has {desired} replicas now; {replicas} are proposed."),
        confidence=0.5,
    )


def _autoscaled(case: Case, scaler: AutoscalerView, options: ProposeOptions) -> Suggestion:
    """An autoscaler holds the number of replicas: only its bounds can be moved, and only where it is at the upper one and wants more."""
    question = f"What should relieve {case.target}?"
    pods = max(scaler.current, scaler.desired)
    if not scaler.maxed:
        why = f"Autoscaler {scaler.name} may go up to {scaler.maximum} replicas and has {pods}: a lack of replicas is not what it sees."
        return investigate(case, why, question=question)
    if blind := why_blind(scaler):
        return investigate(case, f"Autoscaler {scaler.name} cannot tell how many replicas are needed: {blind}.", question=question)
    if wants_more(scaler) is False:
        why = f"Autoscaler {scaler.name} is at its maximum of {scaler.maximum} and wants no more: a higher one would change nothing."
        return investigate(case, why, question=question)
    maximum = scaler.maximum + options.autoscaler_step
    if maximum > options.autoscaler_limit:
        why = f"Autoscaler {scaler.name} is at its maximum of {scaler.maximum}, and more than {options.autoscaler_limit} is not proposed."
        return investigate(case, why, question=question)
    wish = "wants more" if wants_more(scaler) else "can give no more"
    return Suggestion(
        action=SetAutoscalerBounds(target=case.target, autoscaler=scaler.name, minimum=scaler.minimum, maximum=maximum),
        reasons=(
            f"Autoscaler {scaler.name} is at its maximum of {scaler.maximum} replicas and {wish}.",
            f"A maximum of {maximum} lets it add {options.autoscaler_step}, if it sees the load; its minimum stays {scaler.minimum}.",
        ),
        confidence=0.5,
    )


def raise_limit(case: Case, options: ProposeOptions, *, otherwise: Suggestion) -> Suggestion:
    """Twice the memory limit of the container that is killed for lack of memory; `otherwise` where that is not possible."""
    killed = next((container for container in _killed(case) if container.memory_limit), None)
    if killed is None or killed.memory_limit is None:
        return otherwise
    wanted = 2 * killed.memory_limit
    if wanted > options.memory_limit * _MEBIBYTE:
        return otherwise
    return Suggestion(
        action=SetMemoryLimit(target=case.target, container=killed.name, memory=_quantity(wanted)),
        reasons=(
            f"Container {killed.name} is killed at its memory limit of {_quantity(killed.memory_limit)}, {killed.restarts} times so far.",
            f"Twice as much, {_quantity(wanted)}, is proposed: a restart alone would meet the same limit again.",
        ),
        confidence=0.6,
        root_cause=f"container {killed.name} needs more memory than {_quantity(killed.memory_limit)}, or it leaks",
        otherwise=otherwise,
    )


def _killed(case: Case) -> list[ContainerView]:
    pods = [pod for pod in live_pods(case.snapshot) if fault_of(pod) is Fault.MEMORY]
    return [one for pod in pods for one in pod.containers if _KILLED in (one.terminated, one.last_terminated)]


def _quantity(size: int) -> str:
    """Bytes as Kubernetes spells them; exact."""
    return f"{size // _MEBIBYTE}Mi" if size % _MEBIBYTE == 0 else str(size)


def _desired(case: Case) -> int:
    assert case.snapshot.workload is not None
    return case.snapshot.workload.desired
