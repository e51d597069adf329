"""Whether an alert holds: by its rule in Prometheus, and by what Alertmanager still hears of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import AdapterError, NoAnswer
from adapters.prometheus.answers import Rule
from adapters.prometheus.client import PrometheusClient, shown
from adapters.prometheus.selection import accepted, is_pod_of
from schemas.target import Target
from schemas.text import clean

_REMEMBERED = "1d"
_FORGOTTEN = "Alertmanager does not have it, but was started again since it did"
_NEVER_SEEN = "Alertmanager does not have it, but was not seen to have had it"
_OF_ONE_POD = frozenset({"pod", "uid", "instance", "node", "pod_ip", "host_ip", "container_id", "id"})
"""Labels in which one pod of a workload differs from the next."""


class Answer(msgspec.Struct, frozen=True):
    """What one of them says: `fires` is None where it does not know such an alert, or (`away`) could not be asked, and why.

    `late`: because it did not answer in time. `run` is the run of the Alertmanager that was asked; `note` says why what it does
    not have is not known to be over; `silences` are those that it is under.
    """

    fires: bool | None
    away: bool = False
    late: bool = False
    error: str = ""
    run: str = ""
    note: str = ""
    silences: tuple[str, ...] = ()


async def prometheus_says(client: PrometheusClient, labels: Mapping[str, str], now: float, target: Target | None = None) -> Answer:
    """What the rule says, at `now` (Unix time in seconds), of any pod of `target` where the alert is about one and that is a workload.

    An alert that is pending again counts: its condition holds. A Prometheus in which no such alert was active for a day, or that
    has no such rule, has no say in it: its rule may be elsewhere. One whose rule was not evaluated since it started, or in vain,
    cannot tell.
    """
    try:
        if any(same(labels, alert.labels, target) for alert in await client.alerts() if alert.state != "inactive"):
            return Answer(fires=True)
        name = accepted(labels.get("alertname", ""))
        known = await client.query(f'max(present_over_time(ALERTS{{alertname="{name}"}}[{_REMEMBERED}]))', now) if name else None
        rules = [] if known is None else await client.rules(name)
    except AdapterError as failure:
        return _away(failure)
    return _by_health(rules)


def _by_health(rules: Sequence[Rule]) -> Answer:
    """What it means that no alert of these rules is active."""
    ill = next((rule for rule in rules if rule.health != "ok"), None)
    if ill is None:
        return Answer(fires=False if rules else None)
    why = f" ({ill.last_error})" if ill.last_error else ""
    return Answer(fires=None, away=True, error=clean(f"its rule in Prometheus is not evaluated, its health is {ill.health}{why}", 300))


async def alertmanager_says(
    client: AlertmanagerClient, labels: Mapping[str, str], target: Target | None = None, heard_by: Sequence[str] = ()
) -> Answer:
    """What Alertmanager has. That it does not have an alert says no only in the run that had it: see `AlertmanagerClient.run`."""
    run, away = "", None
    try:
        heard = await client.heard(labels, lambda active: _another_pod(labels, active, target))
    except AdapterError as failure:
        return _away(failure)
    try:
        run = await client.run()
    except AdapterError as failure:
        away = _away(failure)
    if heard.fires:
        return Answer(fires=True, run=run, silences=heard.silences)
    if away is not None:
        return away
    if run in heard_by:
        return Answer(fires=False, run=run)
    return Answer(fires=None, run=run, note=_FORGOTTEN if heard_by else _NEVER_SEEN)


def _away(failure: AdapterError) -> Answer:
    return Answer(fires=None, away=True, late=isinstance(failure, NoAnswer), error=shown(failure))


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
