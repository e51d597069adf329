"""Whether an alert holds: by its rule in Prometheus, and by what Alertmanager still hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import Refused
from adapters.prometheus.client import PrometheusClient
from adapters.prometheus.selection import accepted

_REMEMBERED = "1d"
_MASKED = "***"  # what `schemas.text` writes over a secret


class Answer(msgspec.Struct, frozen=True):
    """What one of them says: `fires` is None where it does not know such an alert, or (`away`) could not be asked."""

    fires: bool | None
    away: bool = False


def one_of(answers: Sequence[Answer]) -> bool | None:
    """What those of one kind say together: yes when one does, no when one does and none says yes."""
    said = {answer.fires for answer in answers}
    return True if True in said else False if False in said else None


def fires(rules: Sequence[Answer], heard: Sequence[Answer]) -> bool | None:
    """What all say together; no is not said while a Prometheus is away, for Alertmanager forgets what it does not hear of."""
    if (found := one_of((*rules, *heard))) is not False:
        return found
    return None if any(answer.away for answer in rules) else False


async def prometheus_says(client: PrometheusClient, labels: Mapping[str, str], now: float) -> bool | None:
    """Whether the rule holds at `now` (Unix time in seconds). Raises Transient or Refused.

    An alert that is pending again counts: its condition holds. A Prometheus in which no such alert was active for a day has no
    say in it, for its rule may be elsewhere.
    """
    if any(same(labels, alert.labels) for alert in await client.alerts() if alert.state != "inactive"):
        return True
    name = accepted(labels.get("alertname", ""))
    known = await client.query(f'max(present_over_time(ALERTS{{alertname="{name}"}}[{_REMEMBERED}]))', now) if name else None
    return None if known is None else False


async def alertmanager_says(client: AlertmanagerClient, labels: Mapping[str, str]) -> bool | None:
    """Whether Alertmanager has heard of it and not forgotten. Raises Transient or Refused.

    It knows an alert by all its labels, so that one with a secret in them, which is not kept here, cannot be found again.
    """
    if any(_MASKED in value for value in labels.values()):
        raise Refused("one of the alert's labels looked like a secret and was not kept, so Alertmanager cannot be asked about it")
    return await client.is_firing(labels)


def same(told: Mapping[str, str], active: Mapping[str, str]) -> bool:
    """Whether an active alert of Prometheus can be the one with the labels `told` by Alertmanager.

    On the way external labels are added, and relabelling may remove some: labels that only one of them has tell nothing, nor
    does one that was masked. When in doubt it is the same, so that an alert is not called gone while one like it holds.
    """
    name = told.get("alertname", "")
    known = {label: value for label, value in told.items() if _MASKED not in value}
    return bool(name) and active.get("alertname") == name and all(known.get(label, value) == value for label, value in active.items())
