"""Whether what still waits for signatures is still what was put forward: its target may have been changed since, or be gone."""

from __future__ import annotations

from adapters.errors import AdapterError, TargetMissing
from adapters.ports import World
from schemas.text import clean
from schemas.words import CheckResult
from sql.approvals import ApprovalRow

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
