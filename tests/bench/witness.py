"""A witness reads every stream from outside any group and remembers each id, so that an event that appears twice is seen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from schemas.codec import peek
from schemas.events import TOPICS
from tests.bench.contestants.bare import RawConnection
from tests.bench.contestants.course import stream_named


class Witness:
    """`seen` counts how often each event id appeared on its topic."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        self._last = {stream_named(topic).encode(): (topic, b"0") for topic in TOPICS}

    @property
    def doubled(self) -> int:
        """How many events appeared more than once."""
        return sum(1 for times in self.seen.values() if times > 1)

    def against(self, logged: AbstractSet[tuple[str, str]]) -> list[str]:
        """A sentence for each way in which what was seen differs from the topics and ids in the event log."""
        lost, unseen = len(self.seen.keys() - logged), len(logged - self.seen.keys())
        told = ((lost, "events of the streams are not in the event log"), (unseen, "events of the event log were never in a stream"))
        return [f"{count:,} {what}" for count, what in told if count]

    @classmethod
    @asynccontextmanager
    async def watching(cls, socket: Path) -> AsyncIterator[Witness]:
        """Watches until the end of the block."""
        witness = cls()
        connection = await RawConnection.opened(str(socket))
        task = asyncio.create_task(witness._watch(connection), name="witness")
        try:
            yield witness
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await connection.disconnect(nowait=True)

    async def _watch(self, connection: RawConnection) -> None:
        while True:
            lasts = [last for _, last in self._last.values()]
            for key, entries in await connection.call("XREAD", "COUNT", 1000, "BLOCK", 1000, "STREAMS", *self._last, *lasts) or ():
                topic = self._last[key][0]
                self._last[key] = (topic, entries[-1][0])
                self.seen.update((topic, peek(fields[1])[1]) for _, fields in entries)
