"""Whether an alert holds: by its rule in Prometheus, and by what Alertmanager still hears of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import AdapterError
from adapters.prometheus.client import PrometheusClient, shown
from adapters.prometheus.selection import accepted

_REMEMBERED = "1d"


class Answer(msgspec.Struct, frozen=True):
    """What one of them says: `fires` is None where it does not know such an alert, or (`away`) could not be asked, and why."""

    fires: bool | None
    away: bool = False
    error: str = ""


async def prometheus_says(client: PrometheusClient, labels: Mapping[str, str], now: float) -> Answer:
    """What the rule says, at `now` (Unix time in seconds).

    An alert that is pending again counts: its condition holds. A Prometheus in which no such alert was active for a day has no
    say in it, for its rule may be elsewhere.
    """
    try:
        if any(same(labels, alert.labels) for alert in await client.alerts() if alert.state != "inactive"):
            return Answer(fires=True)
        name = accepted(labels.get("alertname", ""))
        known = await client.query(f'max(present_over_time(ALERTS{{alertname="{name}"}}[{_REMEMBERED}]))', now) if name else None
    except AdapterError as failure:
        return Answer(fires=None, away=True, error=shown(failure))
    return Answer(fires=None if known is None else False)


async def alertmanager_says(client: AlertmanagerClient, labels: Mapping[str, str]) -> Answer:
    """What Alertmanager has heard and not forgotten."""
    try:
        return Answer(fires=await client.is_firing(labels))
    except AdapterError as failure:
        return Answer(fires=None, away=True, error=shown(failure))


def same(told: Mapping[str, str], active: Mapping[str, str]) -> bool:
    """Whether an active alert of Prometheus can be the one with the labels `told` by Alertmanager.

    On the way external labels are added, and relabelling may remove some: labels that only one of them has tell nothing.
    When in doubt it is the same, so that an alert is not called gone while one like it holds.
    """
    name = told.get("alertname", "")
    return bool(name) and active.get("alertname") == name and all(told.get(label, value) == value for label, value in active.items())
