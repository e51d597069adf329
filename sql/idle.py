"""Open incidents in which nothing happens: since when, of which people were told, and when they were last told of all together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.words import Severity
from sql.database import Connection

_SHOWN = 10  # incidents

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('idle_incidents', 0))"
_SINCE = "SELECT since FROM idle_incidents WHERE incident = $1 AND at >= $2"
_FORGET = """
DELETE FROM idle_incidents n
 WHERE NOT EXISTS (SELECT FROM incidents i WHERE i.id = n.incident AND i.state IN ('INVESTIGATING', 'MITIGATING'))
    OR EXISTS (SELECT FROM incident_timeline t WHERE t.incident = n.incident AND t.at > n.at)
"""
_NOTE = """
INSERT INTO idle_incidents (incident, since, at) VALUES ($1, $2, $3) ON CONFLICT (incident) DO UPDATE SET at = excluded.at RETURNING told
"""
_WORST = """
SELECT n.incident, i.severity, count(*) OVER () AS total, max(n.grouped_at) OVER () AS grouped_at
  FROM idle_incidents n JOIN incidents i ON i.id = n.incident ORDER BY i.severity, n.since, n.incident LIMIT $1
"""
_TOLD = "UPDATE idle_incidents SET told = true WHERE incident = ANY($1)"
_GROUPED = "UPDATE idle_incidents SET grouped_at = $1"


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """All open incidents in which nothing happens: `worst` are the ten most severe of `count`, of equals the longest idle first,
    and `severity` is that of the first.
    `told` says whether people were told of the one at hand since it is idle, `grouped_at` when they were last told of all together.
    """

    count: int
    worst: tuple[str, ...]
    severity: Severity
    told: bool
    grouped_at: datetime | None


async def idle_since(connection: Connection, incident: str, last: datetime) -> datetime | None:
    """Since when nothing happens in an incident that was found idle at `last`, its newest activity, or later; None for others."""
    since: datetime | None = await connection.fetchval(_SINCE, incident, last)
    return since


async def note_idle(connection: Connection, incident: str, *, since: datetime, at: datetime) -> Idle:
    """Notes that nothing happens in an open incident, and forgets those that are over or in which something happened.

    What is written to the timeline at `at` itself is no activity. Part of the caller's transaction, which others wait for.
    """
    await connection.execute(_LOCK)
    await connection.execute(_FORGET)
    told = await connection.fetchval(_NOTE, incident, since, at)
    rows = await connection.fetch(_WORST, _SHOWN)
    worst = tuple(row["incident"] for row in rows)
    first = rows[0]
    return Idle(count=int(first["total"]), worst=worst, severity=Severity(first["severity"]), told=told, grouped_at=first["grouped_at"])


async def told_of_idle(connection: Connection, incidents: Sequence[str], *, together_at: datetime | None = None) -> None:
    """People are told of these, or, with a time, of all idle ones together, these by name."""
    await connection.execute(_TOLD, list(incidents))
    if together_at is not None:
        await connection.execute(_GROUPED, together_at)
