"""A scenario's own part of the control plane: a namespace, nodes if it needs some, and what people deploy there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from adapters.errors import AdapterError
from adapters.kubernetes.resources import AUTOSCALERS, BY_KIND, PODS
from ops.sandbox.kubectl import Kubectl, settled
from schemas.target import Kind, Target
from tests.e2e.sshd import TestHost
from tests.patience import PATIENCE
from tests.scenarios.load import LOAD
from tests.scenarios.witness import BUDGETS, CONFIG_MAPS, Facts, look

Tree = dict[str, Any]
_NODES = BY_KIND[Kind.NODE]
_OWN = "mend.example/scenario"  # the label, and the taint, of nodes that take no pods but a scenario's


class Place:
    """One namespace of the real control plane, and what people do there; and a host of the same name, where one is given."""

    def __init__(self, kubectl: Kubectl, namespace: str, host: TestHost | None = None) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        self.nodes: list[str] = []
        self.hosts = {namespace: host} if host else {}

    async def open(self) -> None:
        await self.kubectl.namespace(self.namespace)

    async def close(self) -> None:
        """Deletes everything; pods of nodes that are down would else stay for ever."""
        for node in self.nodes:
            with contextlib.suppress(AdapterError):
                await self.kubectl.delete(_NODES, "", node)
        await self.kubectl.end_namespace(self.namespace)

    async def look(self) -> Facts:
        return await look(self.kubectl, self.namespace, self.nodes, self.hosts)

    async def deploy(
        self,
        name: str,
        image: str,
        *,
        kind: Kind = Kind.DEPLOYMENT,
        replicas: int = 2,
        labels: dict[str, str] | None = None,
        pod: Tree | None = None,
        spec: Tree | None = None,
        **container: Any,
    ) -> Target:
        """A workload of one container `web`; `pod` and `spec` are added to the pod's and the workload's specification."""
        own = {"app": name}
        template = {"metadata": {"labels": own}, "spec": {"containers": [{"name": "web", "image": image, **container}], **(pod or {})}}
        body: Tree = {"selector": {"matchLabels": own}, "template": template, "replicas": replicas, **(spec or {})}
        if kind is Kind.STATEFULSET:
            body["serviceName"] = name
        meta = {"name": name, "labels": own | (labels or {})}
        await self.kubectl.create(BY_KIND[kind], self.namespace, {"metadata": meta, "spec": body})
        return Target(cluster="", kind=kind, name=name, namespace=self.namespace)

    async def running(self, name: str, image: str, **fields: Any) -> Target:
        """The same, once all of its pods are available."""
        target = await self.deploy(name, image, **fields)
        await self.until(target, settled)
        return target

    async def until(self, target: Target, holds: Callable[[Tree, list[Tree]], bool], *, seconds: float = PATIENCE) -> Tree:
        return await self.kubectl.until(target, holds, seconds=seconds)

    async def set_image(self, target: Target, image: str, **container: Any) -> None:
        await self.kubectl.set_image(target, image, **container)

    async def config(self, name: str, **data: str) -> None:
        await self.kubectl.create(CONFIG_MAPS, self.namespace, {"metadata": {"name": name}, "data": data})

    async def set_config(self, name: str, **data: str | None) -> None:
        """Sets keys of a ConfigMap; None takes one away."""
        await self.kubectl.patch(CONFIG_MAPS, self.namespace, name, {"data": data})

    async def budget(self, target: Target, least: int) -> None:
        """A disruption budget that its controller has counted."""
        body = {"metadata": {"name": target.name}, "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": target.name}}}}
        await self.kubectl.create(BUDGETS, self.namespace, body)
        counted: Callable[[Tree], bool] = lambda item: item.get("status", {}).get("expectedPods", 0) > 0  # noqa: E731
        await self.kubectl.wait(counted, BUDGETS, self.namespace, target.name)

    async def autoscaler(self, target: Target, minimum: int, maximum: int) -> None:
        """An autoscaler that its controller has looked at."""
        reference = {"apiVersion": "apps/v1", "kind": str(target.kind), "name": target.name}
        body = {
            "metadata": {"name": target.name},
            "spec": {"scaleTargetRef": reference, "minReplicas": minimum, "maxReplicas": maximum, "targetCPUUtilizationPercentage": 80},
        }
        await self.kubectl.create(AUTOSCALERS, self.namespace, body)

    async def load(self, target: Target, cpu: int) -> None:
        """From now on so much cpu is asked of all pods of a Deployment together, in thousandths of a core."""
        await self.kubectl.patch(BY_KIND[target.kind], target.namespace, target.name, {"metadata": {"annotations": {LOAD: str(cpu)}}})

    async def node(self) -> str:
        """A node that takes only pods of `own_nodes`, once it is ready."""
        name = f"{self.namespace}-{len(self.nodes) + 1}"
        taint = {"key": _OWN, "value": self.namespace, "effect": "NoSchedule"}
        meta = {"name": name, "labels": {_OWN: self.namespace, "kubernetes.io/hostname": name}}
        self.nodes.append(name)
        await self.kubectl.create(_NODES, "", {"metadata": meta, "spec": {"taints": [taint]}})
        await self.kubectl.wait(lambda node: _ready(node) == "True", _NODES, "", name)
        return name

    def own_nodes(self, **selector: str) -> Tree:
        """What lets a pod run on this place's nodes, and on no others."""
        toleration = {"key": _OWN, "operator": "Exists", "effect": "NoSchedule"}
        return {"nodeSelector": {_OWN: self.namespace, **selector}, "tolerations": [toleration]}

    async def lose(self, node: str) -> None:
        """The node goes down and its pods say nothing more.

        That they are not ready is written here, as the node controller does it in life: it does so when it finds a kubelet silent,
        and the simulated kubelet says itself that it is down.
        """
        await self.kubectl.patch(_NODES, "", node, {"metadata": {"annotations": {"sim/down": "true"}}})
        await self.kubectl.wait(lambda item: _ready(item) != "True", _NODES, "", node)
        for pod in await self.pods_on(node):
            conditions = [
                item | ({"status": "False", "reason": "NodeNotReady"} if item["type"] == "Ready" else {}) for item in _conditions(pod)
            ]
            await self.kubectl.patch(PODS, self.namespace, pod["metadata"]["name"], {"status": {"conditions": conditions}}, part="status")

    async def bring_back(self, node: str) -> None:
        """The node is up again."""
        await self.kubectl.patch(_NODES, "", node, {"metadata": {"annotations": {"sim/down": None}}})
        await self.kubectl.wait(lambda item: _ready(item) == "True", _NODES, "", node)

    async def end_pod(self, phase: str) -> None:
        """The container of the one pod that runs ends, with or without an error.

        That it ended is written here, as a kubelet does it in life: the containers of the simulated one never end.
        """
        async with asyncio.timeout(30):
            while True:
                if living := [pod for pod in await self.kubectl.items(PODS, self.namespace) if _running(pod)]:
                    break
                await asyncio.sleep(0.1)
        (pod,) = living
        code = int(phase == "Failed")
        ended = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
        statuses = [one | {"ready": False, "state": ended} for one in pod["status"]["containerStatuses"]]
        conditions = [one | ({"status": "False"} if "Ready" in one["type"] else {}) for one in _conditions(pod)]
        status = {"phase": phase, "containerStatuses": statuses, "conditions": conditions}
        await self.kubectl.patch(PODS, self.namespace, pod["metadata"]["name"], {"status": status}, part="status")

    async def pods_on(self, node: str) -> list[Tree]:
        return [pod for pod in await self.kubectl.items(PODS, self.namespace) if pod["spec"].get("nodeName") == node]


def _conditions(item: Tree) -> list[Tree]:
    found: list[Tree] = item.get("status", {}).get("conditions", [])
    return found


def _running(pod: Tree) -> bool:
    return pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")


def _ready(node: Tree) -> str:
    return next((str(item["status"]) for item in _conditions(node) if item["type"] == "Ready"), "")


def image_of(spec: Tree) -> str:
    """The image of the one container of a workload's specification."""
    return str(spec["template"]["spec"]["containers"][0]["image"])
