"""Evidence in short: what was seen of a target, for who must decide or wants to know why it was done."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.evidence import ALERT_SENSOR, METRIC_SENSOR, AlertView, HostView, MetricView, Sensor, Snapshot, UnitView, amount
from schemas.summary import summary
from schemas.text import clean

_LINES = 24
_UNSEEN = "not seen: "
_OUTSIDE = (METRIC_SENSOR, ALERT_SENSOR)
_GIGA = 1e9


def in_short(snapshot: Snapshot) -> list[str]:
    """Lines for people, 24 at most: how much could be seen, its alert and metrics, what failed, its host, and the target itself."""
    units = [_of_unit(unit) for unit in snapshot.units]
    own = [line for line in summary(snapshot).splitlines() if not line.startswith(_UNSEEN)]
    failed = [_unseen(sensor) for sensor in snapshot.sensors if sensor.error and not sensor.name.startswith(_OUTSIDE)]
    lines = [_head(snapshot), *from_outside(snapshot), *failed, *_of_host(snapshot.host), *units, *own]
    cut = [f"… and {len(lines) - _LINES + 1} more lines: `mend incidents show ID --json` has all"] if len(lines) > _LINES else []
    return [clean(line, 240) for line in lines[: _LINES - len(cut)]] + cut


def from_outside(snapshot: Snapshot) -> list[str]:
    """A line for the alert, for each metric, and for what of both could not be asked."""
    failed = {sensor.name: sensor for sensor in snapshot.sensors if sensor.error and sensor.name.startswith(_OUTSIDE)}
    shown = {f"{METRIC_SENSOR}{metric.name}" for metric in snapshot.metrics}
    shown |= {f"{name} usual" for name in shown}  # its note says so
    return [
        *(_of_alert(alert) for alert in snapshot.alerts),
        *_of_metrics(snapshot.metrics),
        *(_unseen(sensor) for name, sensor in failed.items() if name not in shown),
    ]


def _head(snapshot: Snapshot) -> str:
    seen = sum(not sensor.error for sensor in snapshot.sensors)
    return f"{snapshot.at:%H:%M:%S}Z, {seen} of {len(snapshot.sensors)} sensors{', late' if snapshot.late else ''}"


def _unseen(sensor: Sensor) -> str:
    return f"{_UNSEEN}{sensor.name}: {sensor.error}"


def _of_alert(alert: AlertView) -> str:
    state = {True: "fires", False: "does not fire now", None: "not known whether it fires"}[alert.fires]
    rule = {True: "its rule in Prometheus holds", False: "its rule in Prometheus does not hold", None: ""}[alert.rule]
    heard = {True: "Alertmanager has it", False: "Alertmanager does not have it", None: ""}[alert.heard]
    silenced = f"silenced {'; '.join(alert.silences)}" if alert.silences else ""
    said = ", ".join(word for word in (rule, heard, silenced, alert.note) if word)
    return f"alert {alert.name}: {state}{f' ({said})' if said else ''}"


def _of_host(host: HostView | None) -> Iterator[str]:
    if host is None:
        return
    if host.load_1 is not None:
        yield f"load {host.load_1:g} on {host.processors or '?'} processors"
    if host.memory_total and host.memory_available is not None:
        yield f"memory {host.memory_available / _GIGA:.1f} of {host.memory_total / _GIGA:.1f} GB available"
    for system in host.file_systems:
        if system.size and system.available < system.size / 10:
            yield f"file system {system.mount}: {system.available / _GIGA:.1f} of {system.size / _GIGA:.1f} GB free"


def _of_unit(unit: UnitView) -> str:
    restarts = f", {unit.restarts} restarts" if unit.restarts else ""
    status = f" (status {unit.status})" if unit.status else ""
    ended = f", last run: {unit.result}{status}" if unit.result and (unit.status is not None or unit.result != "success") else ""
    return f"{unit.name}: {unit.active} {unit.sub}".rstrip() + restarts + ended


def _of_metrics(metrics: tuple[MetricView, ...]) -> Iterator[str]:
    for metric in metrics:
        if metric.value is None:
            yield f"metric {metric.name}: not measured{f', {metric.note}' if metric.note else ''}"
            continue
        band, unit = metric.baseline, metric.unit
        usual = f", usually {amount(band.lower, unit)} to {amount(band.upper, unit)}" if band else ""
        yield f"metric {metric.name}: {amount(metric.value, unit)}{usual}"
