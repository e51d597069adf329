"""The look before deciding: the target itself, and at the same time what Prometheus and Alertmanager say from outside of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from adapters.ports import AlertState, Measurement, Metrics, World
from schemas.diagnosis import Finding, pod_finding, unit_finding, workload_finding
from schemas.evidence import ALERT_SENSOR, METRIC_SENSOR, AlertView, Sensor, Snapshot
from schemas.target import Kind, Target
from schemas.words import Health
from sql.incidents import IncidentRow
from stages.propose.case import Case
from stages.propose.hosts import named_unit, parts_named

T = TypeVar("T")
_NEEDED = frozenset({"workload", "pods", "pod", "node"})
"""The sensors of Kubernetes without which nobody can say that a target is well; what was seen of a host's unit was measured."""


async def look(
    world: World, metrics: Metrics | None, incident: IncidentRow | None, target: Target, *, at: datetime, until: float
) -> Snapshot:
    """What is seen of `target` before `until` (the time of the event loop), with its metrics and its alert where `metrics` are given.

    Without an incident only the target is looked at, for nothing is known of alerts.

    What does not answer in time is missing from the snapshot, and a sensor says so. Raises what `observe` raises, and
    TimeoutError when the target itself was not seen in time.
    """
    if metrics is None or incident is None:
        return await _seen(world, incident, target, until)
    from_outside = asyncio.create_task(_outside(metrics, incident, target, at, until))
    try:
        snapshot = await _seen(world, incident, target, until)
        if snapshot.exists is False or not snapshot.measured:
            return snapshot
        measured, alert = await from_outside
        return alert.added_to(measured.added_to(snapshot))
    finally:
        from_outside.cancel()
        await asyncio.gather(from_outside, return_exceptions=True)


async def _seen(world: World, incident: IncidentRow | None, target: Target, until: float) -> Snapshot:
    async with asyncio.timeout_at(until):
        return await world.observe(target, parts=parts_named(target, incident.labels) if incident else ())


async def _outside(metrics: Metrics, incident: IncidentRow, target: Target, at: datetime, until: float) -> tuple[Measurement, AlertState]:
    """Each is bounded apart, so that none is lost with another. No history is read: what is usual is for verification."""
    asked = incident.alert_labels or (incident.labels,)
    states = [_in_time(metrics.alert(labels, cluster=target.cluster, target=target), f"{ALERT_SENSOR}all", until) for labels in asked]
    measured, alerts = await asyncio.gather(
        _in_time(metrics.measure(target, incident.alerts, incident.labels, at), f"{METRIC_SENSOR}all", until), asyncio.gather(*states)
    )
    told = [AlertState(sensors=(alert,)) if isinstance(alert, Sensor) else alert for alert in alerts]
    return (Measurement(sensors=(measured,)) if isinstance(measured, Sensor) else measured), _together(told)


def _together(states: Sequence[AlertState]) -> AlertState:
    """What is said of each alert. Where there are several, their sensors are numbered in the order of the alerts."""
    several = len(states) > 1
    sensors = [
        msgspec.structs.replace(sensor, name=f"{sensor.name} (alert {number})") if several else sensor
        for number, state in enumerate(states, start=1)
        for sensor in state.sensors
    ]
    return AlertState(alerts=tuple(alert for state in states for alert in state.alerts), sensors=tuple(sensors))


async def _in_time(asked: Awaitable[T], name: str, until: float) -> T | Sensor:
    """What was asked for, or a sensor of that name that was too late."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout_at(until):
            return await asked
    except TimeoutError:
        return Sensor(name=name, seconds=round(time.perf_counter() - started, 4), error="no answer before the look had to end")


def gone(case: Case, *, firing: int) -> str:
    """A sentence for who must decide, where nobody hears the alert any more and the target is well; else empty.

    `firing` counts the signals of the incident that have not been told to be over.
    """
    over = [alert for alert in case.snapshot.alerts if alert.fires is False]
    finding = _finding(case)
    if not over or len(over) < len(case.snapshot.alerts) or finding.health is not Health.HEALTHY:
        return ""
    names = ", ".join(alert.name for alert in over)
    others = "" if len(over) >= firing else " Its other alerts were not asked about."
    return f"{names} does not fire now ({_who_says(over)}), and {case.target} is well: {finding.reason}.{others}"


def _who_says(over: list[AlertView]) -> str:
    rule = any(alert.rule is False for alert in over)
    heard = any(alert.heard is False or alert.note for alert in over)  # its note: it has none, which alone proves nothing
    said = [*(["its rule in Prometheus does not hold"] if rule else []), *(["Alertmanager does not have it"] if heard else [])]
    return ", ".join(said)


def _finding(case: Case) -> Finding:
    """The health of what the alert is about; unknown unless every sensor that it takes has answered."""
    seen = case.snapshot
    if missing := [sensor.name for sensor in seen.sensors if sensor.error and sensor.name in _NEEDED]:
        return Finding(Health.UNKNOWN, f"{missing[0]} could not be seen")
    if case.target.kind.is_workload:
        return workload_finding(seen)
    if case.target.kind is Kind.POD and len(seen.pods) == 1:
        return pod_finding(seen.pods[0])
    if case.target.kind is Kind.NODE and seen.node_ready:
        return Finding(Health.HEALTHY, "ready")
    if case.target.kind is Kind.HOST and (unit := named_unit(case)) is not None:
        return unit_finding(unit)
    return Finding(Health.UNKNOWN, "nothing tells its health")
