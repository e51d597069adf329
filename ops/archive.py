"""The group `archive` as a process: every event goes to Postgres, what Redis lost comes back, and what is done with is trimmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from bus.archive import ArchiveLoop, ArchiveRow, UnreadableEntry
from bus.connect import Bus
from bus.errors import BusError
from bus.options import LoopOptions
from bus.sweeper import Append, Page, Place, Sweeper
from bus.trim import trim
from ops.settings.model import ArchiveSettings
from schemas.text import clean
from sql import causes, event_log, notifications, outbox
from sql.database import Database
from sql.errors import StoreError, StoreUnavailable

_log = logging.getLogger("mend.archive")
_PAGE = 500  # events
_PARTITIONS_EVERY = timedelta(hours=6)
_BATCH = 500
_WRITERS = 2


class Log:
    """The event log as the archive and the sweeper need it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, rows: Sequence[ArchiveRow]) -> int:
        return await event_log.store(self._database, rows)

    async def store_unreadable(self, rows: Sequence[UnreadableEntry]) -> None:
        unreadable = [
            event_log.UnreadableRow(id=row.id, topic=row.topic, partition=row.partition, entry=row.entry, body=row.body) for row in rows
        ]
        await event_log.store_unreadable(self._database, unreadable)

    async def since(self, place: Place) -> AsyncIterator[Page]:
        """Every event stored since `place`, in the order in which they were stored."""
        while True:
            async with self._database.connection() as connection:
                page = await event_log.stored_after(connection, place.time, place.id, _PAGE)
            if not page:
                return
            place = Place(page[-1].stored_at, page[-1].id)
            yield Page([(row.topic, row.partition, row.body.encode()) for row in page], place)


class KeptOutputs:
    """The kept outputs as the sweeper needs them."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def sweep(self, append: Append, grace: timedelta) -> int:
        """Appends again what the archive should have seen `grace` ago and has not; returns how many inputs were looked at.

        Raises what `append` raises; what it took until then is remembered, so that a full Redis does not get it again and again.
        """
        refusal: BusError | None = None
        looked: list[outbox.Overdue] = []
        async with self._database.transaction() as connection:
            for row in await outbox.overdue(connection, now=self._clock(), grace=grace):
                if row.error:
                    _log.warning("the kept outputs of %s for %s cannot be read here: %s", row.stage, row.input, row.error)
                try:
                    if row.lost:
                        await append(row.lost)
                except BusError as error:
                    refusal = error
                    break
                looked.append(row)
            if looked:
                await outbox.settle(connection, looked)
        if refusal is not None:
            raise refusal
        return len(looked)


class Archive:
    """The tasks of the group: `loop` stores, `sweeper` brings back, `keep_house` trims and makes the log's partitions."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        topics: Mapping[str, Sequence[str]],
        options: ArchiveSettings,
        loop_options: LoopOptions,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        import msgspec

        self._bus = bus
        self._database = database
        self._topics = topics
        self._options = options
        self._clock = clock
        log = Log(database)
        batched = msgspec.structs.replace(loop_options, batch=max(loop_options.batch, _BATCH), concurrency=_WRITERS)
        self.loop = ArchiveLoop(bus, log, batched, clock, (StoreUnavailable,))
        self.sweeper = Sweeper(bus, KeptOutputs(database, clock), log, options.sweeper, clock)

    async def keep_house(self, stop: asyncio.Event) -> None:
        """Trims every `trim_period` and makes the log's coming partitions, until `stop` is set."""
        next_partitions = self._clock()
        while not stop.is_set():
            if self._clock() >= next_partitions and await self._tried("making partitions of the event log", self._make_room):
                next_partitions = self._clock() + _PARTITIONS_EVERY
            await self._tried("trimming the streams", self._trim)
            try:
                async with asyncio.timeout(self._options.trim_period):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _tried(self, what: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether it worked; a store that is away is said and tried again at the next turn."""
        try:
            await work()
        except (BusError, StoreError) as error:
            _log.warning("%s failed and is tried again: %s", what, clean(str(error), 500))
            return False
        return True

    async def _make_room(self) -> None:
        """The partitions of the coming months, and no more decisions and deliveries than may be asked for again."""
        now = self._clock()
        for name in await event_log.make_partitions(self._database, now):
            _log.info("made the partition %s of the event log", name)
        async with self._database.connection() as connection:
            before = now - timedelta(seconds=self._options.outputs_kept)
            await outbox.forget(connection, before=before)
            await notifications.prune_notifications(connection, before=before)
            await causes.forget_causes(connection, before=before)

    async def _trim(self) -> None:
        await trim(self._bus, self._topics, self._clock())
