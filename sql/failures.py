"""What failed and how it was classified: one row for each thing that failed, so that nobody is asked twice about it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.action import Action
from schemas.words import FailureClass, Risk
from sql.database import Connection, Row


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One failure. `about` names what failed, such as `execution/OPERATION`; `event` is the id of the event that told it.

    `proposed` is the way back that was put to people with it, where there was one.
    """

    about: str
    event: str
    incident: str
    operation: str
    failure: FailureClass
    risk: Risk
    confidence: float
    summary: str
    at: datetime
    proposed: Action | None = None


_action = msgspec.json.Decoder(Action)
_KEEP = """
INSERT INTO failures (about, event, incident, operation, failure, risk, confidence, summary, at, proposed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (about) DO NOTHING RETURNING about
"""


async def is_known(connection: Connection, about: str) -> bool:
    """Whether this thing's failure is known already."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM failures WHERE about = $1)", about))


async def record_failure(connection: Connection, row: FailureRow) -> bool:
    """Keeps a failure; False when this thing's failure is known already."""
    values = (row.about, row.event, row.incident, row.operation, row.failure.value, row.risk.value, row.confidence, row.summary, row.at)
    proposed = msgspec.json.encode(row.proposed).decode() if row.proposed is not None else None
    return await connection.fetchval(_KEEP, *values, proposed) is not None


async def judge_failure(connection: Connection, about: str, *, risk: Risk) -> None:
    """The risk that a failure has by what else was going on."""
    await connection.execute("UPDATE failures SET risk = $2 WHERE about = $1", about, risk.value)


async def way_back_of(connection: Connection, operation: str) -> Action | None:
    """The way back that was put to people when this operation had not healed; None where there was none."""
    found = await connection.fetchval(
        "SELECT proposed FROM failures WHERE operation = $1 AND proposed IS NOT NULL ORDER BY at DESC LIMIT 1", operation
    )
    return None if found is None else _action.decode(found)


async def list_failures(connection: Connection, *, limit: int = 100) -> list[FailureRow]:
    """The newest failures first."""
    rows = await connection.fetch("SELECT * FROM failures ORDER BY at DESC, about LIMIT $1", limit)
    return [_row(row) for row in rows]


def _row(row: Row) -> FailureRow:
    plain = msgspec.convert(dict(row) | {"proposed": None}, FailureRow)
    return msgspec.structs.replace(plain, proposed=_action.decode(row["proposed"])) if row["proposed"] else plain
