"""What failed and how it was classified: one row for each thing that failed, so that nobody is asked twice about it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.words import FailureClass, Risk
from sql.database import Connection


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One failure. `about` names what failed, such as `execution/OPERATION`; `event` is the id of the event that told it."""

    about: str
    event: str
    incident: str
    operation: str
    failure: FailureClass
    risk: Risk
    confidence: float
    summary: str
    at: datetime


_KEEP = """
INSERT INTO failures (about, event, incident, operation, failure, risk, confidence, summary, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (about) DO NOTHING RETURNING about
"""


async def record_failure(connection: Connection, row: FailureRow) -> bool:
    """Keeps a failure; False when this thing's failure is known already."""
    values = (row.about, row.event, row.incident, row.operation, row.failure.value, row.risk.value, row.confidence, row.summary, row.at)
    return await connection.fetchval(_KEEP, *values) is not None


async def list_failures(connection: Connection, *, limit: int = 100) -> list[FailureRow]:
    """The newest failures first."""
    rows = await connection.fetch("SELECT * FROM failures ORDER BY at DESC, about LIMIT $1", limit)
    return [msgspec.convert(dict(row), FailureRow) for row in rows]
