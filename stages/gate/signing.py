"""One vote, counted or refused. A vote that does not count is told with its reason; it is never an error of the gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from bus.handler import Context
from schemas.action import describe, is_observation
from schemas.event import Output
from schemas.events import ActionApproved, ActionRejected, ApprovalSigned, VoteCast, VoteRefused
from schemas.text import clean
from schemas.words import ApprovalState, Choice, Mode, OperationState
from sql import approvals, incidents
from sql.approvals import ApprovalRow, SignatureRow, fold_name
from sql.audit import audit_close, audit_open, was_refused
from sql.database import Connection
from sql.operations import get_operation, is_held
from sql.switch import hold
from stages.gate.options import GateOptions
from stages.gate.people import People, lacking
from stages.gate.proposals import note
from stages.gate.votes import VoteKeys

_NAME_LIMIT = 128  # characters
_COMMENT_LIMIT = 1000


async def count_vote(
    event: VoteCast, context: Context, connection: Connection, *, options: GateOptions, keys: VoteKeys, people: People
) -> Sequence[Output]:
    """The events that tell what the vote did; one that does not count is in the audit log as well.

    The row's lock lets votes at the same time be counted one after the other. One that was counted or refused before, so long ago that
    what was told of it is forgotten, does nothing.
    """
    if await approvals.is_counted(connection, event) or await was_refused(connection, event.id):
        return []
    refusal, row = await _refusal(event, context, connection, options=options, keys=keys, people=people)
    if refusal or row is None:
        return [await _refused(event, context, connection, refusal)]
    if not await approvals.add_signature(connection, _signature(event, people)):
        return [await _refused(event, context, connection, "this person has signed already: another person must sign")]
    if event.choice is Choice.REJECT:
        return await _reject(event, context, connection, row)
    return await _sign(event, context, connection, row, options)


async def _refusal(
    event: VoteCast, context: Context, connection: Connection, *, options: GateOptions, keys: VoteKeys, people: People
) -> tuple[str, ApprovalRow | None]:
    """Why the vote may not count, or nothing and the approval's row, locked."""
    if not keys.verify(event):
        return "the vote is not genuine: it was not signed with a votes key of this installation", None
    switch = await hold(connection)
    row = await approvals.get_approval(connection, event.approval, lock=True)
    if row is None:
        return "there is no such approval", None
    if switch.stopped and event.choice is Choice.SIGN:
        return f"{switch.said}; sign again after `mend resume`", row
    refusal = people.refusal(event.person) or next(_refusals(event, context, row, options), "")
    refusal = refusal or await _passed_by(event, connection, row)
    return refusal or await _taken(event, context, connection, row) or await _begun(connection, row), row


def _refusals(event: VoteCast, context: Context, row: ApprovalRow, options: GateOptions) -> Iterator[str]:
    """Why the vote may not count for this approval; nothing when it may."""
    person = fold_name(clean(event.person, _NAME_LIMIT))
    if not person:
        yield "the vote names no person"
    if event.action_hash != row.action_hash:
        yield "it was given for another action than the one that waits: look again, then sign"
    stops = event.choice is Choice.REJECT and row.state is ApprovalState.APPROVED
    if row.state is not ApprovalState.WAITING and not stops:
        yield f"the approval is {row.state.value} and waits no longer"
    elif not stops and context.now() >= row.expires_at:
        yield "the time to sign is over"
    if event.choice is Choice.SIGN and person == fold_name(row.proposer):
        yield "who proposed an action never signs it: another person must sign"
    if event.choice is Choice.SIGN and options.mode_of(row.target) is Mode.SHADOW:
        yield "the mode is shadow now: nothing may run there"


async def _passed_by(event: VoteCast, connection: Connection, row: ApprovalRow) -> str:
    """Why the incident, as it is now, ends the time to sign; what a person proposes may be about one that is over."""
    incident = await incidents.get_incident(connection, row.incident)
    if incident is None or not incident.is_open:
        return "" if row.by_person else "its incident is not open any more"
    outranked = row.outranked(incident.severity) if event.choice is Choice.SIGN else ""
    return f"{outranked}: it must be proposed anew" if outranked else ""


