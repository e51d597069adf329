"""The event log: every event that ever flowed, once, by the month in its id. It is the audit trail and the source of rebuilds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from schemas.events import IncidentUpdated, SignalReceived
from schemas.identity import is_identifier, time_of
from sql.database import Connection, Database, Row

_PARTITIONS = 0x6C6F6773  # keeps this advisory lock apart from others

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


class Archived(Protocol):
    """One event as the archive read it: its header, its bytes, and where it stood in Redis.

    `born` is the time in its id (UTC), `by` who told it, `body` its JSON, `entry` its stream id in its partition.
    """

    @property
    def id(self) -> str: ...
    @property
    def born(self) -> datetime: ...
    @property
    def type(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def incident(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def by(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def body(self) -> str | bytes: ...
    @property
    def partition(self) -> int: ...
    @property
    def entry(self) -> str: ...


class LoggedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the log; `stored_at` is when the archive wrote it."""

    id: str
    born: datetime
    type: str
    topic: str
    incident: str
    cause: str
    by: str
    at: datetime
    body: str
    partition: int
    entry: str
    stored_at: datetime

    @property
    def entered(self) -> datetime:
        """When it entered its stream, by the clock of Redis: the first part of its stream id."""
        return datetime.fromtimestamp(int(self.entry.partition("-")[0]) / 1000, UTC)


class IncidentLog(msgspec.Struct, frozen=True, kw_only=True):
    """The events of an incident, oldest first, and how many of it were too many to be among them, since when."""

    events: list[LoggedEvent]
    left_out: int = 0
    since: datetime | None = None


class UnreadableRow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is no event, byte for byte; `id` is what it calls itself, 128 characters at most, or empty."""

    id: str
    topic: str
    partition: int
    entry: str
    body: bytes


_COLUMNS = "id, born, type, topic, incident, cause, told_by, at, body, partition, entry"
_TYPES = "$1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::text[]"
_STORE = f"""
INSERT INTO event_log ({_COLUMNS}) SELECT * FROM unnest({_TYPES}, $10::int[], $11::text[]) ON CONFLICT DO NOTHING
"""
_STORE_UNREADABLE = """
INSERT INTO unreadable (id, topic, partition, entry, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bytea[]) ON CONFLICT DO NOTHING
"""
_SELECT = f"SELECT {_COLUMNS.replace('told_by', 'told_by AS by')}, stored_at FROM event_log"
_OF_INCIDENT = f"""
WITH RECURSIVE ranked AS (
    SELECT *, row_number() OVER (PARTITION BY repeats ORDER BY at, id) AS nth, count(*) OVER (PARTITION BY repeats) AS many
      FROM (SELECT *, type = ANY($3) AS repeats FROM event_log WHERE incident = $1 AND incident <> '') AS of_incident
), own AS (
    {_SELECT.replace("event_log", "ranked")} ORDER BY repeats, least(nth, many - nth + 1), nth LIMIT $2
), above AS (
    SELECT DISTINCT cause, 1 AS step FROM own WHERE cause <> '' AND cause NOT IN (SELECT id FROM own)
    UNION
    SELECT e.cause, step + 1 FROM above JOIN event_log e ON e.id = above.cause WHERE e.cause <> '' AND step < 20
)
SELECT * FROM own
UNION
{_SELECT} WHERE id IN (SELECT cause FROM above)
ORDER BY at, id
"""
_LEFT_OUT = """
SELECT count(*) AS events, min(at) AS since FROM event_log e
 WHERE incident = $1 AND incident <> '' AND NOT EXISTS (SELECT FROM unnest($2::text[]) AS shown(id) WHERE shown.id = e.id)
