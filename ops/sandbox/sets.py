"""StatefulSets, DaemonSets and disruption budgets, as far as healing them needs: revisions, order, one pod at a time."""

from __future__ import annotations

import copy

from ops.sandbox.deployments import end_pod, is_ready, living, new_pod, set_status, share, template_hash
from ops.sandbox.kubelet import tolerated
from ops.sandbox.nodes import down
from ops.sandbox.store import (
    BUDGETS,
    DAEMON_SETS,
    NODES,
    PODS,
    REVISIONS,
    STATEFUL_SETS,
    Resource,
    Store,
    Tree,
    owner_reference,
)

_REVISION_LABEL = "controller-revision-hash"


class Sets:
    """The controllers of everything but Deployments, and the collector of what has lost its owner."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tick(self) -> None:
        for item in self._store.all(STATEFUL_SETS):
            self._stateful(item)
        for item in self._store.all(DAEMON_SETS):
            self._daemon(item)
        for item in self._store.all(BUDGETS):
            self._budget(item)
        self._collect()

    def _revision(self, item: Tree) -> str:
        """The name of the ControllerRevision of the template as it is now; it has the highest number."""
        store, meta = self._store, item["metadata"]
        name = f"{meta['name']}-{template_hash(item['spec']['template'])}"
        known = store.owned(REVISIONS, item)
        newest = max((each["revision"] for each in known), default=0)
        found = next((each for each in known if each["metadata"]["name"] == name), None)
        if found is None:
            template = copy.deepcopy(item["spec"]["template"]) | {"$patch": "replace"}
            labels = item["spec"]["selector"]["matchLabels"]
            body = {
                "metadata": {"name": name, "labels": labels, "ownerReferences": [owner_reference(item)]},
                "revision": newest + 1,
                "data": {"spec": {"template": template}},
            }
            store.create(REVISIONS, meta["namespace"], body)
        elif found["revision"] < newest:
            found["revision"] = newest + 1
            store.keep(found)
        return name

    def _stateful(self, item: Tree) -> None:
        """Pods in order of their number; a new template reaches them from the last to the first, one at a time."""
        revision = self._revision(item)
        pods = {pod["metadata"]["name"]: pod for pod in self._store.owned(PODS, item)}
        name, spec = item["metadata"]["name"], item["spec"]
        names = [f"{name}-{number}" for number in range(spec["replicas"])]
        for extra in sorted(set(pods) - set(names), reverse=True)[:1]:
            end_pod(self._store, pods[extra])
        parallel = spec.get("podManagementPolicy") == "Parallel"
        settled = True
        for each in names:
            if each not in pods:
                new_pod(self._store, item, spec["template"], each, {_REVISION_LABEL: revision})
                settled = False
            elif not is_ready(pods[each]):
                settled = False
            if not settled and not parallel:
                break
        automatic = (spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
        outdated = [each for each in reversed(names) if each in pods and pods[each]["metadata"]["labels"].get(_REVISION_LABEL) != revision]
        if settled and automatic and outdated:
            end_pod(self._store, pods[outdated[0]])
        self._report(item, revision, len(names))

    def _report(self, item: Tree, revision: str, desired: int) -> None:
        pods = living(self._store, item)
        ready = sum(is_ready(pod) for pod in pods)
        updated = sum(pod["metadata"]["labels"].get(_REVISION_LABEL) == revision for pod in pods)
        counts = {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated}
        done = updated == ready == desired
        current = revision if done else item["status"].get("currentRevision", revision)
        generation = item["metadata"]["generation"]
        set_status(self._store, item, {"observedGeneration": generation, "updateRevision": revision, "currentRevision": current} | counts)

    def _daemon(self, item: Tree) -> None:
        """One pod on every node that is up; a new template reaches as many at a time as may be unavailable."""
        revision = self._revision(item).removeprefix(f"{item['metadata']['name']}-")  # its pods carry the hash alone
        template = item["spec"]["template"]
        nodes = [
            node["metadata"]["name"]
            for node in self._store.all(NODES)
            if not down(node) and all(tolerated(taint, template) for taint in node["spec"].get("taints") or [])
        ]
        pods = {pod["spec"].get("nodeName"): pod for pod in self._store.owned(PODS, item)}
        for node in nodes:
            if node not in pods:
                template = copy.deepcopy(item["spec"]["template"])
                template["spec"]["nodeName"] = node
                name = f"{item['metadata']['name']}-{self._store.letters()}"
                new_pod(self._store, item, template, name, {_REVISION_LABEL: revision})
        strategy = item["spec"].get("updateStrategy") or {}
        rolling = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
        living_pods = living(self._store, item)
        away = len(nodes) - sum(is_ready(pod) for pod in living_pods)
        if strategy.get("type", "RollingUpdate") == "RollingUpdate":
            outdated = [pod for pod in living_pods if pod["metadata"]["labels"].get(_REVISION_LABEL) != revision]
            broken = [pod for pod in outdated if not is_ready(pod)]
            sound = [pod for pod in outdated if is_ready(pod)]
            room = max(0, max(1, share(rolling, len(nodes), up=True)) - away)
            for pod in [*broken, *sound[:room]]:
                end_pod(self._store, pod)
        living_pods = living(self._store, item)
        ready = sum(is_ready(pod) for pod in living_pods)
        updated = sum(pod["metadata"]["labels"].get(_REVISION_LABEL) == revision for pod in living_pods)
        counts = {"desiredNumberScheduled": len(nodes), "currentNumberScheduled": len(living_pods), "updatedNumberScheduled": updated}
        status = {"observedGeneration": item["metadata"]["generation"], "numberReady": ready, "numberAvailable": ready}
        set_status(self._store, item, status | counts | {"numberUnavailable": max(0, len(nodes) - ready)})

    def _budget(self, item: Tree) -> None:
        """How many of the pods that a budget covers may be away."""
        pods = [pod for pod in self._store.all(PODS, item["metadata"]["namespace"]) if covers(item, pod)]
        healthy = sum(is_ready(pod) for pod in pods)
        spec = item["spec"]
        if "maxUnavailable" in spec:
            least = len(pods) - share(spec["maxUnavailable"], len(pods), up=True)
        else:
            least = share(spec.get("minAvailable", 1), len(pods), up=True)
        counts = {"currentHealthy": healthy, "desiredHealthy": least, "expectedPods": len(pods)}
        seen = {"observedGeneration": item["metadata"]["generation"]}
        set_status(self._store, item, seen | {"disruptionsAllowed": max(0, healthy - least)} | counts)

    def _collect(self) -> None:
        """Takes away what has lost the object that controlled it."""
        uids = {item["metadata"]["uid"] for _, item in self._store.everything()}
        for resource, item in self._store.everything():
            owners = [owner["uid"] for owner in item["metadata"].get("ownerReferences", ()) if owner.get("controller")]
            if owners and owners[0] not in uids:
                self._drop(resource, item)

    def _drop(self, resource: Resource, item: Tree) -> None:
        end_pod(self._store, item) if resource is PODS else self._store.remove(resource, item)


def covers(budget: Tree, pod: Tree) -> bool:
    """Whether a disruption budget selects a pod."""
    wanted = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
    labels = pod["metadata"].get("labels") or {}
    return bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())
