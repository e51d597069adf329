"""A world that could not be opened yet: it is opened when it is asked something, and says why not until that succeeds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from adapters.ports import Applied, Preflight, World
from schemas.action import Action
from schemas.evidence import Snapshot
from schemas.target import Target


class LateWorld:
    """`open_world` is tried at each question until it succeeds, once for all that ask meanwhile; what it raises, they raise."""

    def __init__(self, open_world: Callable[[], Awaitable[World]]) -> None:
        self._open_world = open_world
        self._opening: asyncio.Task[World] | None = None

    async def owner(self, target: Target) -> Target:
        return await (await self._world()).owner(target)

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        return await (await self._world()).observe(target, parts=parts)

    async def preflight(self, action: Action) -> Preflight:
        return await (await self._world()).preflight(action)

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        return await (await self._world()).apply(action, operation=operation, token=token, uid=uid)

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        return await (await self._world()).find(action, operation=operation, uid=uid, token=token)

    async def close(self) -> None:
        if self._opening is None:
            return
        self._opening.cancel()  # does nothing to one that has ended
        await asyncio.wait([self._opening])
        if not self._opening.cancelled() and self._opening.exception() is None:
            await self._opening.result().close()

    async def _world(self) -> World:
        """The world. Whoever asks may give up: the opening goes on, so that one that takes longer than each of them waits succeeds."""
        if self._opening is None or (self._opening.done() and (self._opening.cancelled() or self._opening.exception() is not None)):
            self._opening = asyncio.create_task(self._opened())
        return await asyncio.shield(self._opening)

    async def _opened(self) -> World:
        return await self._open_world()
