"""The bus in memory, for unit tests of stages: the same promises, the same stage loop, no server.

`run_until_idle` runs stages until nothing is left to do and gives back every event that they told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from time import monotonic

from bus import names
from bus.errors import GroupMissing
from bus.handler import Clock, Stage
from bus.loop import StageLoop
from bus.options import LoopOptions
from bus.transport import SUSPECT, Backlog, Delivery, Taken, whole
from schemas.codec import decode, encode
from schemas.event import Event


class _Stored:
    """One entry of a stream."""

    __slots__ = ("body", "foreign", "id", "only")

    def __init__(self, entry: bytes, body: bytes, only: str, *, foreign: bool) -> None:
        self.id = entry
        self.body = body
        self.only = only
        self.foreign = foreign


class _Pending:
    """One delivered and unsettled entry of a group."""

    __slots__ = ("consumer", "count", "since", "stored")

    def __init__(self, stored: _Stored, consumer: str, since: float) -> None:
        self.stored = stored
        self.consumer = consumer
        self.since = since
        self.count = 1


class _Group:
    """A consumer group: `next` is the sequence number of the first entry that it has not been given."""

    def __init__(self) -> None:
        self.next = 0
        self.pending: dict[bytes, _Pending] = {}
        self.consumers: dict[str, float] = {}


class _Stream:
    """Entries by sequence number, which only grows; a trimmed one leaves a gap."""

    def __init__(self) -> None:
        self.entries: dict[int, _Stored] = {}
        self.by_id: dict[bytes, int] = {}
        self.length = 0
        self.groups: dict[str, _Group] = {}

    def add(self, stored: _Stored) -> None:
        self.entries[self.length] = stored
        self.by_id[stored.id] = self.length
        self.length += 1

    def delete(self, entry: bytes) -> None:
        self.entries.pop(self.by_id.pop(entry), None)


class MemoryBus:
    """Streams, groups and delayed events of all partitions in this process' memory."""

    def __init__(self, *, partitions: int = 1, name: str = "memory", clock: Clock = lambda: datetime.now(UTC)) -> None:
        self.partitions = partitions
        self.name = name
        self.clock = clock
        self._news = asyncio.Event()
        self.delays: list[tuple[int, int, str, bytes]] = []
        self._streams: dict[tuple[int, str], _Stream] = {}
        self._once: dict[tuple[int, str], list[str]] = {}
        self._history: list[bytes] = []
        self._number = 0

    def transport(self, group: str, topics: Sequence[str], partition: int, consumer: str) -> MemoryTransport:
        return MemoryTransport(self, group, topics, partition, consumer)

    async def append(self, events: Sequence[Event], *, token: str | None = None) -> list[str]:
        """As `Bus.append`."""
        ids = [""] * len(events)
        parts: dict[int, list[int]] = {}
        for place, event in enumerate(events):
            parts.setdefault(names.partition_of(event.key, self.partitions), []).append(place)
        for partition, places in parts.items():
            mark = (partition, token or " ".join(events[place].id for place in places))
            if mark not in self._once:
                self._once[mark] = [self.add(partition, events[place].topic, encode(events[place])).decode() for place in places]
            for place, entry in zip(places, self._once[mark], strict=True):
                ids[place] = entry
        return ids

    async def ping(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to close."""

    def add_foreign(self, partition: int, topic: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Appends an entry with other names and values than ours, and no field `e`; returns its id."""
        return self.add(partition, topic, whole(fields), foreign=True)

    def add(self, partition: int, topic: str, body: bytes, only: str = "", *, foreign: bool = False) -> bytes:
        """Appends bytes as they are; returns the entry id."""
        self._number += 1
        entry = b"%d-%d" % (int(self.clock().timestamp() * 1000), self._number)
        self.stream(partition, topic).add(_Stored(entry, body, only, foreign=foreign))
        self._history.append(body)
        self.tell()
        return entry

    def delete(self, partition: int, topic: str, entry: bytes) -> None:
        """Takes an entry out of its stream, as trimming does; what is pending stays pending."""
        self.stream(partition, topic).delete(entry)

    def tell(self) -> None:
        """Wakes everybody who waits for a change."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def change(self, seconds: float) -> None:
        """Waits until something was appended or settled, `seconds` at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def stream(self, partition: int, topic: str) -> _Stream:
        """The stream of a topic, made where there is none."""
        return self._streams.setdefault((partition, topic), _Stream())

    def events(self, kind: type[Event] | None = None) -> list[Event]:
        """Every event ever appended, in order; those of one type if given. Raises SchemaError on bytes that are no event."""
        told: list[Event] = [decode(body) for body in self._history]
        return [event for event in told if kind is None or isinstance(event, kind)]

    def bodies(self) -> list[bytes]:
        """The bytes of every entry ever appended, in order."""
        return list(self._history)

    def delayed(self) -> list[tuple[datetime, Event]]:
        """What is to appear later, soonest first."""
        return [(datetime.fromtimestamp(due / 1000, UTC), decode(body)) for due, _, _, body in sorted(self.delays)]

    def idle(self, stages: Sequence[Stage]) -> bool:
        """Whether the stages have settled everything on their topics and nothing delayed is due."""
        now = int(self.clock().timestamp() * 1000)
        if any(due <= now for due, *_ in self.delays):
            return False
        for stage in stages:
            for topic in stage.topics:
                for partition in range(self.partitions):
                    stream = self.stream(partition, topic)
                    group = stream.groups.get(stage.name)
                    if group is None or group.next < stream.length or group.pending:
                        return False
        return True

    async def run(
        self,
        stages: Sequence[Stage],
        *,
        options: LoopOptions | None = None,
        transient: tuple[type[Exception], ...] = (),
        timeout: float = 10.0,
    ) -> list[Event]:
        """Runs stages until they are idle; returns the events told meanwhile, in order.

        Raises TimeoutError after `timeout` seconds, as when a handler asks for more time again and again.
        """
        seen = len(self._history)
        options = options or LoopOptions(backoff=0.001, backoff_limit=0.01, delay_period=0.01, transient_delay=0.01)
        stop = asyncio.Event()
        loops = [StageLoop(self, stage, options, self.clock, transient, chance=lambda: 0.0) for stage in stages]
        tasks = [asyncio.create_task(loop.run(stop)) for loop in loops]
        try:
            async with asyncio.timeout(timeout):
                while not self.idle(stages):
                    await self.change(0.02)
                    for task in tasks:
                        if task.done():
                            task.result()
        finally:
            stop.set()
            await asyncio.gather(*tasks)
        return [decode(body) for body in self._history[seen:]]


async def run_until_idle(
    bus: MemoryBus,
    stages: Sequence[Stage],
    *,
    options: LoopOptions | None = None,
    transient: tuple[type[Exception], ...] = (),
    timeout: float = 10.0,
) -> list[Event]:
    """`bus.run`, as a function."""
    return await bus.run(stages, options=options, transient=transient, timeout=timeout)


class MemoryTransport:
    """One group's way to one partition of a bus in memory; see `bus.transport.Transport`."""

    def __init__(self, bus: MemoryBus, group: str, topics: Sequence[str], partition: int, consumer: str) -> None:
        self.partition = partition
        self._bus = bus
        self._group = group
        self._topics = tuple(topics)
        self._consumer = consumer

    def _stream(self, topic: str) -> _Stream:
        return self._bus.stream(self.partition, topic)

    def _found(self, topic: str) -> _Group:
        group = self._stream(topic).groups.get(self._group)
        if group is None:
            raise GroupMissing(f"NOGROUP no group {self._group} on topic {topic}")
        return group

    async def open(self) -> int:
        missing = [topic for topic in self._topics if self._group not in self._stream(topic).groups]
        for topic in missing:
            self._stream(topic).groups[self._group] = _Group()
        return len(missing)

    async def read(self, count: int, block: float) -> Taken:
        deadline = monotonic() + block
        while True:
            taken = Taken([deliver for topic in self._topics for deliver in self._new(topic, count)], [])
            left = deadline - monotonic()
            if taken.deliveries or left <= 0:
                return taken
            await self._bus.change(left)

    def _new(self, topic: str, count: int) -> list[Delivery]:
        group, stream = self._found(topic), self._stream(topic)
        taken: list[Delivery] = []
        group.consumers[self._consumer] = monotonic()
        while len(taken) < count and group.next < stream.length:
            stored = stream.entries.get(group.next)
            group.next += 1
            if stored is not None:
                group.pending[stored.id] = _Pending(stored, self._consumer, monotonic())
                taken.append(self._delivery(topic, stored, 1))
        return taken

    def _delivery(self, topic: str, stored: _Stored, count: int) -> Delivery:
        return Delivery(self.partition, topic, stored.id, stored.body, stored.only, count, foreign=stored.foreign)

    async def recover(self, topic: str, cursor: bytes, count: int) -> Taken:  # noqa: ARG002 - all in one page
        taken = Taken([], [])
        for entry, row in list(self._found(topic).pending.items()):
            if row.consumer == self._consumer and not self._vanished(topic, entry, taken):
                taken.deliveries.append(self._delivery(topic, row.stored, row.count))
        return taken

    async def claim(self, topic: str, cursor: bytes, idle: float, count: int, suspects: int) -> Taken:  # noqa: ARG002
        taken = Taken([], [])
        for entry, row in list(self._found(topic).pending.items()):
            if monotonic() - row.since < idle or len(taken.deliveries) >= count or self._vanished(topic, entry, taken):
                continue
            if row.count >= SUSPECT:
                if not suspects:
                    continue
                suspects -= 1
            row.consumer, row.since, row.count = self._consumer, monotonic(), row.count + 1
            taken.deliveries.append(self._delivery(topic, row.stored, row.count))
        return taken

    def _vanished(self, topic: str, entry: bytes, taken: Taken) -> bool:
        if entry in self._stream(topic).by_id:
            return False
        del self._found(topic).pending[entry]
        taken.vanished.append((topic, entry))
        return True

    async def reclaim(self, topic: str, entries: Sequence[tuple[bytes, int]]) -> list[int]:
        counts = []
        for entry, adds in entries:
            row = self._mine(topic, entry)
            if row is not None:
                row.count += adds
                row.since = monotonic()
            counts.append(row.count if row else 0)
        return counts

    async def heartbeat(self, topic: str, entries: Sequence[bytes]) -> list[bytes]:
        lost = []
        for entry in entries:
            row = self._mine(topic, entry)
            if row is None:
                lost.append(entry)
            else:
                row.since = monotonic()
        return lost

    def _mine(self, topic: str, entry: bytes) -> _Pending | None:
        row = self._found(topic).pending.get(entry)
        return row if row is not None and row.consumer == self._consumer else None

    async def settle(self, batch: Sequence[Delivery]) -> Sequence[int]:
        refused = []
        for position, delivery in enumerate(batch, start=1):
            group = self._stream(delivery.topic).groups.get(self._group)
            if group is None or group.pending.pop(delivery.id, None) is None:
                refused.append(position)
                continue
            for output in delivery.outputs:
                if output.due:
                    self._bus.delays.append((output.due, self.partition, output.topic, output.body))
                else:
                    self._bus.add(self.partition, output.topic, output.body)
        self._bus.tell()
        return refused

    async def move_due(self, now: int, count: int) -> tuple[int, int]:
        mine = sorted(row for row in self._bus.delays if row[1] == self.partition)
        due = [row for row in mine if row[0] <= now][:count]
        for row in due:
            self._bus.delays.remove(row)
            self._bus.add(self.partition, row[2], row[3])
        later = mine[len(due) :]
        return len(due), later[0][0] if later else -1

    async def release(self, topic: str, started: Sequence[bytes], idle: float) -> int:
        group = self._stream(topic).groups.get(self._group)
        if group is None:
            return 0
        mine = [(entry, row) for entry, row in group.pending.items() if row.consumer == self._consumer]
        for entry, row in mine:
            row.since = monotonic() - idle
            row.count -= 0 if entry in started else 1
        if not mine:
            group.consumers.pop(self._consumer, None)
        return len(mine)

    async def present(self) -> None:
        for topic in self._topics:
            self._found(topic).consumers[self._consumer] = monotonic()

    async def prune(self, topic: str, idle: float) -> int:
        group = self._found(topic)
        busy = {row.consumer for row in group.pending.values()}
        away = [consumer for consumer, seen in group.consumers.items() if consumer not in busy and monotonic() - seen >= idle]
        for consumer in away:
            del group.consumers[consumer]
        return len(away)

    async def backlog(self) -> list[Backlog]:
        rows = []
        for topic in self._topics:
            group, stream = self._found(topic), self._stream(topic)
            rows.append(Backlog(topic, len(stream.entries), stream.length - group.next, len(group.pending), 0.0))
        return rows

    async def close(self) -> None:
        """Nothing to close."""
