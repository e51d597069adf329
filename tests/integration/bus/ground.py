"""What the tests of the bus stand on: small events, stages made of a function, waiting with a deadline, and one face for both buses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from bus import names
from bus.connect import Bus
from bus.handler import Context, Stage
from bus.loop import StageLoop
from bus.memory import MemoryBus
from bus.options import LoopOptions
from bus.transport import Carrier
from schemas.codec import decode, encode
from schemas.event import Event, Output
from schemas.events import PeopleAsked, VoteRefused
from schemas.identity import new_id
from tests.patience import PATIENCE

QUICK = LoopOptions(
    block=0.2,
    backoff=0.005,
    backoff_limit=0.01,
    transient_delay=0.005,
    transient_limit=0.01,
    claim_period=0.02,
    delay_period=0.02,
    measure_period=0.05,
    idle_limit=5.0,
    grace=5.0,
)
"""A loop for tests: nothing waits longer than it must."""

Handler = Callable[[Event, Context], Awaitable[Sequence[Output]]]


def vote(number: int = 0, *, key: str = "prod/shop/Deployment/api") -> VoteRefused:
    """An input on the topic `decisions`; `number` is its approval."""
    now = datetime.now(UTC)
    return VoteRefused(id=new_id(now), key=key, at=now, by="test", incident="i-1", approval=str(number), person="p", reason="late")


def votes(count: int) -> list[VoteRefused]:
    return [vote(number, key=f"key-{number}") for number in range(count)]


async def answer(event: Event, context: Context) -> list[Output]:
    """The usual handler: one answer on the topic `failures`, its reason the number of the vote."""
    assert isinstance(event, VoteRefused)
    return [context.event(PeopleAsked, subject=event.id, reason=event.approval, question="what now?")]


class Desk:
    """A stage made of a function; remembers the number and the attempt of every vote that it was given."""

    def __init__(self, handler: Handler = answer, *, name: str = "gate", topics: Sequence[str] = ("decisions",)) -> None:
        self.name = name
        self.topics = topics
        self.seen: list[tuple[str, int]] = []
        self._handler = handler

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        self.seen.append((event.approval if isinstance(event, VoteRefused) else event.id, context.attempt))
        return await self._handler(event, context)

    @property
    def numbers(self) -> list[str]:
        return [number for number, _ in self.seen]


async def until(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Waits until `what()`, plain or awaitable, is true; returns it. Raises AssertionError after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = what()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"still not so after {seconds} s: {what}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def running(bus: Carrier, *stages: Stage, options: LoopOptions = QUICK, **words: Any) -> AsyncIterator[list[StageLoop]]:
    """Runs a loop for each stage until the block ends, then stops them; a loop that ends by itself fails the test."""
    stop = asyncio.Event()
    loops = [StageLoop(bus, stage, options, **words) for stage in stages]
    tasks = [asyncio.create_task(loop.run(stop)) for loop in loops]
    try:
        await until(lambda: any(task.done() for task in tasks) or all(loop.status.ready for loop in loops))
        yield loops
        assert not any(task.done() for task in tasks), "a loop ended before it was stopped"
    finally:
        stop.set()
        await asyncio.gather(*tasks)


class Entry(NamedTuple):
    id: str
    body: bytes

    @property
    def event(self) -> Any:
        return decode(self.body)


class Ground(Protocol):
    """A bus and what the tests must see and do behind its back; partition 0 only."""

    bus: Any

    async def put(self, topic: str, body: bytes, only: str = "") -> str: ...
    async def put_foreign(self, topic: str, fields: Sequence[tuple[bytes, bytes]]) -> str: ...
    async def entries(self, topic: str) -> list[Entry]: ...
    async def delete(self, topic: str, entry: str) -> None: ...
    async def pending(self, topic: str, group: str) -> dict[str, int]: ...
    async def waiting(self) -> int: ...


class RedisGround:
    """Redis, looked at with plain commands."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    async def put(self, topic: str, body: bytes, only: str = "") -> str:
        words: tuple[bytes | str, ...] = ("e", body, *(("g", only) if only else ()))
        entry = await self.bus.channel(0).call("XADD", names.stream(0, topic), "*", *words)
        return str(entry.decode())

    async def put_foreign(self, topic: str, fields: Sequence[tuple[bytes, bytes]]) -> str:
        words = [word for pair in fields for word in pair]
        entry = await self.bus.channel(0).call("XADD", names.stream(0, topic), "*", *words)
        return str(entry.decode())

    async def entries(self, topic: str) -> list[Entry]:
        rows = await self.bus.channel(0).call("XRANGE", names.stream(0, topic), "-", "+")
        return [Entry(entry.decode(), fields[1]) for entry, fields in rows]

    async def delete(self, topic: str, entry: str) -> None:
        assert await self.bus.channel(0).call("XDEL", names.stream(0, topic), entry) == 1

    async def pending(self, topic: str, group: str) -> dict[str, int]:
        rows = await self.bus.channel(0).call("XPENDING", names.stream(0, topic), group, "-", "+", 10000)
        return {entry.decode(): count for entry, _, _, count in rows}

    async def waiting(self) -> int:
        return int(await self.bus.channel(0).call("ZCARD", names.delayed(0)))


class MemoryGround:
    """The bus in memory."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus

    async def put(self, topic: str, body: bytes, only: str = "") -> str:
        return self.bus.add(0, topic, body, only).decode()

    async def put_foreign(self, topic: str, fields: Sequence[tuple[bytes, bytes]]) -> str:
        return self.bus.add_foreign(0, topic, fields).decode()

    async def entries(self, topic: str) -> list[Entry]:
        return [Entry(stored.id.decode(), stored.body) for stored in self.bus.stream(0, topic).entries.values()]

    async def delete(self, topic: str, entry: str) -> None:
        self.bus.delete(0, topic, entry.encode())

    async def pending(self, topic: str, group: str) -> dict[str, int]:
        return {entry.decode(): row.count for entry, row in self.bus.stream(0, topic).groups[group].pending.items()}

    async def waiting(self) -> int:
        return len(self.bus.delays)


async def answers(ground: Ground) -> list[str]:
    """The reasons of all answers, in order: one for each vote that was handled and settled."""
    return [entry.event.reason for entry in await ground.entries("failures")]


async def settled(ground: Ground, group: str = "gate", topic: str = "decisions") -> bool:
    """Whether a group has nothing pending."""
    return not await ground.pending(topic, group)


def numbers(count: int) -> Iterator[str]:
    return (str(number) for number in range(count))


def raw(event: Event) -> bytes:
    return encode(event)
