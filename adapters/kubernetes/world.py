"""One Kubernetes cluster as the World that stages know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from adapters.errors import AdapterError, TargetMissing, Transient
from adapters.kubernetes.client import Client
from adapters.kubernetes.operations import apply, find
from adapters.kubernetes.owner import find_owner
from adapters.kubernetes.preflight import preflight
from adapters.kubernetes.sensors import SENSOR_SECONDS, observe
from adapters.ports import Applied, Preflight
from schemas.action import Action, Investigate
from schemas.evidence import Sensor, Snapshot
from schemas.summary import summary
from schemas.target import Kind, Target
from schemas.text import clean

T = TypeVar("T")
TOTAL_SECONDS = 30.0


class KubernetesWorld:
    """A cluster behind one API server. `clock` gives UTC; `sensor_seconds` bounds each sensor, `total_seconds` each reading method.

    Writing is bounded by its requests, 8 to 10 seconds each: it is never cut off between being sent and being known.
    """

    def __init__(
        self, client: Client, *, clock: Callable[[], datetime], sensor_seconds: float = SENSOR_SECONDS, total_seconds: float = TOTAL_SECONDS
    ) -> None:
        self._client = client
        self._clock = clock
        self._sensor_seconds = sensor_seconds
        self._total_seconds = total_seconds

    @property
    def server(self) -> str:
        return self._client.server

    async def close(self) -> None:
        await self._client.close()

    async def owner(self, target: Target) -> Target:
        """See World. Also makes a target of kind Unknown the Deployment, StatefulSet, DaemonSet, Job or pod owner of that name."""
        return await self._in_time(find_owner(self._client, target), f"looking for {target}")

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:  # noqa: ARG002 - all pods are seen
        """See World. A target of kind Unknown is looked up by its name first; `exists` is None where it cannot be told."""
        return await self._observe(target)

    async def _observe(self, target: Target, *, with_usage: bool = False) -> Snapshot:
        at = self._clock()
        if target.kind is Kind.UNKNOWN:
            found = await self._known(target, at)
            if isinstance(found, Snapshot):
                return found
            target = found
        seconds = min(self._sensor_seconds, self._total_seconds)
        return await observe(self._client, target, at=at, seconds=seconds, with_usage=with_usage)

    async def _known(self, target: Target, at: datetime) -> Target | Snapshot:
        """The target that a bare name means, or a snapshot that says why there is none."""
        exists: bool | None = None
        try:
            return await self.owner(target)
        except TargetMissing as missing:
            error, exists = str(missing), False
        except AdapterError as failure:
            error = str(failure)
        seconds = (self._clock() - at).total_seconds()
        return Snapshot(target=target, at=at, sensors=(Sensor(name="owner", seconds=seconds, error=clean(error, 300)),), exists=exists)

    async def preflight(self, action: Action) -> Preflight:
        """See World, and `adapters.kubernetes.preflight`."""
        return await self._in_time(preflight(self._client, action), f"checking {action.target}")

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        """See World, and `adapters.kubernetes.operations`."""
        if isinstance(action, Investigate):
            return Applied(output=summary(await self._observe(action.target, with_usage=True)))
        return await apply(self._client, action, operation=operation, token=token, uid=uid)

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        """See World, and `adapters.kubernetes.operations`."""
        return await self._in_time(find(self._client, action, operation=operation, uid=uid, token=token), f"looking at {action.target}")

    async def _in_time(self, work: Awaitable[T], what: str) -> T:
        try:
            async with asyncio.timeout(self._total_seconds):
                return await work
        except TimeoutError as error:
            raise Transient(f"timeout: {what} took more than {self._total_seconds:g} s") from error