async def _taken(event: VoteCast, context: Context, connection: Connection, row: ApprovalRow) -> str:
    """Why another action comes first: one that nobody is proven to have proposed keeps no other away, so its target may have been taken."""
    if event.choice is not Choice.SIGN or not row.unproven or is_observation(row.action):
        return ""
    target = row.target.key
    await approvals.take_lock(connection, *sorted({f"target/{row.place}", f"target/{target}"}))
    busy = await approvals.busy_with(connection, place=row.place, target=target, now=context.now(), proven=True)
    return f"approval {busy} for the same target is not finished" if busy else ""


async def _begun(connection: Connection, row: ApprovalRow) -> str:
    """Why it is too late to stop what was approved; whatever makes another attempt of it sees the rejection first."""
    operation = await get_operation(connection, row.id)
    if operation is None:
        return ""
    if operation.ended:
        return f"it has ended already ({operation.outcome}), and nothing is left to stop"
    if operation.state is OperationState.RUNNING and await is_held(connection, operation.id):
        return "it is being run right now, and what has begun is not stopped: reject it again if it is to be tried once more"
    return ""


def _signature(event: VoteCast, people: People) -> SignatureRow:
    return SignatureRow(
        approval=event.approval,
        person=clean(event.person, _NAME_LIMIT),
        choice=event.choice,
        vote=event.id,
        at=event.at,
        origin=clean(event.origin, _NAME_LIMIT),
        comment=clean(event.comment, _COMMENT_LIMIT),
        told_by=clean(event.by, _NAME_LIMIT),
        roles=people.roles_of(clean(event.person, _NAME_LIMIT)),
    )


async def _reject(event: VoteCast, context: Context, connection: Connection, row: ApprovalRow) -> Sequence[Output]:
    person, comment = clean(event.person, _NAME_LIMIT), clean(event.comment, _COMMENT_LIMIT)
    await approvals.settle_approval(connection, row.id, ApprovalState.REJECTED, at=context.now())
    await incidents.mark_rejected(connection, row.incident)
    said = f": {comment}" if comment else ""
    await note(connection, context, row.incident, f"{person} rejected {describe(row.action)}{said}")
    return [context.event(ActionRejected, incident=row.incident, approval=row.id, action=row.action, person=person, comment=comment)]


async def _sign(event: VoteCast, context: Context, connection: Connection, row: ApprovalRow, options: GateOptions) -> Sequence[Output]:
    person, comment = clean(event.person, _NAME_LIMIT), clean(event.comment, _COMMENT_LIMIT)
    signers = (*row.signers, person)
    roles = lacking(row.roles, await approvals.signatures_of(connection, row.id))
    missing = max(row.needed - len(signers), 1 if roles else 0)
    wanted = f", {', '.join(roles)} still wanted" if roles else ""
    await note(connection, context, row.incident, f"{person} signed {describe(row.action)} ({len(signers)} of {row.needed}{wanted})")
    if missing > 0:
        return [context.event(ApprovalSigned, incident=row.incident, approval=row.id, person=person, missing=missing, comment=comment)]
    now = context.now()
    await approvals.settle_approval(connection, row.id, ApprovalState.APPROVED, at=now, expires_at=now + timedelta(seconds=options.grant))
    return [
        context.event(
            ActionApproved,
            incident=row.incident,
            approval=row.id,
            action=row.action,
            action_hash=row.action_hash,
            risk=row.risk,
            automatic=False,
            signers=signers,
            rule=row.rule,
            mode=row.mode,
        )
    ]


async def _refused(event: VoteCast, context: Context, connection: Connection, reason: str) -> VoteRefused:
    """Told, and kept in the audit log, with its reason."""
    await audit_open(
        connection,
        id=event.id,
        at=context.now(),
        who=clean(event.person, _NAME_LIMIT),
        what=f"vote: {event.choice.value}",
        about=f"approval {clean(event.approval, _NAME_LIMIT)}",
        incident=event.incident,
        input=clean(event.comment, _COMMENT_LIMIT),
    )
    await audit_close(connection, event.id, state="refused", error=reason)
    return context.event(VoteRefused, approval=clean(event.approval, _NAME_LIMIT), person=clean(event.person, _NAME_LIMIT), reason=reason)
