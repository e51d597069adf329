"""The sweeper: whatever Redis lost comes back from Postgres.

Kept outputs that the archive should have seen and has not are appended again. And when a server turns out to be emptied, or
another process than before, what the archive has of late is appended again as well: a group may not have handled it. How far that
has come is kept in Redis with each page, so that it goes on there, whatever happens meanwhile, and it waits while Redis is nearly
full. The same id twice does no harm downstream.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import structlog

from bus import names
from bus.connect import Bus, fields
from bus.errors import BusError
from bus.handler import Clock
from bus.letters import describe
from bus.options import SweeperOptions
from bus.scripts import script
from schemas.event import Event
from schemas.events import TOPICS
from schemas.text import clean

log = structlog.get_logger("mend.bus")
_MARGIN = timedelta(seconds=10)
"""What a server that kept its data may have lost when it went down, and the clocks' difference."""
_NEARLY_FULL = 0.8
"""A server that uses more than this share of its maxmemory gets nothing of the log for now: what comes from outside needs the rest."""
Append = Callable[[Sequence[Event]], Awaitable[None]]


class Outbox(Protocol):
    """The kept outputs, as far as the sweeper needs them."""

    async def sweep(self, append: Append, grace: timedelta) -> int:
        """Gives `append` the kept outputs, of one input at a time, that the archive should have seen `grace` ago and has not.

        Delayed ones count from their time. What `append` took is remembered as appended at this time. Returns how many
        inputs were looked at; 0 when none is overdue.
        """
        ...


class Place(NamedTuple):
    """A place in the event log: just after the event with this id that was stored at this time; without an id, before all of that time."""

    time: datetime
    id: str = ""


class Page(NamedTuple):
    """Some events of the log, each with its topic, its partition and its bytes; `end` is the place of the last one."""

    rows: Sequence[tuple[str, int, bytes]]
    end: Place


class RecentEvents(Protocol):
    """The event log, as far as the sweeper needs it."""

    def since(self, place: Place) -> AsyncIterator[Page]:
        """Every event stored since `place`, in the order in which they were stored."""
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
        """Appends again what the log has of late, if the partition's server is not the one that was seen before; returns how many events
        that were this time."""
        channel = self._bus.channel(partition)
        server = fields(await channel.call("INFO", "server")).get("run_id", "").encode()
        if not server:
            raise BusError("this server tells no run_id: it is no Redis or Valkey")
        lineage, now = names.lineage(partition), self._clock()
        known, _, seen = (await channel.call("GET", lineage) or b"").partition(b" ")
        if known == server:
            await channel.call("SET", lineage, _mark(server, now))
            return 0
        count, whole = await self._append_again(partition, server, self._since(now, seen))
        if whole:
            await channel.call("SET", lineage, _mark(server, now))
            await channel.call("DEL", names.restored(partition))
        if count:
            log.warning("events_appended_again", partition=partition, events=count)
        return count

    def _since(self, now: datetime, seen: bytes) -> datetime:
        """From when on events may be missing: shortly before the last look at a server that kept its data, else the whole window."""
        window = now - timedelta(seconds=self._options.window)
        return max(window, datetime.fromtimestamp(int(seen), UTC) - _MARGIN) if seen else window

    async def _append_again(self, partition: int, server: bytes, since: datetime) -> tuple[int, bool]:
        """Goes on where the last sweep left off; how many events were appended, and whether those were the last."""
        channel, key, count = self._bus.channel(partition), names.restored(partition), 0
        mark: bytes = await channel.call("GET", key) or b""
        async for page in self._recent.since(_place(mark, server) or Place(since)):
            if await self._is_nearly_full(partition):
                return count, False
            words = [
                word
                for topic, place, body in page.rows
                if place == partition and topic in names.POSITION
                for word in (names.POSITION[topic], body)
            ]
            following = b"%s %s %s" % (server, page.end.time.isoformat().encode(), page.end.id.encode())
            if not await channel.run(script("restore"), [key, *names.streams(partition)], [mark, following, *words]):
                return count, False  # another sweeper is at it
            mark, count = following, count + len(words) // 2
        return count, True

    async def _is_nearly_full(self, partition: int) -> bool:
        memory = fields(await self._bus.channel(partition).call("INFO", "memory"))
        used, most = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
        full = 0 < most * _NEARLY_FULL < used
        if full:
            log.warning("restore_waits", partition=partition, reason=f"Redis uses {used >> 20} of {most >> 20} MB")
        return full


def _mark(server: bytes, now: datetime) -> bytes:
    return server + b" %d" % int(now.timestamp())


def _place(mark: bytes, server: bytes) -> Place | None:
    """The place in a mark that was made for this server."""
    known, _, place = mark.partition(b" ")
    time, _, last = place.decode().partition(" ")
    return Place(datetime.fromisoformat(time), last) if known == server else None
