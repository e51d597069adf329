"""Where things live in the Kubernetes API: resources, their paths, and what may be asked of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from adapters.errors import TargetMissing
from schemas.target import Kind, Target
from schemas.text import clean

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


class Resource(NamedTuple):
    """One resource type; `group` is empty for the core API."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def label(self) -> str:
        """As kubectl spells it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object, or of the list when `name` is empty; of all namespaces when `namespace` is, too.

        Raises TargetMissing for a name that Kubernetes cannot have: names come from alerts, and must not shape the path.
        """
        for word in (namespace, name):
            if word and not is_name(word):
                raise TargetMissing(f"{clean(word, 80)!r} is not a name that an object in Kubernetes can have")
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.extend(word for word in (self.plural, name, subresource) if word)
        return "/".join(parts)


class Permission(NamedTuple):
    """One thing that an identity may or may not do."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """`patch deployments.apps in shop`, `create pods/eviction in shop`, `patch nodes`."""
        plural = self.resource.plural + (f"/{self.subresource}" if self.subresource else "")
        label = f"{plural}.{self.resource.group}" if self.resource.group else plural
        return f"{self.verb} {label}" + (f" in {self.namespace}" if self.namespace else "")


DEPLOYMENTS = Resource("apps", "v1", "deployments")
STATEFULSETS = Resource("apps", "v1", "statefulsets")
DAEMONSETS = Resource("apps", "v1", "daemonsets")
REPLICASETS = Resource("apps", "v1", "replicasets")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions")
JOBS = Resource("batch", "v1", "jobs")
PODS = Resource("", "v1", "pods")
SERVICES = Resource("", "v1", "services")
EVENTS = Resource("", "v1", "events")
NODES = Resource("", "v1", "nodes", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
AUTOSCALERS = Resource("autoscaling", "v1", "horizontalpodautoscalers")
POD_USAGE = Resource("metrics.k8s.io", "v1beta1", "pods")
NODE_USAGE = Resource("metrics.k8s.io", "v1beta1", "nodes", namespaced=False)
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False)

BY_KIND: dict[Kind, Resource] = {
    Kind.DEPLOYMENT: DEPLOYMENTS,
    Kind.STATEFULSET: STATEFULSETS,
    Kind.DAEMONSET: DAEMONSETS,
    Kind.JOB: JOBS,
    Kind.POD: PODS,
    Kind.NODE: NODES,
    Kind.NAMESPACE: NAMESPACES,
    Kind.AUTOSCALER: AUTOSCALERS,
}


def budgets(version: str) -> Resource:
    """Disruption budgets in the version of the policy API that this server has."""
    return Resource("policy", version, "poddisruptionbudgets")


def is_name(word: str) -> bool:
    """Whether `word` can be the name of an object: lower case letters, digits, `-` and `.`, 253 at most."""
    return _NAME.fullmatch(word) is not None and ".." not in word


def resource_of(target: Target) -> Resource:
    """The resource type of a target. Raises TargetMissing for a kind that no cluster has, such as a host."""
    try:
        return BY_KIND[target.kind]
    except KeyError:
        raise TargetMissing(f"{target} is not something that a Kubernetes cluster has") from None


def path_of(target: Target) -> str:
    """The path of the target itself; raises TargetMissing."""
    resource = resource_of(target)
    if resource.namespaced and not target.namespace:
        raise TargetMissing(f"{target} has no namespace: give the alert a `namespace` label")
    return resource.path(target.namespace, target.name)
