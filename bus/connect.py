"""The way onto the bus: connects, refuses a server that could lose events, and appends what enters from outside."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from bus import names
from bus.channel import Channel
from bus.errors import BusError, BusUnavailable, UnsupportedServer, WrongEvictionPolicy
from bus.redis_transport import RedisTransport
from bus.route import Address, ClusterRoute, Route, SingleRoute
from bus.scripts import Script, script
from schemas.codec import encode
from schemas.event import Event

_OLDEST = (6, 2)
_ONCE = 3600  # seconds for which an append can be repeated without doubling


class Bus:
    """The streams of all partitions. Made by `connect`; `name` is this process' name among Redis' clients.

    `patience` is the time in seconds for which `append` repeats itself before it says that Redis is away.
    """

    def __init__(self, route: Route, *, partitions: int, name: str, timeout: float, patience: float) -> None:
        self.partitions = partitions
        self.name = name
        self.route = route
        self.timeout = timeout
        self._patience = patience
        self._channels = [Channel(route, partition, timeout=timeout) for partition in range(partitions)]

    def channel(self, partition: int) -> Channel:
        """The connection for commands to a partition, shared by all who do not block."""
        return self._channels[partition]

    def transport(self, group: str, topics: Sequence[str], partition: int, consumer: str) -> RedisTransport:
        """A group's way to one partition, with two connections of its own: one that blocks, one for commands."""
        return RedisTransport(self.route, group, topics, partition, consumer, timeout=self.timeout)

    async def append(self, events: Sequence[Event], *, token: str | None = None) -> list[str]:
        """Appends events from outside; returns their entry ids, in the same order.

        What belongs to one partition is appended whole or not at all. With the same token (by default a hash of the event
        ids) a second call within an hour appends nothing and returns the same ids, so it is safe to repeat after an error.
        Raises BusUnavailable, BusFull.
        """
        parts: dict[int, list[tuple[int, Event]]] = {}
        for place, event in enumerate(events):
            parts.setdefault(names.partition_of(event.key, self.partitions), []).append((place, event))
        ids = [""] * len(events)
        for partition, part in parts.items():
            told = await self._append(partition, [event for _, event in part], token)
            for (place, _), entry in zip(part, told, strict=True):
                ids[place] = entry
        return ids

    async def _append(self, partition: int, events: Sequence[Event], token: str | None) -> list[str]:
        token = token or hashlib.blake2b("\n".join(event.id for event in events).encode(), digest_size=16).hexdigest()
        words: list[bytes | str | int] = [_ONCE]
        for event in events:
            words += (names.POSITION[event.topic], encode(event))
        keys = [names.once(partition, token), *names.streams(partition)]
        answer = await self.repeated(partition, script("append"), keys, words)
        entries: list[str] = answer.decode().split()
        if len(entries) != len(events):
            raise BusError("this token was used for an append of other events, or Redis cut that one short: use a new token")
        return entries

    async def repeated(self, partition: int, what: Script, keys: Sequence[bytes], words: Sequence[bytes | str | int]) -> Any:
        """A script that happens once however often it is run: again after a lost reply, until `patience` is over.

        Raises BusUnavailable, BusFull.
        """
        deadline = asyncio.get_running_loop().time() + self._patience
        pause = 0.05
        while True:
            left = deadline - asyncio.get_running_loop().time()
            try:
                return await self.channel(partition).run(what, keys, words, timeout=min(self.timeout, max(left, 0.05)))
            except BusUnavailable:
                if left <= pause:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def ping(self) -> None:
        """Asks every partition's server for an answer; raises BusUnavailable."""
        for channel in self._channels:
            await channel.call("PING")

    async def server_version(self) -> str:
        """The version of Redis that the first partition's server answers, such as `7.0.15`. Raises BusUnavailable."""
        return await _version(self.channel(0))

    async def close(self) -> None:
        """Closes the shared connections; transports close their own."""
        for channel in self._channels:
            await channel.close()


async def connect(url: str, *, partitions: int = 1, name: str, cluster: bool = False, timeout: float = 5.0, patience: float = 5.0) -> Bus:
    """A bus over redis://, rediss:// or unix://, after asking each server whether it can be trusted with events.

    `cluster` says that the URL is one node of a Redis Cluster; `timeout` in seconds bounds one call. Raises InvalidAddress,
    BusUnavailable, WrongEvictionPolicy, UnsupportedServer.
    """
    if partitions < 1:
        raise BusError(f"a bus needs at least one partition, not {partitions}: set redis.partitions to 1 or more")
    address = Address(url, client_name=_client_name(name), connect_timeout=timeout)
    route: Route = ClusterRoute(address, timeout=timeout) if cluster else SingleRoute(address)
    bus = Bus(route, partitions=partitions, name=name, timeout=timeout, patience=patience)
    try:
        for partition in range(partitions):
            await _inspect(bus.channel(partition))
    except BaseException:
        await bus.close()
        raise
    return bus


def require_url(url: str) -> None:
    """Raises InvalidAddress for what no Redis can be behind. Nothing is connected."""
    Address(url, client_name="", connect_timeout=1.0).connection()


def _client_name(name: str) -> str:
    """A name that CLIENT SETNAME accepts: no spaces, no control characters."""
    return "mend-" + "".join(letter if letter.isascii() and letter.isprintable() and letter != " " else "-" for letter in name)


async def _inspect(channel: Channel) -> None:
    """Refuses a server that is too old or may evict; raises UnsupportedServer, WrongEvictionPolicy, BusUnavailable."""
    version = await _version(channel)
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        raise UnsupportedServer(f"this server is version {version}: Redis 6.2 or later, or Valkey, is needed")
    policy = await _policy(channel)
    if policy != "noeviction":
        raise WrongEvictionPolicy(policy)


async def _version(channel: Channel) -> str:
    return fields(await channel.call("INFO", "server")).get("redis_version", "unknown")


async def _policy(channel: Channel) -> str:
    """The eviction policy, by CONFIG GET, or by INFO where the server forbids CONFIG."""
    try:
        answer = await channel.call("CONFIG", "GET", "maxmemory-policy")
    except BusUnavailable:
        raise
    except BusError:
        answer = []
    if len(answer) == 2:
        return str(answer[1].decode())
    return fields(await channel.call("INFO", "memory")).get("maxmemory_policy", "unknown")


def fields(info: bytes) -> dict[str, str]:
    """What INFO says, by name."""
    return dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
