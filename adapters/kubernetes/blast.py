"""Blast radius: from measured facts to a score and a tier. Pure functions; what was not measured counts as the worst."""

from __future__ import annotations

import msgspec

from adapters.kubernetes.objects import Pod, Workload
from adapters.kubernetes.rollouts import desired_of, unavailable_at_once
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    RerunJob,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.preflight import BlastRadius
from schemas.target import Kind
from schemas.words import Tier

_REACH: dict[type, int] = {UncordonNode: 0, CordonNode: 5, DeletePod: 5, EvictPod: 5, RestartWorkload: 5, RerunJob: 5}
_OTHER_REACH = 10
_LOSS, _SERVICE, _SERVICES, _BUDGET = 50, 3, 15, 20
_DATA = {"none": 0, "write": 10, "destructive": 30}
_TIERS = ((90, Tier.BLOCKED), (60, Tier.DUAL), (30, Tier.HUMAN), (0, Tier.AUTO))


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured about an action; None is what could not be.

    `healthy` pods serve now; `lost` of them may be away at once because of the action; `headroom` is the fewest disruptions that
    the budgets over these pods allow, None where no budget covers them; `budgets` says whether that was measured.
    `start_seconds` is how long these pods took from their start to ready; `data` is a word of `BlastRadius.data_impact`.
    """

    healthy: int | None
    lost: int | None
    services: tuple[str, ...] | None
    budgets: bool
    headroom: int | None = None
    data: str | None = "none"
    pods: int | None = None
    replicas: int | None = None
    start_seconds: float | None = None
    returns: bool = True


def blast_radius(action: Action, facts: Facts) -> BlastRadius:
    """The blast radius of an action with these facts.

    score = reach + loss + services + budget + data, 100 at most:
    reach      0 uncordon · 5 cordon, delete, evict, restart, rerun, scale up, bounds that take no pod away ·
               10 roll back, limit, scale down, lower bounds
    loss       50 * healthy pods that may be away at once / healthy pods (0 when none is healthy: nothing is left to lose)
    services   3 for each service in front, 15 at most
    budget     20 when more healthy pods may be away at once than the disruption budgets allow
    data       0 none · 10 write (pods with persistent volumes) · 30 destructive (a pod that nothing makes again)
    tier: auto below 30, human below 60, dual below 90, blocked from 90.
    What was not measured counts as the most that it could be, so it can raise the score and never lower it.
    """
    score = min(100, _reach(action, facts) + _loss(facts) + _services(facts) + _budget(facts) + _DATA.get(facts.data or "destructive", 30))
    downtime = _downtime(facts)
    named = {
        "pods": facts.pods,
        "healthy pods": facts.healthy,
        "pods away at once": facts.lost,
        "services": facts.services,
        "disruption budgets": True if facts.budgets else None,
        "data impact": facts.data,
        "downtime": downtime,
    }
    return BlastRadius(
        score=score,
        tier=tier_of(score),
        pods=facts.pods or 0,
        replicas=facts.replicas or 0,
        services=(facts.services or ())[:5],
        budget_headroom=facts.headroom,
        data_impact=facts.data or "unknown",
        downtime=downtime or 0.0,
        unmeasured=tuple(name for name, value in named.items() if value is None),
    )


def tier_of(score: int) -> Tier:
    """The tier of a score from 0 to 100."""
    return next(tier for least, tier in _TIERS if score >= least)


def _reach(action: Action, facts: Facts) -> int:
    if isinstance(action, ScaleWorkload):
        return 5 if facts.replicas is not None and action.replicas > facts.replicas else _OTHER_REACH
    if isinstance(action, SetAutoscalerBounds):
        return 5 if facts.lost == 0 else _OTHER_REACH
    return _REACH.get(type(action), _OTHER_REACH)


def _loss(facts: Facts) -> int:
    if facts.lost == 0 or facts.healthy == 0:
        return 0
    if facts.lost is None or facts.healthy is None:
        return _LOSS
    return round(_LOSS * min(1.0, facts.lost / facts.healthy))


def _services(facts: Facts) -> int:
    return _SERVICES if facts.services is None else min(_SERVICES, _SERVICE * len(facts.services))


def _budget(facts: Facts) -> int:
    if facts.lost == 0 or (facts.budgets and facts.headroom is None):
        return 0
    if facts.lost is None or facts.headroom is None or facts.lost > facts.headroom:
        return _BUDGET
    return 0


def _downtime(facts: Facts) -> float | None:
    """Seconds without any healthy pod, because of the action; None when that cannot be said, as when nothing comes back."""
    if facts.lost is None or facts.healthy is None:
        return None
    if facts.lost < facts.healthy or facts.healthy == 0:
        return 0.0
    return facts.start_seconds if facts.returns else None


def lost_pods(action: Action, workload: Workload, kind: Kind, healthy: int) -> int:
    """How many of the healthy pods may be away at once while the action on their workload runs."""
    desired = desired_of(workload, kind)
    match action:
        case ScaleWorkload():
            return max(0, healthy - action.replicas)
        case SetAutoscalerBounds():
            return max(0, healthy - action.maximum)
        case RestartWorkload() | RollBackWorkload() | SetMemoryLimit():
            return max(0, min(healthy, healthy - (desired - unavailable_at_once(workload, kind, desired))))
        case _:
            return 0


def start_seconds(pods: list[Pod]) -> float | None:
    """The median time from start to ready of the pods that are ready; None when there is none to measure."""
    times = sorted(
        (condition.last_transition_time - pod.status.start_time).total_seconds()
        for pod in pods
        if pod.ready
        and pod.status.start_time
        and (condition := pod.status.condition("Ready"))
        and condition.last_transition_time is not None
    )
    return max(1.0, times[len(times) // 2]) if times else None
