"""Jobs: a pod that ends well completes one, too many that do not, or a deadline, let it fail."""

from __future__ import annotations

from collections.abc import Callable

from ops.sandbox.deployments import end_pod, living, new_pod, set_status
from ops.sandbox.store import JOBS, PODS, Store, Tree

_BACKOFF_LIMIT, _FIRST_PAUSE, _LONGEST_PAUSE = 6, 10.0, 360.0


class Jobs:
    """The job controller, one pod at a time. `seconds` goes only forward; `speed` shortens pauses and deadlines."""

    def __init__(self, store: Store, seconds: Callable[[], float], speed: float) -> None:
        self._store = store
        self._seconds = seconds
        self._speed = speed
        self._begun: dict[str, float] = {}
        self._pause_until: dict[str, tuple[int, float]] = {}

    def tick(self) -> None:
        for item in self._store.all(JOBS):
            self._drive(item)

    def _drive(self, item: Tree) -> None:
        status, uid = item["status"], item["metadata"]["uid"]
        if any(each["status"] == "True" for each in status.get("conditions", [])):
            return
        begun = self._begun.setdefault(uid, self._seconds())
        pods = self._store.owned(PODS, item)
        phases = [pod["status"].get("phase") for pod in pods]
        failed, succeeded = phases.count("Failed") + _restarts(pods), phases.count("Succeeded")
        deadline = item["spec"].get("activeDeadlineSeconds")
        end = ""
        if succeeded:
            end = "Complete"
        elif deadline and (self._seconds() - begun) * self._speed > deadline:
            end = "DeadlineExceeded"
        elif failed > item["spec"].get("backoffLimit", _BACKOFF_LIMIT):
            end = "BackoffLimitExceeded"
        if end:
            self._end(item, pods, end)
        elif all(phase == "Failed" for phase in phases) and self._rested(uid, failed):
            labels = {"job-name": item["metadata"]["name"], "controller-uid": uid}
            new_pod(self._store, item, item["spec"]["template"], f"{item['metadata']['name']}-{self._store.letters()}", labels)
        active = sum(pod["status"].get("phase") in ("Pending", "Running") for pod in living(self._store, item))
        kept = {name: item["status"][name] for name in ("conditions",) if name in item["status"]}
        started = item["status"].get("startTime", self._store.now())
        set_status(self._store, item, {"startTime": started, "active": active, "failed": failed, "succeeded": succeeded} | kept)

    def _rested(self, uid: str, failed: int) -> bool:
        """Whether the pause after the newest failure is over: 10 s, twice as long after each further one."""
        if not failed:
            return True
        count, until = self._pause_until.get(uid, (0, 0.0))
        if count != failed:
            until = self._seconds() + min(_FIRST_PAUSE * 2 ** (failed - 1), _LONGEST_PAUSE) / self._speed
            self._pause_until[uid] = (failed, until)
        return self._seconds() >= until

    def _end(self, item: Tree, pods: list[Tree], end: str) -> None:
        kind = "Complete" if end == "Complete" else "Failed"
        condition = {"type": kind, "status": "True", "reason": end, "message": end, "lastTransitionTime": self._store.now()}
        item["status"] = {**item["status"], "conditions": [condition]}
        self._store.keep(item)
        if kind == "Failed":
            self._store.event(item, "Warning", end, f"Job has failed: {end}")
            for pod in pods:
                if pod["status"].get("phase") in ("Pending", "Running"):
                    end_pod(self._store, pod)


def _restarts(pods: list[Tree]) -> int:
    """How often containers of pods that restart in place have failed."""
    return sum(
        status["restartCount"]
        for pod in pods
        if pod["spec"].get("restartPolicy") == "OnFailure"
        for status in pod["status"].get("containerStatuses", [])
    )
