"""Everything that was tried in an incident, and what was not allowed: for whoever has to go on by hand."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.action import Action
from sql.database import Connection, Row

TRIED = "Tried so far:"
"""What stands over the attempts, each in a line of its own, in what people are asked."""


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One action that was tried, or that was approved by nobody. `outcome` and `verdict` are empty where there is none.

    `state` is that of its approval, empty where there is none; `signers` are the people who signed, none where it ran by itself.
    `repairs` is whether it was the automatic repair of another.
    """

    action: Action
    at: datetime
    state: str
    outcome: str
    verdict: str
    error: str
    signers: tuple[str, ...]
    repairs: bool


_action = msgspec.json.Decoder(Action)
_OF = """
WITH tried AS (
    SELECT o.action, coalesce(o.started_at, o.opened_at) AS at, coalesce(a.state, '') AS state, coalesce(o.outcome, '') AS outcome,
           coalesce(v.verdict, '') AS verdict, coalesce(o.error, '') AS error, a.id AS approval, a.proposal
      FROM operations o LEFT JOIN approvals a ON a.id = o.approval LEFT JOIN verifications v ON v.operation = o.id
     WHERE o.incident = $1 AND NOT coalesce(a.observation, false)
    UNION ALL
    SELECT a.action, coalesce(a.decided_at, a.requested_at), a.state, '', '', '', a.id, a.proposal
      FROM approvals a
     WHERE a.incident = $1 AND NOT a.observation AND a.state IN ('rejected', 'expired')
       AND NOT EXISTS (SELECT FROM operations o WHERE o.approval = a.id)
), newest AS (
    SELECT *, count(*) OVER () AS total FROM tried ORDER BY at DESC, approval DESC LIMIT $2
)
SELECT n.*, EXISTS (SELECT FROM repair_attempts r WHERE r.proposal = n.proposal) AS repairs,
       ARRAY(SELECT s.person FROM approval_signatures s WHERE s.approval = n.approval ORDER BY s.at, s.vote) AS signers
  FROM newest n ORDER BY n.at, n.approval
"""


async def attempts_of(connection: Connection, incident: str, *, limit: int = 10) -> tuple[list[AttemptRow], int]:
    """The newest `limit` attempts of an incident, oldest first, and how many there are in all; what only looks is none."""
    rows = await connection.fetch(_OF, incident, limit)
    total = rows[0]["total"] if rows else 0
    return [_attempt(row) for row in rows], total


def _attempt(row: Row) -> AttemptRow:
    names = ("at", "state", "outcome", "verdict", "error", "repairs")
    return AttemptRow(**{name: row[name] for name in names}, action=_action.decode(row["action"]), signers=tuple(row["signers"]))
