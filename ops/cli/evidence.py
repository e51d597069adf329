"""Evidence in short: what was seen of a target, for who must decide or wants to know why it was done."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.evidence import METRIC_SENSOR, HostView, MetricView, Snapshot, UnitView
from schemas.text import clean

_LINES = 24
_GIGA = 1e9


def in_short(snapshot: Snapshot) -> list[str]:
    """Lines for people, 24 at most: how much could be seen, then the target, its host and its metrics."""
    from adapters.kubernetes.summary import summary

    seen = sum(not sensor.error for sensor in snapshot.sensors)
    head = f"{snapshot.at:%H:%M:%S}Z, {seen} of {len(snapshot.sensors)} sensors{', late' if snapshot.late else ''}"
    lines = [head, *(line for line in summary(snapshot).splitlines() if f"not seen: {METRIC_SENSOR}" not in line)]
    lines[1:1] = [*_of_host(snapshot.host), *(_of_unit(unit) for unit in snapshot.units), *_of_metrics(snapshot.metrics)]
    cut = [f"… and {len(lines) - _LINES + 1} more lines: `mend incidents show ID --json` has all"] if len(lines) > _LINES else []
    return [clean(line, 240) for line in lines[: _LINES - len(cut)]] + cut


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
    return f"{unit.name}: {unit.active} {unit.sub}".rstrip() + (f", {unit.restarts} restarts" if unit.restarts else "")


def _of_metrics(metrics: tuple[MetricView, ...]) -> Iterator[str]:
    for metric in metrics:
        if metric.value is None:
            yield f"metric {metric.name}: not measured{f', {metric.note}' if metric.note else ''}"
            continue
        usual = f", usually {metric.baseline.lower:.3g} to {metric.baseline.upper:.3g}" if metric.baseline else ""
        yield f"metric {metric.name}: {metric.value:.3g} {metric.unit}".rstrip() + usual
