"""Building a projection anew from the event log, while the stages go on: aside, then swapped in one short transaction.

Readers see the old rows until the swap commits, and writers wait for it alone. What the live one took from events that are not archived
yet is taken from the stages' kept outputs, so that a rebuild loses nothing. Of what it takes before its stage does, that stage tells no
change: the rows are the same.

All that is known is taken before the lock, a page at a time, and under it what is new since. In this order: the outputs, then the question
whether the stage has taken anything else, then the log. So an event that the archive stores in between is in the outputs or in the log, and
one of which the outputs came too late to be asked for is found missing, and the swap is tried again with all of them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from time import perf_counter

import msgspec

from sql.database import Database
from sql.projections import named
from sql.projections.aside import Aside, Table, aside
from sql.projections.log import EVER, TOLD, newly_told, now, nowhere, pages, pages_since
from sql.projections.projection import LONG

_FEW = 1000  # events: so many are caught up with in the swap itself
_ROUNDS = 20
_PAUSE = 1.0  # seconds
_AWAY = timedelta(days=1)
"""So long the archive may have been away: what learn took since, and neither the log nor a stage's outputs have, is waited for. An event
that Redis lost before it was archived is not waited for any longer than that."""
_REMEMBER = """
INSERT INTO projection_builds (name, rebuilt_at) VALUES ($1, now()) ON CONFLICT (name) DO UPDATE SET rebuilt_at = excluded.rebuilt_at
"""


class NotArchived(RuntimeError):
    """The projection has rows from events that neither the event log nor any stage's outputs have: the archive must catch up first."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """How a rebuild went: `events` read from the log, `rows` of its last table afterwards, how many rows of all were `changed`, and for
    how many seconds a stage that would write had to wait (`held`)."""

    name: str
    events: int
    rows: int
    changed: int
    held: float


class _Swapped(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    changed: int
    seconds: float


async def rebuild(database: Database, name: str) -> Rebuilt:
    """Builds the projection `name` anew from the event log and swaps it in; two at once: the second waits. Needs two connections.

    Raises UnknownProjection, NotArchived and StoreUnavailable; the live projection is then as it was.
    """
    projection = named(name)
    async with aside(database, projection) as build:
        await build.connection.execute(TOLD)
        since = await now(build.connection)
        async for page in pages(database, projection.types):
            await build.add(page.events)
            await build.refresh()
        events = build.events
        await build.finish()
        for _ in range(_ROUNDS):
            following = await now(build.connection)
            caught_up = await _catch_up(build, since)
            since = following
            if caught_up < _FEW:
                break
        for _ in range(_ROUNDS):
            following = await now(build.connection)
            await _take_told(build, EVER)
            await _catch_up(build, since)
            since = following
            swapped = await _swap(build, since) if await _is_whole(build, since - _AWAY) else None
            if swapped is not None:
                return Rebuilt(name=name, events=events, rows=swapped.rows, changed=swapped.changed, held=swapped.seconds)
            await asyncio.sleep(_PAUSE)
    raise NotArchived(
        f"{name} has rows from events that the event log does not have: nothing was changed;"
        " look at the archive with `mend streams ls`, and try again when it has caught up"
    )


async def _catch_up(build: Aside, since: datetime) -> int:
    """Takes what was stored since a time; returns how many events that were."""
    before = build.events
    async with build.connection.transaction():
        async for page in pages_since(build.connection, build.projection.types, since):
            await build.add(page.events)
    await build.finish()
    return build.events - before


async def _take_told(build: Aside, since: datetime) -> None:
    """Takes what stages have told since a time and the archive was not seen to have, and was not taken before."""
    async with build.connection.transaction():
        async for events in newly_told(build.connection, since):
            await build.add([event for event in events if type(event).__name__ in build.projection.types])
            await build.refresh()


async def _is_whole(build: Aside, since: datetime) -> bool:
    """Whether all that the stage has taken since a time can be told again; asked before the lock, under which it would take long."""
    async with build.connection.transaction():
        return not await nowhere(build.connection, build.projection.stage, since)


async def _swap(build: Aside, since: datetime) -> _Swapped | None:
    """Puts the rows in the place of the live ones; None where the archive lags behind."""
    connection = build.connection
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {', '.join(table.live for table in build.tables)} IN EXCLUSIVE MODE", timeout=LONG)
        locked = perf_counter()
        await _take_told(build, since)
        if await nowhere(connection, build.projection.stage, since):
            return None
        await _catch_up(build, since)
        changed = [await _exchange(build, table) for table in build.tables]
        rows = [await connection.fetchval(f"SELECT count(*) FROM pg_temp.{table.name}", timeout=LONG) for table in build.tables]
        await connection.execute(_REMEMBER, build.projection.name)
    return _Swapped(rows=rows[-1], changed=sum(changed), seconds=perf_counter() - locked)


async def _exchange(build: Aside, table: Table) -> int:
    """Makes the live table equal to the one aside, by writing only the rows that differ; returns how many those are."""
    columns, key = ", ".join(table.columns), ", ".join(table.key)
    gone = f"SELECT {columns} FROM {table.live} EXCEPT SELECT {columns} FROM pg_temp.{table.name}"
    new = f"SELECT {columns} FROM pg_temp.{table.name} EXCEPT SELECT {columns} FROM {table.live}"
    deleted = await build.connection.execute(
        f"DELETE FROM {table.live} WHERE ({key}) IN (SELECT {key} FROM ({gone}) AS gone)", timeout=LONG
    )
    added = await build.connection.execute(f"INSERT INTO {table.live} ({columns}) {new}", timeout=LONG)
    return max(int(status.rpartition(" ")[2]) for status in (deleted, added))
