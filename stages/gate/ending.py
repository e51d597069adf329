"""What becomes of a request without an answer: people are reminded, others are asked, and the time to sign ends, or the incident does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bus.handler import Context, Reject
from schemas.action import describe
from schemas.event import Output
from schemas.events import (
    ApprovalDue,
    ApprovalExpired,
    ApprovalWithdrawn,
    ExecutionFinished,
    IncidentResolved,
    PeopleAsked,
    ProposalOutdated,
)
from schemas.text import clean
from schemas.words import ApprovalState
from sql import approvals, incidents
from sql.approvals import ApprovalRow
from sql.database import Connection
from sql.operations import get_operation
from sql.outbox import AlreadyDone
from stages.gate.options import GateOptions
from stages.gate.people import People
from stages.gate.proposals import due, half, note
from stages.genuine import require_told


async def due_to_sign(
    event: ApprovalDue, context: Context, connection: Connection, options: GateOptions, people: People
) -> Sequence[Output]:
    """Half of the time to sign is over: people are reminded, once. All of it is: those of the next role are asked, or it expires.

    A timer that comes early is set again. Raises Reject for one that was never set.
    """
    row = await approvals.get_approval(connection, event.approval, lock=True)
    if row is None or row.state is not ApprovalState.WAITING:
        raise AlreadyDone
    await require_told(connection, context.stage, event)
    now, middle = context.now(), half(row.expires_at, options.expiry)
    if now >= row.expires_at:
        if row.escalated < len(options.escalation):
            return await _escalate(row, context, connection, options, people)
        return await _expire(row, context, connection)
    if now < middle and row.reminded_at is None:
        return [due(context, row.id, middle)]
    if row.reminded_at is not None:
        return [due(context, row.id, row.expires_at)]
    await approvals.remind_approval(connection, row.id, at=now)
    minutes = (row.expires_at - now).total_seconds() / 60
    asked = _ask(context, row, f"{_missing(row)} so far, and {minutes:g} min are left to sign", _how(row))
    return [asked, due(context, row.id, row.expires_at)]


async def _escalate(row: ApprovalRow, context: Context, connection: Connection, options: GateOptions, people: People) -> Sequence[Output]:
    role, until = options.escalation[row.escalated], context.now() + timedelta(seconds=options.expiry)
    await approvals.escalate_approval(connection, row.id, expires_at=until)
    who = f"{role} ({', '.join(people.with_role(role)) or 'nobody is listed with this role'})"
    await note(connection, context, row.incident, f"not signed in time ({_missing(row)}), put to {who}: {describe(row.action)}")
    asked = _ask(context, row, f"{_missing(row)} in time: '{describe(row.action)}' is put to {who}", _how(row))
    return [asked, due(context, row.id, half(until, options.expiry))]


async def _expire(row: ApprovalRow, context: Context, connection: Connection) -> Sequence[Output]:
    """Nobody answered in time: the request ends and people are asked."""
    await approvals.settle_approval(connection, row.id, ApprovalState.EXPIRED, at=context.now())
    what = describe(row.action)
    missing = f"{_missing(row)} in {(row.expires_at - row.requested_at).total_seconds() / 60:g} min"
    await note(connection, context, row.incident, f"expired with {missing}: {what}")
    expired = context.event(ApprovalExpired, incident=row.incident, approval=row.id, action=row.action)
    question = f"Is {row.target} still broken? Then repair it by hand; this request cannot be signed any more."
    return [expired, _ask(context, row, f"{missing}: '{what}' has expired and was not run", question, subject=expired.id)]


def _ask(context: Context, row: ApprovalRow, reason: str, question: str, *, subject: str = "") -> PeopleAsked:
    texts = {"reason": clean(reason, 1000), "question": clean(question, 1000)}
    return context.event(PeopleAsked, incident=row.incident, subject=subject or row.id, severity=row.severity, **texts)


def _missing(row: ApprovalRow) -> str:
    among = f" with {', '.join(row.roles)} among them" if row.roles else ""
    return f"{len(row.signers)} of {row.needed} signatures{among}"


def _how(row: ApprovalRow) -> str:
    return f"Should it {describe(row.action)}? mend approvals show {row.id}, then sign or reject it."


async def withdraw(event: IncidentResolved, context: Context, connection: Connection) -> Sequence[Output]:
    """The problem is gone: what still waits for a signature is not needed. The incident's row says so, not the event."""
    await approvals.take_lock(connection, f"incident/{event.incident}")
    incident = await incidents.get_incident(connection, event.incident)
    waiting = await approvals.waiting_of(connection, event.incident)
    if (incident is not None and incident.is_open) or not waiting:
        raise AlreadyDone
    outputs: list[Output] = []
    for row in waiting:
        await approvals.settle_approval(connection, row.id, ApprovalState.WITHDRAWN, at=context.now())
        await note(connection, context, row.incident, f"withdrawn, for the incident is resolved: {describe(row.action)}")
        outputs.append(context.event(ApprovalWithdrawn, approval=row.id, action=row.action, reason="the incident is resolved"))
    return outputs


async def take_back(event: ProposalOutdated, context: Context, connection: Connection) -> Sequence[Output]:
    """Its target is not what it was: what waits for signatures is withdrawn. Raises Reject when propose never told so."""
    found = await approvals.get_by_proposal(connection, event.proposal)
    row = await approvals.get_approval(connection, found, lock=True) if found else None
    if row is None or row.state is not ApprovalState.WAITING:
        raise AlreadyDone
    await require_told(connection, "propose", event)
    await approvals.settle_approval(connection, row.id, ApprovalState.WITHDRAWN, at=context.now())
    reason = clean(event.reason, 500)
    await note(connection, context, row.incident, f"withdrawn, for {reason}: {describe(row.action)}")
    return [context.event(ApprovalWithdrawn, incident=row.incident, approval=row.id, action=row.action, reason=reason)]


async def finish(event: ExecutionFinished, context: Context, connection: Connection) -> None:
    """The approved action has ended, however it did: its target is free for another. Raises Reject when the ledger knows no such end."""
    operation = await get_operation(connection, event.approval)
    if operation is None or operation.id != event.operation or operation.outcome is not event.outcome:
        raise Reject(f"the ledger has no operation {clean(event.operation, 64)!r} that ended as {event.outcome}: the event is not genuine")
    await approvals.finish_approval(connection, event.approval, at=context.now())
