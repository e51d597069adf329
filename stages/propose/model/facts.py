"""What a language model is told of a case: typed state and a little text, sanitized and bounded. Pure functions.

Everything is told as JSON, so that no text ends its own string; what is too long is left out whole, logs first, and that is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from schemas.diagnosis import fault_of, unit_finding
from schemas.evidence import ContainerView, PodView, Snapshot, amount
from schemas.text import clean, clean_labels, clean_tail
from schemas.words import Health
from stages.propose.case import Case

_EXPENDABLE = (
    "logs",
    "events",
    "annotations",
    "metrics",
    "units",
    "pods",
    "revisions",
    "labels",
    "conditions",
    "title",
    "alerts",
    "workload",
)
"""What is left out until the rest is short enough, in this order."""

_VOLATILE = ("logs", "events", "metrics", "host", "title", "annotations")
"""Parts whose numbers differ from look to look though nothing has changed."""

_NUMBER = re.compile(r"\d+")
_encode = msgspec.json.Encoder(order="sorted").encode


def facts_of(case: Case, limit: int) -> dict[str, Any]:
    """The facts, as JSON `limit` bytes at most; `left_out` names the parts that were too long."""
    facts: dict[str, Any] = {"target": str(case.target), "severity": case.severity.value, "left_out": []}
    facts |= {name: found for name, tell in _PARTS.items() if (found := tell(case))}
    for name in _EXPENDABLE:
        if len(_encode(facts)) <= limit:
            break
        if facts.pop(name, None) is not None:
            facts["left_out"].append(name)
    return facts


def told(facts: Mapping[str, Any]) -> str:
    """The facts as they are sent."""
    return _encode(facts).decode()


def what_matters(facts: Mapping[str, Any]) -> str:
    """The facts as they are compared: without the numbers that differ though nothing has changed."""
    blurred = {name: _NUMBER.sub("0", _encode(facts[name]).decode()) for name in _VOLATILE if name in facts}
    return _encode({**facts, **blurred}).decode()


def _workload(case: Case) -> dict[str, Any]:
    seen = case.snapshot.workload
    if seen is None:
        return {}
    counts = {"desired": seen.desired, "updated": seen.updated, "ready": seen.ready, "available": seen.available}
    images = [clean(image, 200) for image in seen.images[:10]]
    return {**counts, "revision": seen.revision, "images": images, "rollout_stuck": clean(seen.progress_failed, 200)}


def _conditions(case: Case) -> list[str]:
    seen = case.snapshot.workload
    return [clean(f"{one.type} {one.status}: {one.reason} {one.message}", 240) for one in seen.conditions[:6]] if seen else []


def _annotations(case: Case) -> dict[str, str]:
    seen = case.snapshot.workload
    return clean_labels(seen.annotations, entries=12, limit=200) if seen else {}


def _revisions(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "revision": one.revision,
            "images": [clean(image, 200) for image in one.images[:5]],
            "current": one.current,
            "same_as_current": one.same,
            "was_available": one.was_available,
        }
        for one in case.snapshot.revisions[:8]
    ]


def _pods(case: Case) -> list[dict[str, Any]]:
    return [_pod(pod) for pod in case.snapshot.pods[:12]]


def _pod(pod: PodView) -> dict[str, Any]:
    fault = fault_of(pod)
    known = {"name": pod.name, "phase": pod.phase, "ready": pod.ready, "fault": str(fault) if fault else "none"}
    said = {"reason": clean(pod.reason, 100), "message": clean(pod.message, 200)}
    return {**known, **{name: text for name, text in said.items() if text}, "containers": [_container(one) for one in pod.containers[:4]]}


def _container(view: ContainerView) -> dict[str, Any]:
    said = {"waiting": view.waiting, "terminated": view.terminated, "last_terminated": view.last_terminated, "message": view.message}
    known: dict[str, Any] = {"name": view.name, "restarts": _roughly(view.restarts)}
    known |= {name: clean(text, 200) for name, text in said.items() if text}
    numbers = {"exit_code": view.exit_code, "memory_limit": view.memory_limit}
    return known | {name: number for name, number in numbers.items() if number is not None}


def _roughly(count: int) -> str:
    """A count that grows from look to look, so that the same fault stays the same evidence."""
    return "none" if count == 0 else "few" if count < 3 else "several" if count < 10 else "many"


def _events(case: Case) -> list[str]:
    return [clean(f"{one.reason} on {one.about}: {one.message}", 260) for one in case.snapshot.events[:8]]


def _logs(case: Case) -> dict[str, str]:
    return {clean(name, 100): clean_tail(text, 1_200) for name, text in list(case.snapshot.logs.items())[:3]}


def _metrics(case: Case) -> dict[str, str]:
    seen = [one for one in case.snapshot.metrics if one.value is not None][:12]
    return {clean(one.name, 80): amount(one.value, one.unit) for one in seen if one.value is not None}


def _units(case: Case) -> list[str]:
    """What is not healthy on a host, in words."""
    found = [(unit, unit_finding(unit)) for unit in case.snapshot.units]
    return [clean(f"{unit.name}: {finding.reason}", 200) for unit, finding in found if finding.health is not Health.HEALTHY][:20]


def _host(case: Case) -> dict[str, Any]:
    seen = case.snapshot.host
    if seen is None:
        return {}
    rooms = {clean(one.mount, 100): f"{one.room:.0%} free" for one in seen.file_systems[:8] if one.room is not None}
    return {"load_5": seen.load_5, "processors": seen.processors, "memory_available": seen.memory_available, "file_systems": rooms}


def _around(case: Case) -> list[str]:
    seen: Snapshot = case.snapshot
    nodes = [clean(f"node {one.name}: {'ready' if one.ready else 'not known to be ready'}", 120) for one in seen.nodes[:5]]
    scaler = seen.autoscaler
    scaled = [f"autoscaler {clean(scaler.name, 100)}: at most {scaler.maximum} replicas"] if scaler else []
    unseen = [clean(f"not seen: {one.name}", 100) for one in seen.sensors if one.error][:8]
    return [*nodes, *scaled, *unseen]


_PARTS: Mapping[str, Callable[[Case], Any]] = {
    "title": lambda case: clean(case.title, 300),
    "alerts": lambda case: [clean(name, 100) for name in case.alerts[:10]],
    "labels": lambda case: clean_labels(case.labels, entries=24, limit=160),
    "workload": _workload,
    "conditions": _conditions,
    "annotations": _annotations,
    "revisions": _revisions,
    "pods": _pods,
    "around": _around,
    "units": _units,
    "host": _host,
    "metrics": _metrics,
    "events": _events,
    "logs": _logs,
}
