"""Rebuilding a projection from the event log: built beside the live one, then swapped in one transaction.

Readers see the old rows until the swap commits; writers wait for it. What the live one took from events that are not archived yet
is kept, so that a rebuild under way loses nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from schemas.codec import decode
from schemas.errors import SchemaError
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from sql import feedback, lessons, playbooks, trust
from sql.database import Connection, Database
from sql.playbook_signals import TYPES as PLAYBOOK_TYPES
from sql.playbook_signals import signal_of

_BATCH = 1000  # events at a time
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('projections/' || $1, 0))"
_LOG = """
SELECT id, born, body FROM event_log WHERE type = ANY($1) AND (born, id) > ($2, $3) ORDER BY born, id LIMIT $4
"""
_OPEN_LESSON = """
INSERT INTO lessons_building ({columns}) SELECT {columns} FROM lessons l
WHERE NOT EXISTS (SELECT FROM event_log e WHERE e.id IN (l.execution, l.verification)) ON CONFLICT DO NOTHING
"""
_NOT_ARCHIVED_LESSON = """
UPDATE lessons_building b SET {fields} FROM lessons l
WHERE l.id = b.id AND b.{event} = '' AND l.{event} <> '' AND NOT EXISTS (SELECT FROM event_log e WHERE e.id = l.{event})
"""


class UnknownProjection(ValueError):
    """There is no projection of that name; the message lists those that there are."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """How a rebuild went: `events` read from the log, `rows` of the projection afterwards."""

    name: str
    events: int
    rows: int


class _Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """A projection that folds a ledger: the ledger's table and columns, the rows of an event, and the fold of all rows."""

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows_of: Callable[[Connection, Event], Awaitable[list[tuple[object, ...]]]]
    fold_all: Callable[[Connection], Awaitable[int]]
    folded: str


async def _trust_rows(connection: Connection, event: Event) -> list[tuple[object, ...]]:
    entry = await trust.proven_entry(connection, event)
    entries = [entry] if entry is not None else await feedback.trust_entries(connection, [event])
    return [trust.entry_values(one) for one in entries]


async def _playbook_rows(connection: Connection, event: Event) -> list[tuple[object, ...]]:
    if not await trust.is_borne_out(connection, event):
        return []
    signal = await signal_of(connection, event)
    return [] if signal is None else [playbooks.signal_values(signal)]


_LEDGERS = {
    "trust": _Ledger(
        table="trust_ledger",
        columns=trust.COLUMNS,
        types=(*trust.TYPES, "FeedbackGiven"),
        rows_of=_trust_rows,
        fold_all=trust.fold_all,
        folded="trust",
    ),
    "playbooks": _Ledger(
        table="playbook_ledger",
        columns=("event", "playbook", "at", "success", "kind", "weight", "about"),
        types=PLAYBOOK_TYPES,
        rows_of=_playbook_rows,
        fold_all=playbooks.fold_all,
        folded="playbook_trust",
    ),
}
NAMES: tuple[str, ...] = (*_LEDGERS, "lessons")


async def rebuild(database: Database, name: str) -> Rebuilt:
    """Builds the projection `name` anew from the event log and swaps it in; two at once: the second waits.

    Raises UnknownProjection and StoreUnavailable; the live projection is then as it was.
    """
    if name not in NAMES:
        raise UnknownProjection(f"there is no projection {name!r}: there are {', '.join(NAMES)}")
    async with database.transaction() as connection:
        await connection.execute(_LOCK, name)
        if name in _LEDGERS:
            events, rows = await _rebuild_ledger(connection, _LEDGERS[name])
        else:
            events, rows = await _rebuild_lessons(connection)
    return Rebuilt(name=name, events=events, rows=rows)


async def _events(connection: Connection, types: tuple[str, ...]) -> AsyncIterator[Event]:
    """Every archived event of these types that can still be read, oldest first."""
    born, last = datetime.min.replace(tzinfo=UTC), ""
    while rows := await connection.fetch(_LOG, list(types), born, last, _BATCH):
        born, last = rows[-1]["born"], rows[-1]["id"]
        for row in rows:
            try:
                yield decode(row["body"].encode())
            except SchemaError:
                continue


async def _build_table(connection: Connection, table: str) -> None:
    await connection.execute(f"CREATE TEMPORARY TABLE {table}_building (LIKE {table} INCLUDING ALL) ON COMMIT DROP")


async def _rebuild_ledger(connection: Connection, ledger: _Ledger) -> tuple[int, int]:
    table, columns = ledger.table, ", ".join(ledger.columns)
    places = ", ".join(f"${number}" for number in range(1, len(ledger.columns) + 1))
    await _build_table(connection, table)
    insert = f"INSERT INTO {table}_building ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING"
    count = 0
    async for event in _events(connection, ledger.types):
        count += 1
        for row in await ledger.rows_of(connection, event):
            await connection.execute(insert, *row)
    await connection.execute(f"LOCK TABLE {table}, {ledger.folded} IN EXCLUSIVE MODE")
    missing = f"FROM {table} l WHERE NOT EXISTS (SELECT FROM {table}_building b WHERE b.event = l.event)"
    await connection.execute(
        f"INSERT INTO {table}_building ({columns}) SELECT {columns} {missing} AND NOT EXISTS (SELECT FROM event_log e WHERE e.id = l.event)"
    )
    for body in await connection.fetch(f"SELECT body FROM event_log e WHERE e.id IN (SELECT l.event {missing})"):
        for row in await ledger.rows_of(connection, decode(body["body"].encode())):
            await connection.execute(insert, *row)
    await connection.execute(f"DELETE FROM {table}")
    await connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_building")
    await connection.execute(f"DELETE FROM {ledger.folded}")
    return count, await ledger.fold_all(connection)


async def _rebuild_lessons(connection: Connection) -> tuple[int, int]:
    await _build_table(connection, "lessons")
    count = 0
    async for event in _events(connection, ("ExecutionFinished", "VerificationFinished")):
        if isinstance(event, ExecutionFinished | VerificationFinished) and await trust.is_borne_out(connection, event):
            count += 1
            await lessons.apply(connection, event, table="lessons_building")
    await connection.execute("LOCK TABLE lessons IN EXCLUSIVE MODE")
    columns = ", ".join(lessons.COLUMNS)
    await connection.execute(_OPEN_LESSON.format(columns=columns))
    for event_column, fields in (("execution", lessons.EXECUTED_COLUMNS), ("verification", lessons.VERIFIED_COLUMNS)):
        copied = ", ".join(f"{field} = l.{field}" for field in fields)
        await connection.execute(_NOT_ARCHIVED_LESSON.format(fields=copied, event=event_column))
    await connection.execute("DELETE FROM lessons")
    status = await connection.execute(f"INSERT INTO lessons ({columns}) SELECT {columns} FROM lessons_building")
    return count, int(status.rpartition(" ")[2])
