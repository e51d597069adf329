"""notify as a stage: each message to each channel, remembered, so that a channel that is down holds up no other and loses nothing.

A channel that keeps cards shows one for each incident, and is answered in it (`stages.notify.cards`). It fails open: while the
store is away people are told all the same, and may be told twice.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from adapters.errors import AdapterError, Busy, Unsendable
from adapters.ports import CardChannel, Channel
from bus.handler import Context, Reject, Retry
from bus.options import DEAD_AGE
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
from schemas.learning import PlaybookChanged
from schemas.words import DeadReason, Language, Outcome
from sql.approvals import ApprovalRow, get_approval
from sql.card_facts import note_news
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.notifications import channels_sent, mark_sent
from stages.genuine import require_told
from stages.notify.cards import REDRAWN, Cards, Taken
from stages.notify.facts import facts_of, way_back_of
from stages.notify.options import NotifyOptions
from stages.notify.text import lines_of
from stages.reads import READS

_REMEMBERED = 10_000  # deliveries
_ASKS = "failure_watch"
_OVERDUE = timedelta(minutes=5)
_QUIET = timedelta(minutes=10)
_TURN = 0.5  # seconds until a card that another worker writes is looked at again
_SPARE = 20.0  # seconds beyond its timeouts after which a worker that writes a card counts as gone


_TELLERS: dict[type[Event], str] = {
    IncidentOpened: "ingest",
    IncidentResolved: "ingest",
    ExecutionFinished: "execute",
    VerificationFinished: "verify",
}
_ASKERS = ("propose", "gate", "failure_watch")
_JUDGES = ("learn", "failure_watch")


def _teller_of(event: Event) -> str | None:
    """The stage whose word this is; None for a dead letter, which is the bus' own and is kept nowhere else."""
    if isinstance(event, DeadLettered):
        return None
    if isinstance(event, PeopleAsked):
        asker = event.by.partition("/")[0]
        return asker if asker in _ASKERS else _ASKERS[0]
    if isinstance(event, PlaybookChanged):
        judge = event.by.partition("/")[0]
        return judge if judge in _JUDGES else _JUDGES[0]
    return _TELLERS.get(type(event), "gate")


class _Queue:
    """The messages that wait for one channel, by the time at which each is tried again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._due: dict[str, datetime] = {}

    def takes(self, event: str, now: datetime, wait: float) -> bool:
        """Whether one more may wait. Those that never came back when they should have are another worker's by now."""
        if event not in self._due and len(self._due) >= self._most:
            self._due = {known: due for known, due in self._due.items() if now - due < _OVERDUE}
            if len(self._due) >= self._most:
                return False
        self._due[event] = now + timedelta(seconds=wait)
        return True

    def leaves(self, event: str) -> None:
        self._due.pop(event, None)


class _Down:
    """A channel that failed: how often in a row, and when it may be tried again."""

    __slots__ = ("again_at", "failures", "reason")

    def __init__(self) -> None:
        self.failures = 0
        self.again_at: datetime | None = None
        self.reason = ""

    def is_down(self, now: datetime) -> bool:
        """Whether it is not to be asked yet."""
        return self.again_at is not None and now < self.again_at

    def wait(self, now: datetime) -> float:
        """Seconds until it may be asked."""
        return max(0.0, (self.again_at - now).total_seconds()) if self.again_at is not None else 0.0

    def failed(self, now: datetime, error: Exception, options: NotifyOptions) -> None:
        """Counts one failure; those of messages that were under way together count once. Who names a time is left alone until then."""
        if isinstance(error, Busy):
            self.again_at = max(now + timedelta(seconds=error.after), self.again_at or now)
            self.reason = str(error)
            return
        if self.is_down(now):
            return
        reason = str(error) or f"no answer in {options.timeout:g} s"
        wait = min(options.longest_wait, options.first_wait * 2 ** min(self.failures, 30))
        self.failures += 1
        self.reason = reason
        self.again_at = now + timedelta(seconds=wait)


