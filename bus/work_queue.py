"""The bounded line between the reader and the workers.

A worker that takes a delivery wakes the next idle worker while more are waiting, and none while one that was woken has not run
yet: handlers that never suspend run one after another in one task, handlers that do suspend run side by side, and neither a task
nor a wake-up is spent on each event.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from bus.transport import QUEUED, Delivery


class WorkQueue:
    """Deliveries that wait for a worker, and the workers that wait for a delivery."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._waking = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, deliveries: Iterable[Delivery]) -> None:
        """Adds deliveries and wakes one worker."""
        self._waiting.extend(deliveries)
        self._wake()

    def take(self) -> Delivery | None:
        """The next delivery that is still ours, or None."""
        waiting = self._waiting
        while waiting:
            delivery = waiting.popleft()
            if waiting and not self._waking:
                self._wake()
            if delivery.phase == QUEUED:
                return delivery
        return None

    def take_all(self, limit: int) -> list[Delivery]:
        """The next deliveries that are still ours, `limit` at most."""
        taken: list[Delivery] = []
        while len(taken) < limit and (delivery := self.take()) is not None:
            taken.append(delivery)
        return taken

    def clear(self) -> None:
        """Forgets what waits: at a stop, it is released to other consumers."""
        self._waiting.clear()

    async def rest(self) -> None:
        """Waits until there may be something to take."""
        if self._waiting:
            return
        idle = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        try:
            await idle
            self._waking = False
        except asyncio.CancelledError:
            if not idle.cancelled() and idle.done():
                self._waking = False
                self._wake()
            raise

    def _wake(self) -> None:
        """Wakes one idle worker, if something waits and none is about to run."""
        while self._idle and self._waiting and not self._waking:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                self._waking = True
