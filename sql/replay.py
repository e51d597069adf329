"""A slice of the event log, to be told again: what is in it, and its events in the order of their times, some at a time.

The order is (event time, event id), which is the order in which they were told as far as clocks agree. The slice is laid out once, in a
temporary table of its ids, so that what a replay itself adds to the log is no part of it, and no page sorts the log anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from sql.database import Connection

_LAYING_OUT = 3600.0  # seconds
_CLOCKS_APART = timedelta(minutes=5)  # that of Postgres may be behind those of the stages
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_CHOSEN = """
FROM event_log e
WHERE e.topic = ANY($1) AND (cardinality($2::text[]) = 0 OR e.type = ANY($2)) AND e.at >= $3 AND e.at < $4 AND e.stored_at >= $5
  AND ($6 = '' OR e.incident = $6 OR (e.incident = '' AND e.id IN (SELECT cause FROM event_log WHERE incident = $6)))
  AND ($7 = '' OR (e.at, e.id) > (SELECT at, id FROM event_log WHERE id = $7))
"""
_COUNTED = f"SELECT e.topic, e.type, count(*) AS events, min(e.at) AS first, max(e.at) AS last {_CHOSEN} GROUP BY 1, 2 ORDER BY 1, 2"
_CLEAR = "DROP TABLE IF EXISTS replayed_slice"
_MAKE = "CREATE TEMPORARY TABLE replayed_slice (place bigint PRIMARY KEY, id text, born timestamptz)"
_LAY_OUT = f"INSERT INTO replayed_slice SELECT row_number() OVER (ORDER BY e.at, e.id), e.id, e.born {_CHOSEN}"
_PAGE = """
SELECT s.place, e.id, e.topic, e.partition, e.body, e.at FROM replayed_slice s JOIN event_log e ON e.id = s.id AND e.born = s.born
 WHERE s.place > $1 AND s.place <= $1 + $2 ORDER BY s.place
"""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: of these topics, and of these types, this incident and this span of event time (until is not part of it) where given.

    Signals tell of no incident: those that an event of the incident answers are its own. `after` is the id of an event: only what
    follows it.
    """

    topics: tuple[str, ...]
    types: tuple[str, ...] = ()
    incident: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: str = ""

    @property
    def values(self) -> tuple[object, ...]:
        since = max(self.since or _EARLIEST, _EARLIEST)
        stored = max(since - _CLOCKS_APART, _EARLIEST) if since > _EARLIEST + _CLOCKS_APART else _EARLIEST
        return list(self.topics), list(self.types), since, self.until or _LATEST, stored, self.incident, self.after


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many events of one type a slice has, the first and the last by event time."""

    topic: str
    type: str
    events: int
    first: datetime
    last: datetime


class PastRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a slice; `place` counts from 1."""

    place: int
    id: str
    topic: str
    partition: int
    body: str
    at: datetime


async def counted(connection: Connection, chosen: Slice) -> list[Counted]:
    """What a slice has, by topic and type."""
    rows = await connection.fetch(_COUNTED, *chosen.values, timeout=_LAYING_OUT)
    return [Counted(**dict(row)) for row in rows]


async def lay_out(connection: Connection, chosen: Slice) -> int:
    """Lays the slice out for `page` on this very connection; returns how many events it has."""
    await connection.execute(_CLEAR)
    await connection.execute(_MAKE)
    status: str = await connection.execute(_LAY_OUT, *chosen.values, timeout=_LAYING_OUT)
    return int(status.rpartition(" ")[2])


async def page(connection: Connection, after: int, limit: int) -> Sequence[PastRow]:
    """The events of the slice that was laid out, from the place after `after` on."""
    return [PastRow(**dict(row)) for row in await connection.fetch(_PAGE, after, limit)]


async def put_away(connection: Connection) -> None:
    """The slice is not needed any more."""
    await connection.execute(_CLEAR)
