"""What happened the last times: how the same action on the same target ended, and how often the same problem came."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.action import pattern_of
from schemas.words import Disposition
from sql.approvals import ApprovalRow
from sql.database import Connection
from sql.recurrence import RecurrenceRow, get_recurrence

_PAST = """
SELECT what, outcome, verdict, coalesce(verified_at, executed_at) AS at FROM lessons
WHERE pattern = $1 AND approval <> $2 AND outcome IN ('succeeded', 'failed', 'unknown') ORDER BY at DESC, id LIMIT $3
"""
_COUNTED = """
SELECT count(*) AS tried, count(*) FILTER (WHERE verdict = 'success') AS healed,
       count(*) FILTER (WHERE outcome = 'failed' OR verdict IN ('failed', 'degraded')) AS failed
FROM lessons WHERE pattern = $1 AND approval <> $2 AND outcome IN ('succeeded', 'failed', 'unknown')
"""
_CAME = """
WITH first AS (SELECT anomaly FROM incident_alerts WHERE incident = $1 ORDER BY place LIMIT 1)
SELECT anomaly, max(i.opened_at) AS last_at, count(*) AS count
  FROM first JOIN incident_alerts a USING (anomaly) JOIN incidents i ON i.id = a.incident GROUP BY anomaly
"""


class PastRow(msgspec.Struct, frozen=True, kw_only=True):
    """One earlier time that the same was done to the same target: `verdict` is empty where none was given."""

    what: str
    outcome: str
    verdict: str
    at: datetime


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What happened the last times, newest first, and how often: `healed` and `failed` are verified, or known to have failed."""

    rows: tuple[PastRow, ...] = ()
    tried: int = 0
    healed: int = 0
    failed: int = 0


async def last_times(connection: Connection, approval: ApprovalRow, *, limit: int = 3) -> Past:
    """What became of the same action on the same target by other approvals, newest first; what was not done does not count."""
    pattern = pattern_of(approval.action)
    rows = await connection.fetch(_PAST, pattern, approval.id, limit)
    counted = await connection.fetchrow(_COUNTED, pattern, approval.id)
    assert counted is not None
    return Past(rows=tuple(PastRow(**dict(row)) for row in rows), **dict(counted))


async def recurrence_of(connection: Connection, incident: str) -> RecurrenceRow | None:
    """How often the first problem of an incident came, this time included, and how it ended; None where it is not known."""
    came = await connection.fetchrow(_CAME, incident)
    if came is None:
        return None
    known = await get_recurrence(connection, came["anomaly"])
    return RecurrenceRow(**dict(came), dispositions=known.dispositions if known else dict.fromkeys(Disposition, 0))
