"""A playbook that fails again and again loses its approval, and people are told why. A later approval begins the count anew."""

from __future__ import annotations

from collections.abc import Sequence

from bus.handler import Context
from schemas.event import Event
from schemas.events import ExecutionFinished, PeopleAsked, VerificationFinished
from schemas.learning import PlaybookChanged
from schemas.text import clean
from schemas.words import Outcome, Verdict
from sql.approvals import take_lock
from sql.audit import audit_close, audit_open
from sql.database import Connection
from sql.playbook_runs import failed_in_a_row
from sql.playbooks import PlaybookStatus, set_by_rule, versions_of

_SHOWN = 10  # incidents


async def deprecated_for_failures(event: Event, context: Context, connection: Connection, limit: int) -> Sequence[Event]:
    """What is told when `limit` of its actions in a row failed since the playbook was approved; nothing for another event. 0: never."""
    match event:
        case VerificationFinished(verdict=Verdict.FAILED) | ExecutionFinished(outcome=Outcome.FAILED) if event.playbook and limit:
            pass
        case _:
            return []
    await take_lock(connection, f"playbook/{event.playbook}")
    approved = next((row for row in await versions_of(connection, event.playbook) if row.status is PlaybookStatus.APPROVED), None)
    if approved is None:
        return []
    failed = await failed_in_a_row(connection, approved.name, since=approved.changed_at, limit=limit)
    if len(failed) < limit:
        return []
    before, after = PlaybookStatus.APPROVED, PlaybookStatus.DEPRECATED
    if not await set_by_rule(connection, approved.name, approved.version, before, after, by=context.stage, at=context.now()):
        return []
    incidents = ", ".join(dict.fromkeys(one for one in failed[:_SHOWN] if one))
    why = f"{limit} of its actions in a row failed since it was approved ({approved.changed_at:%Y-%m-%d %H:%M} UTC): incidents {incidents}"
    change = {"before": before.value, "after": after.value, "why": clean(why, 1000)}
    changed = context.event(PlaybookChanged, playbook=approved.name, playbook_version=approved.version, **change)
    name = f"{approved.name} version {approved.version}"
    await audit_open(connection, id=changed.id, at=changed.at, who=context.by, what="deprecate playbook", about=name, input=why)
    await audit_close(connection, changed.id, state="success")
    asked = context.event(
        PeopleAsked,
        subject=changed.id,
        severity=event.severity,
        reason=clean(f"playbook {name} is deprecated and proposes nothing any more: {why}", 2000),
        question=clean(f"What is wrong with it? `mend playbooks show {approved.name}`; once mended, approve it again.", 2000),
    )
    return [changed, asked]
