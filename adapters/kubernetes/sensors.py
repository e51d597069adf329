"""Looking: all sensors of a target at once, each with its own time limit, none of them able to spoil the others."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.errors import AdapterError, TargetMissing
from adapters.kubernetes.availability import of_revisions, of_sets
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import Forbidden, NotFound
from adapters.kubernetes.gitops import gitops_of
from adapters.kubernetes.look import Look
from adapters.kubernetes.rollouts import revision_number
from adapters.kubernetes.views import (
    autoscaler_view,
    budget_view,
    controller_revision_views,
    event_view,
    in_short,
    job_view,
    node_view,
    owner_view,
    pod_view,
    replicaset_views,
    usage_views,
    workload_view,
)
from schemas.evidence import NodeView, Sensor, Snapshot
from schemas.target import Kind, Target
from schemas.text import clean, clean_tail

SENSOR_SECONDS = 8.0
_EVENTS, _PODS_IN_FULL, _SERVICES, _REVISIONS, _NODES, _BUDGETS = 20, 100, 16, 20, 10, 8
_LOG_CONTAINERS, _LOG_LINES, _LOG_CHARACTERS = 4, 20, 4096
_LOG_BYTES = 65_536  # read of the last lines; the kubelet stops there, so that a small bound would lose the newest of them
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_See = Callable[[], Awaitable[dict[str, Any]]]


async def observe(client: Client, target: Target, *, at: datetime, seconds: float = SENSOR_SECONDS, with_usage: bool = False) -> Snapshot:
    """A snapshot of the target; `seconds` bounds each sensor. It never raises an AdapterError.

    `with_usage` adds the sensor `top`, which many clusters have no answer for.
    """
    look = Look(client, target)
    sensors = Sensors(look)
    try:
        results = await asyncio.gather(*(_timed(name, run, seconds) for name, run in sensors.by_name(with_usage=with_usage).items()))
    finally:
        await look.end()
    found: dict[str, Any] = {}
    for _, values, _ in results:
        found.update(values)
    exists = next((exists for sensor, _, exists in results if sensor.name == sensors.root), None)
    return Snapshot(target=target, at=at, sensors=tuple(sensor for sensor, _, _ in results), exists=exists, **_with_revision(found))


async def _timed(name: str, run: _See, seconds: float) -> tuple[Sensor, dict[str, Any], bool | None]:
    """One sensor's record, what it found, and whether what it looked for exists (None when that cannot be told)."""
    start = time.perf_counter()
    values: dict[str, Any] = {}
    exists: bool | None = None
    error = ""
    try:
        async with asyncio.timeout(seconds):
            values = await run()
        exists = True
    except TargetMissing as missing:
        error, exists = str(missing), False
    except AdapterError as failure:
        error = str(failure)
    except TimeoutError:
        error = f"timeout after {seconds:g} s"
    return Sensor(name=name, seconds=round(time.perf_counter() - start, 4), error=clean(error, 300)), values, exists


def _with_revision(found: dict[str, Any]) -> dict[str, Any]:
    """StatefulSets and DaemonSets have no revision number of their own: it is that of their current ControllerRevision."""
    workload = found.get("workload")
    if workload is not None and workload.revision is None:
        current = next((view.revision for view in found.get("revisions", ()) if view.current), None)
        found["workload"] = msgspec.structs.replace(workload, revision=current)
    return found


