"""What ends a request without an answer: the time to sign is over, or the incident is."""

from __future__ import annotations

from collections.abc import Sequence

from bus.handler import Context, Reject
from schemas.action import describe
from schemas.event import Output
from schemas.events import ApprovalDue, ApprovalExpired, ApprovalWithdrawn, ExecutionFinished, IncidentResolved, PeopleAsked
from schemas.text import clean
from schemas.words import ApprovalState
from sql import approvals, incidents
from sql.database import Connection
from sql.operations import get_operation
from stages.gate.proposals import due, note


async def expire(event: ApprovalDue, context: Context, connection: Connection) -> Sequence[Output]:
    """Nobody answered in time: the request ends and people are asked. A timer that comes early is set again."""
    row = await approvals.get_approval(connection, event.approval, lock=True)
    if row is None or row.state is not ApprovalState.WAITING:
        return []
    now = context.now()
    if now < row.expires_at:
        return [due(context, row.id, row.expires_at)]
    await approvals.settle_approval(connection, row.id, ApprovalState.EXPIRED, at=now)
    what = describe(row.action)
    minutes = (row.expires_at - row.requested_at).total_seconds() / 60
    missing = f"{len(row.signers)} of {row.needed} signatures in {minutes:g} min"
    await note(connection, context, row.incident, f"expired with {missing}: {what}")
    expired = context.event(ApprovalExpired, incident=row.incident, approval=row.id, action=row.action)
    asked = context.event(
        PeopleAsked,
        incident=row.incident,
        subject=expired.id,
        reason=clean(f"{missing}: '{what}' has expired and was not run"),
        question=clean(f"Is {row.target} still broken? Then repair it by hand; this request cannot be signed any more."),
        severity=row.severity,
    )
    return [expired, asked]


async def withdraw(event: IncidentResolved, context: Context, connection: Connection) -> Sequence[Output]:
    """The problem is gone: what still waits for a signature is not needed. The incident's row says so, not the event."""
    await approvals.take_lock(connection, f"incident/{event.incident}")
    incident = await incidents.get_incident(connection, event.incident)
    if incident is not None and incident.is_open:
        return []
    outputs: list[Output] = []
    for row in await approvals.waiting_of(connection, event.incident):
        await approvals.settle_approval(connection, row.id, ApprovalState.WITHDRAWN, at=context.now())
        await note(connection, context, row.incident, f"withdrawn, for the incident is resolved: {describe(row.action)}")
        outputs.append(context.event(ApprovalWithdrawn, approval=row.id, action=row.action, reason="the incident is resolved"))
    return outputs


async def finish(event: ExecutionFinished, context: Context, connection: Connection) -> Sequence[Output]:
    """The approved action has ended, however it did: its target is free for another. Raises Reject when the ledger knows no such end."""
    operation = await get_operation(connection, event.approval)
    if operation is None or operation.id != event.operation or operation.outcome is not event.outcome:
        raise Reject(f"the ledger has no operation {clean(event.operation, 64)!r} that ended as {event.outcome}: the event is not genuine")
    await approvals.finish_approval(connection, event.approval, at=context.now())
    return []
