"""What an action is about: one named thing in one named cluster, or one host."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """The kinds of things that Mendstream speaks of."""

    DEPLOYMENT = "Deployment"
    STATEFULSET = "StatefulSet"
    DAEMONSET = "DaemonSet"
    JOB = "Job"
    POD = "Pod"
    NODE = "Node"
    NAMESPACE = "Namespace"
    AUTOSCALER = "HorizontalPodAutoscaler"
    HOST = "Host"
    UNKNOWN = "Unknown"

    @property
    def is_workload(self) -> bool:
        return self in (Kind.DEPLOYMENT, Kind.STATEFULSET, Kind.DAEMONSET)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One thing: `cluster` names a cluster of the settings (or a host group); `namespace` is empty for nodes and hosts."""

    cluster: str
    kind: Kind
    name: str
    namespace: str = ""

    @property
    def key(self) -> str:
        """The incident key: cluster/namespace/kind/name, unique within one installation."""
        return f"{self.cluster}/{self.namespace}/{self.kind}/{self.name}"

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind.lower()} {place}"
