"""The events that a projection is built from: those in the event log, a page at a time, and those that it does not have yet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from schemas.codec import decode, encode, holds_nul
from schemas.errors import SchemaError
from schemas.event import Event
from sql.database import Connection, Database, Row
from sql.event_log import archived
from sql.outbox import unsettled
from sql.projections.projection import LONG

PAGE = 2000
"""Events that are in memory at once."""
_AT_ONCE = timedelta(minutes=1)
"""The time of an entry of the log is that at which its transaction began: what is stored by then has become visible a minute later."""
UNDECIDED = timedelta(hours=1)
"""What a stage has not decided about for so long, it never will."""

# In no order: a fold needs none, and the log is read once from end to end.
_LOG = "SELECT id, body, true AS counts FROM event_log WHERE type = ANY($1) AND stored_at > $2"
_DECIDED = """
SELECT id, body, stored_at < now() - $4::interval OR EXISTS (SELECT FROM outbox o WHERE o.stage = $3 AND o.input = e.id) AS counts
  FROM event_log e WHERE type = ANY($1) AND stored_at > $2
"""
_NAMED = "SELECT id, body FROM event_log WHERE id = ANY($1)"
TOLD = "CREATE TEMPORARY TABLE projection_told (id text PRIMARY KEY)"
"""What a build knows of the stages' outputs: `newly_told` fills it, and `nowhere` asks it."""
_TELL = "INSERT INTO projection_told SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING id"
# In two parts, each of which has an index of its own.
_TAKEN = """
SELECT input FROM (
    SELECT input FROM outbox WHERE stage = $1 AND settled AND kept_at > $2
    UNION ALL SELECT input FROM outbox WHERE stage = $1 AND NOT settled AND check_at > $2 AND kept_at > $2
) AS taken WHERE NOT EXISTS (SELECT FROM projection_told WHERE id = input)
"""
_INPUTS = "SELECT input FROM outbox WHERE stage = $1 AND input = ANY($2)"
_OVERLOOKED = """
SELECT count(*) FROM event_log e
 WHERE type = ANY($1) AND stored_at < now() - $2::interval
   AND stored_at > (SELECT coalesce(min(kept_at), '-infinity') FROM outbox WHERE stage = $3)
   AND NOT EXISTS (SELECT FROM outbox o WHERE o.stage = $3 AND o.input = e.id)
"""
_NOT_ALWAYS_KEPT = {"IncidentUpdated", "ActionApproved"}
"""Of these a stage passes over what teaches it nothing, and keeps no word of that."""
EVER = datetime.fromisoformat("0001-01-02T00:00:00+00:00")


class Page(msgspec.Struct, frozen=True):
    """Some events of the log, and the ids of those that the stage has not decided about, and that are left out for that."""

    events: list[Event]
    undecided: list[str]


async def now(connection: Connection) -> datetime:
    """The time from which on the log has to be read again: what is not visible yet is stored after it."""
    time: datetime = await connection.fetchval("SELECT now()")
    return time - _AT_ONCE


async def pages(database: Database, types: Sequence[str], *, decided_by: str = "") -> AsyncIterator[Page]:
    """All events of these types in the log, read by a connection of their own."""
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL jit = off")
        async for page in pages_since(connection, types, EVER, decided_by=decided_by):
            yield page


async def pages_since(connection: Connection, types: Sequence[str], since: datetime, *, decided_by: str = "") -> AsyncIterator[Page]:
    """The events of these types that were stored after a time; in a transaction.

    With a stage given, of the newer ones only those that it has decided about: what it has not taken yet is in no projection.
    """
    values: tuple[object, ...] = (decided_by, UNDECIDED) if decided_by else ()
    cursor = await connection.cursor(_DECIDED if decided_by else _LOG, list(types), since, *values)
    while rows := await cursor.fetch(PAGE, timeout=LONG):
        yield Page(readable(row for row in rows if row["counts"]), [row["id"] for row in rows if not row["counts"]])


def readable(rows: Iterable[Row]) -> list[Event]:
    """The events in these rows; what another version wrote, and this one cannot read, is left out, and what holds a NUL: it is forged."""
    events: list[Event] = []
    for row in rows:
        body = row["body"].encode()
        if holds_nul(body):
            continue
        try:
            events.append(decode(body))
        except SchemaError:
            continue
    return events


async def events_named(connection: Connection, ids: Sequence[str]) -> list[Event]:
    """The events of the log with these ids."""
    return readable(await connection.fetch(_NAMED, list(ids)))


async def decided(connection: Connection, stage: str, ids: Sequence[str]) -> set[str]:
    """Which of these events the stage has decided about."""
    return {row["input"] for row in await connection.fetch(_INPUTS, stage, list(ids))}


async def not_archived(connection: Connection, types: Sequence[str]) -> AsyncIterator[list[Event]]:
    """The events of these types that stages have told and that the log does not have yet, a page at a time; in a transaction."""
    async for events in unsettled(connection, EVER, types):
        told = [event for event in events if not holds_nul(encode(event))]
        seen = await archived(connection, [event.id for event in told])
        yield [event for event in told if event.id not in seen]


async def newly_told(connection: Connection, since: datetime) -> AsyncIterator[list[Event]]:
    """What stages have told since a time and the archive was not seen to have, a page at a time, and each event once for a build.

    In a transaction, in which the build also takes it. What a stage has told is committed, and is never undone.
    """
    async for events in unsettled(connection, since):
        told = {event.id: event for event in events if not holds_nul(encode(event))}
        yield [told[row["id"]] for row in await connection.fetch(_TELL, list(told))]


async def nowhere(connection: Connection, stage: str, since: datetime) -> bool:
    """Whether the stage has taken something since a time that neither the log has nor the build was told: it is on its way to the log.

    In a transaction.
    """
    cursor = await connection.cursor(_TAKEN, stage, since)
    while rows := await cursor.fetch(PAGE, timeout=LONG):
        taken = {row["input"] for row in rows}
        if taken - await archived(connection, list(taken)):
            return True
    return False


async def overlooked(connection: Connection, stage: str, types: Sequence[str]) -> int:
    """How many events the log has had for an hour that the stage has not decided about: it is away, or behind, or refuses them."""
    asked = [name for name in types if name not in _NOT_ALWAYS_KEPT]
    count: int = await connection.fetchval(_OVERLOOKED, asked, UNDECIDED, stage, timeout=LONG)
    return count
