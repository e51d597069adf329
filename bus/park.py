"""Where deliveries wait for their next attempt: held by this consumer, in the order of their time."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from bus.transport import PARKED, Delivery


class Park:
    """Parked deliveries. Times are those of the event loop's clock, in seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._sooner = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, delivery: Delivery, due: float) -> None:
        delivery.phase = PARKED
        if not self._heap or due < self._heap[0][0]:
            self._sooner.set()
        heapq.heappush(self._heap, (due, next(self._order), delivery))

    def forget(self, delivery: Delivery) -> None:
        """Takes out a delivery that another consumer has taken over."""
        self._heap = [row for row in self._heap if row[2] is not delivery]
        heapq.heapify(self._heap)

    async def due(self) -> list[Delivery]:
        """Waits until at least one is due; takes all that are."""
        clock = asyncio.get_running_loop().time
        while True:
            taken = []
            now = clock()
            while self._heap and self._heap[0][0] <= now:
                taken.append(heapq.heappop(self._heap)[2])
            if taken:
                return taken
            self._sooner.clear()
            wait = self._heap[0][0] - now if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._sooner.wait()
            except TimeoutError:
                continue
