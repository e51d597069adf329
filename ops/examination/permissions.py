"""What Mendstream asks for in a cluster: all that it may look at and all that it may change, and nothing else."""

from __future__ import annotations

from adapters.kubernetes.resources import (
    AUTOSCALERS,
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    NODE_USAGE,
    NODES,
    POD_USAGE,
    PODS,
    REPLICASETS,
    SERVICES,
    STATEFULSETS,
    Permission,
    budgets,
)

BUDGETS = budgets("v1")
_LOOKED_AT = (
    PODS,
    SERVICES,
    EVENTS,
    NODES,
    DEPLOYMENTS,
    STATEFULSETS,
    DAEMONSETS,
    REPLICASETS,
    CONTROLLER_REVISIONS,
    JOBS,
    AUTOSCALERS,
    BUDGETS,
)

READS: tuple[Permission, ...] = (
    *(Permission(verb, resource) for resource in _LOOKED_AT for verb in ("get", "list")),
    Permission("get", PODS, subresource="log"),
    Permission("get", POD_USAGE),
    Permission("list", POD_USAGE),
    Permission("get", NODE_USAGE),
)
"""What evidence, preflight and verification look at."""

WRITES: tuple[tuple[Permission, str], ...] = (
    (Permission("patch", DEPLOYMENTS), "restart, roll back, scale, set a memory limit"),
    (Permission("patch", STATEFULSETS), "the same"),
    (Permission("patch", DAEMONSETS), "restart, roll back, set a memory limit"),
    (Permission("patch", AUTOSCALERS), "set the bounds of an autoscaler"),
    (Permission("delete", PODS), "delete a pod"),
    (Permission("create", PODS, subresource="eviction"), "evict a pod"),
    (Permission("create", JOBS), "run a failed job again"),
    (Permission("patch", NODES), "cordon and uncordon"),
)
"""What actions change, and for which action. Leave out what shall never happen: the action is then refused before it runs."""


_ON_NODES = (Permission("list", PODS), Permission("list", EVENTS))
"""What the pods of a node and its events are found by: they may be in any namespace."""


def manifest() -> str:
    """The ClusterRoles that grant all of it, as YAML: one to look, one to change, one for nodes, which belong to no namespace."""
    nodes = [one for one in (*READS, *(one for one, _ in WRITES)) if not one.resource.namespaced]
    parts = {
        "reader": ("looks: evidence, checks, verification", [one for one in READS if one.resource.namespaced]),
        "healer": ("changes, and only by actions that the gate let pass", [one for one, _ in WRITES if one.resource.namespaced]),
        "nodes": ("looks at nodes and at what runs on them, and cordons them", [*nodes, *_ON_NODES]),
    }
    return _HEAD + "---\n".join(_role(f"mendstream-{name}", purpose, granted) for name, (purpose, granted) in parts.items())


_HEAD = """\
# All that Mendstream may touch in a cluster. Bind them to the identity of its kubeconfig: reader and healer by a RoleBinding in each
# namespace to heal, or by a ClusterRoleBinding for all of them; nodes by a ClusterRoleBinding, or not at all. For example
#   kubectl apply -f compose/rbac.yaml
#   kubectl -n shop create rolebinding mendstream-reader --clusterrole mendstream-reader --serviceaccount ops:mendstream
#   kubectl -n shop create rolebinding mendstream-healer --clusterrole mendstream-healer --serviceaccount ops:mendstream
#   kubectl create clusterrolebinding mendstream-nodes --clusterrole mendstream-nodes --serviceaccount ops:mendstream
# What is left out is never done: it is refused before anybody is asked to sign, with the missing permission named.
# Written from ops/examination/permissions.py by `python -m ops.settings.reference`.
"""


def _role(name: str, purpose: str, granted: list[Permission]) -> str:
    """One ClusterRole; resources of one group with the same verbs share a rule."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for permission in granted:
        resource = permission.resource.plural + (f"/{permission.subresource}" if permission.subresource else "")
        verbs.setdefault((permission.resource.group, resource), []).append(permission.verb)
    rules: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), words in verbs.items():
        rules.setdefault((group, tuple(words)), []).append(resource)
    lines = [f"# {name[len('mendstream-') :]}: {purpose}", "apiVersion: rbac.authorization.k8s.io/v1", "kind: ClusterRole"]
    lines += [f"metadata: {{name: {name}}}", "rules:"]
    for (group, granted_verbs), resources in rules.items():
        lines += [f'  - apiGroups: ["{group}"]', f"    resources: [{', '.join(resources)}]", f"    verbs: [{', '.join(granted_verbs)}]"]
    return "\n".join(lines) + "\n"
