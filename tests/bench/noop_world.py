"""A world in which nothing is: every Deployment exists, crashes until it is restarted, and is well from then on. Nothing is applied.

It answers at once, so that what is measured is Mendstream and not a cluster. It holds a real Kubernetes client, so that its code is
loaded and counts; as the client is never used, what it keeps of connections and answers does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from adapters.kubernetes import KubernetesWorld, connect
from adapters.ports import Applied, Preflight
from schemas.action import Action
from schemas.evidence import ContainerView, PodView, Sensor, Snapshot, WorkloadView
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.words import CheckResult, Tier

_NOWHERE = "http://127.0.0.1:9"
_PASSED = tuple(Check(name=name, result=CheckResult.PASSED) for name in ("permission", "target", "dry run"))


class NoopWorld:
    """`well` says that every target has been restarted already: in a process of its own, verify has not seen the restart."""

    def __init__(self, client: KubernetesWorld, clock: Callable[[], datetime], *, well: bool) -> None:
        self._client = client
        self._clock = clock
        self._well = well
        self._restarted: set[str] = set()

    @classmethod
    async def made(cls, clock: Callable[[], datetime], *, well: bool) -> NoopWorld:
        return cls(await connect(server=_NOWHERE), clock, well=well)

    async def owner(self, target: Target) -> Target:
        """A pod's Deployment, by the pod's name."""
        if target.kind is not Kind.POD:
            return target
        return msgspec.structs.replace(target, kind=Kind.DEPLOYMENT, name=target.name.rsplit("-", 2)[0])

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        well = self._well or target.key in self._restarted
        uid = _uid(target)
        ready = 2 if well else 0
        workload = WorkloadView(
            uid=uid, generation=2, observed_generation=2, desired=2, updated=2, ready=ready, available=ready, revision=1, images=("api:1",)
        )
        pods = tuple(_pod(f"{target.name}-{'b' if well else 'a'}-{number}", ready=well) for number in range(2))
        sensors = (Sensor(name="workload", seconds=0.0), Sensor(name="pods", seconds=0.0))
        return Snapshot(target=target, at=self._clock(), sensors=sensors, exists=True, workload=workload, pods=pods)

    async def preflight(self, action: Action) -> Preflight:
        blast = BlastRadius(score=10, tier=Tier.AUTO, pods=2, replicas=2)
        return Preflight(target=action.target, uid=_uid(action.target), checks=_PASSED, blast=blast)

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        self._restarted.add(action.target.key)
        return Applied(output="nothing was done, as agreed")

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        return action.target.key in self._restarted

    async def close(self) -> None:
        await self._client.close()


def _uid(target: Target) -> str:
    return hashlib.sha256(target.key.encode()).hexdigest()[:32]


def _pod(name: str, *, ready: bool) -> PodView:
    container = ContainerView(
        name="app", image="api:1", ready=ready, restarts=0 if ready else 7, waiting="" if ready else "CrashLoopBackOff"
    )
    return PodView(name=name, uid=f"uid-{name}", phase="Running", ready=ready, containers=(container,))
