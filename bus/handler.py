"""What a stage sees of the bus: the contract of a handler.

A handler is `async def handle(event, context) -> Sequence[Output]`. It returns what is to be emitted; it raises `Retry`
when the world is not ready and `Reject` when the event can never be handled. Any other exception is a bug: the event is
retried with backoff and then dead-lettered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from schemas.event import Delayed, Event, Output
from schemas.identity import derived_id

Clock = Callable[[], datetime]
E = TypeVar("E", bound=Event)


class Retry(Exception):
    """The world is not ready for this event: deliver it again in `after` seconds. It does not count as a failed attempt."""

    def __init__(self, after: float, reason: str) -> None:
        super().__init__(f"{reason}; again in {after:g} s")
        self.after = after
        self.reason = reason


class Reject(Exception):
    """The event can never be handled: it is dead-lettered at once with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Context(msgspec.Struct, kw_only=True, eq=False, gc=False):
    """One delivery of one event to one handler: makes outputs whose ids are the same however often it is delivered.

    `attempt` counts from 1; `position` is that of the next id.
    """

    stage: str
    by: str
    clock: Clock
    input: Event
    attempt: int = 1
    position: int = 0

    def now(self) -> datetime:
        """The time, in UTC."""
        return self.clock()

    def new_id(self) -> str:
        """An id derived from the input and the position of this call: for rows that the handler creates."""
        self.position += 1
        return derived_id(self.input.id, self.stage, self.position - 1)

    def event(self, kind: type[E], *, id: str = "", incident: str = "", key: str = "", **fields: Any) -> E:  # noqa: A002
        """An event of `kind` that answers the input; incident and key are the input's unless given."""
        cause = self.input
        return kind(
            id=id or self.new_id(),
            incident=incident or cause.incident,
            key=key or cause.key,
            at=self.clock(),
            cause=cause.id,
            by=self.by,
            **fields,
        )

    def delay(self, event: Event, until: datetime) -> Delayed:
        """The same event, to appear at `until`."""
        return Delayed(event, until)


class Stage(Protocol):
    """A consumer group with a handler: `name` is the group, `topics` what it reads."""

    @property
    def name(self) -> str: ...

    @property
    def topics(self) -> Sequence[str]: ...

    async def handle(self, event: Event, context: Context) -> Sequence[Output]: ...
