"""Incidents in which nothing happens: a timer for each looks when something last did, and people are asked where it is too long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bus.handler import Context, Reject
from schemas.event import Output
from schemas.events import IncidentIdleDue, IncidentOpened, PeopleAsked
from schemas.text import clean
from schemas.words import Severity
from sql import switch
from sql.database import Connection
from sql.idle import Idle, idle_since, note_idle, told_of_idle
from sql.incidents import IncidentRow, add_timeline, get_incident, last_activity
from sql.outbox import AlreadyDone
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.repairing import TEXT_LIMIT
from stages.failure_watch.tried import with_tried
from stages.genuine import require_due, require_told

_SEVERE = (Severity.P0, Severity.P1)


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
    since = await idle_since(connection, incident.id, last)
    if since is None and last + idle > now:
        return [_due(context, last + idle)]
    if activity.busy or (await switch.state(connection)).stopped:  # whoever stopped everything knows that nothing happens
        return [_due(context, now + idle)]
    return await _told(incident, since or last, context, connection, options)


def _due(context: Context, at: datetime) -> Output:
    return context.delay(context.event(IncidentIdleDue), at)


async def _told(
    incident: IncidentRow, since: datetime, context: Context, connection: Connection, options: FailureWatchOptions
) -> list[Output]:
    """The question about one incident, or about all that are idle, and the timer to look again.

    Where more than a few are idle, people are told of all together, once in a while. Until then only a severe one of which they were
    never told is put to them by itself, once; the others wait for it, which their timelines say.
    """
    now, idle = context.now(), timedelta(seconds=options.idle)
    window = max(timedelta(seconds=options.same_cause_window), idle)
    found = await note_idle(connection, incident.id, since=since, at=now)
    minutes = (now - since).total_seconds() / 60
    reason = f"nothing has happened for {minutes:.0f} min in the open incident about {incident.target}: {incident.title}"
    question = (
        f"Is {incident.target} still broken? Repair it by hand, or look why its alert still fires: `mend incidents show {incident.id}`."
    )
    if found.count <= options.same_cause:
        await told_of_idle(connection, [incident.id])
        return [await _asked(incident, incident.severity, (reason, question), context, connection), _due(context, now + idle)]
    if found.grouped_at is None or found.grouped_at + window <= now:
        await told_of_idle(connection, [*found.worst, incident.id], together_at=now)
        words = _about_all(found, incident, reason, question, now + window)
        return [await _asked(incident, found.severity, words, context, connection), _due(context, now + idle)]
    again = found.grouped_at + window
    if incident.severity in _SEVERE and not found.told:
        await told_of_idle(connection, [incident.id])
        return [await _asked(incident, incident.severity, (reason, question), context, connection), _due(context, min(again, now + idle))]
    what = f"nothing has happened for {minutes:.0f} min; people are told of all such incidents together, next at {again:%H:%M} UTC"
    await add_timeline(connection, incident=incident.id, event=context.input.id, at=now, by=context.by, what=what)
    return [_due(context, min(again, now + idle))]


def _about_all(found: Idle, incident: IncidentRow, reason: str, question: str, again: datetime) -> tuple[str, str]:
    """Reason and question for all idle incidents, in the words of the one at hand."""
    named = ", ".join(found.worst)
    more = f" and {found.count - len(found.worst)} more (`mend incidents ls`)" if found.count > len(found.worst) else ""
    quiet = f"Others are not told one by one until {again:%H:%M} UTC, unless they are {' or '.join(_SEVERE)}."
    many = f"nothing happens in {found.count} open incidents; of one of them: {reason}"
    return many, f"What do they wait for? Incidents {named}{more}. {quiet} Of {incident.id}: {question}"


async def _asked(
    incident: IncidentRow, severity: Severity, words: tuple[str, str], context: Context, connection: Connection
) -> PeopleAsked:
    reason, question = words
    asked = context.event(
        PeopleAsked,
        subject=incident.id,
        severity=severity,
        reason=clean(reason, TEXT_LIMIT),
        question=await with_tried(connection, incident.id, question, TEXT_LIMIT),
    )
    what = f"people were asked: {reason}"
    await add_timeline(connection, incident=incident.id, event=asked.id, at=context.now(), by=context.by, what=what)
    return asked
