"""Outages of consumer groups: begun once, told once, ended once, however many processes watch."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sql.database import Connection, Row


class OutageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One outage: the group has settled nothing of the topic since `since`. `waiting` entries waited when it was found, the oldest for
    `oldest` seconds. `told_at` and `over_told_at` are when people were told that it began, and that it is over.
    """

    id: str
    group: str
    topic: str
    partition: int
    since: datetime
    waiting: int
    oldest: float
    told_at: datetime | None = None
    over_at: datetime | None = None
    over_told_at: datetime | None = None


_BEGIN = """
INSERT INTO group_outages (id, group_name, topic, partition, since, waiting, oldest) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING RETURNING id
"""
_END = "UPDATE group_outages SET over_at = $4 WHERE group_name = $1 AND topic = $2 AND partition = $3 AND over_at IS NULL RETURNING id"
_UNTOLD = """
SELECT * FROM group_outages WHERE (told_at IS NULL OR over_told_at IS NULL) AND (told_at IS NULL OR over_at IS NOT NULL) ORDER BY since
"""


async def begin_outage(connection: Connection, row: OutageRow) -> bool:
    """Keeps an outage; False when this group's outage on this topic is known and not over."""
    place = (row.group, row.topic, row.partition)
    return await connection.fetchval(_BEGIN, row.id, *place, row.since, row.waiting, row.oldest) is not None


async def end_outage(connection: Connection, *, group: str, topic: str, partition: int, at: datetime) -> bool:
    """The group settles again; False where it had no outage."""
    return await connection.fetchval(_END, group, topic, partition, at) is not None


async def get_outage(connection: Connection, id: str) -> OutageRow | None:  # noqa: A002
    """The outage with this id, or None."""
    row = await connection.fetchrow("SELECT * FROM group_outages WHERE id = $1", id)
    return None if row is None else _row(row)


async def untold_outages(connection: Connection) -> list[OutageRow]:
    """Outages of which people are still to be told that they began, or that they are over; the oldest first."""
    return [_row(row) for row in await connection.fetch(_UNTOLD)]


async def note_told(connection: Connection, id: str, *, at: datetime, over: bool) -> None:  # noqa: A002
    """Remembers that people were told that it began, or that it is `over`."""
    column = "over_told_at" if over else "told_at"
    await connection.execute(f"UPDATE group_outages SET {column} = $2 WHERE id = $1 AND {column} IS NULL", id, at)


def _row(row: Row) -> OutageRow:
    plain = {name: row[name] for name in OutageRow.__struct_fields__ if name != "group"}
    return OutageRow(**plain, group=row["group_name"])
