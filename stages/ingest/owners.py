"""Who owns a pod, what an autoscaler holds, and which host has an address: asked of the world, briefly, and remembered for a while.

Where no answer comes, a pod's name tells, and a host keeps the name that the alert gives it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from adapters.errors import AdapterError, TargetMissing
from schemas.target import Kind, Target
from stages.ingest.options import IngestOptions
from stages.ingest.targets import workload_by_name

_MEMORY = 4096  # pods and hosts
_ASKED_FOR = (Kind.POD, Kind.AUTOSCALER, Kind.HOST)
_log = logging.getLogger(__name__)


class Owners(Protocol):
    """As much of the world as this stage needs; `adapters.ports.World` is one."""

    async def owner(self, target: Target) -> Target: ...


class OwnerLookup:
    """Turns pods and autoscalers into their workloads, and addresses of hosts into the hosts' names. `monotonic` gives seconds."""

    def __init__(self, owners: Owners | None, options: IngestOptions, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._owners = owners
        self._options = options
        self._monotonic = monotonic
        self._answers: dict[str, tuple[float, Target]] = {}
        self._silent: dict[tuple[Kind, str], float] = {}

    def remembered(self, target: Target) -> Target | None:
        """What is known without asking, or None when the cluster must be asked."""
        if target.kind not in _ASKED_FOR:
            return target
        until, answer = self._answers.get(target.key, (0.0, target))
        if until > self._monotonic():
            return answer
        if self._owners is None or self._silent.get((target.kind, target.cluster), 0.0) > self._monotonic():
            return workload_by_name(target)
        return None

    async def ask(self, target: Target) -> Target:
        """The workload that owns the pod, or that the autoscaler holds.

        A pod's by its name, when the cluster is unknown, silent or has no such pod any more.

        The host that the settings name so, or that has this address; as it is, when there is none or more than one.
        """
        known = self.remembered(target)
        if known is not None:
            return known
        assert self._owners is not None
        try:
            async with asyncio.timeout(self._options.owner_timeout):
                owner = await self._owners.owner(target)
        except TargetMissing:
            owner = workload_by_name(target)
        except (AdapterError, TimeoutError) as error:
            self._silent[target.kind, target.cluster] = self._monotonic() + self._options.owner_memory / 6
            _log.warning("%s does not say what %s belongs to: %s", target.cluster or "the world", target, error or "no answer in time")
            return workload_by_name(target)
        self._remember(target, owner)
        return owner

    def _remember(self, target: Target, owner: Target) -> None:
        while len(self._answers) >= _MEMORY:
            del self._answers[next(iter(self._answers))]
        self._answers.pop(target.key, None)
        self._answers[target.key] = (self._monotonic() + self._options.owner_memory, owner)
