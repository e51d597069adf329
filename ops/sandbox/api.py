"""The sandbox's REST API: the paths, verbs, preconditions, dry runs and errors of Kubernetes, as far as healing needs them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ops.sandbox.cluster import Cluster
from ops.sandbox.deployments import end_pod
from ops.sandbox.faults import ApiFault
from ops.sandbox.kubelet import log_of, usage_of_node, usage_of_pod
from ops.sandbox.patches import patched
from ops.sandbox.selectors import by_fields, by_labels
from ops.sandbox.sets import covers
from ops.sandbox.store import BUDGETS, NAMESPACES, NODE_USAGE, NODES, POD_USAGE, PODS, RESOURCES, Resource, Tree

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_REVIEWS = "selfsubjectaccessreviews"


class Asked(NamedTuple):
    """One request, its path taken apart."""

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str

    def permission(self) -> str:
        plural = f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural
        return f"{self.verb} {plural}.{self.resource.group}" if self.resource.group else f"{self.verb} {plural}"


class Api:
    """Answers requests; knows nothing of HTTP but its words."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._store = cluster.store

    def answer(self, method: str, path: str, query: dict[str, str], content: str, body: bytes) -> tuple[int, Any]:
        """The status and the object (or text) of the answer."""
        try:
            found = self._discovery(path.rstrip("/")) if method == "GET" else None
            if found is not None:
                return 200, found
            tree = json.loads(body) if body else {}
            if path.endswith(f"/{_REVIEWS}"):
                return 201, self._review(tree)
            asked = _asked(method, path)
            self._allow(asked)
            return self._do(asked, query, content, tree)
        except ApiFault as fault:
            return fault.code, fault.status()
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            unclear = ApiFault("BadRequest", f"the request could not be understood: {type(error).__name__}: {error}")
            return unclear.code, unclear.status()

    # who may what ----------------------------------------------------------------------------------------------

    def _denied(self, permission: str, namespace: str) -> bool:
        return permission in self._cluster.denied or f"{permission} in {namespace}" in self._cluster.denied

    def _allow(self, asked: Asked) -> None:
        if self._denied(asked.permission(), asked.namespace):
            raise ApiFault(
                "Forbidden", f'{asked.resource.label} "{asked.name}" is forbidden: cannot {asked.permission()} in {asked.namespace}'
            )

    def _review(self, tree: Tree) -> Tree:
        wanted = tree["spec"]["resourceAttributes"]
        plural = wanted["resource"] + (f"/{wanted['subresource']}" if wanted.get("subresource") else "")
        label = f"{plural}.{wanted['group']}" if wanted.get("group") else plural
        allowed = not self._denied(f"{wanted['verb']} {label}", wanted.get("namespace", ""))
        return {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": tree["spec"],
            "status": {"allowed": allowed},
        }

    # what there is ---------------------------------------------------------------------------------------------

    def _discovery(self, path: str) -> Any:
        """Answers about the API itself; None for every other path."""
        if path in ("/readyz", "/livez", "/healthz"):
            return "ok"
        if path == "/version":
            return {"major": "1", "minor": "30", "gitVersion": "v1.30.0-sandbox"}
        parts = path.strip("/").split("/")
        if parts == ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        if parts == ["apis"]:
            groups = [_group(name) for name in sorted({group for group, _, _ in RESOURCES if group})]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if parts == ["api", "v1"] or (len(parts) == 3 and parts[0] == "apis"):
            return self._resource_list("" if parts[0] == "api" else parts[1], parts[-1])
        if len(parts) == 2 and parts[0] == "apis":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1])}
        return None

    def _resource_list(self, group: str, version: str) -> Tree:
        found: list[Tree] = [
            {
                "name": each.plural,
                "singularName": each.kind.lower(),
                "namespaced": each.namespaced,
                "kind": each.kind,
                "verbs": ["create", "delete", "get", "list", "patch", "update"],
            }
            for each in RESOURCES.values()
            if (each.group, each.version) == (group, version)
        ]
        if not found:
            raise ApiFault("NotFound", "the server could not find the requested resource")
        if not group:
            found.append({"name": "pods/eviction", "namespaced": True, "group": "policy", "version": "v1", "kind": "Eviction"})
        return {"kind": "APIResourceList", "groupVersion": f"{group}/{version}" if group else version, "resources": found}

    # what is asked ---------------------------------------------------------------------------------------------

    def _do(self, asked: Asked, query: dict[str, str], content: str, tree: Any) -> tuple[int, Any]:
        dry = query.get("dryRun") == "All"
        match asked.verb, asked.subresource:
            case "list" | "get", "" if asked.resource in (POD_USAGE, NODE_USAGE):
                return 200, self._usage(asked, query)
            case "list", "":
                return 200, self._list(asked, query)
            case "get", "log":
                pod = self._store.get(PODS, asked.namespace, asked.name)
                container = query.get("container") or pod["spec"]["containers"][0]["name"]
                return 200, log_of(pod, container)
            case "create", "eviction":
                return 201, self._evict(asked, tree, dry=dry)
            case "create", "" if not asked.name:
                item = self._store.create(asked.resource, asked.namespace, tree, dry=dry)
                self._cluster.changed()
                return 201, item
            case "get", "":
                return 200, self._store.get(asked.resource, asked.namespace, asked.name)
            case "patch" | "update", "":
                return 200, self._change(asked, content, tree, dry=dry)
            case "delete", "" if asked.name:
                return 200, self._delete(asked, tree, dry=dry)
            case _:
                raise ApiFault("MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _list(self, asked: Asked, query: dict[str, str]) -> Tree:
        labels, fields = by_labels(query.get("labelSelector", "")), by_fields(query.get("fieldSelector", ""))
        items = [item for item in self._store.all(asked.resource, asked.namespace) if labels(item) and fields(item)]
        meta: Tree = {"resourceVersion": self._store.version()}
        first, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        if limit and len(items) > first + limit:
            meta |= {"continue": str(first + limit), "remainingItemCount": len(items) - first - limit}
        items = items[first : first + limit] if limit else items[first:]
        return {"kind": f"{asked.resource.kind}List", "apiVersion": asked.resource.api_version, "metadata": meta, "items": items}

    def _usage(self, asked: Asked, query: dict[str, str]) -> Tree:
        """What the metrics server of a cluster tells: of pods that run, and of nodes."""
        labels = by_labels(query.get("labelSelector", ""))
        if asked.resource is NODE_USAGE:
            pods = self._store.all(PODS)
            found = [usage_of_node(node, pods) for node in self._store.all(NODES) if labels(node)]
        else:
            running = (pod for pod in self._store.all(PODS, asked.namespace) if pod["status"].get("phase") == "Running")
            found = [usage_of_pod(pod) for pod in running if labels(pod)]
        if not asked.name:
            return {"kind": f"{asked.resource.kind}List", "apiVersion": asked.resource.api_version, "metadata": {}, "items": found}
        named = next((item for item in found if item["metadata"]["name"] == asked.name), None)
        if named is None:
            raise ApiFault("NotFound", f'{asked.resource.label} "{asked.name}" not found')
        return named

    def _change(self, asked: Asked, content: str, tree: Any, *, dry: bool) -> Tree:
        before = self._store.get(asked.resource, asked.namespace, asked.name)
        after = patched(content, before, tree) if asked.verb == "patch" else tree
        item = self._store.replace(asked.resource, before, after, dry=dry)
        self._cluster.changed()
        return item

    def _delete(self, asked: Asked, options: Tree, *, dry: bool) -> Tree:
        item = self._store.get(asked.resource, asked.namespace, asked.name)
        _precondition(asked, item, options)
        if dry or options.get("dryRun") == ["All"]:
            return item
        if asked.resource is PODS:
            end_pod(self._store, item)
        else:
            self._store.remove(asked.resource, item)
        if asked.resource is NAMESPACES:
            for resource, inside in list(self._store.everything()):
                if inside["metadata"].get("namespace") == asked.name:
                    self._store.remove(resource, inside)
        self._cluster.changed()
        return item

    def _evict(self, asked: Asked, eviction: Tree, *, dry: bool) -> Tree:
        pod = self._store.get(PODS, asked.namespace, asked.name)
        options = eviction.get("deleteOptions") or {}
        _precondition(asked, pod, options)
        held = pod["status"].get("phase") == "Running"  # a pod that never ran, or has ended, costs a budget nothing
        covering = [budget for budget in self._store.all(BUDGETS, asked.namespace) if held and covers(budget, pod)]
        for budget in covering:
            if budget["status"].get("disruptionsAllowed", 0) < 1:
                raise ApiFault("TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        if not dry and options.get("dryRun") != ["All"]:
            for budget in covering:  # counted at once, as the budget's controller may come late
                budget["status"]["disruptionsAllowed"] -= 1
            end_pod(self._store, pod)
            self._cluster.changed()
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}


def _group(name: str) -> Tree:
    """One API group with its versions, as discovery tells it."""
    versions = sorted({version for group, version, _ in RESOURCES if group == name})
    if not versions:
        raise ApiFault("NotFound", "the server could not find the requested resource")
    named = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": named, "preferredVersion": named[0]}


def _precondition(asked: Asked, item: Tree, options: Tree) -> None:
    """Raises ApiFault where the UID in the options is not the object's."""
    wanted = (options.get("preconditions") or {}).get("uid")
    uid = item["metadata"]["uid"]
    if wanted and wanted != uid:
        raise ApiFault(
            "Conflict",
            f'Operation cannot be fulfilled on {asked.resource.label} "{asked.name}": the UID in the precondition ({wanted}) '
            f"does not match the UID in record ({uid}). The object might have been deleted and then recreated",
        )


def _asked(method: str, path: str) -> Asked:
    """The path taken apart; raises ApiFault for one that is not known."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1] if len(parts) > 1 else "", parts[2:])
    version, *rest = rest or [""]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (group, version, rest[2]) in RESOURCES:
        namespace, rest = rest[1], rest[2:]
    resource = RESOURCES.get((group, version, rest[0])) if rest and parts[0] in ("api", "apis") else None
    if resource is None or len(rest) > 3:
        raise ApiFault("NotFound", "the server could not find the requested resource")
    name, subresource = [*rest[1:], "", ""][:2]
    verb = _VERBS.get(method) or ("get" if name else "list")
    return Asked(verb, resource, namespace, name, subresource)
