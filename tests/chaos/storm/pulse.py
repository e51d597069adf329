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
    """What one blow did: `handled` is what each group had handled, as long as it has handled no more; `seconds` how long that lasted."""

    victim: str
    handled: dict[str, int]
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
        self._hurt.append(_Hurt(victim, {group: self.beats[group].handled for group in groups if group in self.beats}))

    def _is_over(self, hurt: _Hurt, seconds: float) -> bool:
        """Whether all have handled something again, or nothing waits for those that have not."""
        for group, handled in list(hurt.handled.items()):
            if group in self.beats and self.beats[group].handled > handled:
                del hurt.handled[group]
        if hurt.handled and (not self.beats or any(self.beats[group].waiting for group in hurt.handled)):
            hurt.seconds += seconds
        if not hurt.handled:
            self.recovered.append((hurt.victim, hurt.seconds))
        return not hurt.handled

    async def is_quiet(self) -> bool:
        """Whether every group has settled everything that is in the streams."""
        try:
            return not any(beat.waiting for beat in (await self.look()).values())
        except (RedisError, OSError):
            return False
