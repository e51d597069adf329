"""The audit log: a row for everything that is tried on the world, from its first moment, and how it ended.

A row begins as `pending` and ends as success, failed, retried, refused, withdrawn, dry_run, shadowed, unknown or rolled_back. One
operation has a row for each attempt, `OPERATION#ATTEMPT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from schemas.text import clean
from sql.database import Connection

AuditState = Literal["pending", "success", "failed", "retried", "refused", "withdrawn", "dry_run", "shadowed", "unknown", "rolled_back"]

ERROR_LIMIT = 2_000  # characters
STDERR_LIMIT = 8_000
TEXT_LIMIT = 8_000

_OPEN = """
INSERT INTO audit_log (id, at, who, what, about, incident, state, input) VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7)
ON CONFLICT (id) DO NOTHING
"""
_CLOSE = "UPDATE audit_log SET state = $2, output = $3, error = $4, stderr = $5, seconds = $6 WHERE id = $1"
_CLASSIFY = """
UPDATE audit_log SET failure = $2, repair = CASE WHEN $3 = '' THEN repair ELSE $3 END
WHERE id = (SELECT id FROM audit_log WHERE id LIKE $1 || '#%' ORDER BY at DESC, id DESC LIMIT 1)
"""
_REPAIRED = """
UPDATE audit_log SET repair = $2 WHERE id = (SELECT id FROM audit_log WHERE id LIKE $1 || '#%' ORDER BY at DESC, id DESC LIMIT 1)
"""


_DEALT_WITH = """
SELECT named FROM unnest($1::text[]) AS named WHERE EXISTS (
    SELECT FROM audit_log WHERE what LIKE '% dead letter' AND state = 'success' AND (input = named OR split_part(about, ' ', 2) = named)
)
"""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the audit log; `seconds` is None while it is pending."""

    id: str
    at: datetime
    who: str
    what: str
    about: str
    incident: str
    state: str
    input: str
    output: str
    error: str
    stderr: str
    seconds: float | None
    failure: str
    repair: str


async def audit_open(
    connection: Connection,
    *,
    id: str,  # noqa: A002
    at: datetime,
    who: str,
    what: str,
    about: str,
    incident: str = "",
    input: str = "",  # noqa: A002
) -> None:
    """Opens a row as `pending`; the same id again changes nothing."""
    texts = clean(who, 256), clean(what, 256), clean(about, 512), incident, clean(input, TEXT_LIMIT)
    await connection.execute(_OPEN, id, at, *texts)


async def audit_close(
    connection: Connection,
    id: str,  # noqa: A002
    *,
    state: AuditState,
    output: str = "",
    error: str = "",
    stderr: str = "",
    seconds: float | None = None,
) -> None:
    """Says how it ended; `error` is bounded to 2,000 characters and `stderr` to 8,000."""
    texts = clean(output, TEXT_LIMIT), clean(error, ERROR_LIMIT), clean(stderr, STDERR_LIMIT)
    await connection.execute(_CLOSE, id, state, *texts, seconds)


async def audit_classify(connection: Connection, *, operation: str, failure: str, repair: str = "") -> None:
    """Writes the class of a failure, and what came of a repair, to the newest row of an operation."""
    await connection.execute(_CLASSIFY, operation, clean(failure, 128), clean(repair, 512))


async def audit_repair(connection: Connection, *, operation: str, repair: str) -> None:
    """Writes what came of a repair to the newest row of the operation that it repairs."""
    await connection.execute(_REPAIRED, operation, clean(repair, 512))


async def was_refused(connection: Connection, id: str) -> bool:  # noqa: A002
    """Whether there is a row of this id that ended as refused."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM audit_log WHERE id = $1 AND state = 'refused')", id))


async def dealt_with(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these ids, of dead letters or of the events inside, somebody has replayed or dropped before."""
    return {row["named"] for row in await connection.fetch(_DEALT_WITH, [one.replace("\0", "") for one in ids])}


async def audit_rows(connection: Connection, *, incident: str = "", limit: int = 100) -> list[AuditRow]:
    """The newest rows first, of one incident or of all."""
    rows = await connection.fetch(
        "SELECT * FROM audit_log WHERE $1 = '' OR incident = $1 ORDER BY at DESC, id DESC LIMIT $2", incident, limit
    )
    return [AuditRow(**dict(row)) for row in rows]
