"""Owners of pods for an ingest that starts before anybody can reach a cluster: alerts are taken all the same.

A pod's name tells its workload meanwhile (`stages/ingest/owners.py`). The way to the clusters is tried again when an owner is
asked for, so that a kubeconfig that comes later is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from adapters.errors import WrongSettings
from ops.errors import OpsError
from schemas.target import Target

if TYPE_CHECKING:
    from adapters.worlds import Worlds


class LateOwners:
    """`open_worlds` is tried at each question until it succeeds; what it opened is closed by `close`."""

    def __init__(self, open_worlds: Callable[[], Awaitable[Worlds]]) -> None:
        self._open_worlds = open_worlds
        self._worlds: Worlds | None = None
        self._one_at_a_time = asyncio.Lock()

    async def owner(self, target: Target) -> Target:
        """What the world says. Raises what it raises, and WrongSettings while there is no way to it."""
        async with self._one_at_a_time:
            if self._worlds is None:
                try:
                    self._worlds = await self._open_worlds()
                except OpsError as error:
                    raise WrongSettings(str(error)) from error
        return await self._worlds.owner(target)

    async def close(self) -> None:
        if self._worlds is not None:
            await self._worlds.close()
