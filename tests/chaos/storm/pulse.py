"""How every consumer group is, several times a second: from that, how long a group took to handle anything again after a blow."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bus import names
from ops.wiring import topology

_EVERY = 0.2  # seconds


class Beat(msgspec.Struct, frozen=True):
    """A group: what it has not read, what it holds in each topic, and the last entry there that it has read."""

    lag: int
    pending: dict[str, int]
    read: dict[str, bytes]

    @property
    def waiting(self) -> int:
        return self.lag + sum(self.pending.values())

    def has_settled_since(self, then: Beat) -> bool:
        """Whether it has surely settled something: fewer entries are pending, or no more of them although it has read on.

        A count of what was read is not asked for: Redis may not know it any more after a restart.
        """
        for topic, pending in self.pending.items():
            before = then.pending.get(topic, 0)
            if pending < before or (pending <= before and self.read[topic] != then.read.get(topic)):
                return True
        return False


class _Hurt(msgspec.Struct):
    """What one blow did: `then` is how each group was, as long as it has settled nothing since; `seconds` how long that lasted."""

    victim: str
    then: dict[str, Beat]
    seconds: float = 0.0


class Pulse:
    """Feels every group. `recovered` are (victim, seconds): how long something waited after a blow until every group that it struck
    handled again. Time in which nothing waited for a struck group does not count.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._groups = topology()
        self._hurt: list[_Hurt] = []
        self.beats: dict[str, Beat] = {}
        self.recovered: list[tuple[str, float]] = []

    async def look(self) -> dict[str, Beat]:
        """Every group now. Raises RedisError and OSError."""
        lag = dict.fromkeys(self._groups, 0)
        pending: dict[str, dict[str, int]] = {group: {} for group in self._groups}
        read: dict[str, dict[str, bytes]] = {group: {} for group in self._groups}
        for topic in self._groups["archive"]:
            stream = names.stream(0, topic)
            try:
                infos: list[dict[str, Any]] = await self._redis.xinfo_groups(stream)
            except RedisError as error:
                if "no such key" in str(error):
                    continue
                raise
            for info in infos:
                group = info["name"].decode()
                if group in lag:
                    lag[group] += await self._lag(stream, info)
                    pending[group][topic] = info["pending"]
                    read[group][topic] = info["last-delivered-id"]
        return {group: Beat(lag[group], pending[group], read[group]) for group in self._groups}

    async def _lag(self, stream: bytes, info: dict[str, Any]) -> int:
        """What the group has not read, up to a thousand: counted, for after a restart Redis tells far too many."""
        return len(await self._redis.xrange(stream, b"(" + info["last-delivered-id"], "+", count=1000) or ())

    async def feel(self) -> None:
        """Looks again and again, until it is cancelled."""
        last = time.monotonic()
        while True:
            try:
                self.beats = await self.look()
            except (RedisError, OSError):
                self.beats = {}
            now = time.monotonic()
            self._hurt = [hurt for hurt in self._hurt if not self._is_over(hurt, now - last)]
            last = now
            await asyncio.sleep(_EVERY)

    def struck(self, victim: str, groups: tuple[str, ...]) -> None:
        """From now on it is measured how long these groups take."""
        self._hurt.append(_Hurt(victim, {group: self.beats[group] for group in groups if group in self.beats}))

    def _is_over(self, hurt: _Hurt, seconds: float) -> bool:
        """Whether every group has settled something again."""
        for group, then in list(hurt.then.items()):
            if group in self.beats and self.beats[group].has_settled_since(then):
                del hurt.then[group]
        if hurt.then and (not self.beats or any(self.beats[group].waiting for group in hurt.then)):
            hurt.seconds += seconds
        if not hurt.then:
            self.recovered.append((hurt.victim, hurt.seconds))
        return not hurt.then

    async def is_quiet(self) -> bool:
        """Whether every group has settled everything that is in the streams."""
        try:
            return not any(beat.waiting for beat in (await self.look()).values())
        except (RedisError, OSError):
            return False
