"""The events of some topics from a position on, without a gap: what the streams hold no more comes from the event log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus

from bus.connect import Bus
from bus.follow import Follower, Reading, order_of
from bus.inspect import EntryRow, entry_row, in_order
from ops.api.problems import ProblemFound
from schemas.events import TOPICS
from sql.database import Database
from sql.event_log import between

Position = dict[tuple[int, str], str]
"""The id of the last entry that was read of each stream, by partition and topic."""

_PAGE = 100  # entries of one stream at a time; with a reader that is slow, no more than this of each is in memory
_LOGGED = 500  # events of the log at a time
_WAIT = 1.0  # seconds between two signs of life
_OLDEST = timedelta(days=1)
_LONGEST = 32 * 1024  # characters of a position
_PART = re.compile(r"(?:(\d{1,3})/)?([a-z]{1,20})=(\d{1,13})-(\d{1,10})")


class Feed:
    """One reader's way through the streams. Nothing is read ahead of the reader but one page."""

    def __init__(self, bus: Bus, database: Database, topics: tuple[str, ...]) -> None:
        self._database = database
        self._partitions = bus.partitions
        self._follower = Follower(bus, topics)
        self._read: Position = {}
        self._told: Position = {}

    @property
    def position(self) -> str:
        """Where the reader is, as `begin` takes it."""
        return told_position(self._told)

    async def begin(self, position: Position | None) -> None:
        """Begins after a position, or with what comes from now on. Raises BusUnavailable."""
        if position is None:
            position = {(one.partition, one.topic): one.end for one in await self._follower.read({}, 1)}
        self._read = position
        self._told = dict(position)

    async def rows(self) -> AsyncIterator[EntryRow | None]:
        """What comes, each stream in its order, and None for about each second without anything, or where all was replayed for one group.

        Raises BusUnavailable and StoreUnavailable; where the reader was then, `position` says.
        """
        while True:
            readings = await self._follower.read(self._read, _PAGE)
            found = [row for reading in readings for row in await self._whole(reading)]
            news = [row for row in in_order(found) if not row.only]
            for row in news:
                self._told[row.partition, row.topic] = row.entry
                yield row
            self._told = dict(self._read)
            if not found:
                await self._follower.wait(self._read, _WAIT)
            if not news:
                yield None

    async def _whole(self, reading: Reading) -> list[EntryRow]:
        """What the stream has, and before it what it has no more; of a great gap only a part, for this time."""
        place = (reading.partition, reading.topic)
        rows: list[EntryRow] = []
        if reading.trimmed:
            rows = await self._logged(reading)
            if len(rows) == _LOGGED:
                self._read[place] = rows[-1].entry
                return rows
            self._read[place] = min(reading.trimmed, reading.end, key=order_of)
        self._read[place] = reading.rows[-1].entry if reading.rows else max(self._read.get(place, "0-0"), reading.settled, key=order_of)
        return rows + reading.rows

    async def _logged(self, reading: Reading) -> list[EntryRow]:
        after = self._read.get((reading.partition, reading.topic), "0-0")
        async with self._database.connection() as connection:
            rows = await between(connection, reading.topic, reading.partition, after=after, until=reading.trimmed, limit=_LOGGED)
        return [entry_row(row.partition, row.topic, row.entry, row.body.encode()) for row in rows]

    async def close(self) -> None:
        await self._follower.close()


def told_position(position: Mapping[tuple[int, str], str]) -> str:
    """A position as text: `signals=ENTRY;decisions=ENTRY`, with the partition before a topic where it is not 0."""
    return ";".join(f"{f'{partition}/' if partition else ''}{topic}={entry}" for (partition, topic), entry in sorted(position.items()))


def position_of(text: str, *, topics: tuple[str, ...], partitions: int, now: datetime) -> Position:
    """The position in a text, for these topics: of one that it does not name, what comes after the newest entry that it names.

    Raises ProblemFound (400) for what is no position, and (410) for one of more than a day ago.
    """
    parts = [_PART.fullmatch(part) for part in text[:_LONGEST].split(";")]
    known = {(int(part[1] or 0), part[2]): f"{part[3]}-{part[4]}" for part in parts if part}
    if None in parts or any(partition >= partitions or topic not in TOPICS for partition, topic in known):
        detail = "that is no position: send the `id` of the last event that you have had, or leave it out to begin now"
        raise ProblemFound(HTTPStatus.BAD_REQUEST, detail, field="Last-Event-ID")
    newest = max(known.values(), key=order_of)
    if order_of(newest)[0] < (now - _OLDEST).timestamp() * 1000:
        detail = "that position is more than a day old: read /v1/incidents and /v1/approvals, then follow from now on"
        raise ProblemFound(HTTPStatus.GONE, detail, field="Last-Event-ID")
    return {(partition, topic): known.get((partition, topic), newest) for partition in range(partitions) for topic in topics}
