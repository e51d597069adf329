"""How the newest actions of a playbook were verified."""

from __future__ import annotations

from datetime import datetime

from sql.database import Connection

_NEWEST = """
SELECT v.verdict, o.incident FROM approvals a JOIN operations o ON o.approval = a.id JOIN verifications v ON v.operation = o.id
 WHERE a.playbook = $1 AND a.playbook <> '' AND a.requested_at >= $2 AND v.verdict IN ('success', 'failed')
 ORDER BY v.ended_at DESC NULLS FIRST, o.id DESC LIMIT $3
"""


async def failed_in_a_row(connection: Connection, playbook: str, *, since: datetime, limit: int) -> tuple[str, ...]:
    """The incidents of its newest failed verifications, newest first, up to the newest success; of what was asked for since then only.

    What could not be judged breaks no row and makes none longer.
    """
    failed: list[str] = []
    for row in await connection.fetch(_NEWEST, playbook, since, limit):
        if row["verdict"] != "failed":
            break
        failed.append(row["incident"])
    return tuple(failed)
