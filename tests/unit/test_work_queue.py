"""The line between the reader and the workers: nothing is left lying, and no wake-up is spent on what one worker does anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bus.transport import Delivery
from bus.work_queue import WorkQueue


def deliveries(count: int) -> list[Delivery]:
    return [Delivery(0, "signals", b"%d-0" % number, b"{}") for number in range(count)]


class Workers:
    """Workers of one queue; each waits for `work` between two deliveries."""

    def __init__(self, count: int, work: Callable[[], Awaitable[None]] | None = None) -> None:
        self.queue = WorkQueue()
        self.taken: list[bytes] = []
        self.wakes = self.busy = self.most = 0
        self._work = work
        self.tasks = [asyncio.create_task(self._run()) for _ in range(count)]

    async def _run(self) -> None:
        while True:
            delivery = self.queue.take()
            if delivery is None:
                await self.queue.rest()
                self.wakes += 1
                continue
            self.busy += 1
            self.most = max(self.most, self.busy)
            if self._work is not None:
                await self._work()
            self.busy -= 1
            self.taken.append(delivery.id)

    async def settle(self, count: int) -> None:
        for _ in range(10_000):
            if len(self.taken) >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"{len(self.taken)} of {count} were taken")

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_handlers_that_never_suspend_run_in_one_task_with_one_more_woken_at_most() -> None:
    workers = Workers(4)
    await asyncio.sleep(0)
    before = workers.wakes
    for _ in range(10):
        workers.queue.put(deliveries(100))
        await workers.settle(len(workers.taken) + 100)
    await asyncio.sleep(0)
    assert workers.wakes - before <= 20
    assert workers.most == 1
    await workers.stop()


async def test_handlers_that_suspend_run_side_by_side() -> None:
    gate = asyncio.Event()

    async def until_told() -> None:
        await gate.wait()

    workers = Workers(4, until_told)
    await asyncio.sleep(0)
    workers.queue.put(deliveries(6))
    for _ in range(20):
        await asyncio.sleep(0)
    assert workers.busy == 4
    gate.set()
    await workers.settle(6)
    await workers.stop()


async def test_a_worker_that_is_cancelled_when_it_was_woken_passes_it_on() -> None:
    workers = Workers(2)
    await asyncio.sleep(0)
    workers.queue.put(deliveries(1))
    workers.tasks[0].cancel()
    await workers.settle(1)
    workers.queue.put(deliveries(1))
    await workers.settle(2)
    await workers.stop()
