"""The sandbox's objects: versions, UIDs, preconditions and generations as a real API server keeps them."""

from __future__ import annotations

import copy
import random
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ops.sandbox.faults import ApiFault

Tree = dict[str, Any]
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Resource(NamedTuple):
    """One resource type that the sandbox knows."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def label(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _known(*resources: Resource) -> dict[tuple[str, str, str], Resource]:
    return {(resource.group, resource.version, resource.plural): resource for resource in resources}


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
EVENTS = Resource("", "v1", "events", "Event")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
JOBS = Resource("batch", "v1", "jobs", "Job")
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
AUTOSCALERS = Resource("autoscaling", "v1", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POD_USAGE = Resource("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")
NODE_USAGE = Resource("metrics.k8s.io", "v1beta1", "nodes", "NodeMetrics", namespaced=False)
RESOURCES = _known(
    *(NAMESPACES, NODES, PODS, SERVICES, EVENTS, CONFIG_MAPS, DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS),
    *(REVISIONS, JOBS, BUDGETS, AUTOSCALERS, POD_USAGE, NODE_USAGE),
)
_WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)


class Store:
    """All objects, by resource, namespace and name. `clock` gives UTC; `chance` makes UIDs and names."""

    def __init__(self, clock: Callable[[], datetime], chance: random.Random) -> None:
        self._clock = clock
        self._chance = chance
        self._objects: dict[Resource, dict[tuple[str, str], Tree]] = {resource: {} for resource in RESOURCES.values()}
        self._version = 100

    def now(self) -> str:
        """The time as Kubernetes writes it, to the second."""
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def letters(self, count: int = 5) -> str:
        """A random ending for a name."""
        return "".join(self._chance.choice(ALPHABET) for _ in range(count))

    def version(self) -> str:
        return str(self._version)

    # reading ---------------------------------------------------------------------------------------------------

    def all(self, resource: Resource, namespace: str = "") -> list[Tree]:
        """The objects themselves, in order of name: whoever changes one calls `keep`."""
        found = self._objects[resource]
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def get(self, resource: Resource, namespace: str, name: str) -> Tree:
        """The object itself; raises ApiFault."""
        try:
            return self._objects[resource][namespace, name]
        except KeyError:
            raise ApiFault("NotFound", f'{resource.label} "{name}" not found') from None

    def owned(self, resource: Resource, owner: Tree) -> list[Tree]:
        """The objects that `owner` controls."""
        uid, namespace = owner["metadata"]["uid"], owner["metadata"].get("namespace", "")
        return [item for item in self.all(resource, namespace) if controller(item) == uid]

    def everything(self) -> Iterator[tuple[Resource, Tree]]:
        for resource, found in self._objects.items():
            for item in list(found.values()):
                yield resource, item

    # writing ---------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, body: Tree, *, dry: bool = False) -> Tree:
        """A new object; raises ApiFault."""
        item = copy.deepcopy(body)
        meta = item.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + self.letters()
        name = str(meta.get("name", ""))
        if not _NAME.fullmatch(name) or len(name) > 253:
            raise ApiFault("Invalid", f'{resource.kind}.{resource.group} "{name}" is invalid: metadata.name: Invalid value')
        if resource.namespaced:
            if ("", namespace) not in self._objects[NAMESPACES]:
                raise ApiFault("NotFound", f'namespaces "{namespace}" not found')
            meta["namespace"] = namespace
        if (namespace, name) in self._objects[resource]:
            raise ApiFault("AlreadyExists", f'{resource.label} "{name}" already exists')
        item |= {"kind": resource.kind, "apiVersion": resource.api_version}
        meta |= {"uid": str(uuid.UUID(int=self._chance.getrandbits(128), version=4)), "creationTimestamp": self.now()}
        if "spec" in item:
            meta["generation"] = 1
        _validate(resource, item)
        item.setdefault("status", {}) if "spec" in item else None
        if not dry:
            self._objects[resource][namespace, name] = item
            self.keep(item)
        return item

    def keep(self, item: Tree) -> None:
        """Notes that the object was changed: it gets a new version."""
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)

    def replace(self, resource: Resource, before: Tree, after: Tree, *, dry: bool = False) -> Tree:
        """`after` instead of `before`. A UID or version in it that is not the live one is a conflict. Raises ApiFault."""
        old, new = before["metadata"], after["metadata"]
        name = old["name"]
        if new.get("uid", old["uid"]) != old["uid"]:
            raise ApiFault("Conflict", f'{resource.label} "{name}": the UID in the precondition is not the UID in record ({old["uid"]})')
        if new.get("resourceVersion", old["resourceVersion"]) != old["resourceVersion"]:
            raise ApiFault(
                "Conflict",
                f'Operation cannot be fulfilled on {resource.label} "{name}": the object has been modified;'
                " please apply your changes to the latest version and try again",
            )
        after = copy.deepcopy(after)
        kept = {field: old[field] for field in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp") if field in old}
        after["metadata"] |= kept
        _validate(resource, after)
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = old.get("generation", 0) + 1
        if not dry and after != before:
            self._objects[resource][old.get("namespace", ""), name] = after
            self.keep(after)
        return after

    def remove(self, resource: Resource, item: Tree) -> None:
        """Takes the object away at once."""
        meta = item["metadata"]
        self._objects[resource].pop((meta.get("namespace", ""), meta["name"]), None)
        self._version += 1

    def event(self, about: Tree, kind: str, reason: str, message: str) -> None:
        """An event about an object; one that repeats is counted."""
        meta = about["metadata"]
        namespace = meta.get("namespace", "default")
        for event in self.all(EVENTS, namespace):
            if event["involvedObject"]["uid"] == meta["uid"] and (event["reason"], event["message"]) == (reason, message):
                event["count"] += 1
                event["lastTimestamp"] = self.now()
                self.keep(event)
                return
        involved = {
            "kind": about["kind"],
            "apiVersion": about["apiVersion"],
            "name": meta["name"],
            "namespace": namespace,
            "uid": meta["uid"],
        }
        body = {"type": kind, "reason": reason, "message": message, "count": 1, "involvedObject": involved}
        times = {"firstTimestamp": self.now(), "lastTimestamp": self.now()}
        self.create(EVENTS, namespace, {"metadata": {"generateName": meta["name"][:200] + "."}} | body | times)


def controller(item: Tree) -> str:
    """The UID of the owner that manages an object; empty where there is none."""
    return next((owner["uid"] for owner in item["metadata"].get("ownerReferences", ()) if owner.get("controller")), "")


def owner_reference(owner: Tree) -> Tree:
    meta = owner["metadata"]
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], "controller": True}


def _validate(resource: Resource, item: Tree) -> None:
    """As much of the API's validation as a wrong action would meet. Raises ApiFault."""
    where = f'{resource.kind}.{resource.group} "{item["metadata"]["name"]}" is invalid'
    spec = item.get("spec") or {}
    if resource in _WORKLOADS:
        labels = (spec.get("template", {}).get("metadata") or {}).get("labels") or {}
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        if not wanted or any(labels.get(key) != value for key, value in wanted.items()):
            raise ApiFault("Invalid", f"{where}: spec.template.metadata.labels: `selector` does not match template `labels`")
        replicas = spec.get("replicas", 1)
        if not isinstance(replicas, int) or replicas < 0:
            raise ApiFault("Invalid", f"{where}: spec.replicas: must be greater than or equal to 0")
        if resource is not DAEMON_SETS:
            spec.setdefault("replicas", 1)
    if resource is AUTOSCALERS and not 1 <= spec.get("minReplicas", 1) <= spec.get("maxReplicas", 0):
        raise ApiFault("Invalid", f"{where}: spec.maxReplicas: must be greater than or equal to `minReplicas`")
    pod = spec if resource is PODS else (spec.get("template") or {}).get("spec") if resource in (*_WORKLOADS, JOBS) else None
    for container in [] if pod is None else pod.get("containers") or [{}]:
        if not container.get("name") or not container.get("image"):
            raise ApiFault("Invalid", f"{where}: spec.containers: name and image are required")
        resources = container.get("resources") or {}
        for quantity in [*(resources.get("limits") or {}).values(), *(resources.get("requests") or {}).values()]:
            if not _QUANTITY.fullmatch(str(quantity)):
                raise ApiFault("Invalid", f"{where}: spec.containers.resources: {quantity!r} is not a quantity")
