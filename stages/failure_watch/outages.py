"""A consumer group that stopped: people are asked once for each outage, and told when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from bus.handler import Context, Reject
from schemas.event import Output
from schemas.events import GroupOutage, PeopleAsked
from schemas.text import clean
from schemas.words import Severity
from sql.database import Connection
from sql.outages import OutageRow, get_outage, note_told
from sql.outbox import AlreadyDone


async def tell_outage(event: GroupOutage, context: Context, connection: Connection) -> Sequence[Output]:
    """The question about an outage that the store knows of. Raises Reject for one that it does not: the news of it has no authority."""
    row = await get_outage(connection, event.id if event.stopped else event.cause)
    if row is None or (row.group, row.topic, row.partition) != (event.group, event.source_topic, event.partition):
        raise Reject(f"the store knows of no outage {clean(event.id, 64)!r}: the event is not genuine")
    if (row.over_told_at if not event.stopped else row.told_at) is not None or (not event.stopped and row.over_at is None):
        raise AlreadyDone
    await note_told(connection, row.id, at=context.now(), over=not event.stopped)
    severity = Severity.P1 if event.stopped else Severity.P3
    reason, question = _stopped(row) if event.stopped else _over(row)
    return [context.event(PeopleAsked, subject=row.id, reason=clean(reason, 1000), question=clean(question, 1000), severity=severity)]


def _stopped(row: OutageRow) -> tuple[str, str]:
    where = f"{row.topic}, partition {row.partition}"
    reason = f"{row.group} has settled nothing of {where} since {row.since:%Y-%m-%d %H:%M:%S} UTC: {row.waiting} entries wait"
    reason = f"{reason}, the oldest for {row.oldest:.0f} s"
    return reason, f"Does its process run? `mend streams ls` shows the groups, and its log and /readyz say what {row.group} waits for."


def _over(row: OutageRow) -> tuple[str, str]:
    assert row.over_at is not None
    minutes = (row.over_at - row.since).total_seconds() / 60
    reason = f"{row.group} works on {row.topic}, partition {row.partition}, again, after {minutes:.0f} min: that outage is over"
    return reason, "Nothing is to be done; `mend streams ls` shows how far it has come."
