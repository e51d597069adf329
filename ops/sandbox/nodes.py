"""The simulated nodes: whether they report, and what the control plane does about those that do not.

A node with the annotation sim/down=true stops reporting: it is no longer ready and is tainted as unreachable, its pods are no longer
ready, and after five minutes they are deleted, which stays undone for as long as no kubelet confirms it.
"""

from __future__ import annotations

from collections.abc import Callable

from ops.sandbox.deployments import end_pod
from ops.sandbox.store import NODES, PODS, Store, Tree

POD_LIMIT = 110
_TOLERATED_SECONDS = 300  # the toleration that a real API server gives every pod
_UNREACHABLE = "node.kubernetes.io/unreachable"


def down(node: Tree) -> bool:
    return (node["metadata"].get("annotations") or {}).get("sim/down") == "true"


class Nodes:
    """The kubelets' reports and the node lifecycle controller. `seconds` goes only forward; `speed` shortens the five minutes."""

    def __init__(self, store: Store, seconds: Callable[[], float], speed: float) -> None:
        self._store = store
        self._seconds = seconds
        self._speed = speed
        self._lost: dict[str, float] = {}

    def tick(self) -> None:
        for node in self._store.all(NODES):
            self._report(node)
            if down(node):
                self._lose(node["metadata"]["name"])
            else:
                self._lost.pop(node["metadata"]["name"], None)

    def _report(self, node: Tree) -> None:
        away = down(node)
        condition = {"type": "Ready", "status": "Unknown" if away else "True", "reason": "NodeStatusUnknown" if away else "KubeletReady"}
        condition["message"] = "Kubelet stopped posting node status." if away else "kubelet is posting ready status"
        if [old.get("status") for old in node["status"].get("conditions", [])] == [condition["status"]]:
            return
        room = {"cpu": "8", "memory": "16Gi", "pods": str(POD_LIMIT)}
        node["status"] = {"capacity": room, "allocatable": room, "conditions": [condition | {"lastTransitionTime": self._store.now()}]}
        taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != _UNREACHABLE]
        taints += [{"key": _UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute") if away]
        node["spec"] = {**node["spec"], "taints": taints}
        self._store.keep(node)

    def _lose(self, name: str) -> None:
        """The pods of a node that does not report: not ready at once, deleted later; those of DaemonSets stay where they are."""
        since = self._lost.setdefault(name, self._seconds())
        late = (self._seconds() - since) * self._speed > _TOLERATED_SECONDS
        for pod in self._store.all(PODS):
            if pod["spec"].get("nodeName") != name or pod["status"].get("phase") in ("Succeeded", "Failed"):
                continue
            self._unready(pod)
            if late and not any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ())):
                end_pod(self._store, pod)

    def _unready(self, pod: Tree) -> None:
        changed = False
        for condition in pod["status"].get("conditions", ()):
            if condition["type"] == "Ready" and condition["status"] == "True":
                condition |= {"status": "False", "lastTransitionTime": self._store.now()}
                changed = True
        if changed:
            self._store.keep(pod)
            self._store.event(pod, "Warning", "NodeNotReady", "Node is not ready")
