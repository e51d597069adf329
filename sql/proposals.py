"""What was put forward for each incident: one row, which keeps a storm of updates from proposing twice."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from schemas.words import Severity
from sql.database import Connection

ProposalKind = Literal["action", "observation", "people", "withdrawn"]

_NOTE = """
INSERT INTO proposals (incident, event, kind, severity, alerts, at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (incident) DO UPDATE
   SET event = excluded.event, kind = excluded.kind, severity = excluded.severity, alerts = excluded.alerts, at = excluded.at
"""


class ProposalRow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answer to an incident: an action, an observation, a question to people, or that an action was withdrawn.

    `event` is the id of what told it; `severity` and `alerts`, the number of different alerts, are the incident's of that time.
    """

    incident: str
    event: str
    kind: str
    severity: Severity
    alerts: int
    at: datetime


async def latest_proposal(connection: Connection, incident: str, *, lock: bool = False) -> ProposalRow | None:
    """The newest answer to an incident, or None; `lock` keeps other proposers out until the transaction ends."""
    row = await connection.fetchrow(f"SELECT * FROM proposals WHERE incident = $1{' FOR UPDATE' if lock else ''}", incident)
    if row is None:
        return None
    return msgspec.convert(dict(row), ProposalRow)


async def note_proposal(
    connection: Connection, incident: str, *, event: str, kind: ProposalKind, severity: Severity, alerts: int, at: datetime
) -> None:
    """Remembers what was put forward, in place of what was before."""
    await connection.execute(_NOTE, incident, event, kind, severity.value, alerts, at)


async def looked_again(connection: Connection, incident: str, *, at: datetime) -> None:
    """Remembers that the newest answer to an incident was the right one at this time, too."""
    await connection.execute("UPDATE proposals SET at = $2 WHERE incident = $1", incident, at)
