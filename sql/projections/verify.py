"""Comparing a projection with the event log: built aside, and compared row by row as of one moment.

What its stage has not decided about yet is left out, and what it has taken from events that are not archived yet is taken from the
stages' kept outputs: neither is a difference.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sql.database import Database
from sql.projections import named
from sql.projections.aside import Aside, Table, aside
from sql.projections.log import PAGE, decided, events_named, not_archived, now, overlooked, pages, pages_since
from sql.projections.projection import LONG

_WAITING = "CREATE TEMPORARY TABLE projection_waiting (id text PRIMARY KEY)"
_WAITS = "INSERT INTO projection_waiting SELECT * FROM unnest($1::text[]) ON CONFLICT DO NOTHING"
_DECIDED_SINCE = """
SELECT w.id FROM projection_waiting w WHERE EXISTS (SELECT FROM outbox o WHERE o.stage = $1 AND o.input = w.id)
"""
_REMEMBER = """
INSERT INTO projection_builds (name, verified_at, differing) VALUES ($1, now(), $2)
ON CONFLICT (name) DO UPDATE SET verified_at = excluded.verified_at, differing = excluded.differing
"""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One row that differs: as it is, and as the event log says; None where there is none."""

    table: str
    live: dict[str, Any] | None
    built: dict[str, Any] | None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How a projection compares: `rows` are those of its tables, `differing` how many of them differ, `differences` the first of these.

    `undecided` are the newer events that its stage has not decided about: it has not taken them yet, or they teach it nothing.
    `overlooked` are those of them that the log has had for an hour, counted where rows differ: until the stage has decided about them,
    they are what differs.
    """

    name: str
    events: int
    rows: int
    undecided: int
    overlooked: int
    differing: int
    differences: tuple[Difference, ...]


async def verify(database: Database, name: str, *, most: int = 20) -> Verified:
    """Builds the projection `name` aside and compares it; tells of `most` differing rows at most. Needs two connections.

    Raises UnknownProjection and StoreUnavailable.
    """
    projection = named(name)
    async with aside(database, projection) as build:
        connection = build.connection
        await connection.execute(_WAITING)
        since = await now(connection)
        async for page in pages(database, projection.types, decided_by=projection.stage):
            await build.add(page.events)
            await build.refresh()
            await connection.execute(_WAITS, page.undecided)
        await build.finish()
        events = build.events  # what catching up reads was read before, nearly all of it
        async with connection.transaction(isolation="repeatable_read"):
            undecided = await _catch_up(build, since)
            compared = [await _compare(build, table, most) for table in build.tables]
            rows = [await connection.fetchval(f"SELECT count(*) FROM {table.live}", timeout=LONG) for table in build.tables]
        differing = sum(count for count, _ in compared)
        late = await overlooked(connection, projection.stage, projection.types) if differing else 0
        await connection.execute(_REMEMBER, name, differing)
        differences = tuple(one for _, found in compared for one in found)[:most]
        found = {"events": events, "rows": sum(rows), "undecided": undecided, "overlooked": late, "differing": differing}
        return Verified(name=name, **found, differences=differences)


async def _catch_up(build: Aside, since: datetime) -> int:
    """Takes all that the stage has decided about by this moment, and was not read before; returns how much it has not decided about."""
    connection, projection = build.connection, build.projection
    async for page in pages_since(connection, projection.types, since, decided_by=projection.stage):
        await build.add(page.events)
        await connection.execute(_WAITS, page.undecided)
    ids = [row["id"] for row in await connection.fetch(_DECIDED_SINCE, projection.stage, timeout=LONG)]
    for start in range(0, len(ids), PAGE):
        await build.add(await events_named(connection, ids[start : start + PAGE]))
    undecided = -len(ids)
    async for told in not_archived(connection, projection.types):
        taken = await decided(connection, projection.stage, [event.id for event in told])
        await build.add([event for event in told if event.id in taken])
        await build.refresh()
        undecided += len(told) - len(taken)
    await build.finish()
    waiting: int = await connection.fetchval("SELECT count(*) FROM projection_waiting")
    return waiting + undecided


async def _compare(build: Aside, table: Table, most: int) -> tuple[int, list[Difference]]:
    """How many rows of a table differ, and the first of them by their key."""
    columns, key = ", ".join(table.columns), ", ".join(table.key)
    rows = await build.connection.fetch(
        f"WITH live AS (SELECT {columns} FROM {table.live} EXCEPT SELECT {columns} FROM pg_temp.{table.name}),"
        f" built AS (SELECT {columns} FROM pg_temp.{table.name} EXCEPT SELECT {columns} FROM {table.live})"
        " SELECT CASE WHEN live IS NULL THEN NULL ELSE to_jsonb(live) END::text AS live,"
        " CASE WHEN built IS NULL THEN NULL ELSE to_jsonb(built) END::text AS built, count(*) OVER () AS differing"
        f" FROM live FULL JOIN built USING ({key}) ORDER BY {key} LIMIT $1",
        most,
        timeout=LONG,
    )
    found = [Difference(table=table.name, live=_row(row["live"]), built=_row(row["built"])) for row in rows]
    return rows[0]["differing"] if rows else 0, found


def _row(text: str | None) -> dict[str, Any] | None:
    row: dict[str, Any] | None = msgspec.json.decode(text) if text else None
    return row
