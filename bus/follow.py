"""Following several streams from positions that somebody keeps, and noticing what was trimmed before it could be read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bus import names
from bus.channel import Channel
from bus.connect import Bus
from bus.inspect import EntryRow, row_of
from bus.scripts import script

_LAST_SEQUENCE = 2**63 - 1
_CLOCK_BACK = 60  # seconds by which the clock of Redis may be set back without anything being overlooked


class Reading(msgspec.Struct, frozen=True):
    """What one stream has after a position: `rows`, and before them what may have been trimmed after that position, up to `trimmed`.

    `trimmed` is empty where nothing was; `end` is the last id that the stream ever gave. What comes later comes after `settled`.
    """

    partition: int
    topic: str
    rows: list[EntryRow]
    trimmed: str
    end: str
    settled: str


class Follower:
    """Reads the streams of some topics in all partitions, on connections of its own."""

    def __init__(self, bus: Bus, topics: tuple[str, ...]) -> None:
        self._topics = topics
        self._channels = {partition: Channel(bus.route, partition, timeout=bus.timeout) for partition in range(bus.partitions)}

    async def read(self, positions: Mapping[tuple[int, str], str], count: int) -> list[Reading]:
        """What each stream has after its position (its beginning where none is given), `count` entries of each. Raises BusUnavailable."""
        found = []
        for partition, channel in self._channels.items():
            after = [positions.get((partition, topic), "0-0") for topic in self._topics]
            answer = await channel.run(script("follow"), [names.stream(partition, topic) for topic in self._topics], [count, *after])
            settled = f"{(int(answer[0]) - _CLOCK_BACK) * 1000}-0"
            for topic, position, (first, end, entries) in zip(self._topics, after, answer[1:], strict=True):
                rows = [row_of(partition, topic, entry, fields) for entry, fields in entries]
                trimmed = _trimmed(position, first.decode(), end.decode())
                found.append(Reading(partition, topic, rows, trimmed, end.decode(), settled))
        return found

    async def wait(self, positions: Mapping[tuple[int, str], str], seconds: float) -> None:
        """Returns when something has come, or after about this time. Raises BusUnavailable."""
        block = int(seconds * 1000 / len(self._channels)) or 1
        for partition, channel in self._channels.items():
            keys = [names.stream(partition, topic) for topic in self._topics]
            after = [positions.get((partition, topic), "0-0") for topic in self._topics]
            if await channel.call("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", *keys, *after):
                return

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()


def order_of(entry: str) -> tuple[int, int]:
    """A stream id as it sorts: milliseconds, then the sequence within one."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)


def _trimmed(position: str, first: str, end: str) -> str:
    """The last id after `position` that may have been given and is not in the stream any more; empty where there is none."""
    until = order_of(end)
    if first:
        milliseconds, sequence = order_of(first)
        until = (milliseconds, sequence - 1) if sequence else (milliseconds - 1, _LAST_SEQUENCE)
    return f"{until[0]}-{until[1]}" if until > order_of(position) else ""
