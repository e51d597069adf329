"""notify as a stage: each message to each channel, remembered, so that a channel that is down holds up no other and loses nothing.

It fails open: while the store is away people are told all the same, and may be told twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from adapters.errors import AdapterError
from adapters.ports import Channel
from bus.handler import Context, Reject, Retry
from schemas.event import Event, Output
from schemas.events import (
    ApprovalRequested,
    DeadLettered,
    ExecutionFinished,
    IncidentOpened,
    IncidentResolved,
    PeopleAsked,
    VerificationFinished,
)
from schemas.words import DeadReason, Outcome
from sql.approvals import get_approval
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.notifications import channels_sent, mark_sent
from stages.genuine import require_told
from stages.notify.facts import facts_of, way_back_of
from stages.notify.options import NotifyOptions
from stages.notify.text import lines_of

_REMEMBERED = 10_000  # deliveries
_ASKS = "failure_watch"
_QUIET = timedelta(minutes=10)


_TELLERS: dict[type[Event], str] = {
    IncidentOpened: "ingest",
    IncidentResolved: "ingest",
    ExecutionFinished: "execute",
    VerificationFinished: "verify",
}
_ASKERS = ("propose", "gate", "failure_watch")


def _teller_of(event: Event) -> str | None:
    """The stage whose word this is; None for a dead letter, which is the bus' own and is kept nowhere else."""
    if isinstance(event, DeadLettered):
        return None
    if isinstance(event, PeopleAsked):
        asker = event.by.partition("/")[0]
        return asker if asker in _ASKERS else _ASKERS[0]
    return _TELLERS.get(type(event), "gate")


class _Down:
    """A channel that failed: how often in a row, and when it may be tried again."""

    __slots__ = ("again_at", "failures", "reason")

    def __init__(self) -> None:
        self.failures = 0
        self.again_at: datetime | None = None
        self.reason = ""

    def failed(self, now: datetime, reason: str, options: NotifyOptions) -> None:
        """Counts one failure; those of messages that were under way together count once."""
        if self.again_at is not None and now < self.again_at:
            return
        wait = min(options.longest_wait, options.first_wait * 2 ** min(self.failures, 30))
        self.failures += 1
        self.reason = reason
        self.again_at = now + timedelta(seconds=wait)


class Notify:
    """Tells people. Every channel gets each message at its own pace: one that is down is not asked again before its time."""

    name: ClassVar[str] = "notify"
    topics: ClassVar[tuple[str, ...]] = ("incidents", "decisions", "executions", "verifications", "failures", "dead")

    def __init__(self, database: Database, channels: Sequence[Channel], options: NotifyOptions | None = None) -> None:
        self.database = database
        self.channels = tuple(channels)
        self.options = options or NotifyOptions()
        self._down = {channel.name: _Down() for channel in self.channels}
        self._dead: dict[DeadReason, tuple[str, datetime]] = {}
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if not lines_of(event) or self._is_told_otherwise(event, context.now()):
            return []
        open_channels = await self._open(event)
        if not open_channels:
            return []
        lines = lines_of(event, await self._facts(event))
        waits = await asyncio.gather(*(self._send(channel, event, lines, context) for channel in open_channels))
        late = [wait for wait in waits if wait is not None]
        if not late:
            return []
        reasons = "; ".join(
            f"{channel.name}: {self._down[channel.name].reason}" for channel in open_channels if self._is_open(event, channel)
        )
        if context.now() - event.at > timedelta(seconds=self.options.keep):
            raise Reject(f"not told to everybody in time: {reasons}. Mend the channel, then replay")
        raise Retry(min(late), reasons)

    def _is_told_otherwise(self, event: Event, now: datetime) -> bool:
        """Whether people hear of a dead letter another way: failure_watch asks about all but its own, of which a storm is told once."""
        if not isinstance(event, DeadLettered):
            return False
        if event.group != _ASKS:
            return True
        first, at = self._dead.get(event.reason, (event.id, now))
        if first != event.id and now - at < _QUIET:
            return True
        self._dead[event.reason] = (event.id, now)
        return False

    async def _open(self, event: Event) -> list[Channel]:
        """The channels that have not been sent this event, as far as anybody can say. Raises Reject for one that no stage told."""
        try:
            async with self.database.connection() as connection:
                if (teller := _teller_of(event)) is not None:
                    await require_told(connection, teller, event)
                for name in await channels_sent(connection, event.id):
                    self._remember(event, name)
        except StoreUnavailable:
            pass  # people are told all the same
        return [channel for channel in self.channels if self._is_open(event, channel)]

    def _is_open(self, event: Event, channel: Channel) -> bool:
        return (event.id, channel.name) not in self._sent

    async def _facts(self, event: Event) -> list[str]:
        """What helps people to decide about a request, or to take back what was done."""
        match event:
            case ApprovalRequested():
                approval, facts = event.approval, facts_of
            case ExecutionFinished() if event.outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN):
                approval, facts = event.approval, way_back_of
            case _:
                return []
        try:
            async with self.database.connection() as connection:
                row = await get_approval(connection, approval)
        except StoreUnavailable:
            return []
        return [] if row is None else facts(row)

    async def _send(self, channel: Channel, event: Event, lines: Sequence[str], context: Context) -> float | None:
        """Sends to one channel; the seconds to wait before the next try, or None when it has the message."""
        down = self._down[channel.name]
        now = context.now()
        if down.again_at is not None and now < down.again_at:
            return (down.again_at - now).total_seconds()
        try:
            async with asyncio.timeout(self.options.timeout):
                await channel.send(lines, delivery=event.id)
        except (AdapterError, TimeoutError) as error:
            down.failed(context.now(), str(error) or f"no answer in {self.options.timeout:g} s", self.options)
            assert down.again_at is not None
            return max(0.0, (down.again_at - context.now()).total_seconds())
        self._down[channel.name] = _Down()
        self._remember(event, channel.name)
        try:
            async with self.database.connection() as connection:
                await mark_sent(connection, event.id, channel.name, at=context.now())
        except StoreUnavailable:
            pass  # this process remembers it
        return None

    def _remember(self, event: Event, channel: str) -> None:
        self._sent[event.id, channel] = None
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
