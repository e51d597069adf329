"""Events of the past for one consumer group: their bytes enter the streams again, marked as a replayed dead letter is.

The other groups of a stream, the archive among them, finish such an entry without looking at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from bus import names
from bus.connect import Bus
from bus.errors import GroupMissing
from bus.inspect import streams
from bus.scripts import script

_ONCE = 3600  # seconds for which a page can be repeated without doubling


class Past(msgspec.Struct, frozen=True):
    """One event as it was: where it stood, and its bytes."""

    topic: str
    partition: int
    body: bytes


class Backlog(msgspec.Struct, frozen=True):
    """The group for which the most waits: `waiting` events that it has not read, of the one that is fed also those in its hands."""

    group: str
    waiting: int


async def feed(bus: Bus, group: str, page: Sequence[Past], *, token: str) -> None:
    """Appends the page for `group`, of each partition whole or not at all; safe to repeat with the same token for an hour.

    Raises BusUnavailable, BusFull.
    """
    parts: dict[int, list[bytes | str | int]] = {}
    for event in page:
        parts.setdefault(event.partition, [_ONCE, group]).extend((names.POSITION[event.topic], event.body))
    for partition, words in parts.items():
        keys = [names.once(partition, token), *names.streams(partition)]
        await bus.repeated(partition, script("replay"), keys, words)


async def busiest(bus: Bus, fed: str, topics: Sequence[str]) -> Backlog:
    """Who is behind the most: what a replay makes a group tell is for the others to handle.

    Raises BusUnavailable, and GroupMissing where `fed` has no group on one of the `topics`: nobody would see how much waits for it.
    """
    waiting: dict[str, int] = {fed: 0}
    missing = {(topic, partition) for topic in topics for partition in range(bus.partitions)}
    for row in await streams(bus):
        for group in row.groups:
            if group.name == fed:
                missing.discard((row.topic, row.partition))
            held = group.pending if group.name == fed else 0
            waiting[group.name] = waiting.get(group.name, 0) + max(group.lag, 0) + held
    if missing:
        topic, partition = min(missing)
        raise GroupMissing(
            f"{fed} has no consumer group on {topic}, partition {partition}: start its process once, which makes it;"
            " `mend streams ls` shows the groups"
        )
    most = max(waiting, key=lambda name: (waiting[name], name == fed))
    return Backlog(most, waiting[most])


async def silence(bus: Bus, group: str, topics: Sequence[str]) -> float:
    """Seconds since a process of the group last asked for entries of the topics or kept some; infinite where there is none.

    Raises BusUnavailable, GroupMissing.
    """
    shortest = math.inf
    for partition in range(bus.partitions):
        for topic in topics:
            for flat in await bus.channel(partition).call("XINFO", "CONSUMERS", names.stream(partition, topic), group):
                consumer = dict(zip(flat[::2], flat[1::2], strict=True))
                shortest = min(shortest, consumer[b"idle"] / 1000)
    return shortest
