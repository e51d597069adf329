"""What a person would do to a cluster: deploy, roll out another image, look. For the demo and for tests, on any API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.errors import TargetMissing
from adapters.kubernetes.client import MERGE_PATCH, Client
from adapters.kubernetes.errors import Conflict
from adapters.kubernetes.resources import BY_KIND, PODS, REPLICASETS, SERVICES, Resource
from ops.sandbox.deployments import is_ready
from schemas.target import Kind, Target

Tree = dict[str, Any]
_NAMESPACES = BY_KIND[Kind.NAMESPACE]
_REVISION = "deployment.kubernetes.io/revision"
_PATIENCE = 90.0  # seconds; a slow machine may take long, and what has not come by then never will
_PERIOD = 0.1  # seconds between two looks
_AS_PERSON = {"fieldManager": "kubectl"}  # what Mendstream writes itself has another one
_KEPT_BY_UNDO = (
    _REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "kubectl.kubernetes.io/last-applied-configuration",
)


class Kubectl:
    """A client with the verbs of kubectl; requests raise the errors of `adapters.kubernetes.errors`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def at(cls, *, server: str = "", kubeconfig: str = "") -> Kubectl:
        """By a plain URL, or by a kubeconfig; raises adapters.errors.WrongSettings."""
        from adapters.kubernetes import ways

        return cls(await ways.by_url(server) if server else await ways.by_kubeconfig(kubeconfig))

    async def close(self) -> None:
        await self._client.close()

    async def create(self, resource: Resource, namespace: str, body: Tree) -> Tree:
        """A new object, as the server made it."""
        data = await self._client.request("POST", resource.path(namespace), query=_AS_PERSON, body=body, write=True)
        created: Tree = msgspec.json.decode(data)
        return created

    async def get(self, resource: Resource, namespace: str, name: str) -> Tree:
        return await self._client.read(resource.path(namespace, name), dict)

    async def items(self, resource: Resource, namespace: str, labels: str = "") -> list[Tree]:
        """The objects of one namespace that have these labels."""
        found = await self._client.read(resource.path(namespace), dict, query={"labelSelector": labels} if labels else None)
        return list(found["items"])

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Tree, *, part: str = "") -> None:
        """A JSON merge patch, of the whole object or of a `part` that is written apart, such as its status."""
        path = resource.path(namespace, name, part)
        await self._client.request("PATCH", path, query=_AS_PERSON, body=patch, content=MERGE_PATCH, write=True)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Deletes; what is not there is fine."""
        try:
            await self._client.request("DELETE", resource.path(namespace, name), write=True)
        except TargetMissing:
            return

    async def namespace(self, name: str) -> None:
        """Makes the namespace; one that is there is fine."""
        try:
            await self.create(_NAMESPACES, "", {"metadata": {"name": name}})
        except Conflict:
            return

    async def end_namespace(self, name: str) -> None:
        await self.delete(_NAMESPACES, "", name)

    async def deploy(
        self,
        namespace: str,
        name: str,
        image: str,
        *,
        replicas: int = 1,
        kind: Kind = Kind.DEPLOYMENT,
        service: bool = False,
        **fields: Any,
    ) -> Target:
        """A workload of one container `web`, and a service in front if wanted. `fields` go into the container, such as `resources`."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image, **fields}]}}
        spec: Tree = {"selector": {"matchLabels": labels}, "template": template}
        if kind is not Kind.DAEMONSET:
            spec["replicas"] = replicas
        if kind is Kind.STATEFULSET:
            spec["serviceName"] = name
        await self.create(BY_KIND[kind], namespace, {"metadata": {"name": name, "labels": labels}, "spec": spec})
        if service:
            body = {"metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": 80}]}}
            await self.create(SERVICES, namespace, body)
        return Target(cluster="", kind=kind, name=name, namespace=namespace)

    async def set_image(self, target: Target, image: str, **fields: Any) -> None:
        """A rollout: the container `web` gets another image."""
        container = {"name": "web", "image": image, **fields}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        await self.patch(BY_KIND[target.kind], target.namespace, target.name, patch)

    async def undo(self, target: Target, revision: int) -> None:
        """What `kubectl rollout undo` does to a Deployment: the template and the annotations of the revision's ReplicaSet."""
        live = await self.get(BY_KIND[target.kind], target.namespace, target.name)
        for item in await self.items(REPLICASETS, target.namespace, f"app={target.name}"):
            annotations = item["metadata"].get("annotations") or {}
            if annotations.get(_REVISION) == str(revision):
                template = item["spec"]["template"]
                template["metadata"]["labels"].pop("pod-template-hash", None)
                kept = {name: value for name, value in live["metadata"]["annotations"].items() if name in _KEPT_BY_UNDO}
                kept |= {name: value for name, value in annotations.items() if name not in _KEPT_BY_UNDO}
                steps = [
                    {"op": "replace", "path": path, "value": value}
                    for path, value in (("/spec/template", template), ("/metadata/annotations", kept))
                ]
                path, content = BY_KIND[target.kind].path(target.namespace, target.name), "application/json-patch+json"
                await self._client.request("PATCH", path, query=_AS_PERSON, body=steps, content=content, write=True)
                return
        raise TargetMissing(f"{target} has no revision {revision}")

    async def pods(self, target: Target) -> list[Tree]:
        """The pods of a workload made by `deploy`."""
        return await self.items(PODS, target.namespace, f"app={target.name}")

    async def groups(self, name: str) -> list[str]:
        """The versions of an API group that the server has, as it orders them; empty where it has none."""
        try:
            found = await self._client.read(f"/apis/{name}", dict)
        except TargetMissing:
            return []
        return [version["version"] for version in found["versions"]]

    async def wait(
        self, holds: Callable[[Tree], bool], resource: Resource, namespace: str, name: str, *, seconds: float = _PATIENCE
    ) -> Tree:
        """Waits until one object is there and `holds(object)`; returns it. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(TargetMissing):
                    item = await self.get(resource, namespace, name)
                    if holds(item):
                        return item
                await asyncio.sleep(_PERIOD)

    async def gone(self, resource: Resource, namespace: str, name: str, *, seconds: float = _PATIENCE) -> None:
        """Waits until there is no such object. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.get(resource, namespace, name)
                except TargetMissing:
                    return
                await asyncio.sleep(_PERIOD)

    async def until(self, target: Target, holds: Callable[[Tree, list[Tree]], bool], *, seconds: float = _PATIENCE) -> Tree:
        """Waits until `holds(workload, pods)`; returns the workload. Raises TimeoutError with what it saw last."""
        seen = ""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    workload, pods = await self.get(BY_KIND[target.kind], target.namespace, target.name), await self.pods(target)
                    if holds(workload, pods):
                        return workload
                    states = [status["state"] for pod in pods for status in pod["status"].get("containerStatuses", [])]
                    seen = f"{workload['status']} and {states}"
                    await asyncio.sleep(_PERIOD)
        except TimeoutError:
            raise TimeoutError(f"{target} did not get there within {seconds:g} s: {seen}") from None


