"""One automatic repair at most: whether it is wanted, and how it ended. What may run is for the gate, as with every other action.

Nothing here touches the world, and no event is believed: a repair is wanted of what the store bears out, and put forward by propose.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from bus.handler import Context, Reject
from schemas.action import describe, pattern_of
from schemas.event import Event
from schemas.events import (
    ActionHeld,
    ActionRejected,
    ApprovalExpired,
    ApprovalWithdrawn,
    ExecutionFinished,
    PeopleAsked,
    RepairNotProposed,
    RepairWanted,
    VerificationFinished,
)
from schemas.text import clean
from schemas.words import Outcome, Risk, Severity, Source
from sql.approvals import finish_approval
from sql.causes import Repeated
from sql.database import Connection
from sql.incidents import IncidentRow, add_timeline, get_incident
from sql.outbox import AlreadyDone
from sql.repair_attempts import RepairRow, end_repair, get_repair, repair_of_approval, repair_of_proposal, want_repair
from stages.failure_watch.found import Failure
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.tried import with_tried
from stages.failure_watch.valves import Valves, shut
from stages.genuine import require_told

TEXT_LIMIT = 2000  # characters
Decided = ActionHeld | ActionRejected | ApprovalExpired | ApprovalWithdrawn
"""What the gate may tell of a repair that is not run."""

_NOT_RUN = (Outcome.FAILED, Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED, Outcome.SHADOWED, Outcome.WITHDRAWN)


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """The risk of going on, and the repair that is wanted, or why none is."""

    risk: Risk
    why_not: str = ""
    wanted: RepairWanted | None = None


async def rule(
    event: Event,
    found: Failure,
    repeated: Repeated | None,
    context: Context,
    connection: Connection,
    *,
    options: FailureWatchOptions,
    valves: Valves,
) -> Ruling:
    """The valves first, then the risk, then whether there is one repair that was not tried yet.

    A global cooldown that is exceeded makes it critical, one of the target medium; so does a repair that failed. Only low risk is repaired.
    """
    action = found.action
    if action is None or not event.incident:
        return Ruling(risk=found.risk)
    incident = await get_incident(connection, event.incident)
    place = incident.key if incident else action.target.key
    held = await shut(connection, valves, now=context.now(), place=place, target=action.target.key)
    if held is not None and held.risk is Risk.CRITICAL:
        return Ruling(risk=Risk.CRITICAL, why_not=f"automatic actions are blocked: {held.why}")
    if found.mends is not None or _is_repair(found):
        return Ruling(risk=_at_least_medium(found.risk), why_not="this was a repair itself, and a repair of a repair needs a person")
    if found.risk is not Risk.LOW:
        return Ruling(risk=found.risk, why_not=f"{describe(action)} is of {found.risk.value} risk")
    if held is not None:
        return Ruling(risk=held.risk, why_not=held.why)
    if why := _why_none(found, repeated, incident, options):
        return Ruling(risk=found.risk, why_not=why)
    return await _want(event, found, place, context, connection)


def _is_repair(found: Failure) -> bool:
    return found.approval is not None and found.approval.inputs.get("source") == Source.REPAIR.value


def _at_least_medium(risk: Risk) -> Risk:
    return max(risk, Risk.MEDIUM, key=list(Risk).index)


def _why_none(found: Failure, repeated: Repeated | None, incident: IncidentRow | None, options: FailureWatchOptions) -> str:
    """Why no repair is wanted of a failure of low risk; empty where one is."""
    if not options.repairs:
        return "the settings want none (failure_watch.repairs)"
    if found.repair is None:
        return "there is none for a failure of this kind"
    if incident is None or not incident.is_open:
        return "its incident is not open"
    if found.approval is None:
        return "no approval of the failed action is known"
    if found.approval.by_person:
        return "a person proposed what failed"
    if repeated is not None and repeated.told != "each":
        return f"{repeated.count} incidents fail of the same cause, which no repair of one of them mends"
    return ""


async def _want(event: Event, found: Failure, place: str, context: Context, connection: Connection) -> Ruling:
    """Keeps the wish, once for a cause within an incident. The failed action's target is free: what was approved has ended."""
    assert found.repair is not None
    assert found.action is not None
    assert found.approval is not None
    wanted = context.event(
        RepairWanted,
        subject=event.id,
        operation=found.operation,
        action=found.repair,
        failure=found.failure,
        reason=clean(found.reason, TEXT_LIMIT),
    )
    row = RepairRow(
        id=wanted.id,
        incident=event.incident,
        operation=found.operation,
        cause=f"{found.failure.value}/{pattern_of(found.action)}",
        place=place,
        action=found.repair,
        at=context.now(),
    )
    if not await want_repair(connection, row):
        return Ruling(risk=Risk.MEDIUM, why_not="one was tried for this cause in this incident before")
    # The gate notes the same when it reads the same event; the repair must not find the target taken until then.
    await finish_approval(connection, found.approval.id, at=context.now())
    return Ruling(risk=found.risk, wanted=wanted)


