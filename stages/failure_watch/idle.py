"""Incidents in which nothing happens: a timer for each looks when something last did, and people are asked where it is too long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bus.handler import Context, Reject
from schemas.event import Output
from schemas.events import IncidentIdleDue, IncidentOpened, PeopleAsked
from schemas.text import clean
from sql import switch
from sql.causes import count_cause
from sql.database import Connection
from sql.incidents import IncidentRow, add_timeline, get_incident, last_activity
from sql.outbox import AlreadyDone
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.questions import about_many
from stages.failure_watch.repairing import TEXT_LIMIT
from stages.failure_watch.tried import with_tried
from stages.genuine import require_due, require_told

_CAUSE = "idle"


async def begin(event: IncidentOpened, context: Context, connection: Connection, options: FailureWatchOptions) -> Sequence[Output]:
    """Sets the timer of an open incident. Raises Reject for one that ingest never opened."""
    incident = await get_incident(connection, event.incident)
    if incident is not None and not incident.is_open:
        raise AlreadyDone
    idle = timedelta(seconds=options.idle)
    try:
        await require_told(connection, "ingest", event)
    except Reject:
        if incident is not None and context.now() - event.at > idle:
            raise AlreadyDone from None  # told so long ago that nothing proves it any more: its timer was set then
        raise
    return [_due(context, context.now() + idle)]


async def look(event: IncidentIdleDue, context: Context, connection: Connection, options: FailureWatchOptions) -> Sequence[Output]:
    """Asks people about an open incident in which nothing happened, and sets the timer again; an incident that is over needs neither.

    Of one that waits for a signature the gate reminds people; what is being done has not come to its end. Raises Reject and Retry.
    """
    now, idle = context.now(), timedelta(seconds=options.idle)
    incident = await get_incident(connection, event.incident)
    if incident is not None and not incident.is_open:
        raise AlreadyDone
    try:
        await require_due(connection, context.stage, event, now)
    except Reject:
        if incident is not None and now - event.at >= idle:
            raise AlreadyDone from None  # it was due already, and is not proven any more: another was set then
        raise
    if incident is None:
        return []
    activity = await last_activity(connection, incident.id, now=now)
    last = max(incident.opened_at, activity.at or incident.opened_at)
    if last + idle > now:
        return [_due(context, last + idle)]
    if activity.busy or (await switch.state(connection)).stopped:  # whoever stopped everything knows that nothing happens
        return [_due(context, now + idle)]
    return [*await _asked(incident, last, context, connection, options), _due(context, now + idle)]


def _due(context: Context, at: datetime) -> Output:
    return context.delay(context.event(IncidentIdleDue), at)


async def _asked(
    incident: IncidentRow, last: datetime, context: Context, connection: Connection, options: FailureWatchOptions
) -> list[Output]:
    """The question about one incident, or about all of those that are idle; none while people know of them."""
    now, window = context.now(), options.same_cause_window
    told = await count_cause(connection, _CAUSE, incident.id, at=now, window=timedelta(seconds=window), first=options.same_cause)
    if told.told == "quiet":
        return []
    minutes = (now - last).total_seconds() / 60
    reason = f"nothing has happened for {minutes:.0f} min in the open incident about {incident.target}: {incident.title}"
    question = (
        f"Is {incident.target} still broken? Repair it by hand, or look why its alert still fires: `mend incidents show {incident.id}`."
    )
    if told.told == "group":
        reason, question = about_many(told, _CAUSE, reason, question, window)
    asked = context.event(
        PeopleAsked,
        subject=incident.id,
        severity=incident.severity,
        reason=clean(reason, TEXT_LIMIT),
        question=await with_tried(connection, incident.id, question, TEXT_LIMIT),
    )
    what = f"people were asked: {reason}"
    await add_timeline(connection, incident=incident.id, event=asked.id, at=now, by=context.by, what=what)
    return [asked]