def settled(workload: Tree, pods: list[Tree]) -> bool:
    """Every pod that is wanted is of the newest template and available, and none is left over: for `until`.

    The pods are asked too: the controller's count of them is a moment behind.
    """
    status, meta = workload["status"], workload["metadata"]
    if status.get("observedGeneration", 0) < meta["generation"]:
        return False
    if "numberReady" in status:
        counts = [status.get(name, 0) for name in ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady")]
        if counts[0] == 0:  # not told yet
            return False
    else:
        counts = [workload["spec"]["replicas"], *(status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas"))]
    return set(counts) == {len(pods)} and all(is_ready(pod) for pod in pods)


def waiting(reason: str) -> Callable[[Tree, list[Tree]], bool]:
    """Some container waits for this reason, such as CrashLoopBackOff: for `until`."""

    def holds(_workload: Tree, pods: list[Tree]) -> bool:
        states = [status["state"] for pod in pods for status in pod["status"].get("containerStatuses", [])]
        return any((state.get("waiting") or {}).get("reason") == reason for state in states)

    return holds


def rolled_out(workload: Tree, _pods: list[Tree]) -> bool:
    """The controller of a Deployment has called its newest rollout complete, whatever became of its pods since: for `until`."""
    status = workload["status"]
    reasons = [condition.get("reason") for condition in status.get("conditions", []) if condition["type"] == "Progressing"]
    seen = status.get("observedGeneration", 0) >= workload["metadata"]["generation"]
    return bool(seen and reasons == ["NewReplicaSetAvailable"] and status.get("updatedReplicas", 0) == workload["spec"]["replicas"])


def unready(_workload: Tree, pods: list[Tree]) -> bool:
    """Some container runs and is not ready: a wedge, for `until`."""
    statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
    return any("running" in status["state"] and not status["ready"] for status in statuses)
