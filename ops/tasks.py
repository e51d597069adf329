"""The tasks of one process: none may end by itself, and when one does, the others end in good order and the process says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from ops.errors import StageCrashed, StoppedEarly

R = TypeVar("R")

_log = logging.getLogger("mend.tasks")


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, R], what: str) -> R:
    """What `work` gives. Raises what it raises, and StoppedEarly when `stop` is set before it ends: it is cancelled then."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise StoppedEarly(f"stopped while waiting for {what}")
        return working.result()
    finally:
        stopped.cancel()
        working.cancel()
        await asyncio.wait([working])


class Tasks:
    """Tasks that run until `stop` is set."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def until_stopped(self) -> None:
        """Waits until `stop` is set and every task has ended. Raises StageCrashed when one ended by itself or by an error."""
        stopped = asyncio.create_task(self._stop.wait(), name="stopped")
        await asyncio.wait([stopped, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        early = [] if stopped.done() else [task for task in self._tasks if task.done()]
        await self.end()
        await stopped
        crashed = early + [task for task in self._tasks if task not in early and task.exception() is not None]
        for task in crashed:
            _log.error("%s ended unexpectedly", task.get_name(), exc_info=task.exception())
        if crashed:
            raise StageCrashed(f"{crashed[0].get_name()} ended unexpectedly: the log says why; start it again")

    async def end(self) -> None:
        """Tells all to stop and waits for their end."""
        self._stop.set()
        if self._tasks:
            await asyncio.wait(self._tasks)
