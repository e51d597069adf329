"""What a snapshot shows, as people read it: what get, describe, top, events and logs would show, in one bounded text. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.diagnosis import wants_more, why_blind
from schemas.evidence import JobView, NodeView, PodView, RevisionView, Snapshot, WorkloadView
from schemas.target import Kind
from schemas.text import clean

_LINES, _WIDTH, _SIZE = 60, 240, 4000
_PODS, _EVENTS, _CONDITIONS, _REVISIONS, _LOGS, _LOG_LINES, _USAGE = 10, 8, 6, 5, 3, 5, 10


def summary(snapshot: Snapshot) -> str:
    """Lines for people, 60 at most, of 240 characters at most, 4,000 in all; what could not be looked at comes first."""
    lines = [clean(line, _WIDTH) for line in _lines(snapshot)]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"… and {len(lines) - _LINES + 1} more lines"]
    return clean("\n".join(lines), _SIZE)


def _lines(snapshot: Snapshot) -> Iterator[str]:
    yield f"{snapshot.target}: " + {True: "exists", False: "does not exist", None: "could not be looked at"}[snapshot.exists]
    for sensor in snapshot.sensors:
        if sensor.error:
            yield f"not seen: {sensor.name}: {sensor.error}"
    if snapshot.workload is not None:
        yield from _of_workload(snapshot.workload)
    if snapshot.job is not None:
        yield _of_job(snapshot.job)
    yield from _around(snapshot)
    yield from (_of_revision(view) for view in snapshot.revisions[:_REVISIONS])
    yield from (_of_pod(pod) for pod in snapshot.pods[:_PODS])
    if len(snapshot.pods) > _PODS:
        yield f"… and {len(snapshot.pods) - _PODS} more pods"
    yield from _top(snapshot)
    yield from (_of_node(node) for node in snapshot.nodes)
    for event in snapshot.events[:_EVENTS]:
        yield f"event {event.reason} on {event.about} ({event.count} times): {event.message}"
    for name, text in list(snapshot.logs.items())[:_LOGS]:
        yield from (f"log {name}: {line}" for line in text.splitlines()[-_LOG_LINES:])


def _of_workload(workload: WorkloadView) -> Iterator[str]:
    counts = f"{workload.available} of {workload.desired} pods available, {workload.ready} ready, {workload.updated} updated"
    yield f"{counts}, revision {workload.revision}, images {', '.join(workload.images)}"
    for condition in workload.conditions[:_CONDITIONS]:
        yield f"condition {condition.type} {condition.status}: {condition.reason} {condition.message}".rstrip()


def _of_job(job: JobView) -> str:
    ends = [f"{one.type}: {one.reason} {one.message}".rstrip(": ") for one in job.conditions if one.status == "True"]
    counts = f"{job.active} of its pods run, {job.succeeded} succeeded, {job.failed} failed"
    return f"{counts}{', suspended' if job.suspended else ''}; {', '.join(ends) or 'it has not ended yet'}"


def _around(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.owners:
        yield "owned by " + " of ".join(f"{owner.kind} {owner.name}" for owner in snapshot.owners)
    if snapshot.gitops is not None:
        yield f"managed by {snapshot.gitops}"
    if (scaler := snapshot.autoscaler) is not None:
        full = ", at its maximum" + (" and wants more" if wants_more(scaler) else "") if scaler.maxed else ""
        bounds = f"{scaler.minimum} to {scaler.maximum}"
        yield f"autoscaler {scaler.name}: {bounds} replicas, {scaler.current} now, {scaler.desired} wanted{full}"
        if blind := why_blind(scaler):
            yield f"autoscaler {scaler.name} cannot tell how many are needed: {blind}"
    for budget in snapshot.budgets:
        stuck = ", and none even when all are healthy" if budget.deadlocked else ""
        yield f"disruption budget {budget.name}: allows {budget.allowed}, {budget.healthy} of {budget.expected} pods healthy{stuck}"
    if snapshot.services:
        yield f"services {', '.join(snapshot.services)}"


def _of_revision(view: RevisionView) -> str:
    said = {True: "was fully available", False: "did not work", None: "whether it ever worked is not known"}
    current = " (current)" if view.current else ""
    why = f": {view.availability}" if view.availability else ""
    return f"revision {view.revision}{current}: {', '.join(view.images)}; {said[view.was_available]}{why}"


def _of_pod(pod: PodView) -> str:
    states = [f"{view.name} {view.waiting or view.terminated or ('ready' if view.ready else 'not ready')}" for view in pod.containers]
    restarts = sum(view.restarts for view in pod.containers)
    ended = next((f", last ended with {view.last_terminated}" for view in pod.containers if view.last_terminated), "")
    where = f" on {pod.node}" if pod.node else ""
    reason = f", {pod.reason} {pod.message}".rstrip() if pod.reason else ""
    leaving = ", being deleted" if pod.deleting else ""
    return f"pod {pod.name}{where}: {pod.phase}, {', '.join(states) or 'no containers'}, {restarts} restarts{ended}{reason}{leaving}"


def _top(snapshot: Snapshot) -> Iterator[str]:
    """What is used now; of what nothing is told, that is said too."""
    for view in snapshot.usage[:_USAGE]:
        cpu = "not known" if view.cpu is None else f"{view.cpu * 1000:.4g}m"
        memory = "not known" if view.memory is None else f"{view.memory / 2**20:.4g} MiB"
        yield f"top {view.of}{f'/{view.container}' if view.container else ''}: cpu {cpu}, memory {memory}"
    if len(snapshot.usage) > _USAGE:
        yield f"… and {len(snapshot.usage) - _USAGE} more that use less memory"
    if snapshot.saw("top") and snapshot.target.kind is not Kind.NODE:
        told = {view.of for view in snapshot.usage}
        if untold := sum(pod.name not in told for pod in snapshot.pods):
            yield f"top: nothing is told of {untold} of its pods"


def _of_node(node: NodeView) -> str:
    if not node.exists:
        return f"node {node.name}: does not exist"
    ready = {True: "ready", False: "not ready", None: "state not known"}[node.ready]
    pressed = [each.type for each in node.conditions if each.type != "Ready" and each.status == "True"]
    return f"node {node.name}: {', '.join([ready, *(['cordoned'] if node.cordoned else []), *pressed])}, {node.pods} of its pods"
