"""Which successes a learned playbook comes from: its incidents, for whoever decides whether it may propose."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.text import clean
from sql.database import Connection

_ADD = """
INSERT INTO playbook_sources (playbook, operation, incident, event, at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING operation
"""
_OF = """
SELECT s.operation, s.incident, s.at, coalesce(i.title, '') AS title, coalesce(l.what, '') AS what, l.score
  FROM playbook_sources s LEFT JOIN incidents i ON i.id = s.incident LEFT JOIN lessons l ON l.id = s.operation
 WHERE s.playbook = $1 ORDER BY s.at DESC, s.operation LIMIT $2
"""


class SourceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One verified success behind a playbook: `title` of its incident, `what` was done, and the self-healing score, where it is known."""

    operation: str
    incident: str
    at: datetime
    title: str
    what: str
    score: float | None


async def add_source(connection: Connection, playbook: str, *, operation: str, incident: str, event: str, at: datetime) -> bool:
    """Puts one success behind a playbook; False where it was there."""
    return await connection.fetchval(_ADD, playbook, operation, incident, event, at) is not None


async def sources_of(connection: Connection, playbook: str, *, limit: int = 100) -> list[SourceRow]:
    """The successes behind a playbook, newest first."""
    return [SourceRow(**dict(row.items()) | {"title": clean(row["title"], 200)}) for row in await connection.fetch(_OF, playbook, limit)]
