"""How the newest actions of a playbook went: as they were verified, or how their execution failed."""

from __future__ import annotations

from datetime import datetime

from schemas.words import FailureClass
from sql.database import Connection

# What could not be reached says nothing about the playbook; nor does what never began, as a refusal.
_NOT_ITS_OWN = [FailureClass.NETWORK.value, FailureClass.TIMEOUT.value]
_NEWEST = """
SELECT coalesce(nullif(v.verdict, ''), 'failed') AS verdict, o.incident
  FROM approvals a JOIN operations o ON o.approval = a.id LEFT JOIN verifications v ON v.operation = o.id
 WHERE a.playbook = $1 AND a.playbook <> '' AND a.requested_at >= $2 AND (v.verdict IN ('success', 'failed')
    OR coalesce(v.verdict, '') = '' AND o.outcome = 'failed' AND o.started_at IS NOT NULL
       AND EXISTS (SELECT FROM failures f WHERE f.about = 'execution/' || o.id AND f.failure <> ALL ($4)))
 ORDER BY coalesce(v.ended_at, o.finished_at) DESC NULLS FIRST, o.id DESC LIMIT $3
"""


async def failed_in_a_row(connection: Connection, playbook: str, *, since: datetime, limit: int) -> tuple[str, ...]:
    """The incidents of its newest failures, newest first, up to the newest success; of what was asked for since then only.

    A failure is a verification that failed, or an execution that began and is known to have failed, for another reason than that its
    target could not be reached in time. What could not be judged, a timeout among it, breaks no row and makes none longer.
    """
    failed: list[str] = []
    for row in await connection.fetch(_NEWEST, playbook, since, limit, _NOT_ITS_OWN):
        if row["verdict"] != "failed":
            break
        failed.append(row["incident"])
    return tuple(failed)
