"""Kept outputs that the archive has not seen in time are found, so that what Redis lost can be appended again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio

from bus.connect import Bus, connect
from bus.errors import BusFull
from bus.handler import Context
from bus.options import LoopOptions
from ops.archive import Archive, KeptOutputs
from ops.settings.model import ArchiveSettings
from schemas.event import Event, Output
from schemas.events import IncidentCloseDue, PeopleAsked
from schemas.identity import new_id
from sql import event_log
from sql.database import Connection, Database
from sql.notifications import channels_sent, mark_sent
from sql.outbox import Overdue, forget, kept, once, overdue, settle
from tests.integration.test_event_log import entry

NOW = datetime.now(UTC)
GRACE = timedelta(hours=1)
SOON = NOW + timedelta(hours=3)
LATER = NOW + timedelta(hours=9)


@pytest_asyncio.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    connected = await connect(redis_url, name="test")
    yield connected
    await connected.close()


async def decided(database: Database, *, delayed: bool = False, nothing: bool = False) -> tuple[PeopleAsked, IncidentCloseDue]:
    """An input whose outputs are kept; the second one waits until LATER."""
    event = IncidentCloseDue(id=new_id(NOW), key="k", at=NOW, by="test")
    context = Context(stage="learn", by="learn/test", clock=lambda: NOW, input=event)
    asked = context.event(PeopleAsked, subject=event.id, reason="r", question="q")
    due = context.event(IncidentCloseDue)

    async def decide(_: Connection) -> Sequence[Output]:
        return [] if nothing else [asked, context.delay(due, LATER)] if delayed else [asked]

    await once(database, "learn", event, decide)
    return asked, due


async def sweep(database: Database, now: datetime) -> list[Overdue]:
    async with database.transaction() as connection:
        rows = await overdue(connection, now=now, grace=GRACE)
        await settle(connection, rows)
        return rows


async def test_nothing_is_overdue_within_the_grace(database: Database) -> None:
    await decided(database)
    assert await sweep(database, NOW + timedelta(seconds=30)) == []


async def test_what_the_archive_has_seen_is_settled(database: Database) -> None:
    asked, _ = await decided(database)
    await event_log.store(database, [entry(asked)])
    (row,) = await sweep(database, SOON)
    assert (row.lost, row.again_at) == ((), None)
    assert await sweep(database, LATER + GRACE) == []


async def test_what_the_archive_has_not_seen_is_lost_and_looked_for_again(database: Database) -> None:
    asked, _ = await decided(database)
    (row,) = await sweep(database, SOON)
    assert row.lost == (asked,)
    assert await sweep(database, SOON + timedelta(minutes=59)) == []
    await event_log.store(database, [entry(asked)])
    assert [row.lost for row in await sweep(database, SOON + GRACE)] == [()]


async def test_a_delayed_output_is_lost_only_after_its_time(database: Database) -> None:
    asked, due = await decided(database, delayed=True)
    await event_log.store(database, [entry(asked)])
    (row,) = await sweep(database, SOON)
    assert (row.lost, row.again_at) == ((), LATER)
    assert await sweep(database, LATER + timedelta(minutes=59)) == []
    (row,) = await sweep(database, LATER + GRACE)
    assert row.lost == (due,)


async def test_what_a_full_redis_has_taken_is_not_given_to_it_again(database: Database) -> None:
    events = {(await decided(database))[0] for _ in range(3)}
    taken: list[Event] = []

    async def append(lost: Sequence[Event]) -> None:
        if len(taken) == 2:
            raise BusFull("no room")
        taken.extend(lost)

    outputs = KeptOutputs(database, lambda: SOON)
    for _ in range(2):
        with pytest.raises(BusFull):
            await outputs.sweep(append, GRACE)
    assert len(taken) == 2
    rest = taken.pop()
    assert await outputs.sweep(append, GRACE) == 1
    assert {*taken, rest} == events


async def test_two_sweepers_share_the_work(database: Database) -> None:
    await decided(database)
    async with database.transaction() as first, database.transaction() as second:
        assert len(await overdue(first, now=SOON, grace=GRACE)) == 1
        assert await overdue(second, now=SOON, grace=GRACE) == []


async def test_settled_rows_are_forgotten_and_open_ones_never(database: Database) -> None:
    await decided(database)
    await decided(database, nothing=True)
    async with database.transaction() as connection:
        assert await forget(connection, before=NOW - timedelta(days=1)) == 0
        assert await forget(connection, before=LATER) == 1
    assert len(await sweep(database, SOON)) == 1


async def test_kept_outputs_can_be_looked_at(database: Database) -> None:
    asked, _ = await decided(database)
    assert await kept(database, "learn", asked.cause) == [asked]
    assert await kept(database, "learn", new_id(NOW)) is None


async def test_a_value_that_no_column_can_hold_is_no_outage(database: Database) -> None:
    with pytest.raises(asyncpg.DataError):
        await database.fetch("SELECT $1::int", 2**40)


async def test_housekeeping_forgets_what_was_decided_and_sent_long_ago(database: Database, bus: Bus) -> None:
    days = timedelta(seconds=ArchiveSettings().outputs_kept)
    async with database.connection() as connection:
        await mark_sent(connection, "old", "log", at=NOW - days - timedelta(days=1))
        await mark_sent(connection, "new", "log", at=NOW)
    await decided(database)
    stop = asyncio.Event()
    archive = Archive(bus, database, {}, ArchiveSettings(), LoopOptions(), clock=lambda: NOW)
    housekeeping = asyncio.create_task(archive.keep_house(stop))
    async with asyncio.timeout(10), database.connection() as connection:
        while await channels_sent(connection, "old"):  # noqa: ASYNC110 - a row has no event
            await asyncio.sleep(0.01)
        assert await channels_sent(connection, "new") == {"log"}
    stop.set()
    await housekeeping
