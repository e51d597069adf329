"""The watch over the consumer groups, beside failure_watch: which of them settle nothing although entries wait, and its own heartbeat.

It looks at the streams and keeps outages in Postgres; people are asked by failure_watch, which believes the store and not the news. What
it cannot watch is itself, and what it cannot tell is that nobody can tell: the time of its last turn at which people could hear of
failures is a metric, and Prometheus alerts when that grows old or is gone.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.errors import BusError
from bus.inspect import StreamRow, streams
from ops.errors import StoppedEarly
from ops.tasks import unless_stopped
from ops.wiring import topology
from schemas.events import GroupOutage
from schemas.identity import derived_id, new_id
from sql import switch
from sql.errors import StoreError
from sql.outages import OutageRow, begin_outage, end_outage, groups_out, untold_outages

if TYPE_CHECKING:
    from bus.connect import Bus
    from ops.wiring import Parts
    from sql.database import Connection, Database

_log = logging.getLogger("mend.group-watch")
_PERIOD = 20.0  # seconds between two turns
_PATIENCE = 15.0  # seconds for one turn
_TELL_AGAIN = 300.0  # seconds until news that nobody took is told again
_FORGET = 3 * _PERIOD  # seconds without a turn after which nothing is known of what the groups did meanwhile
_TELLERS = frozenset({"failure_watch", "notify"})  # without one of them people hear of no failure
_SAME = 1.0  # seconds by which the age of one entry may differ between two looks

HEARTBEAT = "mend_failure_watch_heartbeat_seconds"
"""The metric that is the dead man's switch."""

Place = tuple[str, str, int]
"""A group, its topic, and the partition."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a group is on a topic: `done` entries of those in the stream, and `oldest`, when the oldest one that waits was appended.

    It has made no progress `since` then; `moved` says whether it has between the last two looks, `missing` that there is no such group.
    """

    since: datetime
    done: int
    oldest: datetime
    waiting: int = 0
    moved: bool = False
    missing: bool = False


def group_watch(bus: Bus, parts: Parts) -> GroupWatch:
    """The watch over all groups of Mendstream."""
    by, patience = f"failure_watch/{platform.node() or 'host'}", parts.settings.failure_watch.stopped
    return GroupWatch(bus, parts.database, groups=topology(), patience=patience, by=by, clock=parts.clock)


def progress_of(
    rows: Sequence[StreamRow], before: Mapping[Place, Progress], now: datetime, groups: Mapping[str, Collection[str]] | None = None
) -> dict[Place, Progress]:
    """Since when each group of each stream has made no progress: nothing more was settled, and the same entry is the oldest.

    Trimming only takes what is settled, so it may hide progress and never makes one up; a group for which nothing waits has all done.
    For one of `groups`, with the topics that it reads, that was never made everything waits, since that was seen first.
    """
    found = {
        (group.name, row.topic, row.partition): _progress(
            before.get((group.name, row.topic, row.partition)),
            Progress(
                since=now,
                done=row.length - group.lag - group.pending,
                oldest=now - timedelta(seconds=group.oldest),
                waiting=group.lag + group.pending,
            ),
        )
        for row in rows
        for group in row.groups
    }
    wanted = [(group, row) for group, topics in (groups or {}).items() for row in rows if row.length and row.topic in topics]
    for group, row in wanted:
        if (place := (group, row.topic, row.partition)) not in found:
            found[place] = _missing(before.get(place), row.length, now)
    return found


def _missing(before: Progress | None, waiting: int, now: datetime) -> Progress:
    if before is None or not before.missing:
        return Progress(since=now, done=0, oldest=now, waiting=waiting, missing=True)
    return msgspec.structs.replace(before, waiting=waiting)


def _progress(before: Progress | None, seen: Progress) -> Progress:
    if before is None or not before.waiting or before.missing:
        return seen
    other = abs((seen.oldest - before.oldest).total_seconds()) > _SAME
    if other or seen.done > before.done or not seen.waiting:
        return msgspec.structs.replace(seen, moved=True)
    return msgspec.structs.replace(seen, since=before.since)


