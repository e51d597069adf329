"""Horizontal pod autoscalers without metrics: how many replicas the load asks for stands in the annotation sim/wanted."""

from __future__ import annotations

import json

from ops.sandbox.deployments import set_status
from ops.sandbox.store import AUTOSCALERS, DEPLOYMENTS, STATEFUL_SETS, Store, Tree

_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_METRICS = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}
_NO_METRICS = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "unable to get metrics"}
_TOO_MANY = {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}
_WITHIN = {"type": "ScalingLimited", "status": "False", "reason": "DesiredWithinRange"}
_TARGETS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}


class Autoscalers:
    """Holds each workload between the bounds of its autoscaler; one that was scaled to zero is left alone, as in a real cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tick(self) -> None:
        for item in self._store.all(AUTOSCALERS):
            reference = item["spec"]["scaleTargetRef"]
            resource = _TARGETS.get(reference["kind"])
            found = self._store.all(resource, item["metadata"]["namespace"]) if resource else []
            for target in found:
                if target["metadata"]["name"] == reference["name"]:
                    self._hold(item, target)

    def _hold(self, item: Tree, target: Tree) -> None:
        current = target["spec"]["replicas"]
        if current == 0:
            return
        load = (item["metadata"].get("annotations") or {}).get("sim/wanted")
        wanted = None if load is None else int(load)
        desired = max(item["spec"].get("minReplicas", 1), min(current if wanted is None else wanted, item["spec"]["maxReplicas"]))
        if desired != current:
            target["spec"]["replicas"] = desired
            target["metadata"]["generation"] += 1
            self._store.keep(target)
            self._store.event(item, "Normal", "SuccessfulRescale", f"New size: {desired}")
        set_status(self._store, item, {"currentReplicas": current, "desiredReplicas": desired})
        self._say(item, wanted)

    def _say(self, item: Tree, wanted: int | None) -> None:
        """Its conditions, where version 1 of the API keeps them."""
        said = [_NO_METRICS] if wanted is None else [_METRICS, _TOO_MANY if wanted > item["spec"]["maxReplicas"] else _WITHIN]
        annotations = item["metadata"].setdefault("annotations", {})
        if annotations.get(_CONDITIONS) != (text := json.dumps(said)):
            annotations[_CONDITIONS] = text
            self._store.keep(item)
