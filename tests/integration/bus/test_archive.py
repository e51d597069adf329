"""The archive stores everything, in batches, acknowledges only what is stored, and never gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from bus import names
from bus.archive import ArchiveLoop, ArchiveRow, EventStore, UnreadableEntry
from bus.connect import Bus
from ops.archive import Log
from schemas.identity import time_of
from sql.database import Database
from tests.integration.bus.ground import QUICK, RedisGround, raw, settled, until, vote, votes

OPTIONS = msgspec.structs.replace(QUICK, concurrency=2, batch=500)


class Away(Exception):
    """As a store's driver would say it."""


class Shelf:
    """A store in memory that can be away, and that refuses some rows."""

    def __init__(self, *, refuses: str = "") -> None:
        self.rows: dict[str, ArchiveRow] = {}
        self.unreadable: list[UnreadableEntry] = []
        self.calls = 0
        self.away = False
        self.refuses = refuses

    async def store(self, rows: Sequence[ArchiveRow]) -> None:
        self.calls += 1
        if self.away:
            raise Away
        if self.refuses and any(self.refuses in row.body for row in rows):
            raise ValueError("a value that no column can hold")
        self.rows.update((row.id, row) for row in rows)

    async def store_unreadable(self, rows: Sequence[UnreadableEntry]) -> None:
        if self.away:
            raise Away
        self.unreadable += rows


@asynccontextmanager
async def archiving(bus: Bus, store: EventStore) -> AsyncIterator[ArchiveLoop]:
    stop, loop = asyncio.Event(), ArchiveLoop(bus, store, OPTIONS, unavailable=(Away,))
    task = asyncio.create_task(loop.run(stop))
    await until(lambda: loop.status.ready)
    yield loop
    stop.set()
    await task


async def archived(ground: RedisGround) -> bool:
    return await settled(ground, names.ARCHIVE)


async def test_every_event_is_stored_with_its_header(bus: Bus, ground: RedisGround) -> None:
    shelf, batch = Shelf(), votes(50)
    entries = await bus.append(batch)
    async with archiving(bus, shelf):
        await until(lambda: len(shelf.rows) == 50)
        await until(lambda: archived(ground))
    row, event = shelf.rows[batch[7].id], batch[7]
    assert (row.type, row.topic, row.incident, row.cause, row.by) == ("VoteRefused", "decisions", "i-1", "", "test")
    assert (row.at, row.born, row.body) == (event.at, time_of(event.id), raw(event).decode())
    assert (row.partition, row.entry) == (0, entries[7])


async def test_what_is_not_known_here_is_stored_all_the_same(bus: Bus, ground: RedisGround) -> None:
    shelf = Shelf()
    future = raw(vote()).replace(b"VoteRefused", b"FromTheFuture")
    await ground.put("decisions", future)
    for body in (b"\xff\x00 nonsense", b'{"type":"VoteRefused"}', raw(vote()).replace(b"late", b"\xff")):
        await ground.put("decisions", body)
    async with archiving(bus, shelf):
        await until(lambda: len(shelf.rows) == 1 and len(shelf.unreadable) == 3)
        await until(lambda: archived(ground))
    assert await ground.entries("dead") == []


async def test_nothing_is_acknowledged_while_the_store_is_away(bus: Bus, ground: RedisGround) -> None:
    shelf = Shelf()
    shelf.away = True
    await bus.append(votes(30))
    async with archiving(bus, shelf) as loop:
        await until(lambda: shelf.calls >= 3)
        assert len(await ground.pending("decisions", names.ARCHIVE)) == 30
        assert loop.meter.topics["decisions"].handled == 0
        shelf.away = False
        await until(lambda: len(shelf.rows) == 30)
        await until(lambda: archived(ground))
    assert await ground.entries("dead") == []


async def test_one_event_that_the_store_cannot_hold_does_not_stop_the_others(bus: Bus, ground: RedisGround) -> None:
    shelf, batch = Shelf(refuses='"approval":"13"'), votes(40)
    await bus.append(batch)
    async with archiving(bus, shelf):
        await until(lambda: archived(ground))
        await until(lambda: len(shelf.rows) == 39)
    assert [entry.body for entry in shelf.unreadable] == [raw(batch[13])]


async def test_a_replayed_entry_is_not_stored_again(bus: Bus, ground: RedisGround) -> None:
    shelf = Shelf()
    await ground.put("decisions", raw(vote()), only="gate")
    async with archiving(bus, shelf) as loop:
        await until(lambda: loop.meter.topics["decisions"].handled == 1)
    assert shelf.rows == {}


async def test_twenty_thousand_events_that_waited_are_all_stored(bus: Bus, ground: RedisGround, database: Database) -> None:
    count = 20_000
    for start in range(0, count, 5000):
        await bus.append([vote(number, key="k" * 300) for number in range(5000)], token=f"part-{start}")
    async with archiving(bus, Log(database)) as loop:
        await until(lambda: loop.meter.topics["decisions"].handled == count)
    ((stored,),) = await database.fetch("SELECT count(*) FROM event_log")
    assert stored == count
