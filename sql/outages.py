"""Outages of consumer groups: begun once, told once, ended once, however many processes watch.

They are kept for each stream that a group reads, and told for the group: one process that is dead settles nothing of any of them.
"""

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
SELECT * FROM group_outages o WHERE (told_at IS NULL OR over_told_at IS NULL) AND CASE WHEN over_at IS NULL THEN told_at IS NULL
  ELSE over_told_at IS NULL AND NOT EXISTS (SELECT FROM group_outages n WHERE n.group_name = o.group_name AND n.over_at IS NULL) END
 ORDER BY since
"""
_OPEN_GROUPS = "SELECT DISTINCT group_name FROM group_outages WHERE over_at IS NULL"
_KNOWN = "SELECT EXISTS (SELECT FROM group_outages WHERE group_name = $1 AND over_at IS NULL AND told_at IS NOT NULL)"
_TELL = "UPDATE group_outages SET told_at = $2 WHERE group_name = $1 AND over_at IS NULL AND told_at IS NULL RETURNING *"
_TELL_OVER = """
UPDATE group_outages SET over_told_at = $2, told_at = coalesce(told_at, $2)
 WHERE group_name = $1 AND over_at IS NOT NULL AND over_told_at IS NULL RETURNING *
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
    """Outages of which people are still to be told: that they began, or that all of their group are over; the oldest first."""
    return [_row(row) for row in await connection.fetch(_UNTOLD)]


async def groups_out(connection: Connection) -> frozenset[str]:
    """The groups that have an outage now."""
    return frozenset(row["group_name"] for row in await connection.fetch(_OPEN_GROUPS))


async def tell_began(connection: Connection, group: str, *, at: datetime) -> list[OutageRow]:
    """The outages that the group has now and of which people are to be told, the oldest first; none while they know that it is out.

    All of them are told by that. Needs the lock of the group's outages (`take_lock`), so that of those who ask at once one is first.
    """
    known = await connection.fetchval(_KNOWN, group)
    told = [_row(row) for row in await connection.fetch(_TELL, group, at)]
    return [] if known else sorted(told, key=lambda row: (row.since, row.id))


async def tell_over(connection: Connection, group: str, *, at: datetime) -> list[OutageRow]:
    """The outages of the group that are over and of which people were not told that, the oldest first. All of them are told by that.

    Needs the lock as `tell_began` does.
    """
    return sorted((_row(row) for row in await connection.fetch(_TELL_OVER, group, at)), key=lambda row: (row.since, row.id))


def _row(row: Row) -> OutageRow:
    plain = {name: row[name] for name in OutageRow.__struct_fields__ if name != "group"}
    return OutageRow(**plain, group=row["group_name"])
