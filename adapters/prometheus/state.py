"""Whether an alert holds: by its rule in Prometheus, and by what Alertmanager still hears of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import AdapterError
from adapters.prometheus.client import PrometheusClient, shown
from adapters.prometheus.selection import accepted, is_pod_of
from schemas.target import Target

_REMEMBERED = "1d"
_OF_ONE_POD = frozenset({"pod", "uid", "instance", "node", "pod_ip", "host_ip", "container_id", "id"})
"""Labels in which one pod of a workload differs from the next."""


class Answer(msgspec.Struct, frozen=True):
    """What one of them says: `fires` is None where it does not know such an alert, or (`away`) could not be asked, and why."""

    fires: bool | None
    away: bool = False
    error: str = ""


async def prometheus_says(client: PrometheusClient, labels: Mapping[str, str], now: float, target: Target | None = None) -> Answer:
    """What the rule says, at `now` (Unix time in seconds), of any pod of `target` where the alert is about one and that is a workload.

    An alert that is pending again counts: its condition holds. A Prometheus in which no such alert was active for a day has no
    say in it, for its rule may be elsewhere.
    """
    try:
        if any(same(labels, alert.labels, target) for alert in await client.alerts() if alert.state != "inactive"):
            return Answer(fires=True)
        name = accepted(labels.get("alertname", ""))
        known = await client.query(f'max(present_over_time(ALERTS{{alertname="{name}"}}[{_REMEMBERED}]))', now) if name else None
    except AdapterError as failure:
        return Answer(fires=None, away=True, error=shown(failure))
    return Answer(fires=None if known is None else False)


async def alertmanager_says(client: AlertmanagerClient, labels: Mapping[str, str], target: Target | None = None) -> Answer:
    """What Alertmanager has heard and not forgotten."""
    try:
        return Answer(fires=await client.is_firing(labels, lambda active: _another_pod(labels, active, target)))
    except AdapterError as failure:
        return Answer(fires=None, away=True, error=shown(failure))


def same(told: Mapping[str, str], active: Mapping[str, str], target: Target | None = None) -> bool:
    """Whether an active alert of Prometheus can be the one with the labels `told` by Alertmanager.

    On the way external labels are added, and relabelling may remove some: labels that only one of them has tell nothing.
    When in doubt it is the same, so that an alert is not called gone while one like it holds. Nor is it gone when it holds for
    another pod of `target`.
    """
    name = told.get("alertname", "")
    loose = _OF_ONE_POD if _pods_of(target, told, active) else frozenset()
    return (
        bool(name)
        and active.get("alertname") == name
        and all(label in loose or told.get(label, value) == value for label, value in active.items())
    )


def _another_pod(told: Mapping[str, str], active: Mapping[str, str], target: Target | None) -> bool:
    """Whether an alert that Alertmanager heard is the same, but for another pod of the workload."""
    return _pods_of(target, told, active) and same(told, active, target)


def _pods_of(target: Target | None, told: Mapping[str, str], active: Mapping[str, str]) -> bool:
    return target is not None and all(is_pod_of(target, labels.get("pod", "")) for labels in (told, active))
