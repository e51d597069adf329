"""A worker process to be killed: `python -m tests.chaos.worker URL DIARY HABIT PARTITIONS [cluster]`.

It answers votes as the stage `gate`, and writes what it does into a diary, line by line, before it does it. HABIT is

    good      answers
    hang      on a first attempt at vote 7, never comes back from the handler
    suicide   kills itself with SIGKILL whenever it is given vote 7
    unsettled stops just before its first settle reaches Redis
    settled   stops just after its first settle was done by Redis
    slow      takes 50 ms for each vote
    away      finds on a first attempt that the world is not ready, and asks for half a second
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bus.connect import Bus, connect
from bus.handler import Context, Retry
from bus.loop import StageLoop
from bus.redis_transport import RedisTransport
from bus.transport import Delivery
from schemas.event import Event, Output
from tests.integration.bus.ground import QUICK, Desk, answer

OPTIONS = msgspec.structs.replace(QUICK, idle_limit=0.6, attempts=3, grace=3.0)
VICTIM = "7"


class Diary:
    """Lines in a file that several processes append to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, *words: object) -> None:
        line = " ".join(str(word) for word in (os.getpid(), *words)) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())
        os.close(handle)

    def lines(self, *words: str) -> list[list[str]]:
        """The lines that begin with these words, after the process id that each line has."""
        if not self._path.exists():
            return []
        rows = [line.split() for line in self._path.read_text().splitlines()]
        return [row for row in rows if row[1 : 1 + len(words)] == list(words)]


class Halting(RedisTransport):
    """Stops for ever just before or just after its first settle."""

    diary: Diary
    before: bool

    async def settle(self, batch: Sequence[Delivery]) -> Sequence[int]:
        if self.before:
            self.diary.write("settling", *(delivery.id.decode() for delivery in batch))
            await asyncio.Event().wait()
        refused = await super().settle(batch)
        self.diary.write("settled", *(delivery.id.decode() for delivery in batch))
        await asyncio.Event().wait()
        return refused


class HaltingBus(Bus):
    """A bus whose transports halt."""

    diary: Diary
    before: bool

    def transport(self, group: str, topics: Sequence[str], partition: int, consumer: str) -> Halting:
        transport = Halting(self.route, group, topics, partition, consumer, timeout=self.timeout)
        transport.diary, transport.before = self.diary, self.before
        return transport


def handler(habit: str, diary: Diary) -> Any:
    asked: set[str] = set()

    async def handle(event: Event, context: Context) -> Sequence[Output]:
        number = getattr(event, "approval", "")
        diary.write("handles", number, context.attempt)
        if habit == "hang" and number == VICTIM and context.attempt == 1:
            diary.write("hangs")
            await asyncio.Event().wait()
        if habit == "suicide" and number == VICTIM:
            os.kill(os.getpid(), signal.SIGKILL)
        if habit == "away" and context.attempt == 1 and number not in asked:
            asked.add(number)
            raise Retry(0.5, "the world is not ready")
        if habit == "slow":
            await asyncio.sleep(0.05)
        return await answer(event, context)

    return handle


async def main(url: str, path: str, habit: str, partitions: str, *rest: str) -> None:
    diary = Diary(Path(path))
    bus = await connect(url, partitions=int(partitions), name="worker", cluster="cluster" in rest)
    if habit in {"unsettled", "settled"}:
        bus.__class__ = HaltingBus
        bus.diary, bus.before = diary, habit == "unsettled"  # type: ignore[attr-defined]
    stop = asyncio.Event()
    running = asyncio.create_task(StageLoop(bus, Desk(handler(habit, diary)), OPTIONS).run(stop))

    def on_signal() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()
        diary.write("stops")

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)
    diary.write("starts")
    await asyncio.wait([running])
    diary.write("ends", running.cancelled())
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
