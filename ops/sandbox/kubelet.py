"""What the simulated nodes do with pods. What a container does is told by the tag of its image, so that a fault is part of the
pod spec and only a change of the world heals it:

  NAME:ok             runs and is ready (any other tag, too)
  NAME:crash          exits 1 at start, CrashLoopBackOff, restarts counted
  NAME:pull           ErrImagePull, then ImagePullBackOff
  NAME:oom-200Mi      OOMKilled, unless the memory limit is 200Mi or more
  NAME:wedge-20s      healthy, but 20 s after its start no longer ready, until it is restarted
  NAME:flap           crashes twice, then runs: a fault that heals itself
  NAME:needs-KEY      CreateContainerConfigError until the ConfigMap that its env refers to has KEY
  NAME:asks-KEY       exits 1 unless the ConfigMap that its env refers to has KEY, whenever it was started
  NAME:slow-15s       becomes ready only 15 s after its start
  NAME:leak-20s       healthy, but OOMKilled 20 s after every start, whatever its limit: a restart helps for that long only
  NAME:done-5s        exits 0 after 5 s, as the container of a Job should

A container that may not be restarted (restartPolicy Never) ends its pod when it exits. A cordoned node takes no new pods; one that
is down (see `nodes`) takes none either, and its pods stop reporting.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from ops.sandbox.deployments import is_ready
from ops.sandbox.faults import ApiFault
from ops.sandbox.nodes import POD_LIMIT, down
from ops.sandbox.store import CONFIG_MAPS, NODES, PODS, Store, Tree

BACKOFF_SECONDS = (2, 4, 8, 16, 30)
_CORES, _MEMORY = 8, 16 * 2**30
_LEAK_PAUSE = 2.0
_FACTOR = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(text: object) -> float:
    """Bytes or cores of a Kubernetes quantity; 0 for what is none."""
    match = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text or ""))
    return float(match[1]) * _FACTOR.get(match[2], 1) if match else 0.0


class Kubelet:
    """All nodes' kubelets and the scheduler. `seconds` is a clock that only goes forward; `speed` how much faster than life it is."""

    def __init__(self, store: Store, seconds: Callable[[], float], speed: float) -> None:
        self._store = store
        self._seconds = seconds
        self._speed = speed
        self._born: dict[str, float] = {}
        self._crashes: dict[str, list[float]] = {}

    def tick(self) -> None:
        """One look at every pod."""
        pods = self._store.all(PODS)
        alive = {pod["metadata"]["uid"] for pod in pods}
        self._born = {uid: born for uid, born in self._born.items() if uid in alive}
        self._crashes = {key: times for key, times in self._crashes.items() if key.partition("/")[0] in alive}
        for pod in pods:
            self._drive(pod)

    def _drive(self, pod: Tree) -> None:
        meta, status = pod["metadata"], pod["status"]
        name = pod["spec"].get("nodeName")
        node = next((node for node in self._store.all(NODES) if node["metadata"]["name"] == name), None)
        if node is not None and down(node):
            return
        if meta.get("deletionTimestamp"):
            self._store.remove(PODS, pod)
        elif status.get("phase") in ("Succeeded", "Failed"):
            return
        elif not name:
            self._schedule(pod)
        elif node is not None:
            self._run(pod)

    def _schedule(self, pod: Tree) -> None:
        """The emptiest node that is ready, not cordoned, selected, and has room for what the pod requests."""
        placed: dict[str, list[Tree]] = {node["metadata"]["name"]: [] for node in self._store.all(NODES)}
        for other in self._store.all(PODS):
            if other["spec"].get("nodeName") in placed:
                placed[other["spec"]["nodeName"]].append(other)
        against = {node["metadata"]["name"]: _unfit(node, [*placed[node["metadata"]["name"]], pod]) for node in self._store.all(NODES)}
        fitting = [name for name, why in against.items() if not why]
        if fitting:
            pod["spec"]["nodeName"] = min(fitting, key=lambda name: (len(placed[name]), name))
            self._store.keep(pod)
        elif not pod["status"].get("conditions"):
            reasons = ", ".join(f"{count} {why}" for why, count in sorted(Counter(against.values()).items()))
            message = f"0/{len(against)} nodes are available: {reasons}."
            unfit = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            pod["status"] = {"phase": "Pending", "conditions": [unfit | {"lastTransitionTime": self._store.now()}]}
            self._store.keep(pod)
            self._store.event(pod, "Warning", "FailedScheduling", message)

    def _run(self, pod: Tree) -> None:
        """The status that the pod's containers have now; events where one is in trouble."""
        self._born.setdefault(pod["metadata"]["uid"], self._seconds())
        old = pod["status"]
        statuses = [self._container(pod, spec) for spec in pod["spec"]["containers"]]
        ready = all(status["ready"] for status in statuses)
        running = any("running" in status["state"] or status["restartCount"] for status in statuses)
        phase = _ended(pod, statuses) or ("Running" if running else "Pending")
        same = (old.get("phase"), [seen(item) for item in old.get("containerStatuses", [])]) == (phase, [seen(item) for item in statuses])
        if same and is_ready(pod) == ready:
            return
        now = self._store.now()
        conditions = [
            {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": now}
            for kind, holds in (("Initialized", True), ("Ready", ready), ("ContainersReady", ready), ("PodScheduled", True))
        ]
        pod["status"] = {"phase": phase, "conditions": conditions, "containerStatuses": statuses, "startTime": old.get("startTime", now)}
        self._store.keep(pod)
        for status in statuses:
            waiting = status["state"].get("waiting", {})
            if waiting.get("reason") not in (None, "ContainerCreating"):
                reason = "BackOff" if waiting["reason"] == "CrashLoopBackOff" else "Failed"
                self._store.event(pod, "Warning", reason, waiting["message"])

    def _container(self, pod: Tree, spec: Tree) -> Tree:
        uid = pod["metadata"]["uid"]
        key = f"{uid}/{spec['name']}"
        age = (self._seconds() - self._born[uid]) * self._speed
        image = spec["image"]
        kind, _, value = image.rpartition(":")[2].partition("-")
        running = {"running": {"startedAt": pod["status"].get("startTime", self._store.now())}}
        base: Tree = {"name": spec["name"], "image": image, "imageID": "", "ready": False, "restartCount": 0, "state": running}
        if kind == "pull":
            reason = "ErrImagePull" if age < 2 else "ImagePullBackOff"
            return base | {"state": {"waiting": {"reason": reason, "message": f'Back-off pulling image "{image}"'}}}
        if kind == "needs" and not self._has_key(pod, spec, value):
            return base | {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": f"key {value} not found"}}}
        if kind == "leak":
            return base | self._leak(age, seconds_of(value))
        if kind == "done" and age >= seconds_of(value):
            return base | {"state": {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": self._store.now()}}}
        limit = quantity(((spec.get("resources") or {}).get("limits") or {}).get("memory"))
        killed = kind == "oom" and 0 < limit < quantity(value)
        alone = kind == "asks" and not self._has_key(pod, spec, value)
        if kind == "crash" or killed or alone or (kind == "flap" and len(self._crashes.get(key, [])) < 2):
            reason, code = ("OOMKilled", 137) if killed else ("Error", 1)
            if pod["spec"].get("restartPolicy") == "Never":
                return base | {"state": {"terminated": {"exitCode": code, "reason": reason, "finishedAt": self._store.now()}}}
            return base | self._crash(key, reason, code)
        wedged = kind == "wedge" and age > seconds_of(value)
        slow = kind == "slow" and age < seconds_of(value)
        return base | {"ready": not wedged and not slow, "restartCount": len(self._crashes.get(key, []))}

    def _leak(self, age: float, life: float) -> Tree:
        """It runs for `life` seconds, is killed, and is started again after a pause, for ever."""
        lives, now = divmod(age, life + _LEAK_PAUSE)
        killed = now >= life
        count = int(lives) + killed
        ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": self._store.now()}}
        last = {"lastState": ended} if count else {}
        if not killed:
            return {"ready": True, "restartCount": count, **last}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
        return {"restartCount": count, "state": {"waiting": waiting}, **last}

    def _crash(self, key: str, reason: str, code: int) -> Tree:
        crashes = self._crashes.setdefault(key, [])
        wait = BACKOFF_SECONDS[min(len(crashes), len(BACKOFF_SECONDS) - 1)] / self._speed
        if not crashes or self._seconds() - crashes[-1] > wait:
            crashes.append(self._seconds())
        ended = {"terminated": {"exitCode": code, "reason": reason, "startedAt": self._store.now(), "finishedAt": self._store.now()}}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
        return {"restartCount": len(crashes), "lastState": ended, "state": {"waiting": waiting}}

    def _has_key(self, pod: Tree, spec: Tree, key: str) -> bool:
        references = [item.get("valueFrom", {}).get("configMapKeyRef") for item in spec.get("env") or []]
        for reference in references:
            try:
                found = reference and self._store.get(CONFIG_MAPS, pod["metadata"]["namespace"], reference["name"])
            except ApiFault:
                continue
            if found and key in (found.get("data") or {}):
                return True
        return False


def seconds_of(value: str) -> float:
    """The seconds in `20s`; 0 where nothing is said."""
    return float(value.rstrip("s") or 0)


def _ended(pod: Tree, statuses: list[Tree]) -> str:
    """The phase of a pod whose containers have all exited for good; else empty."""
    ends = [status["state"].get("terminated") for status in statuses]
    if pod["spec"].get("restartPolicy", "Always") == "Always" or not all(ends):
        return ""
    return "Succeeded" if all(end["exitCode"] == 0 for end in ends if end) else "Failed"


def _unfit(node: Tree, pods: list[Tree]) -> str:
    """Why a node does not take the last of these pods, in the scheduler's words; empty where it does."""
    wanted, taints = pods[-1]["spec"].get("nodeSelector") or {}, node["spec"].get("taints") or []
    if down(node):
        return "node(s) were unreachable"
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if any((node["metadata"].get("labels") or {}).get(key) != value for key, value in wanted.items()):
        return "node(s) didn't match node selector"
    if not all(tolerated(taint, pods[-1]) for taint in taints):
        return "node(s) had taints that the pod didn't tolerate"
    return _short_of(pods)


def tolerated(taint: Tree, pod: Tree) -> bool:
    """Whether a pod is allowed onto a node in spite of its taint."""
    for each in pod["spec"].get("tolerations") or []:
        value = each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", "")
        if each.get("key", taint["key"]) == taint["key"] and value and each.get("effect") in (None, "", taint["effect"]):
            return True
    return bool(taint["effect"] == "PreferNoSchedule")


def _short_of(pods: list[Tree]) -> str:
    """What one node has too little of for all of these; empty where there is room."""
    requests = [(item.get("resources") or {}).get("requests") or {} for pod in pods for item in pod["spec"]["containers"]]
    cores = sum(quantity(each.get("cpu")) for each in requests)
    memory = sum(quantity(each.get("memory")) for each in requests)
    if len(pods) > POD_LIMIT:
        return "Too many pods"
    return "Insufficient cpu" if cores > _CORES else "Insufficient memory" if memory > _MEMORY else ""


def seen(status: Tree) -> tuple[object, ...]:
    """What makes a container's status differ from the one before, its times aside."""
    ((state, detail),) = status["state"].items()
    return status["ready"], status["restartCount"], state, detail.get("reason")


def log_of(pod: Tree, container: str) -> str:
    """What the simulated container would have written."""
    status = next((item for item in pod["status"].get("containerStatuses", []) if item["name"] == container), None)
    if status is None:
        return ""
    ended = status.get("lastState", {}).get("terminated")
    lines = [f"starting {status['image']}"]
    lines += [f"fatal: {ended['reason']}, exit code {ended['exitCode']}"] if ended else []
    lines += ["health check: no answer from the worker"] if "running" in status["state"] and not status["ready"] else []
    return "\n".join(lines) + "\n"


_CONTAINER_CORES, _CONTAINER_KIBIBYTES = 0.005, 20_480


def usage_of_pod(pod: Tree) -> Tree:
    """What the containers of a pod that run would use; every one the same."""
    statuses = pod["status"].get("containerStatuses", [])
    containers = [{"name": each["name"], "usage": _usage(1)} for each in statuses if "running" in each["state"]]
    return {"metadata": {key: pod["metadata"][key] for key in ("name", "namespace")}, "containers": containers}


def usage_of_node(node: Tree, pods: list[Tree]) -> Tree:
    """What all pods on a node would use."""
    here = [usage_of_pod(pod) for pod in pods if pod["spec"].get("nodeName") == node["metadata"]["name"]]
    return {"metadata": {"name": node["metadata"]["name"]}, "usage": _usage(sum(len(each["containers"]) for each in here))}


def _usage(containers: int) -> Tree:
    return {"cpu": f"{round(containers * _CONTAINER_CORES * 1e9)}n", "memory": f"{containers * _CONTAINER_KIBIBYTES}Ki"}