class Sensors:
    """The sensors of one look: what they see of what it reads."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._target = look.target

    @property
    def root(self) -> str:
        """The sensor that tells whether the target exists."""
        return "workload" if self._target.kind.is_workload else self._target.kind.lower()

    def by_name(self, *, with_usage: bool = False) -> dict[str, _See]:
        """The sensors that apply to this kind of target."""
        see = self._of_state()
        return {**see, "top": self._see_usage} if with_usage and self._target.kind is not Kind.NAMESPACE else see

    def _of_state(self) -> dict[str, _See]:
        kind = self._target.kind
        see: dict[str, _See]
        if kind.is_workload:
            see = {"workload": self._see_workload, "pods": self._see_pods, "revisions": self._see_revisions, "nodes": self._see_nodes}
            see |= {"budgets": self._see_budgets, "events": self._see_events, "services": self._see_services, "logs": self._see_logs}
            return see if kind is Kind.DAEMONSET else see | {"autoscaler": self._see_autoscaler}
        if kind is Kind.POD:
            see = {"pod": self._see_pods, "node": self._see_nodes, "owners": self._see_root, "budgets": self._see_budgets}
            return see | {"events": self._see_events, "services": self._see_services, "logs": self._see_logs}
        if kind is Kind.NODE:
            return {"node": self._see_nodes, "pods": self._see_pods, "events": self._see_events}
        if kind is Kind.JOB:
            return {"job": self._see_job, "pods": self._see_pods, "events": self._see_events, "logs": self._see_logs}
        return {self.root: self._see_root, "events": self._see_events}

    async def _see_workload(self) -> dict[str, Any]:
        return {"workload": workload_view(await self._look.workload(), self._target.kind), **(await self._see_root())}

    async def _see_job(self) -> dict[str, Any]:
        return {"job": job_view(await self._look.job()), **(await self._see_root())}

    async def _see_root(self) -> dict[str, Any]:
        """Who stands above the target, and which tool keeps it as it is."""
        metadata, owners = await self._look.metadata(), await self._look.owners()
        return {"gitops": gitops_of(metadata), "owners": tuple(owner_view(owner) for owner in owners)}

    async def _see_pods(self) -> dict[str, Any]:
        """All of them, those that are not ready first: one that is left out would count as gone, and its restarts as none."""
        views = sorted((pod_view(pod) for pod in await self._look.pods()), key=lambda view: (view.ready, view.name))
        return {"pods": (*views[:_PODS_IN_FULL], *(in_short(view) for view in views[_PODS_IN_FULL:]))}

    async def _see_usage(self) -> dict[str, Any]:
        """What the containers of the pods use, or the node; those with most memory first."""
        views = [view for item in await self._look.usage() for view in usage_views(item)]
        views.sort(key=lambda view: (-(view.memory or 0), view.of, view.container))
        return {"usage": tuple(views)}

    async def _see_revisions(self) -> dict[str, Any]:
        workload = await self._look.workload()
        if self._target.kind is Kind.DEPLOYMENT:
            sets = await self._look.sets()
            views = replicaset_views(sets, revision_number(workload), of_sets(workload, sets))
        else:
            revisions, pods = await asyncio.gather(self._look.controller_revisions(), self._look.pods())
            known = of_revisions(workload, self._target.kind, revisions, pods)
            views = controller_revision_views(revisions, pods, workload.status.update_revision, known)
        return {"revisions": views[:_REVISIONS]}

    async def _see_services(self) -> dict[str, Any]:
        return {"services": tuple(await self._look.services())[:_SERVICES]}

    async def _see_budgets(self) -> dict[str, Any]:
        found, labels = await asyncio.gather(self._look.budgets(), self._look.pod_labels())
        return {"budgets": tuple(budget_view(budget) for budget in found if budget.selects(labels))[:_BUDGETS]}

    async def _see_autoscaler(self) -> dict[str, Any]:
        found = await self._look.autoscaler()
        return {"autoscaler": autoscaler_view(found) if found else None}

    async def _see_nodes(self) -> dict[str, Any]:
        """The target itself, or the nodes that its pods are on, those with most of them first; of one pod's also the short form."""
        if self._target.kind is Kind.NODE:
            return _short_form(node_view(await self._look.node(self._target.name), 0))
        placed = Counter(pod.spec.node_name for pod in await self._look.pods() if pod.spec.node_name)
        views = tuple(await asyncio.gather(*(self._node(name, count) for name, count in placed.most_common(_NODES))))
        return _short_form(views[0]) if self._target.kind is Kind.POD and views else {"nodes": views}

    async def _node(self, name: str, pods: int) -> NodeView:
        """One node; one that may not be read is still named, as that its state is not known says something."""
        try:
            return node_view(await self._look.node(name), pods)
        except NotFound:
            return NodeView(name=name, ready=False, exists=False, pods=pods)
        except Forbidden:
            return NodeView(name=name, pods=pods)

    async def _see_events(self) -> dict[str, Any]:
        """The newest events about the target or what it owns."""
        about = await self._look.uids()
        seen = [event for event in await self._look.events() if event.involved_object.uid in about]
        seen.sort(key=lambda event: event.last_at or _EARLIEST, reverse=True)
        return {"events": tuple(event_view(event) for event in seen[:_EVENTS])}

    async def _see_logs(self) -> dict[str, Any]:
        """The last lines of containers that are not ready, by `pod/container`; of the run before, where it crashed."""
        wanted = [
            (pod.metadata.name, view.name, bool(view.restarts and view.waiting))
            for pod in await self._look.pods()
            for view in pod_view(pod).containers
            if not view.ready and (view.restarts or not view.waiting) and pod.spec.node_name
        ]
        texts = await asyncio.gather(*(self._log(*item) for item in wanted[:_LOG_CONTAINERS]))
        return {"logs": {f"{pod}/{name}": text for (pod, name, _), text in zip(wanted, texts, strict=False)}}

    async def _log(self, pod: str, container: str, previous: bool) -> str:
        data = await self._look.log(pod, container, lines=_LOG_LINES, size=_LOG_BYTES, previous=previous)
        text = data.decode("utf-8", "replace")
        if len(data) >= _LOG_BYTES:  # cut by size: half a secret at the end would look like none
            text = text.rpartition("\n")[0] or text
        return clean_tail(text, _LOG_CHARACTERS)


def _short_form(view: NodeView) -> dict[str, Any]:
    return {"nodes": (view,), "node": view.name, "node_ready": view.ready}
