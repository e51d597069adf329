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
    """What a group has handled since the beginning, and what waits for it: not delivered yet, and delivered and not settled."""

    handled: int
    lag: int
    pending: int

    @property
    def waiting(self) -> int:
        return self.lag + self.pending


class _Hurt(msgspec.Struct):
    victim: str
    group: str
    handled: int
    seconds: float = 0.0


class Pulse:
    """Feels every group. `recovered` are (victim, seconds): how long something waited for a group after a blow, until it handled again."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._groups = topology()
        self._hurt: list[_Hurt] = []
        self.beats: dict[str, Beat] = {}
        self.recovered: list[tuple[str, float]] = []

    async def look(self) -> dict[str, Beat]:
        """Every group now. Raises RedisError and OSError."""
        rows: dict[str, list[int]] = {group: [0, 0, 0] for group in self._groups}
        for topic in self._groups["archive"]:
            try:
                infos: list[dict[str, Any]] = await self._redis.xinfo_groups(names.stream(0, topic))
            except RedisError as error:
                if "no such key" in str(error):
                    continue
                raise
            for info in infos:
                row = rows.get(info["name"].decode())
                if row is not None:
                    row[0] += (info["entries-read"] or 0) - info["pending"]
                    row[1] += info["lag"] or 0
                    row[2] += info["pending"]
        return {group: Beat(*row) for group, row in rows.items()}

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
        self._hurt += [_Hurt(victim, group, beat.handled) for group in groups if (beat := self.beats.get(group)) is not None]

    def _is_over(self, hurt: _Hurt, seconds: float) -> bool:
        beat = self.beats.get(hurt.group)
        if beat is not None and beat.handled > hurt.handled:
            self.recovered.append((hurt.victim, hurt.seconds))
            return True
        if beat is None or beat.waiting:
            hurt.seconds += seconds
        return False

    async def is_quiet(self) -> bool:
        """Whether every group has settled everything that is in the streams."""
        try:
            return not any(beat.waiting for beat in (await self.look()).values())
        except (RedisError, OSError):
            return False