class GroupWatch:
    """Looks every 20 s. `turned_at` is when a turn was last completed, with Redis and Postgres both answering, and people could hear of
    failures: neither failure_watch nor notify had an outage. None before the first.
    """

    def __init__(
        self,
        bus: Bus,
        database: Database,
        *,
        groups: Mapping[str, Collection[str]],
        patience: float,
        by: str,
        clock: Callable[[], datetime],
        look: Callable[[Bus], Awaitable[Sequence[StreamRow]]] = streams,
    ) -> None:
        """`groups` are those that are watched, with the topics that each reads; `patience` the seconds in which each must
        settle something of what waits for it.

        `look` tells the streams with their groups; ages in it are by the same clock.
        """
        self._bus = bus
        self._database = database
        self._groups = groups
        self._patience = timedelta(seconds=patience)
        self._by = by
        self._clock = clock
        self._look = look
        self._seen: dict[Place, Progress] = {}
        self._looked_at: datetime | None = None
        self._told: dict[str, datetime] = {}
        self.turned_at: datetime | None = None
        self.heartbeat = HeartbeatCollector(self)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a turn that is under way then is given up."""
        while not stop.is_set():
            with suppress(StoppedEarly):
                await unless_stopped(stop, self._turned(), "the consumer groups")
            with suppress(TimeoutError):
                async with asyncio.timeout(_PERIOD):
                    await stop.wait()

    async def _turned(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.turn()
        except (BusError, StoreError) as error:
            _log.warning("the consumer groups cannot be looked at: %s", error)
        except TimeoutError:
            _log.warning("the consumer groups cannot be looked at: no answer within %g s", _PATIENCE)

    async def turn(self) -> None:
        """One look: keeps outages that began or are over, and tells those of which people do not know yet.

        Raises BusError and StoreError. What was seen before is forgotten then, and where no turn was completed for long: while a store
        was away no group could settle anything.
        """
        now = self._clock()
        late = self._looked_at is None or (now - self._looked_at).total_seconds() > _FORGET
        before, self._seen = {} if late else self._seen, {}
        rows = await self._look(self._bus)
        async with self._database.transaction() as connection:
            stopped = (await switch.state(connection)).stopped  # by people: then groups wait, and whoever stopped them knows
            found = {} if stopped else progress_of(rows, before, now, self._groups)
            for place, seen in found.items():
                if place[0] in self._groups:
                    await self._judge(place, seen, now, connection)
            untold = await untold_outages(connection)
            deaf = _TELLERS & await groups_out(connection)
        await self._tell(untold, now)
        self._seen, self._looked_at = found, now
        if deaf:
            _log.error("nobody hears of failures while %s settles nothing: the heartbeat waits for it", " and ".join(sorted(deaf)))
        else:
            self.turned_at = now

    async def _judge(self, place: Place, seen: Progress, now: datetime, connection: Connection) -> None:
        group, topic, partition = place
        if seen.moved or not seen.waiting:
            await end_outage(connection, group=group, topic=topic, partition=partition, at=now)
        elif now - seen.since >= self._patience:
            outage = OutageRow(
                id=new_id(now),
                group=group,
                topic=topic,
                partition=partition,
                since=seen.since,
                waiting=seen.waiting,
                oldest=(now - seen.oldest).total_seconds(),
            )
            await begin_outage(connection, outage)

    async def _tell(self, outages: Sequence[OutageRow], now: datetime) -> None:
        """Appends the news; what nobody has taken for a while is told again, under the same id."""
        events = [_news(row, now, self._by) for row in outages]
        due = [one for one in events if one.id not in self._told or (now - self._told[one.id]).total_seconds() >= _TELL_AGAIN]
        if due:
            await self._bus.append(due)
        self._told = {one.id: self._told.get(one.id, now) if one not in due else now for one in events}


def _news(row: OutageRow, now: datetime, by: str) -> GroupOutage:
    stopped = row.over_at is None
    return GroupOutage(
        id=row.id if stopped else derived_id(row.id, "group_watch", 0),
        cause="" if stopped else row.id,
        key=row.group,
        at=now,
        by=by,
        group=row.group,
        source_topic=row.topic,
        partition=row.partition,
        stopped=stopped,
        since=row.since,
        waiting=row.waiting,
        oldest=row.oldest,
    )


class HeartbeatCollector(Collector):
    """The dead man's switch: when a turn of the watch was last completed while people could hear of failures."""

    def __init__(self, watch: GroupWatch) -> None:
        self._watch = watch

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: a watch that has not turned yet has no heartbeat."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The time in seconds since 1970, and nothing before the first turn."""
        if self._watch.turned_at is None:
            return
        text = "Time at which failure_watch last looked at all consumer groups and people could be told, in seconds since 1970"
        gauge = GaugeMetricFamily(HEARTBEAT, text)
        gauge.add_metric((), self._watch.turned_at.timestamp())
        yield gauge