"""
_REPEATS = (SignalReceived.__name__, IncidentUpdated.__name__)
"""What a storm tells thousands of times about one incident."""
_STORED = _SELECT + " WHERE (stored_at, id) > ($1, $2) ORDER BY stored_at, id LIMIT $3"
_LATEST_FIRST = "split_part(entry, '-', 1)::bigint DESC, partition DESC, split_part(entry, '-', 2)::bigint DESC"
_NEWEST = f"""
{_SELECT} WHERE topic = $1 AND ($2 = '' OR type = $2) AND ($3 = '' OR incident = $3) AND stored_at > now() - $4::interval
ORDER BY {_LATEST_FIRST} LIMIT $5
"""
_SPANS = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=7), timedelta(days=36500))
"""How far back the newest events are looked for, further only when too few were found: the index on `stored_at` serves short spans."""
_CLOCKS_APART = timedelta(minutes=5)  # that of Postgres may be behind that of Redis
_POSITION = "string_to_array(entry, '-')::bigint[]"
_BETWEEN = f"""
{_SELECT} WHERE topic = $1 AND partition = $2 AND stored_at > $5 AND {_POSITION} > $3::bigint[] AND {_POSITION} <= $4::bigint[]
ORDER BY {_POSITION} LIMIT $6
"""
_ARCHIVED = "SELECT id FROM event_log WHERE id = ANY($1) AND born BETWEEN $2 AND $3"
_ARCHIVED_ODD = "SELECT id FROM event_log WHERE id = ANY($1)"
_KEPT_AS_BYTES = "SELECT id FROM unreadable WHERE id = ANY($1)"


async def store(database: Database, rows: Sequence[Archived]) -> int:
    """Writes the rows that the log does not have yet, all or none, and returns how many those were. Raises StoreUnavailable."""
    columns: list[list[object]] = [
        _texts(row.id for row in rows),
        [_time(row.born) for row in rows],
        _texts(row.type for row in rows),
        _texts(row.topic for row in rows),
        _texts(row.incident for row in rows),
        _texts(row.cause for row in rows),
        _texts(row.by for row in rows),
        [_time(row.at) for row in rows],
        _texts(row.body if isinstance(row.body, str) else row.body.decode("utf-8", "replace") for row in rows),
        [row.partition for row in rows],
        _texts(row.entry for row in rows),
    ]
    async with database.connection() as connection:
        answer: str = await connection.execute(_STORE, *columns)
    return int(answer.rsplit(maxsplit=1)[-1])


def _texts(values: Iterable[str]) -> list[object]:
    """Texts that Postgres can hold: a NUL, which it cannot, is left out. In a body it is escaped by JSON and stays."""
    return [value.replace("\0", "") if "\0" in value else value for value in values]


def _time(time: datetime) -> datetime:
    """A time that Postgres and Python can both hold, for a header that claims another; the body keeps the claim."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return min(max(time, _EARLIEST), _LATEST)


async def store_unreadable(database: Database, rows: Sequence[UnreadableRow]) -> None:
    """Keeps what is no event, byte for byte, once. Raises StoreUnavailable."""
    columns: list[list[object]] = [
        _texts(row.id for row in rows),
        *([getattr(row, name) for row in rows] for name in UnreadableRow.__struct_fields__[1:]),
    ]
    async with database.connection() as connection:
        await connection.execute(_STORE_UNREADABLE, *columns)


async def unreadable(connection: Connection, limit: int = 100) -> list[UnreadableRow]:
    """What was no event, newest first."""
    query = "SELECT id, topic, partition, entry, body FROM unreadable ORDER BY stored_at DESC LIMIT $1"
    return [UnreadableRow(**dict(row)) for row in await connection.fetch(query, limit)]


async def find_event(connection: Connection, event: str) -> LoggedEvent | None:
    """The event with this id, or None."""
    if not is_identifier(event):
        row = await connection.fetchrow(_SELECT + " WHERE id = $1", event.replace("\0", ""))
    else:
        row = await connection.fetchrow(_SELECT + " WHERE id = $1 AND born = $2", event, time_of(event))
    return None if row is None else LoggedEvent(**dict(row))


