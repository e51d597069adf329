"""A simulated cluster: objects, the controllers that act on them, and the loop that lets time pass."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from ops.sandbox.autoscalers import Autoscalers
from ops.sandbox.deployments import Deployments
from ops.sandbox.jobs import Jobs
from ops.sandbox.kubelet import Kubelet
from ops.sandbox.nodes import Nodes
from ops.sandbox.sets import Sets
from ops.sandbox.store import DEPLOYMENTS, NAMESPACES, NODES, Store

PERIOD = 0.1  # seconds between two looks when nothing is asked for


def _now() -> datetime:
    return datetime.now(UTC)


class Cluster:
    """Everything behind the API. `speed` is how much faster than life its containers age; `seed` makes names repeatable.

    `denied` holds what its one identity may not do, such as `patch deployments.apps` or `list pods in shop`.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        nodes: int = 3,
        seed: int | None = None,
        clock: Callable[[], datetime] = _now,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.denied: set[str] = set()
        self.store = Store(clock, random.Random(seed))  # noqa: S311 - names of simulated pods, not secrets
        self._changed = asyncio.Event()
        timed = (self.store, seconds, speed)
        self._controllers = (Autoscalers(self.store), Deployments(*timed), Sets(self.store), Jobs(*timed), Nodes(*timed), Kubelet(*timed))
        for name in ("default", "kube-system"):
            self.store.create(NAMESPACES, "", {"metadata": {"name": name}, "status": {"phase": "Active"}})
        for number in range(1, nodes + 1):
            name = f"node-{number}"
            labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
            self.store.create(NODES, "", {"metadata": {"name": name, "labels": labels}, "spec": {}})
        self.tick()

    def settle_in(self, name: str = "hello") -> str:
        """Deploys one workload that is well, so that there is something to look at and to break; returns its name with its namespace."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": f"{name}:1"}]}}
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        self.store.create(DEPLOYMENTS, "default", {"metadata": {"name": name, "labels": labels}, "spec": spec})
        self.changed()
        return f"default/{name}"

    def tick(self) -> None:
        """One round of all controllers."""
        for controller in self._controllers:
            controller.tick()

    def changed(self) -> None:
        """Somebody wrote: look at once."""
        self._changed.set()

    async def run(self) -> None:
        """Lets time pass until cancelled."""
        while True:
            self.tick()
            version = self.store.version()
            self.tick()
            self._changed.clear()
            if version != self.store.version():
                await asyncio.sleep(PERIOD / 5)  # a rollout goes step by step, and visibly
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), PERIOD)
            except TimeoutError:
                continue
