"""Deployments and ReplicaSets: rolling updates in which new pods come up before old ones go, revisions, and the status of both."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable

from ops.sandbox.store import ALPHABET, DEPLOYMENTS, PODS, REPLICA_SETS, Store, Tree, owner_reference

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_NOT_COPIED = (REVISION, "kubectl.kubernetes.io/last-applied-configuration")
_PROGRESS_SECONDS = 600
_HISTORY = 10
_PROGRESSED = "has successfully progressed."


def template_hash(template: Tree) -> str:
    """Ten letters that stand for a pod template."""
    digest = hashlib.blake2b(json.dumps(template, sort_keys=True).encode(), digest_size=10).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest)


def is_ready(pod: Tree) -> bool:
    conditions = pod["status"].get("conditions", [])
    return not pod["metadata"].get("deletionTimestamp") and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def share(value: int | str | None, of: int, *, up: bool) -> int:
    """A number, or a percentage of `of`, 25 % where nothing is said."""
    if isinstance(value, int):
        return value
    percent = int(str(value or "25%").rstrip("%"))
    return -(-of * percent // 100) if up else of * percent // 100


def new_pod(store: Store, owner: Tree, template: Tree, name: str, labels: Tree | None = None) -> None:
    """A pod from a template, controlled by `owner`."""
    meta = template.get("metadata") or {}
    body = {
        "metadata": {
            "name": name,
            "labels": {**(meta.get("labels") or {}), **(labels or {})},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": copy.deepcopy(template["spec"]),
        "status": {"phase": "Pending"},
    }
    store.create(PODS, owner["metadata"]["namespace"], body)


def end_pod(store: Store, pod: Tree) -> None:
    """Marks a pod as being deleted: its kubelet takes it away."""
    if not pod["metadata"].get("deletionTimestamp"):
        pod["metadata"]["deletionTimestamp"] = store.now()
        store.keep(pod)


def living(store: Store, owner: Tree) -> list[Tree]:
    return [pod for pod in store.owned(PODS, owner) if not pod["metadata"].get("deletionTimestamp")]


def set_status(store: Store, item: Tree, status: Tree) -> None:
    if item["status"] != status:
        item["status"] = status
        store.keep(item)


class Deployments:
    """The deployment and replica set controllers. `seconds` goes only forward; `speed` shortens the progress deadline."""

    def __init__(self, store: Store, seconds: Callable[[], float], speed: float) -> None:
        self._store = store
        self._seconds = seconds
        self._speed = speed
        self._progress: dict[str, tuple[tuple[int, ...], float]] = {}

    def tick(self) -> None:
        for item in self._store.all(DEPLOYMENTS):
            self._reconcile(item)
        for item in self._store.all(REPLICA_SETS):
            self._fill(item)

    def _reconcile(self, item: Tree) -> None:
        sets = self._store.owned(REPLICA_SETS, item)
        new = self._new_set(item, sets)
        old = [each for each in sets if each is not new]
        spec = item["spec"]
        if not spec.get("paused"):
            recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
            self._recreate(item, new, old) if recreate else self._roll(item, new, old)
        for spare in sorted(old, key=_revision_of)[: max(0, len(old) - _HISTORY)]:
            if not spare["spec"]["replicas"] and not spare["status"].get("replicas"):
                self._store.remove(REPLICA_SETS, spare)
        self._report(item, new, [new, *old])

    def _new_set(self, item: Tree, sets: list[Tree]) -> Tree:
        """The ReplicaSet of the template as it is now: the one that has it, or a new one. It has the highest revision."""
        template = item["spec"]["template"]
        newest = max((_revision_of(each) for each in sets), default=0)
        found = next((each for each in sets if _template_of(each) == template), None)
        if found is None:
            found = self._make_set(item, template, newest + 1)
        elif _revision_of(found) < newest:
            found["metadata"]["annotations"][REVISION] = str(newest + 1)
            self._store.keep(found)
        revision = found["metadata"]["annotations"][REVISION]
        annotations = item["metadata"].setdefault("annotations", {})
        copied = {name: value for name, value in annotations.items() if name not in _NOT_COPIED}
        if not copied.items() <= found["metadata"]["annotations"].items():
            found["metadata"]["annotations"] |= copied
            self._store.keep(found)
        if annotations.get(REVISION) != revision:
            annotations[REVISION] = revision
            self._store.keep(item)
        return found

    def _make_set(self, item: Tree, template: Tree, revision: int) -> Tree:
        meta = item["metadata"]
        ending = template_hash(template)
        template = copy.deepcopy(template)
        labels = {**template["metadata"]["labels"], HASH: ending}
        template["metadata"]["labels"] = labels
        body = {
            "metadata": {
                "name": f"{meta['name']}-{ending}",
                "labels": labels,
                "annotations": {REVISION: str(revision)},
                "ownerReferences": [owner_reference(item)],
            },
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }
        return self._store.create(REPLICA_SETS, meta["namespace"], body)

    def _scale(self, item: Tree, each: Tree, replicas: int) -> None:
        now = each["spec"]["replicas"]
        if replicas != now:
            each["spec"]["replicas"] = replicas
            each["metadata"]["generation"] += 1
            self._store.keep(each)
            word = "up" if replicas > now else "down"
            self._store.event(item, "Normal", "ScalingReplicaSet", f"Scaled {word} replica set {each['metadata']['name']} to {replicas}")

    def _recreate(self, item: Tree, new: Tree, old: list[Tree]) -> None:
        for each in old:
            self._scale(item, each, 0)
        if not any(self._store.owned(PODS, each) for each in old):
            self._scale(item, new, item["spec"]["replicas"])

    def _roll(self, item: Tree, new: Tree, old: list[Tree]) -> None:
        """One step of a rolling update, by the rules of the real controller: the broken pods of old sets go first."""
        desired = item["spec"]["replicas"]
        rolling = (item["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        surge = share(rolling.get("maxSurge"), desired, up=True)
        unavailable = share(rolling.get("maxUnavailable"), desired, up=False)
        unavailable = 1 if not surge and not unavailable else unavailable
        total = sum(each["spec"]["replicas"] for each in [new, *old])
        have = new["spec"]["replicas"]
        if have != desired:
            room = max(0, desired + surge - total)
            self._scale(item, new, desired if have > desired else have + min(desired - have, room))
        least = desired - unavailable
        waiting = new["spec"]["replicas"] - new["status"].get("availableReplicas", 0)
        spare = sum(each["spec"]["replicas"] for each in [new, *old]) - least - waiting
        for each in sorted(old, key=_revision_of):
            broken = min(each["spec"]["replicas"] - each["status"].get("availableReplicas", 0), max(0, spare))
            if broken > 0:
                self._scale(item, each, each["spec"]["replicas"] - broken)
                spare -= broken
        free = sum(each["status"].get("availableReplicas", 0) for each in [new, *old]) - least
        for each in sorted(old, key=_revision_of):
            step = min(each["spec"]["replicas"], max(0, min(free, spare)))
            self._scale(item, each, each["spec"]["replicas"] - step)
            free, spare = free - step, spare - step

    def _fill(self, each: Tree) -> None:
        """As many pods as the set wants; those that are not ready go first. Then its status."""
        pods = living(self._store, each)
        wanted = each["spec"]["replicas"]
        for _ in range(wanted - len(pods)):
            new_pod(self._store, each, each["spec"]["template"], f"{each['metadata']['name']}-{self._store.letters()}")
        for pod in sorted(pods, key=lambda pod: (is_ready(pod), pod["metadata"]["name"]))[: max(0, len(pods) - wanted)]:
            end_pod(self._store, pod)
        pods = living(self._store, each)
        ready = sum(is_ready(pod) for pod in pods)
        counts = {"replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        set_status(self._store, each, {"observedGeneration": each["metadata"]["generation"]} | counts)

    def _report(self, item: Tree, new: Tree, sets: list[Tree]) -> None:
        desired = item["spec"]["replicas"]
        counts = {name: sum(each["status"].get(name, 0) for each in sets) for name in ("replicas", "readyReplicas", "availableReplicas")}
        updated = new["status"].get("replicas", 0)
        unavailable = share(((item["spec"].get("strategy") or {}).get("rollingUpdate") or {}).get("maxUnavailable"), desired, up=False)
        enough = counts["availableReplicas"] >= desired - unavailable
        status = {
            "observedGeneration": item["metadata"]["generation"],
            **counts,
            "updatedReplicas": updated,
            "unavailableReplicas": max(0, desired - counts["availableReplicas"]),
            "conditions": [
                self._condition(
                    item, "Available", holds=enough, reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
                ),
                self._progressing(item, new, updated, counts["replicas"], counts["availableReplicas"]),
            ],
        }
        set_status(self._store, item, status)

    def _progressing(self, item: Tree, new: Tree, updated: int, total: int, available: int) -> Tree:
        """Done, on its way, or past the progress deadline without having moved."""
        desired, named = item["spec"]["replicas"], f'ReplicaSet "{new["metadata"]["name"]}"'
        if updated == desired == total == available or _completed(item, named):
            self._progress.pop(item["metadata"]["uid"], None)
            message = f"{named} {_PROGRESSED}"
            return self._condition(item, "Progressing", holds=True, reason="NewReplicaSetAvailable", message=message)
        uid, seen = item["metadata"]["uid"], (item["metadata"]["generation"], updated, total, available)
        before, since = self._progress.get(uid, ((), 0.0))
        if before != seen:
            since = self._seconds()
            self._progress[uid] = (seen, since)
        limit = float(item["spec"].get("progressDeadlineSeconds") or _PROGRESS_SECONDS) / self._speed
        late = self._seconds() - since > limit
        reason, words = ("ProgressDeadlineExceeded", "has timed out progressing.") if late else ("ReplicaSetUpdated", "is progressing.")
        return self._condition(item, "Progressing", holds=not late, reason=reason, message=f"{named} {words}")

    def _condition(self, item: Tree, kind: str, *, holds: bool, reason: str, message: str = "") -> Tree:
        """A condition that keeps the time of its last change."""
        word = "True" if holds else "False"
        old: Tree = next((each for each in item["status"].get("conditions", []) if each["type"] == kind), {})
        same = old.get("status") == word
        since = old["lastTransitionTime"] if same else self._store.now()
        return {"type": kind, "status": word, "reason": reason, "message": message or reason, "lastTransitionTime": since}


def _completed(item: Tree, named: str) -> bool:
    """Whether the rollout of the newest ReplicaSet has come to its end: that stays so when its pods break, or more are wanted."""
    conditions = item["status"].get("conditions", [])
    return any(each["message"] == f"{named} {_PROGRESSED}" for each in conditions)


def _revision_of(each: Tree) -> int:
    return int((each["metadata"].get("annotations") or {}).get(REVISION, 0))


def _template_of(each: Tree) -> Tree:
    """The template without the label that tells a Deployment's ReplicaSets apart."""
    template: Tree = each["spec"]["template"]
    meta = template["metadata"]
    return {**template, "metadata": {**meta, "labels": {key: value for key, value in meta["labels"].items() if key != HASH}}}
