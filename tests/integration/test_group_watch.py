"""The watch over the consumer groups on a real Redis and Postgres: an outage is told once, its end too, and the watch has a heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from bus import inspect
from bus.connect import Bus, connect
from bus.errors import BusUnavailable
from bus.inspect import GroupRow, StreamRow
from bus.redis_transport import RedisTransport
from ops.group_watch import GroupWatch, progress_of
from schemas.events import DeadLettered, GroupOutage, PeopleAsked
from schemas.words import DeadReason, Severity
from sql import switch
from sql.database import Database
from stages.failure_watch.stage import FailureWatch
from tests.integration.bus.ground import votes
from tests.integration.scene import Scene, only
from tests.patience import PATIENCE
from tests.unit.snapshots import NOW

GATE = {"gate": ("decisions",)}


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    connected = await connect(redis_url, name="test")
    yield connected
    await connected.close()


@pytest.fixture
async def reader(bus: Bus) -> AsyncIterator[RedisTransport]:
    """A consumer of the group `gate` that settles what it is told to."""
    transport = bus.transport("gate", ["decisions"], 0, "host:1:a")
    await transport.open()
    yield transport
    await transport.close()


class Watched(Scene):
    """A scene with a watch on the group `gate`, or on others, and what it told."""

    def __init__(self, database: Database, bus: Bus, groups: Mapping[str, Sequence[str]] = GATE) -> None:
        super().__init__(database)
        self.groups = groups
        self.bus = bus
        self.away = False
        self.began = self.now
        self.watch = self.another()

    def another(self) -> GroupWatch:
        """A watch that has just begun."""
        plain: dict[str, Any] = {"patience": 300, "by": "failure_watch/test", "clock": lambda: self.now}
        return GroupWatch(self.bus, self.database, groups=self.groups, look=self.look, **plain)

    async def turns(self, seconds: int) -> None:
        """So much time passes, with a turn every 50 s at the least and one at its end."""
        while seconds:
            step = min(seconds, 50)
            self.later(step)
            await self.watch.turn()
            seconds -= step

    async def look(self, bus: Bus) -> list[StreamRow]:
        """The streams, with ages by the clock of this test."""
        if self.away:
            raise BusUnavailable("it is away")
        rows, passed = await inspect.streams(bus), (self.now - self.began).total_seconds()
        return [
            msgspec.structs.replace(row, groups=tuple(msgspec.structs.replace(one, oldest=one.oldest + passed) for one in row.groups))
            for row in rows
        ]

    async def told(self) -> list[GroupOutage]:
        rows = [row async for row in inspect.tail(self.bus, "failures", last=100)]
        return [row.event for row in rows if isinstance(row.event, GroupOutage)]

    async def asked(self, event: GroupOutage) -> PeopleAsked:
        return only(await self.handle(FailureWatch(self.database), event), PeopleAsked)


async def test_a_group_that_settles_nothing_is_told_once_and_its_end_too(database: Database, bus: Bus, reader: RedisTransport) -> None:
    scene = Watched(database, bus)
    await bus.append(votes(10))
    batch = (await reader.read(6, 0.1)).deliveries
    await scene.watch.turn()
    await scene.turns(299)
    assert await scene.told() == [], "it has 300 s"
    await scene.turns(2)
    for _ in range(2):
        await scene.watch.turn()
    (stopped,) = await scene.told()
    assert (stopped.group, stopped.source_topic, stopped.stopped, stopped.waiting) == ("gate", "decisions", True, 10)
    assert "gate has settled nothing of decisions, partition 0" in (await scene.asked(stopped)).reason
    await scene.another().turn()
    assert len(await scene.told()) == 1, "a watch that has just begun knows of no progress"
    await reader.settle(batch[:2])
    for _ in range(2):
        await scene.watch.turn()
    _, over = await scene.told()
    assert (over.stopped, over.cause) == (False, stopped.id)
    assert "again, after 5 min" in (await scene.asked(over)).reason
    await scene.watch.turn()
    assert len(await scene.told()) == 2


async def test_while_people_have_stopped_everything_no_group_is_out(database: Database, bus: Bus, reader: RedisTransport) -> None:
    scene = Watched(database, bus)
    await bus.append(votes(1))
    await scene.watch.turn()
    async with database.transaction() as connection:
        await switch.stop(connection, by="ana", reason="a test", at=scene.now)
    await scene.turns(301)
    assert await scene.told() == []


async def test_one_dead_process_is_one_question_and_one_end(database: Database, bus: Bus) -> None:
    scene = Watched(database, bus, {"gate": ("decisions", "dead", "failures")})
    transport = bus.transport("gate", scene.groups["gate"], 0, "host:1:a")
    await transport.open()
    plain: dict[str, Any] = {"group": "learn", "source_topic": "votes", "entry": "1-1", "reason": DeadReason.EXHAUSTED, "error": "e"}
    await bus.append([*votes(3), DeadLettered(**scene.header(), attempts=5, original_type="VoteCast", original=b"{}", **plain)])
    await scene.watch.turn()
    await scene.turns(301)
    stopped = await scene.told()
    assert sorted(one.source_topic for one in stopped) == ["dead", "decisions"]
    watch = FailureWatch(database)
    asked = [output for event in stopped for output in await scene.handle(watch, event)]
    assert "(and 1 more stream that it reads)" in only(asked, PeopleAsked).reason
    assert "4 entries wait" in only(asked, PeopleAsked).reason
    await scene.turns(320)
    (more,) = [event for event in await scene.told() if event not in stopped]
    assert (more.source_topic, await scene.handle(watch, more)) == ("failures", []), "the news of it wait for it by now, which is no news"
    batch = (await transport.read(10, 0.1)).deliveries
    await transport.settle([one for one in batch if one.topic == "dead"])
    await scene.turns(20)
    assert await scene.told() == [*stopped, more], "it is out as long as one stream is left"
    await transport.settle([one for one in batch if one.topic != "dead"])
    await scene.turns(20)
    over = [event for event in await scene.told() if not event.stopped]
    ends = [output for event in over for output in await scene.handle(watch, event)]
    assert "again, after 11 min" in only(ends, PeopleAsked).reason
    assert len(ends) == 1
    await transport.close()


async def test_what_is_over_by_now_is_asked_of_nobody_and_its_end_is_told(database: Database, bus: Bus, reader: RedisTransport) -> None:
    scene = Watched(database, bus)
    await bus.append(votes(1))
    await scene.watch.turn()
    await scene.turns(301)
    (stopped,) = await scene.told()
    await reader.settle((await reader.read(1, 0.1)).deliveries)
    await scene.turns(20)
    assert await scene.handle(FailureWatch(database), stopped) == []
    (over,) = [event for event in await scene.told() if not event.stopped]
    assert (await scene.asked(over)).severity is Severity.P3


async def test_after_a_store_was_away_every_group_has_its_time_again(database: Database, bus: Bus, reader: RedisTransport) -> None:
    scene = Watched(database, bus)
    await bus.append(votes(1))
    await scene.watch.turn()
    scene.later(301)
    await scene.watch.turn()
    assert await scene.told() == [], "nobody looked meanwhile"
    await scene.turns(250)
    scene.away = True
    scene.later(20)
    with pytest.raises(BusUnavailable):
        await scene.watch.turn()
    scene.away = False
    await scene.turns(40)
    assert await scene.told() == [], "a turn failed"
    await scene.turns(301)
    assert len(await scene.told()) == 1


async def test_a_group_that_was_never_made_is_out_while_there_is_something_for_it(database: Database, bus: Bus) -> None:
    scene = Watched(database, bus)
    await bus.append(votes(3))
    await scene.watch.turn()
    await scene.turns(301)
    (stopped,) = await scene.told()
    assert (stopped.group, stopped.source_topic, stopped.waiting) == ("gate", "decisions", 3)
    transport = bus.transport("gate", ["decisions"], 0, "host:1:a")
    await transport.open()
    await scene.turns(20)
    assert len(await scene.told()) == 1, "it is there, and has settled nothing"
    await transport.settle((await transport.read(10, 0.1)).deliveries)
    await scene.turns(20)
    assert [event.stopped for event in await scene.told()] == [True, False]
    await transport.close()


@pytest.mark.parametrize("group", ["failure_watch", "notify"])
async def test_the_heartbeat_waits_while_nobody_would_hear_of_a_failure(database: Database, bus: Bus, group: str) -> None:
    scene = Watched(database, bus, {group: ("decisions",), "gate": ("decisions",)})
    transport = bus.transport(group, ["decisions"], 0, "host:1:a")
    await transport.open()
    await bus.append(votes(1))
    await scene.watch.turn()
    await scene.turns(300)
    began = scene.now - timedelta(seconds=50)
    await scene.turns(100)
    assert scene.watch.turned_at == began
    assert scene.another().turned_at is None
    await transport.settle((await transport.read(10, 0.1)).deliveries)
    await scene.turns(20)
    assert scene.watch.turned_at == scene.now, "that of the gate is told, and holds nothing back"
    await transport.close()


async def test_the_heartbeat_is_the_time_of_the_last_turn_that_was_completed(database: Database, bus: Bus) -> None:
    scene = Watched(database, bus)
    registry = CollectorRegistry()
    registry.register(scene.watch.heartbeat)
    assert b"heartbeat_seconds" not in generate_latest(registry)
    await scene.watch.turn()
    assert registry.get_sample_value("mend_failure_watch_heartbeat_seconds") == scene.now.timestamp()


async def test_a_turn_that_hangs_ends_with_the_process(database: Database, bus: Bus) -> None:
    scene, looking = Watched(database, bus), asyncio.Event()

    async def hang(_: Bus) -> list[StreamRow]:
        looking.set()
        await asyncio.Event().wait()
        return []

    scene.watch = GroupWatch(bus, database, groups=GATE, patience=300, by="test", clock=lambda: scene.now, look=hang)
    stop = asyncio.Event()
    running = asyncio.create_task(scene.watch.run(stop))
    async with asyncio.timeout(PATIENCE):
        await looking.wait()
        stop.set()
        await running
    assert scene.watch.turned_at is None


def seen(now: datetime, *, lag: int, pending: int, length: int, oldest: float) -> dict[Any, Any]:
    return {"rows": [StreamRow(0, "votes", length, (GroupRow("gate", lag, pending, oldest, 1),))], "now": now}


def test_progress_is_a_settled_entry_or_another_oldest_one() -> None:
    place = ("gate", "votes", 0)
    at = [NOW + timedelta(seconds=20 * turn) for turn in range(5)]
    first = progress_of(before={}, **seen(at[0], lag=5, pending=5, length=20, oldest=100))
    same = progress_of(before=first, **seen(at[1], lag=9, pending=5, length=24, oldest=120))
    assert (same[place].since, same[place].moved) == (at[0], False), "new entries are no progress"
    more = progress_of(before=same, **seen(at[2], lag=9, pending=4, length=24, oldest=140))
    assert (more[place].since, more[place].moved) == (at[2], True), "one was settled"
    other = progress_of(before=same, **seen(at[2], lag=14, pending=4, length=20, oldest=90))
    assert other[place].moved, "the oldest is gone, and what was settled was trimmed"
    done = progress_of(before=same, **seen(at[2], lag=0, pending=0, length=24, oldest=0))
    assert (done[place].moved, done[place].waiting) == (True, 0)
