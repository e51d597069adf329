"""A consumer group that stopped: people are asked once for all streams that it settles nothing of, and told once when that is over."""

from __future__ import annotations

from collections.abc import Sequence

from bus.handler import Context, Reject
from schemas.event import Output
from schemas.events import GroupOutage, PeopleAsked
from schemas.text import clean
from schemas.words import Severity
from sql.approvals import take_lock
from sql.database import Connection
from sql.outages import OutageRow, get_outage, tell_began, tell_over
from sql.outbox import AlreadyDone


async def tell_outage(event: GroupOutage, context: Context, connection: Connection) -> Sequence[Output]:
    """The question about an outage that the store knows of. Raises Reject for one that it does not: the news of it has no authority.

    What is over by now is asked of nobody: that it is over is told, with how long it took.
    """
    await take_lock(connection, f"outage/{clean(event.group, 64)}")
    row = await get_outage(connection, event.id if event.stopped else event.cause)
    if row is None or (row.group, row.topic, row.partition) != (event.group, event.source_topic, event.partition):
        raise Reject(f"the store knows of no outage {clean(event.id, 64)!r}: the event is not genuine")
    if event.stopped:
        rows = await tell_began(connection, row.group, at=context.now())
        return [_asked(row, _stopped(rows), Severity.P1, context)] if rows else []
    if row.over_told_at is not None or row.over_at is None:
        raise AlreadyDone
    rows = await tell_over(connection, row.group, at=context.now())
    return [_asked(row, _over(rows), Severity.P3, context)] if rows else []


def _asked(row: OutageRow, words: tuple[str, str], severity: Severity, context: Context) -> PeopleAsked:
    reason, question = words
    return context.event(PeopleAsked, subject=row.id, reason=clean(reason, 1000), question=clean(question, 1000), severity=severity)


def _where(rows: Sequence[OutageRow]) -> str:
    """The stream, and how many more are held back with it."""
    first, more = rows[0], len(rows) - 1
    others = f" (and {more} more stream{'s' if more > 1 else ''} that it reads)" if more else ""
    return f"{first.topic}, partition {first.partition}{others}"


def _stopped(rows: Sequence[OutageRow]) -> tuple[str, str]:
    first, waiting, oldest = rows[0], sum(row.waiting for row in rows), max(row.oldest for row in rows)
    reason = f"{first.group} has settled nothing of {_where(rows)} since {first.since:%Y-%m-%d %H:%M:%S} UTC: {waiting} entries wait"
    reason = f"{reason}, the oldest for {oldest:.0f} s"
    question = f"Does its process run? `mend streams ls` shows the groups, and its log and /readyz say what {first.group} waits for."
    return reason, f"{question} Until it is over, what else it does not settle is not told one by one."


def _over(rows: Sequence[OutageRow]) -> tuple[str, str]:
    first, ends = rows[0], [row.over_at for row in rows if row.over_at is not None]
    minutes = (max(ends) - first.since).total_seconds() / 60
    reason = f"{first.group} works on {_where(rows)}, again, after {minutes:.0f} min: that outage is over"
    return reason, "Nothing is to be done; `mend streams ls` shows how far it has come."
