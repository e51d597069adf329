"""The sweeper: whatever Redis lost comes back from Postgres.

Kept outputs that the archive should have seen and has not are appended again. And when a server turns out to be emptied, or
another process than before, what the archive has of late is appended again as well: a group may not have handled it. The same
id twice does no harm downstream.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from bus import names
from bus.connect import Bus
from bus.errors import BusError
from bus.handler import Clock
from bus.letters import describe
from bus.options import SweeperOptions
from bus.scripts import script
from schemas.event import Event
from schemas.events import TOPICS
from schemas.text import clean

log = structlog.get_logger("mend.bus")
_MINUTE = 60
_MARGIN = timedelta(seconds=10)
"""What a server that kept its data may have lost when it went down, and the clocks' difference."""
Append = Callable[[Sequence[Event]], Awaitable[None]]


class Outbox(Protocol):
    """The kept outputs, as far as the sweeper needs them."""

    async def sweep(self, append: Append, grace: timedelta) -> int:
        """Gives `append` the kept outputs, of one input at a time, that the archive should have seen `grace` ago and has not.

        Delayed ones count from their time. What `append` took is remembered as appended at this time. Returns how many
        inputs were looked at; 0 when none is overdue.
        """
        ...


class RecentEvents(Protocol):
    """The event log, as far as the sweeper needs it."""

    def since(self, time: datetime) -> AsyncIterator[Sequence[tuple[str, int, bytes]]]:
        """Topic, partition and bytes of every event stored since `time`, in the order in which they were stored, in pages."""
        ...


class Sweeper:
    """Runs beside the archive. One is enough; several do no harm."""

    def __init__(self, bus: Bus, outbox: Outbox, recent: RecentEvents, options: SweeperOptions, clock: Clock) -> None:
        self._bus = bus
        self._outbox = outbox
        self._recent = recent
        self._options = options
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop` is set. Redis or Postgres away: it tries again."""
        while not stop.is_set():
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - the edge of this loop; whatever went wrong, the next sweep starts anew
                log.warning("sweep_failed", error=clean(describe(error)[0], 500))
            try:
                async with asyncio.timeout(self._options.period):
                    await stop.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """One look; returns how many events were appended again. Raises BusUnavailable and what the stores raise."""
        appended = 0
        for partition in range(self._bus.partitions):
            appended += await self._restore(partition)
        if not await self.archive_is_current():
            return appended
        count = 0

        async def append(events: Sequence[Event]) -> None:
            nonlocal count
            # a token of its own: the outputs were appended before, and it is that append which was lost
            await self._bus.append(events, token=f"sweep-{secrets.token_hex(16)}")
            count += len(events)
            log.warning("outputs_appended_again", events=len(events), first=events[0].id)

        while await self._outbox.sweep(append, timedelta(seconds=self._options.grace)):
            pass
        return appended + count

    async def archive_is_current(self) -> bool:
        """Whether the archive has stored everything that is older than the grace: only then is a missing event a lost one."""
        for partition in range(self._bus.partitions):
            keys = [names.stream(partition, topic) for topic in TOPICS]
            rows = await self._bus.channel(partition).run(script("backlog"), keys, [names.ARCHIVE])
            if any(length and (lag < 0 or oldest > self._options.grace * 1000) for length, lag, _, oldest in rows):
                return False
        return True

    async def _restore(self, partition: int) -> int:
        """Appends again what the log has of late, if the partition's server is not the one that was seen before."""
        channel = self._bus.channel(partition)
        server = _run_id(await channel.call("INFO", "server"))
        lineage, now = names.lineage(partition), self._clock()
        mark = await channel.call("GET", lineage)
        known, _, seen = (mark or b"").partition(b" ")
        count = 0 if known == server else await self._append_again(partition, self._since(now, seen))
        await channel.call("SET", lineage, server + b" %d" % int(now.timestamp()))
        if count:
            log.warning("events_appended_again", partition=partition, events=count)
        return count

    def _since(self, now: datetime, seen: bytes) -> datetime:
        """From when on events may be missing: shortly before the last look at a server that kept its data, else the whole window."""
        window = now - timedelta(seconds=self._options.window)
        return max(window, datetime.fromtimestamp(int(seen), UTC) - _MARGIN) if seen else window

    async def _append_again(self, partition: int, since: datetime) -> int:
        channel, count = self._bus.channel(partition), 0
        async for page in self._recent.since(since):
            rows = [(topic, body) for topic, place, body in page if place == partition and topic in names.POSITION]
            words = [word for topic, body in rows for word in (names.POSITION[topic], body)]
            token = names.once(partition, f"restore-{secrets.token_hex(16)}")
            await channel.run(script("append"), [token, *names.streams(partition)], [_MINUTE, *words])
            count += len(rows)
        return count


def _run_id(info: bytes) -> bytes:
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line.split(b":", 1)[1]
    raise BusError("this server tells no run_id: it is no Redis or Valkey")
