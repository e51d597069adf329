"""Whether what still waits for signatures is still what was put forward: its target may have been changed since, or be gone, and its
incident may have become more severe."""

from __future__ import annotations

from adapters.errors import AdapterError, TargetMissing
from adapters.ports import World
from schemas.text import clean
from schemas.words import ApprovalState, CheckResult
from sql.approvals import ApprovalRow, list_approvals
from sql.database import Connection
from sql.incidents import IncidentRow

_LIMIT = 500  # characters


async def why_outdated(world: World, row: ApprovalRow) -> str:
    """Why it would not be run any more as it was proposed; empty where it would, or where nobody can tell now."""
    target = row.target
    try:
        found = await world.preflight(row.action)
    except TargetMissing as error:
        return clean(f"{target} is gone: {error}", _LIMIT)
    except (AdapterError, TimeoutError):
        return ""
    gone = any(check.name.startswith("target") and check.result is CheckResult.FAILED for check in found.checks)
    if not found.uid:
        return f"{target} is gone" if gone else ""
    if found.uid != row.target_uid:
        return f"{target} is not the one that it was proposed for: its UID has changed since"
    return f"what it would change of {target} was changed since it was proposed" if found.basis != row.basis else ""


async def outranked(connection: Connection, incident: IncidentRow) -> list[tuple[ApprovalRow, str]]:
    """What waits for the signatures of a lower severity than the incident's, each with that as the reason; a person's own aside."""
    waiting = await list_approvals(connection, states=[ApprovalState.WAITING], incident=incident.id)
    return [(row, why) for row in waiting if not row.by_person and (why := row.outranked(incident.severity))]
