"""One group's way to one partition of Redis: each step of the stage loop is one command or one script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bus import names
from bus.channel import Channel
from bus.errors import GroupMissing
from bus.route import Route
from bus.scripts import Script, script
from bus.transport import SUSPECT, Backlog, Delivery, Taken, whole


class RedisTransport:
    """Two connections: one blocks in XREADGROUP, one carries the scripts; neither ever waits for the other."""

    def __init__(self, route: Route, group: str, topics: Sequence[str], partition: int, consumer: str, *, timeout: float) -> None:
        self.partition = partition
        self._group = group.encode()
        self._consumer = consumer.encode()
        self._topics = {names.stream(partition, topic): topic for topic in topics}
        self._streams = {topic: key for key, topic in self._topics.items()}
        self._keys = names.streams(partition)
        self._timeout = timeout
        self._reader = Channel(route, partition, timeout=timeout)
        self._commands = Channel(route, partition, timeout=timeout)
        self._settle: Script = script("settle")

    async def open(self) -> int:
        made: int = await self._commands.run(script("groups"), list(self._topics), [self._group])
        return made

    async def read(self, count: int, block: float) -> Taken:
        answer = await self._reader.call(
            *(b"XREADGROUP", b"GROUP", self._group, self._consumer, b"COUNT", count, b"BLOCK", max(1, int(block * 1000))),
            *(b"STREAMS", *self._topics, *(b">" for _ in self._topics)),
            timeout=block + self._timeout,
        )
        taken, partition = Taken([], []), self.partition
        for key, entries in answer or ():
            topic = self._topics[key]
            for entry, fields in entries:
                taken.deliveries.append(_delivery(partition, topic, entry, fields, 1))
        return taken

    async def recover(self, topic: str, cursor: bytes, count: int) -> Taken:
        return await self._take(topic, script("recover"), [self._consumer, cursor, count])

    async def claim(self, topic: str, cursor: bytes, idle: float, count: int, suspects: int) -> Taken:
        return await self._take(topic, script("claim"), [self._consumer, int(idle * 1000), cursor, count, SUSPECT, suspects])

    async def _take(self, topic: str, what: Script, arguments: Sequence[bytes | int]) -> Taken:
        cursor, rows, vanished = await self._commands.run(what, [self._streams[topic]], [self._group, *arguments])
        deliveries = [_delivery(self.partition, topic, entry, fields, count) for entry, count, fields in rows]
        return Taken(deliveries, [(topic, entry) for entry in vanished], cursor)

    async def reclaim(self, topic: str, entries: Sequence[tuple[bytes, int]]) -> list[int]:
        pairs = [word for pair in entries for word in pair]
        counts: list[int] = await self._commands.run(script("reclaim"), [self._streams[topic]], [self._group, self._consumer, *pairs])
        return counts

    async def heartbeat(self, topic: str, entries: Sequence[bytes]) -> list[bytes]:
        lost: list[bytes] = await self._commands.run(script("heartbeat"), [self._streams[topic]], [self._group, self._consumer, *entries])
        return lost

    async def settle(self, batch: Sequence[Delivery]) -> Sequence[int]:
        words: list[Any] = [self._group]
        position = names.POSITION
        for delivery in batch:
            outputs = delivery.outputs
            words += (position[delivery.topic], delivery.id, len(outputs))
            for output in outputs:
                if output.due:
                    words += (b"1", output.due, output.topic.encode() + b"\n" + output.body)
                else:
                    words += (position[output.topic], output.body)
        refused: list[int] = await self._commands.run(self._settle, self._keys, words)
        return refused

    async def move_due(self, now: int, count: int) -> tuple[int, int]:
        moved, following = await self._commands.run(script("move_due"), [names.delayed(self.partition)], [now, count])
        return moved, int(float(following))

    async def release(self, topic: str, started: Sequence[bytes], idle: float) -> int:
        try:
            released: int = await self._commands.run(
                script("release"), [self._streams[topic]], [self._group, self._consumer, int(idle * 1000), *started]
            )
        except GroupMissing:
            return 0
        return released

    async def present(self) -> None:
        await self._commands.run(script("present"), list(self._topics), [self._group, self._consumer])

    async def prune(self, topic: str, idle: float) -> int:
        deleted: int = await self._commands.run(script("prune"), [self._streams[topic]], [self._group, int(idle * 1000)])
        return deleted

    async def backlog(self) -> list[Backlog]:
        rows = await self._commands.run(script("backlog"), list(self._topics), [self._group])
        return [
            Backlog(topic, length, lag, pending, oldest / 1000)
            for topic, (length, lag, pending, oldest) in zip(self._topics.values(), rows, strict=True)
        ]

    async def close(self) -> None:
        await self._reader.close()
        await self._commands.close()


def _delivery(partition: int, topic: str, entry: bytes, fields: list[bytes] | None, count: int) -> Delivery:
    """An entry's body is its field `e`; a foreign entry without one keeps all it has."""
    if fields is not None and len(fields) == 2 and fields[0] == b"e":
        return Delivery(partition, topic, entry, fields[1], "", count)
    pairs = list(zip(fields[::2], fields[1::2], strict=False)) if fields else []
    named = dict(pairs)
    only = named.get(b"g", b"").decode(errors="replace")
    if b"e" not in named:
        return Delivery(partition, topic, entry, whole(pairs), only, count, foreign=True)
    return Delivery(partition, topic, entry, named[b"e"], only, count)