async def events_of_incident(connection: Connection, incident: str, limit: int = 5000) -> IncidentLog:
    """The events of an incident, oldest first, `limit` at most, and before them the ones that they answer, such as the signal.

    Of more, what only repeats itself is left out first, and always from the middle: how it began and how it ended stays.
    """
    rows = await connection.fetch(_OF_INCIDENT, incident, limit, _REPEATS)
    events = [LoggedEvent(**dict(row)) for row in rows]
    if len(events) < limit:
        return IncidentLog(events=events)
    rest = await connection.fetchrow(_LEFT_OUT, incident, [event.id for event in events])
    assert rest is not None, "a count is always a row"
    return IncidentLog(events=events, left_out=rest["events"], since=rest["since"])


async def stored_after(connection: Connection, time: datetime, id: str = "", limit: int = 500) -> list[LoggedEvent]:  # noqa: A002
    """The events stored after a time, and after this id at that very time, in the order in which they were stored."""
    return [LoggedEvent(**dict(row)) for row in await connection.fetch(_STORED, time, id, limit)]


async def newest(connection: Connection, topic: str, limit: int, *, kind: str = "", incident: str = "") -> list[LoggedEvent]:
    """The `limit` newest events of a topic in the order in which they entered Redis; of one type or one incident where given."""
    rows: list[Row] = []
    for span in _SPANS:
        rows = await connection.fetch(_NEWEST, topic, kind, incident.replace("\0", ""), span, limit)
        if len(rows) >= limit:
            break
    return [LoggedEvent(**dict(row)) for row in reversed(rows)]


async def between(connection: Connection, topic: str, partition: int, *, after: str, until: str, limit: int = 500) -> list[LoggedEvent]:
    """What entered one stream after the stream id `after`, up to `until`, in its order, `limit` at most."""
    since = datetime.fromtimestamp(int(after.partition("-")[0]) / 1000, UTC) - _CLOCKS_APART
    rows = await connection.fetch(_BETWEEN, topic, partition, _position(after), _position(until), since, limit)
    return [LoggedEvent(**dict(row)) for row in rows]


def _position(entry: str) -> list[int]:
    """A stream id as Postgres compares it: milliseconds, then the sequence within one."""
    milliseconds, _, sequence = entry.partition("-")
    return [int(milliseconds), int(sequence)]


async def archived(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of the ids the archive has read: those in the log, and those of what it could only keep as bytes."""
    kept = await connection.fetch(_KEPT_AS_BYTES, [event for event in ids if "\0" not in event])
    return await logged(connection, ids) | {row["id"] for row in kept}


async def logged(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of the ids the log has. One that is not of our form carries no time, and is looked for in every partition."""
    times = {event: time_of(event) for event in ids if is_identifier(event)}
    odd = [event for event in ids if event not in times and "\0" not in event]
    rows = await connection.fetch(_ARCHIVED, list(times), min(times.values()), max(times.values())) if times else []
    rows += await connection.fetch(_ARCHIVED_ODD, odd) if odd else []
    return {row["id"] for row in rows}


async def make_partitions(database: Database, now: datetime, ahead: int = 2) -> list[str]:
    """Makes the log's partitions of this month and the `ahead` next, where they are missing; returns the names made.

    What a missing partition left in the default one moves into it. Raises StoreUnavailable.
    """
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    made = []
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _PARTITIONS)
        for _ in range(ahead + 1):
            following = (month + timedelta(days=32)).replace(day=1)
            name = f"event_log_{month:%Y_%m}"
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                await _make_partition(connection, name, month, following)
                made.append(name)
            month = following
    return made


async def _make_partition(connection: Connection, name: str, since: datetime, until: datetime) -> None:
    """A table of the month, filled from the default partition before it is attached: Postgres refuses to attach it otherwise."""
    await connection.execute(f"CREATE TABLE {name} (LIKE event_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    await connection.execute("LOCK TABLE event_log_default IN ACCESS EXCLUSIVE MODE")
    await connection.execute(
        f"WITH moved AS (DELETE FROM event_log_default WHERE born >= $1 AND born < $2 RETURNING *) INSERT INTO {name} SELECT * FROM moved",
        since,
        until,
    )
    await connection.execute(f"ALTER TABLE event_log ATTACH PARTITION {name} FOR VALUES FROM ('{since}') TO ('{until}')")
