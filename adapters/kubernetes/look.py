"""What one look at a target reads, each thing once, however many sensors ask for it.

Sensors build on one another: pods need the workload's selector, events the UIDs of pods, nodes the pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from adapters.errors import AdapterError
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import Forbidden, NotFound
from adapters.kubernetes.objects import (
    Anything,
    ApiGroup,
    Autoscaler,
    Budget,
    ControllerRevision,
    Event,
    Job,
    List,
    Metadata,
    Node,
    OwnerReference,
    Pod,
    Selector,
    Service,
    Usage,
    Workload,
)
from adapters.kubernetes.resources import (
    AUTOSCALERS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    NODE_USAGE,
    NODES,
    POD_USAGE,
    PODS,
    REPLICASETS,
    SERVICES,
    Resource,
    budgets,
    path_of,
)
from adapters.kubernetes.views import POD_HASH
from schemas.target import Kind, Target

T = TypeVar("T")
_EVENT_PAGES = 5
_CHAIN = 5
_CONTROLLERS: dict[str, Resource] = {"ReplicaSet": REPLICASETS, "Job": JOBS}


class Look:
    """One look at one target. Every method raises what `Client.read` raises."""

    def __init__(self, client: Client, target: Target) -> None:
        self._client = client
        self.target = target
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    async def end(self) -> None:
        """Stops what is still being read."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _once(self, name: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `read`, run once for all sensors; one sensor's time limit does not end it for the others."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(read())
        result: T = await asyncio.shield(self._tasks[name])
        return result

    async def workload(self) -> Workload:
        return await self._once("workload", lambda: self._client.read(path_of(self.target), Workload))

    async def metadata(self) -> Metadata:
        """The target's own, of whatever kind it is."""
        if self.target.kind.is_workload:
            return (await self.workload()).metadata
        if self.target.kind is Kind.JOB:
            return (await self.job()).metadata
        return (await self._once("object", lambda: self._client.read(path_of(self.target), Anything))).metadata

    async def job(self) -> Job:
        return await self._once("job", lambda: self._client.read(path_of(self.target), Job))

    async def sets(self) -> list[Workload]:
        """The ReplicaSets that the Deployment owns."""
        return await self._once("sets", lambda: self._owned_by_workload(REPLICASETS, Workload))

    async def controller_revisions(self) -> list[ControllerRevision]:
        """The ControllerRevisions that the StatefulSet or DaemonSet owns."""
        return await self._once("revisions", lambda: self._owned_by_workload(CONTROLLER_REVISIONS, ControllerRevision))

    async def _owned_by_workload(self, resource: Resource, kind: type[T]) -> list[T]:
        workload = await self.workload()
        listed: list[Any] = await self._selected(resource.path(self.target.namespace), kind, workload.spec.selector)
        return [item for item in listed if (owner := item.metadata.controller) is not None and owner.uid == workload.metadata.uid]

    async def pods(self) -> list[Pod]:
        """The pods of the target: of a workload by selector and owner, of a node all that are bound to it, of a pod itself."""
        return await self._once("pods", self._read_pods)

    async def _read_pods(self) -> list[Pod]:
        target = self.target
        if target.kind is Kind.POD:
            return [await self._client.read(path_of(target), Pod)]
        if target.kind is Kind.NODE:
            path_of(target)
            return await self._client.read_all(PODS.path(), Pod, query={"fieldSelector": f"spec.nodeName={target.name}"})
        listed, owned = await asyncio.gather(self._selected(PODS.path(target.namespace), Pod, await self._pod_selector()), self._owned())
        return [pod for pod in listed if (owner := pod.metadata.controller) is not None and owned(pod, owner)]

    async def _pod_selector(self) -> Selector | None:
        """What the pods of a workload or a Job are found by."""
        if self.target.kind is Kind.JOB:
            return Selector(match_labels={"job-name": self.target.name})
        return (await self.workload()).spec.selector

    async def _owned(self) -> Callable[[Pod, OwnerReference], bool]:
        """Whether a pod with this owner is the target's, or one of its ReplicaSets': by UID, or by name where these may not be listed."""
        if self.target.kind is not Kind.DEPLOYMENT:
            uid = (await self.metadata()).uid
            return lambda _, owner: owner.uid == uid
        try:
            uids = {item.metadata.uid for item in await self.sets()}
        except Forbidden as forbidden:
            return partial(self._named, forbidden)
        return lambda _, owner: owner.uid in uids

    def _named(self, forbidden: Forbidden, pod: Pod, owner: OwnerReference) -> bool:
        """Whether the Deployment's name is in that of the ReplicaSet, which is NAME-HASH, with the hash in the pod's labels.

        Raises Forbidden for one that no Deployment named so: a Deployment may have adopted it, and its pods are not left out unsaid.
        """
        name, _, suffix = owner.name.rpartition("-")
        if owner.kind != "ReplicaSet":
            return False
        if suffix != (pod.metadata.labels or {}).get(POD_HASH):
            raise Forbidden(f"whose pod {pod.metadata.name} is, of ReplicaSet {owner.name}, cannot be told: {forbidden}") from forbidden
        return name == self.target.name

    async def _selected(self, path: str, kind: type[T], selector: Selector | None) -> list[T]:
        return await self._client.read_all(path, kind, query={"labelSelector": text} if selector and (text := selector.query()) else {})

    async def pod_labels(self) -> dict[str, str]:
        """The labels that the target's pods have, or are to have."""
        if self.target.kind is Kind.POD:
            return (await self.pods())[0].metadata.labels or {}
        return ((await self.workload()).spec.template.get("metadata") or {}).get("labels") or {}

    async def usage(self) -> list[Usage]:
        """What the metrics API tells of the target's pods, or of the node that it is.

        Raises NotFound where this server has no such API: most clusters get it by an extension, the metrics server.
        """
        target = self.target
        try:
            if target.kind is Kind.NODE:
                return [await self._client.read(NODE_USAGE.path("", target.name), Usage)]
            if target.kind is Kind.POD:
                return [await self._client.read(POD_USAGE.path(target.namespace, target.name), Usage)]
            listed, pods = await asyncio.gather(
                self._selected(POD_USAGE.path(target.namespace), Usage, await self._pod_selector()), self.pods()
            )
        except NotFound as missing:
            raise await self._without_usage(missing) from missing
        names = {pod.metadata.name for pod in pods}
        return [item for item in listed if item.metadata.name in names]

    async def _without_usage(self, missing: NotFound) -> NotFound:
        """Why nothing is told of what the target uses: the API is not there, or it knows no such object."""
        try:
            await self._client.read(f"/apis/{POD_USAGE.group}", ApiGroup)
        except NotFound:
            return NotFound(f"this cluster serves no {POD_USAGE.group}")
        return missing

    async def services(self) -> list[str]:
        """Names of the services whose selector matches the target's pods, in order."""
        labels = await self.pod_labels()
        listed = await self._client.read_all(SERVICES.path(self.target.namespace), Service)
        return sorted(service.metadata.name for service in listed if service.selects(labels))

    async def budgets(self) -> list[Budget]:
        """The disruption budgets of the target's namespace, in the version of the policy API that this server has."""
        return await self._once("budgets", self._read_budgets)

    async def _read_budgets(self) -> list[Budget]:
        if "policy" not in self._client.discovered:
            group = await self._client.read("/apis/policy", ApiGroup)
            versions = [item.version for item in group.versions]
            self._client.discovered["policy"] = "v1" if "v1" in versions else versions[0]
        return await self._client.read_all(budgets(self._client.discovered["policy"]).path(self.target.namespace), Budget)

    async def autoscaler(self) -> Autoscaler | None:
        """The autoscaler that holds the target's number of replicas; the first by name, should there be several."""
        target = self.target
        listed = await self._client.read_all(AUTOSCALERS.path(target.namespace), Autoscaler)
        refs = [(item, item.spec.scale_target_ref) for item in listed]
        found = [item for item, ref in refs if (ref.kind, ref.name) == (str(target.kind), target.name)]
        return min(found, key=lambda item: item.metadata.name, default=None)

    async def node(self, name: str) -> Node:
        return await self._once(f"node {name}", lambda: self._client.read(NODES.path("", name), Node))

    async def everything_placed(self) -> tuple[list[Node], list[Pod]]:
        """All nodes, and all pods of the cluster that are not over."""
        query = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
        nodes, pods = await asyncio.gather(self._client.read_all(NODES.path(), Node), self._client.read_all(PODS.path(), Pod, query=query))
        return nodes, pods

    async def owners(self) -> list[OwnerReference]:
        """The controllers above the target, the nearest first, as far up as can be read."""
        chain: list[OwnerReference] = []
        owner = (await self.metadata()).controller
        while owner is not None and len(chain) < _CHAIN:
            chain.append(owner)
            resource = _CONTROLLERS.get(owner.kind)
            owner = await self._above(resource, owner.name) if resource else None
        return chain

    async def _above(self, resource: Resource, name: str) -> OwnerReference | None:
        try:
            return (await self._client.read(resource.path(self.target.namespace, name), Anything)).metadata.controller
        except (NotFound, Forbidden):
            return None

    async def uids(self) -> set[str]:
        """The UIDs that events about the target, or about what it owns, may carry."""
        kind = self.target.kind
        uids = {(await self.metadata()).uid}
        if kind is Kind.NODE:
            return uids | {self.target.name}  # kubelets write a node's name for its UID
        if kind is Kind.NAMESPACE:
            return uids
        parts: list[Awaitable[list[Any]]] = [self.pods()]
        if kind is Kind.DEPLOYMENT:
            parts.append(self.sets())
        for items in await asyncio.gather(*parts, return_exceptions=True):
            if not isinstance(items, BaseException):
                uids |= {item.metadata.uid for item in items}
            elif not isinstance(items, AdapterError):
                raise items
        return uids

    async def events(self) -> list[Event]:
        """Events of the target's namespace, a few pages at most; a node's are kept in `default`."""
        path = EVENTS.path(self.target.namespace or "default")
        query: dict[str, str] = {"limit": str(self._client.page)}
        events: list[Event] = []
        for _ in range(_EVENT_PAGES):
            page = await self._client.read(path, List[Event], query=query)
            events.extend(page.all)
            query["continue"] = str(page.metadata.get("continue") or "")
            if not query["continue"]:
                break
        return events

    async def log(self, pod: str, container: str, *, lines: int, size: int, previous: bool) -> bytes:
        """The last lines of a container, `size` bytes at most; of the run before where `previous`."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": str(size)}
        query |= {"previous": "true"} if previous else {}
        data = await self._client.request("GET", PODS.path(self.target.namespace, pod, "log"), query=query)
        return data[-size:]