class Notify:
    """Tells people. Every channel gets each message at its own pace: one that is down is not asked again before its time."""

    name: ClassVar[str] = "notify"
    topics: ClassVar[tuple[str, ...]] = READS["notify"]

    def __init__(self, database: Database, channels: Sequence[Channel], options: NotifyOptions | None = None) -> None:
        self.database = database
        self.channels = tuple(channels)
        self.options = options or NotifyOptions()
        self._keeps_cards = any(isinstance(channel, CardChannel) for channel in self.channels)
        self._down = {channel.name: _Down() for channel in self.channels}
        self._waiting = {channel.name: _Queue(self.options.most_waiting) for channel in self.channels}
        self._dead: dict[DeadReason, tuple[str, datetime]] = {}
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._refused: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._cards = Cards(database, seconds=self.options.timeout + _SPARE)

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        is_told = bool(lines_of(event))
        if self._is_told_otherwise(event, context.now()) or not (is_told or self._may_redraw(event, context.now())):
            return []
        open_channels = await self._open(event, cards_only=not is_told)
        row = await self._approval(event) if open_channels else None
        waits = await asyncio.gather(*(self._send(channel, event, row, context) for channel in open_channels))
        late = [wait for wait in waits if wait is not None]
        if late and (_TURN in late or context.now() - event.at <= timedelta(seconds=self.options.keep)):
            raise Retry(min(late), self._reasons(event))
        if is_told and (reasons := self._reasons(event)):
            for channel in self.channels:  # a replay tries again
                self._refused.pop((event.id, channel.name), None)
                self._waiting[channel.name].leaves(event.id)
            raise Reject(f"not told to everybody in time: {reasons}. Mend the channel, then replay")
        return []

    def _reasons(self, event: Event) -> str:
        """Which channels do not have the message yet, and why."""
        missing = [channel.name for channel in self.channels if (event.id, channel.name) not in self._sent]
        whys = {name: self._refused.get((event.id, name)) or self._down[name].reason for name in missing}
        return "; ".join(f"{name}: {why or 'its card is being written'}" for name, why in whys.items())

    def _may_redraw(self, event: Event, now: datetime) -> bool:
        """Whether news that nobody is told may change a card. A channel that is down is not waited for: the next message redraws it."""
        cards = [channel for channel in self.channels if isinstance(channel, CardChannel)]
        return isinstance(event, REDRAWN) and any(not self._down[channel.name].is_down(now) for channel in cards)

    def _is_told_otherwise(self, event: Event, now: datetime) -> bool:
        """Whether people hear of a dead letter another way: failure_watch asks about all but its own, of which a storm is told once."""
        if not isinstance(event, DeadLettered):
            return False
        if event.group != _ASKS or now - event.at > DEAD_AGE:  # older, it is in no stream any more, and nobody can act on it
            return True
        first, at = self._dead.get(event.reason, (event.id, now))
        if first != event.id and now - at < _QUIET:
            return True
        self._dead[event.reason] = (event.id, now)
        return False

    async def _open(self, event: Event, *, cards_only: bool) -> list[Channel]:
        """The channels that have not been sent this event, as far as anybody can say. Raises Reject for one that no stage told."""
        try:
            async with self.database.connection() as connection:
                for name in await channels_sent(connection, event.id):
                    self._remember(event, name)
                if not any(self._is_open(event, channel) for channel in self.channels):
                    return []
                if not cards_only and (teller := _teller_of(event)) is not None:
                    await require_told(connection, teller, event)
                if self._keeps_cards and event.incident and isinstance(event, ExecutionFinished | VerificationFinished | PeopleAsked):
                    await note_news(connection, event)
        except StoreUnavailable:
            pass  # people are told all the same
        return [
            channel for channel in self.channels if self._is_open(event, channel) and (not cards_only or isinstance(channel, CardChannel))
        ]

    def _is_open(self, event: Event, channel: Channel) -> bool:
        return (event.id, channel.name) not in self._sent and (event.id, channel.name) not in self._refused

    async def _approval(self, event: Event) -> ApprovalRow | None:
        """The approval that helps people to decide about a request, or to take back what was done."""
        if not isinstance(event, ApprovalRequested | ExecutionFinished):
            return None
        try:
            async with self.database.connection() as connection:
                return await get_approval(connection, event.approval)
        except StoreUnavailable:
            return None

    async def _send(self, channel: Channel, event: Event, row: ApprovalRow | None, context: Context) -> float | None:
        """Sends to one channel; the seconds to wait before the next try, or None when it has the message or will never have it."""
        down = self._down[channel.name]
        if down.is_down(context.now()):
            return self._later(channel, event, context.now())
        try:
            async with asyncio.timeout(self.options.timeout):
                await self._tell(channel, event, row, context)
        except Taken:
            return _TURN
        except Unsendable as error:
            self._refuse(event, channel, str(error))
            return None
        except (AdapterError, TimeoutError) as error:
            down.failed(context.now(), error, self.options)
            return self._later(channel, event, context.now())
        self._down[channel.name] = _Down()
        self._remember(event, channel.name)
        try:
            async with self.database.connection() as connection:
                await mark_sent(connection, event.id, channel.name, at=context.now())
        except StoreUnavailable:
            pass  # this process remembers it
        return None

    def _later(self, channel: Channel, event: Event, now: datetime) -> float | None:
        """The seconds until it is tried again, or None, and a dead letter, where so many wait that other channels would wait with them."""
        down = self._down[channel.name]
        wait = down.wait(now)
        if self._waiting[channel.name].takes(event.id, now, wait):
            return wait
        self._refuse(event, channel, f"{self.options.most_waiting} messages wait for it already: {down.reason}")
        return None

    async def _tell(self, channel: Channel, event: Event, row: ApprovalRow | None, context: Context) -> None:
        """One message on one channel: by the card of its incident where it keeps cards, else, and without the store, as lines."""
        if not isinstance(channel, CardChannel):
            await channel.send(lines_of(event, _facts(event, row, self.options.language), self.options.language), delivery=event.id)
            return
        lines = lines_of(event, language=channel.language)
        try:
            if event.incident:
                await self._cards.show(channel, event, lines, context)
                return
        except StoreUnavailable:
            if not lines:
                raise
        await channel.send(lines, delivery=event.id)

    def _remember(self, event: Event, channel: str) -> None:
        if channel in self._waiting:  # the store may name one that the settings had before
            self._waiting[channel].leaves(event.id)
        self._sent[event.id, channel] = None
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)

    def _refuse(self, event: Event, channel: Channel, why: str) -> None:
        self._waiting[channel.name].leaves(event.id)
        self._refused[event.id, channel.name] = why
        while len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)


def _facts(event: Event, row: ApprovalRow | None, language: Language) -> list[str]:
    """Further lines about an approval, for a channel that shows no card."""
    if row is None:
        return []
    match event:
        case ApprovalRequested():
            return facts_of(row, language)
        case ExecutionFinished() if event.outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN):
            return way_back_of(row, language)
        case _:
            return []
