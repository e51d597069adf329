"""Causes that repeat across incidents: the first ones are told each, then all of them as one, then none until the window is over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from sql.database import Connection

_SHOWN = 10  # incidents

_KNOW = "INSERT INTO failure_causes (cause) VALUES ($1) ON CONFLICT DO NOTHING"
_LOCK = "SELECT grouped_at FROM failure_causes WHERE cause = $1 FOR UPDATE"
_GROUPED = "UPDATE failure_causes SET grouped_at = $2 WHERE cause = $1"
_FORGET = "DELETE FROM failure_cause_incidents WHERE cause = $1 AND at <= $2"
_COUNT = """
INSERT INTO failure_cause_incidents (cause, incident, at) VALUES ($1, $2, $3)
ON CONFLICT (cause, incident) DO UPDATE SET at = greatest(failure_cause_incidents.at, excluded.at)
"""
_FORGET_ALL = """
DELETE FROM failure_causes c WHERE NOT EXISTS (SELECT FROM failure_cause_incidents i WHERE i.cause = c.cause AND i.at >= $1)
"""
_INCIDENTS = """
SELECT incident, count(*) OVER () AS total FROM failure_cause_incidents WHERE cause = $1 ORDER BY at DESC, incident DESC LIMIT $2
"""


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """How often a cause came within its window: `incidents` are the newest ten of `count`.

    `told` says how people are to be told of this one: by itself (`each`), with all of its cause (`group`), or not (`quiet`).
    """

    told: Literal["each", "group", "quiet"]
    count: int
    incidents: tuple[str, ...]


async def count_cause(connection: Connection, cause: str, incident: str, *, at: datetime, window: timedelta, first: int) -> Repeated:
    """Counts an incident that failed of this cause. The `first` incidents within `window` are told each; the next one tells of all.

    Of those counted at once, one is first; part of the caller's transaction, which the others wait for.
    """
    await connection.execute(_KNOW, cause)
    grouped = await connection.fetchval(_LOCK, cause)
    await connection.execute(_FORGET, cause, at - window)
    await connection.execute(_COUNT, cause, incident, at)
    rows = await connection.fetch(_INCIDENTS, cause, _SHOWN)
    count, incidents = int(rows[0]["total"]), tuple(row["incident"] for row in rows)
    if count <= first:
        return Repeated(told="each", count=count, incidents=incidents)
    if grouped is not None and at - grouped < window:
        return Repeated(told="quiet", count=count, incidents=incidents)
    await connection.execute(_GROUPED, cause, at)
    return Repeated(told="group", count=count, incidents=incidents)


async def forget_causes(connection: Connection, *, before: datetime) -> None:
    """Forgets the causes of which nothing failed since then."""
    await connection.execute(_FORGET_ALL, before)
