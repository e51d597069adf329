"""Whether a stage really told an event: the stream carries news, and whoever can write to Redis can write news.

What a stage decided is kept in the store with the change that it made. An event that is not among it, field by field, was told
by somebody else, and a timer that comes before its time was moved by somebody else.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bus.handler import Reject, Retry
from schemas.event import Event
from schemas.identity import is_identifier
from sql.database import Connection
from sql.outbox import due_of, has_told

_SKEW = timedelta(seconds=2)
"""How far the clock of the host that brings timers to their streams may be ahead of ours."""


async def require_told(connection: Connection, teller: str, event: Event) -> None:
    """Raises Reject unless the stage `teller` told this very event. One that it told very long ago is forgotten, and refused too."""
    if not (is_identifier(event.cause) and await has_told(connection, teller, event)):
        raise Reject(f"{teller} never told this, or so long ago that it is forgotten: the event is not genuine")


async def require_due(connection: Connection, stage: str, event: Event, now: datetime) -> None:
    """Raises Reject unless `stage` set this very timer, and Retry when its time has not come."""
    due = await due_of(connection, stage, event) if is_identifier(event.cause) else None
    if due is None:
        raise Reject(f"{stage} never set this timer, or so long ago that it is forgotten: the event is not genuine")
    if now < due - _SKEW:
        raise Retry((due - now).total_seconds(), f"a timer for {due:%H:%M:%S} UTC came early")
