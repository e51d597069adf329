"""What the stage loop needs of a partition's streams: one Protocol, held by Redis and by memory alike.

The loop is written against this, so the very same loop code runs in a stage process and in a unit test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from schemas.event import Event

QUEUED, RUNNING, PARKED, FINISHED, FORGOTTEN = range(5)
"""The phases of a delivery: FORGOTTEN is one that another consumer took over before its handler was started."""


class Emit(msgspec.Struct, frozen=True, gc=False):
    """One output, ready to be written: `due` is Unix milliseconds, or 0 for at once."""

    topic: str
    body: bytes
    due: int = 0


class Delivery(msgspec.Struct, eq=False, gc=False):
    """One delivery of one entry to one group, from the read to the settle.

    `only` names the one group that a replayed entry is for, or is empty; `deliveries` is Redis' count, this one included;
    `counts` is 1 if the next delivery counts as an attempt; `waits` are how often in a row its store was away. `event` is what was
    decoded, kept from attempt to attempt. `foreign` says that the entry has no field `e`, and that its body is all that it has.
    """

    partition: int
    topic: str
    id: bytes
    body: bytes
    only: str = ""
    deliveries: int = 1
    event: Event | None = None
    outputs: Sequence[Emit] = ()
    phase: int = QUEUED
    counts: int = 1
    waits: int = 0
    foreign: bool = False


def whole(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The body of an entry without the field `e`: each name and value that it has, on a line of their own."""
    return b"\n".join(name + b": " + value for name, value in fields)


SUSPECT = 2
"""An entry that lost its consumer this often is claimed alone: see claim.lua."""


class Taken(NamedTuple):
    """What a read, a claim or a recovery gave. `vanished` are (topic, entry id) of entries that are no longer in their stream."""

    deliveries: list[Delivery]
    vanished: list[tuple[str, bytes]]
    cursor: bytes = b"-"


class Backlog(NamedTuple):
    """One group on one stream: `lag` entries not yet delivered, `pending` delivered and not settled, ages in seconds."""

    topic: str
    length: int
    lag: int
    pending: int
    oldest: float


class Transport(Protocol):
    """One group's way to one partition. Every method may raise BusUnavailable; those that name a stream, GroupMissing."""

    @property
    def partition(self) -> int: ...

    async def open(self) -> int:
        """Makes the groups that are missing, from the very first entry; returns how many."""
        ...

    async def read(self, count: int, block: float) -> Taken:
        """Up to `count` new entries of each topic, waiting `block` seconds at most for the first."""
        ...

    async def recover(self, topic: str, cursor: bytes, count: int) -> Taken:
        """One page of what is already pending for this consumer; the cursor is `-` at the start and after the last page."""
        ...

    async def claim(self, topic: str, cursor: bytes, idle: float, count: int, suspects: int) -> Taken:
        """One page of what nobody has touched for `idle` seconds; at most `suspects` of those that lost a consumer twice."""
        ...

    async def reclaim(self, topic: str, entries: Sequence[tuple[bytes, int]]) -> list[int]:
        """Delivers parked entries again, adding 0 or 1 to the count; returns the counts, 0 for what is no longer ours."""
        ...

    async def heartbeat(self, topic: str, entries: Sequence[bytes]) -> list[bytes]:
        """Keeps entries; returns those that are no longer ours."""
        ...

    async def settle(self, batch: Sequence[Delivery]) -> Sequence[int]:
        """Acknowledges each delivery and appends its outputs, together or not at all; returns the positions (from 1) refused."""
        ...

    async def move_due(self, now: int, count: int) -> tuple[int, int]:
        """Moves delayed events that are due at `now` (Unix ms); returns how many, and the next due time or -1."""
        ...

    async def release(self, topic: str, started: Sequence[bytes], idle: float) -> int:
        """Lets go of all that is pending for this consumer, as if idle for `idle` seconds; returns how many."""
        ...

    async def present(self) -> None:
        """Says that this consumer is there and asks for entries, of every topic; who counts consumers, or prunes them, goes by it."""
        ...

    async def prune(self, topic: str, idle: float) -> int:
        """Deletes consumers that were away for `idle` seconds and have nothing pending; returns how many."""
        ...

    async def backlog(self) -> list[Backlog]:
        """How much waits, for each topic."""
        ...

    async def close(self) -> None: ...


class Carrier(Protocol):
    """What hands out transports: the bus, over Redis or in memory."""

    @property
    def partitions(self) -> int: ...

    @property
    def name(self) -> str: ...

    def transport(self, group: str, topics: Sequence[str], partition: int, consumer: str) -> Transport: ...
