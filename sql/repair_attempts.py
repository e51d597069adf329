"""The automatic repairs that were wanted: one for each cause within an incident, from the wish to its end.

Every function takes the connection of the caller's transaction; StoreUnavailable comes from `Database`.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.action import Action
from schemas.text import clean
from sql.audit import audit_repair
from sql.database import Connection, Row


class RepairRow(msgspec.Struct, frozen=True, kw_only=True):
    """One repair. `id` is that of the event that wants it, `operation` the failed one that it repairs; `cause` is what failed, and how.

    `place` is the key of the incident's target. `proposal` is empty until it is put forward, `result` until it has ended.
    """

    id: str
    incident: str
    operation: str
    cause: str
    place: str
    action: Action
    at: datetime
    proposal: str = ""
    result: str = ""
    ended_at: datetime | None = None


_action = msgspec.json.Decoder(Action)
_WANT = """
INSERT INTO repair_attempts (id, incident, operation, cause, place, target_key, action, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING RETURNING id
"""
_PROPOSE = "UPDATE repair_attempts SET proposal = $2 WHERE id = $1 AND proposal = '' AND ended_at IS NULL RETURNING id"
_END = "UPDATE repair_attempts SET result = $2, ended_at = $3 WHERE id = $1 AND ended_at IS NULL RETURNING operation"
_OF_APPROVAL = "SELECT r.* FROM repair_attempts r JOIN approvals a ON a.proposal = r.proposal WHERE a.id = $1"
_UNDECIDED = """
SELECT count(*) FILTER (WHERE at > $1) AS everywhere, count(*) FILTER (WHERE at > $2 AND (place = $3 OR target_key = $4)) AS here
FROM repair_attempts r WHERE ended_at IS NULL AND at > least($1, $2) AND NOT EXISTS (SELECT FROM decisions d WHERE d.proposal = r.proposal)
"""


async def want_repair(connection: Connection, row: RepairRow) -> bool:
    """Keeps a repair that is wanted; False when one was wanted for this cause in this incident before."""
    place = (row.place, row.action.target.key, msgspec.json.encode(row.action).decode())
    kept = await connection.fetchval(_WANT, row.id, row.incident, row.operation, clean(row.cause, 500), *place, row.at)
    return kept is not None


async def propose_repair(connection: Connection, id: str, *, proposal: str) -> bool:  # noqa: A002
    """Remembers by which proposal it was put forward; False when it was already, or has ended."""
    return await connection.fetchval(_PROPOSE, id, proposal) is not None


async def end_repair(connection: Connection, id: str, *, result: str, at: datetime) -> bool:  # noqa: A002
    """Says how it ended, here and in the audit row of the failed operation; False when that was said before."""
    operation = await connection.fetchval(_END, id, clean(result, 500), at)
    if operation is None:
        return False
    await audit_repair(connection, operation=operation, repair=result)
    return True


async def get_repair(connection: Connection, id: str) -> RepairRow | None:  # noqa: A002
    """The repair that the event of this id wants, or None."""
    return _row(await connection.fetchrow("SELECT * FROM repair_attempts WHERE id = $1", id))


async def repair_of_proposal(connection: Connection, proposal: str) -> RepairRow | None:
    """The repair that this proposal puts forward, or None for a proposal that is no repair."""
    return _row(await connection.fetchrow("SELECT * FROM repair_attempts WHERE proposal = $1 AND proposal <> ''", proposal))


async def repair_of_approval(connection: Connection, approval: str) -> RepairRow | None:
    """The repair that this approval is about, or None for one that is about no repair."""
    return _row(await connection.fetchrow(_OF_APPROVAL, approval))


async def undecided_repairs(connection: Connection, *, everywhere: datetime, here: datetime, place: str, target: str) -> tuple[int, int]:
    """Repairs that were wanted since `everywhere` on any target, and since `here` on this one, and that the gate has not decided yet."""
    row = await connection.fetchrow(_UNDECIDED, everywhere, here, place, target)
    return (row["everywhere"], row["here"]) if row else (0, 0)


def _row(row: Row | None) -> RepairRow | None:
    if row is None:
        return None
    plain = {name: row[name] for name in RepairRow.__struct_fields__ if name != "action"}
    return RepairRow(**plain, action=_action.decode(row["action"]))
