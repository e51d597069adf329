"""What a workload's own fields say of its rollouts: which revision it is at, how many pods it wants, how many it may go without."""

from __future__ import annotations

from adapters.kubernetes.objects import RollingUpdate, Strategy, Workload
from schemas.target import Kind

REVISION = "deployment.kubernetes.io/revision"


def desired_of(workload: Workload, kind: Kind) -> int:
    """How many pods the workload should have; an absent `replicas` means 1."""
    if kind is Kind.DAEMONSET:
        return workload.status.desired_number_scheduled
    return 1 if workload.spec.replicas is None else workload.spec.replicas


def revision_number(workload: Workload) -> int | None:
    """The revision in the annotation of a Deployment or a ReplicaSet, if it is one."""
    text = (workload.metadata.annotations or {}).get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def unavailable_at_once(workload: Workload, kind: Kind, desired: int) -> int:
    """How many pods a rolling update may take away at once, in pods."""
    strategy = (workload.spec.strategy if kind is Kind.DEPLOYMENT else workload.spec.update_strategy) or Strategy()
    if strategy.type == "Recreate":
        return desired
    if strategy.type == "OnDelete":
        return 0
    rolling = strategy.rolling_update or RollingUpdate()
    if kind is not Kind.DEPLOYMENT:
        return max(1, _share(rolling.max_unavailable, desired, 1))
    surge = _share(rolling.max_surge, desired, "25%", up=True)
    unavailable = _share(rolling.max_unavailable, desired, "25%")
    return unavailable if surge or unavailable else 1  # Kubernetes goes on by one where both come out as none


def _share(value: int | str | None, of: int, default: int | str, *, up: bool = False) -> int:
    """A number, or a percentage of `of`, rounded down (or up)."""
    value = default if value is None else value
    if isinstance(value, int):
        return value
    percent = int(value.rstrip("%")) if value.rstrip("%").isdigit() else 100
    return -(-of * percent // 100) if up else of * percent // 100
