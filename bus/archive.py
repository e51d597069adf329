"""The archive: a consumer group like any other that stores every event, in batches, and acknowledges only what is stored.

It is a stage loop with another `work` step. It never dead-letters: what cannot be read is stored as bytes, and while its
store is away it tries again for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from bus import names
from bus.handler import Clock, Context
from bus.letters import describe
from bus.loop import StageLoop
from bus.options import LoopOptions
from bus.state import LoopState, log
from bus.transport import RUNNING, Carrier, Delivery
from schemas.codec import peek
from schemas.event import ID_LIMIT, Event, Identifier, Output, Teller
from schemas.events import TOPICS
from schemas.identity import is_identifier, time_of

_FOREVER = 2**53
_PAUSE_LIMIT = 10.0


class ArchiveRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event as the archive read it: its header, its bytes, and where it stood in Redis.

    `born` is the time in its id (UTC), or `at` where the id carries none; `entry` its stream id in its partition.
    """

    id: str
    born: datetime
    type: str
    topic: str
    incident: str
    cause: str
    by: str
    at: datetime
    body: str
    partition: int
    entry: str


class UnreadableEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that is no event, or that the store cannot take as one; `id` is what it calls itself, or empty."""

    id: str
    topic: str
    partition: int
    entry: str
    body: bytes


class EventStore(Protocol):
    """Where events are kept for good. Both methods take what they have seen before without complaint."""

    async def store(self, rows: Sequence[ArchiveRow]) -> object:
        """Stores all rows, or none."""
        ...

    async def store_unreadable(self, rows: Sequence[UnreadableEntry]) -> object:
        """Stores all entries, or none."""
        ...


class _Header(msgspec.Struct):
    """An event's header, of whatever type; longer than it may be, it is none."""

    id: Identifier
    type: Identifier
    at: datetime
    by: Teller
    incident: Identifier = ""
    cause: Identifier = ""


_header = msgspec.json.Decoder(_Header).decode


class _Everything:
    """The archive as a stage: its group and its topics. Its events go to the store and never to a handler."""

    name = names.ARCHIVE
    topics = TOPICS

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        raise NotImplementedError("the archive stores events in batches")


class ArchiveLoop(StageLoop):
    """Stores every event of every topic. `unavailable` are the exceptions by which the store says that it is away."""

    def __init__(
        self,
        bus: Carrier,
        store: EventStore,
        options: LoopOptions | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        unavailable: tuple[type[Exception], ...] = (),
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        options = options or LoopOptions(batch=500, concurrency=2)
        super().__init__(bus, _Everything(), msgspec.structs.replace(options, attempts=_FOREVER), clock, chance=chance)
        self._store = store
        self._unavailable = unavailable

    def _work(self, state: LoopState) -> Coroutine[Any, Any, None]:
        return _archive(state, self._store, self._unavailable)


async def _archive(state: LoopState, store: EventStore, unavailable: tuple[type[Exception], ...]) -> None:
    """Stores what was read, a batch at a time, and finishes it."""
    clock = asyncio.get_running_loop().time
    state.seconds_each = 0.0  # a store takes many as easily as one: always read ahead as far as memory allows
    while True:
        batch = state.queue.take_all(state.options.batch)
        if not batch:
            await state.queue.rest()
            continue
        for delivery in batch:
            delivery.phase = RUNNING
        started = clock()
        await _keep(state, store, batch, unavailable)
        each = (clock() - started) / len(batch)
        for delivery in batch:
            state.meter.topics[delivery.topic].took(each)
            state.finish(delivery)


async def _keep(state: LoopState, store: EventStore, batch: Sequence[Delivery], unavailable: tuple[type[Exception], ...]) -> None:
    """Stores one batch, however long the store is away.

    A store that is there and yet refuses has met something that it cannot hold: halves of the batch are tried until the one
    entry is found, which is then kept as bytes.
    """
    pause = 0.1
    while True:
        try:
            await _write(store, batch)
        except unavailable as error:
            log.warning("archive_away", error=state.letters.bounded(describe(error)[0], 500), entries=len(batch), again_in=pause)
        except Exception as error:  # noqa: BLE001 - any refusal of the store ends as stored bytes, never as a lost event
            if len(batch) > 1:
                middle = len(batch) // 2
                await _keep(state, store, batch[:middle], unavailable)
                await _keep(state, store, batch[middle:], unavailable)
                return
            if await _kept_as_bytes(state, store, batch[0], error):
                return
        else:
            return
        await asyncio.sleep(pause * (0.5 + state.chance()))
        pause = min(pause * 2, _PAUSE_LIMIT)


async def _kept_as_bytes(state: LoopState, store: EventStore, delivery: Delivery, refusal: Exception) -> bool:
    entry = delivery.id.decode()
    try:
        await store.store_unreadable([_unreadable(delivery)])
    except Exception as error:  # noqa: BLE001 - the entry stays pending and is tried again
        log.error("archive_refused", topic=delivery.topic, entry=entry, error=state.letters.bounded(describe(error)[0], 500))
        return False
    log.error("event_kept_as_bytes", topic=delivery.topic, entry=entry, error=state.letters.bounded(describe(refusal)[0], 500))
    return True


async def _write(store: EventStore, batch: Sequence[Delivery]) -> None:
    rows, unreadable = [], []
    for delivery in batch:
        row = _row(delivery)
        if row is None:
            unreadable.append(_unreadable(delivery))
        else:
            rows.append(row)
    if rows:
        await store.store(rows)
    if unreadable:
        await store.store_unreadable(unreadable)


def _row(delivery: Delivery) -> ArchiveRow | None:
    """The row of an event, known to this process or not; None for bytes without a header."""
    try:
        header = _header(delivery.body)
        body = delivery.body.decode()
        born = time_of(header.id) if is_identifier(header.id) else header.at
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, ValueError):
        return None
    if header.at.tzinfo is None:
        return None
    return ArchiveRow(
        id=header.id,
        born=born,
        type=header.type,
        topic=delivery.topic,
        incident=header.incident,
        cause=header.cause,
        by=header.by,
        at=header.at,
        body=body,
        partition=delivery.partition,
        entry=delivery.id.decode(),
    )


def _unreadable(delivery: Delivery) -> UnreadableEntry:
    _, name, _ = peek(delivery.body)
    return UnreadableEntry(
        id=name if len(name) <= ID_LIMIT else "",
        topic=delivery.topic,
        partition=delivery.partition,
        entry=delivery.id.decode(),
        body=delivery.body,
    )