async def went(event: ExecutionFinished | VerificationFinished, connection: Connection) -> RepairRow | None:
    """The repair that this event may end, where it was one and has not ended; None for all other actions."""
    if isinstance(event, ExecutionFinished) and event.outcome not in _NOT_RUN:
        return None
    row = await repair_of_approval(connection, event.approval)
    return row if row is not None and row.ended_at is None else None


async def note_end(event: ExecutionFinished | VerificationFinished, row: RepairRow, at: datetime, connection: Connection) -> None:
    """Writes how a repair ended: beside the wish, and in the audit row of the failed operation."""
    if isinstance(event, VerificationFinished):
        said = f"verified as {event.verdict.value}"
    elif event.outcome in _NOT_RUN:
        said = f"{event.outcome.value}{f': {event.error}' if event.error else ''}"
    else:
        return
    await end_repair(connection, row.id, result=f"{describe(row.action)}: {said}", at=at)


async def repair_decided(event: Decided, connection: Connection) -> RepairRow | None:
    """The repair that the gate decided against, where it was one."""
    if isinstance(event, ActionHeld):
        return await repair_of_proposal(connection, event.proposal)
    return await repair_of_approval(connection, event.approval)


async def decided_against(event: Decided, row: RepairRow, context: Context, connection: Connection) -> list[Event]:
    """The gate does not let a repair run. What it holds is put to people with all that was tried; of the rest they know from the gate."""
    if row.ended_at is not None:
        raise AlreadyDone
    await require_told(connection, "gate", event)
    match event:
        case ActionHeld():
            said = f"held ({event.rule}): {event.reason}"
        case ActionRejected():
            said = f"rejected by {event.person}"
        case ApprovalExpired():
            said = "expired without enough signatures"
        case ApprovalWithdrawn():
            said = f"withdrawn: {event.reason}"
    ended = await end_repair(connection, row.id, result=f"{describe(row.action)}: {said}", at=context.now())
    return [await _asked(row, said, context, connection)] if ended and isinstance(event, ActionHeld) else []


async def not_proposed(event: RepairNotProposed, context: Context, connection: Connection) -> list[Event]:
    """Propose looked again and puts no repair forward: people are asked. Raises Reject for one that was never wanted."""
    row = await get_repair(connection, event.repair)
    if row is not None and row.ended_at is not None:
        raise AlreadyDone
    await require_told(connection, "propose", event)
    if row is None:
        raise Reject(f"no repair {clean(event.repair, 64)!r} was ever wanted")
    if not await end_repair(connection, row.id, result=f"{describe(row.action)}: not proposed: {event.reason}", at=context.now()):
        return []
    return [await _asked(row, f"not proposed: {event.reason}", context, connection)]


async def _asked(row: RepairRow, said: str, context: Context, connection: Connection) -> PeopleAsked:
    incident = await get_incident(connection, row.incident)
    what, target = describe(row.action), row.action.target
    reason = clean(f"the repair '{what}' after a failure was {said}", TEXT_LIMIT)
    question = f"Please repair {target} by hand: nothing more is tried by itself. `mend incidents show {row.incident}` has the story."
    asked = context.event(
        PeopleAsked,
        incident=row.incident,
        subject=row.id,
        reason=reason,
        question=await with_tried(connection, row.incident, question, TEXT_LIMIT),
        severity=incident.severity if incident else Severity.P2,
    )
    what = f"people were asked: {reason}"
    await add_timeline(connection, incident=row.incident, event=asked.id, at=asked.at, by=asked.by, what=what)
    return asked
