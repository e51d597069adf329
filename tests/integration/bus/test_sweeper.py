"""The sweeper brings back what Redis lost: kept outputs that the archive never saw, and what a replaced server may not have had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from bus import names
from bus.connect import Bus, connect, fields
from bus.options import SweeperOptions
from bus.sweeper import Append, Page, Place, Sweeper
from schemas.event import Event
from sql.errors import StoreUnavailable
from tests.integration.bus.conftest import Starter
from tests.integration.bus.ground import RedisGround, numbers, raw, until, vote, votes
from tests.integration.bus.test_archive import Shelf, archived, archiving


class Outputs:
    """An outbox of one row."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked = 0

    async def sweep(self, append: Append, grace: timedelta) -> int:
        self.asked += 1
        if not self.events:
            return 0
        await append(self.events)
        self.events = ()
        return 1


class Past:
    """An event log: events and when each was stored, oldest first, in pages; after `breaks` of them the store is away, once."""

    def __init__(self, *stored: tuple[Event, datetime], page: int = 100, breaks: int = 0) -> None:
        self.stored = stored
        self.page = page
        self.breaks = breaks

    async def since(self, place: Place) -> AsyncIterator[Page]:
        left = [(event, at) for event, at in self.stored if (at, event.id) > place]
        for start in range(0, len(left), self.page):
            some = left[start : start + self.page]
            yield Page([(event.topic, 0, raw(event)) for event, _ in some], Place(some[-1][1], some[-1][0].id))
            self.breaks -= 1
            if self.breaks == 0:
                raise StoreUnavailable("the store is away")


def now() -> datetime:
    return datetime.now(UTC)


async def test_the_sweeper_waits_for_an_archive_that_is_behind(bus: Bus, ground: RedisGround) -> None:
    outputs, shelf = Outputs(vote(9)), Shelf()
    sweeper = Sweeper(bus, outputs, Past(), SweeperOptions(grace=0.05), now)
    await bus.append(votes(3))
    await asyncio.sleep(0.06)
    assert not await sweeper.archive_is_current()
    assert (await sweeper.sweep(), outputs.asked) == (0, 0)
    async with archiving(bus, shelf):
        await until(lambda: len(shelf.rows) == 3)
        await until(lambda: archived(ground))
        assert await sweeper.sweep() == 1
        await until(lambda: len(shelf.rows) == 4)


async def test_the_sweeper_appends_again_what_was_appended_before(bus: Bus, ground: RedisGround) -> None:
    event, shelf = vote(9), Shelf()
    async with archiving(bus, shelf):
        (first,) = await bus.append([event])
        await ground.delete("decisions", first)
        for _ in range(2):
            await Sweeper(bus, Outputs(event), Past(), SweeperOptions(), now).sweep()
        await until(lambda: archived(ground))
    assert [entry.body for entry in await ground.entries("decisions")] == [raw(event)] * 2


async def test_an_emptied_server_gets_the_window_of_the_log_again_and_only_once(bus: Bus, ground: RedisGround) -> None:
    recent, old = vote(1), vote(2)
    past = Past((recent, now() - timedelta(minutes=10)), (old, now() - timedelta(minutes=20)))
    sweeper = Sweeper(bus, Outputs(), past, SweeperOptions(window=900), now)
    assert await sweeper.sweep() == 1
    assert await sweeper.sweep() == 0
    assert [entry.body for entry in await ground.entries("decisions")] == [raw(recent)]
    await bus.channel(0).call("FLUSHALL")
    assert await sweeper.sweep() == 1
    assert [entry.body for entry in await ground.entries("decisions")] == [raw(recent)]


async def test_a_server_that_was_only_restarted_gets_the_last_seconds_again(own_redis: Starter) -> None:
    server = await own_redis(durable=True)
    bus = await connect(server.url, name="test")
    past = Past()
    sweeper = Sweeper(bus, Outputs(), past, SweeperOptions(window=900), now)
    assert await sweeper.sweep() == 0
    past.stored = ((vote(1), now() - timedelta(minutes=1)), (vote(2), now()))
    assert await sweeper.sweep() == 0
    await server.stop()
    await server.start()
    assert await sweeper.sweep() == 1
    assert await sweeper.sweep() == 0
    assert [entry.event.approval for entry in await RedisGround(bus).entries("decisions")] == ["2"]
    await bus.close()


async def test_what_is_appended_again_goes_on_where_a_fault_broke_it_off(bus: Bus, ground: RedisGround) -> None:
    told = votes(20)
    past = Past(*((event, now() - timedelta(minutes=1)) for event in sorted(told, key=lambda event: event.id)), page=4, breaks=3)
    sweeper = Sweeper(bus, Outputs(), past, SweeperOptions(), now)
    with pytest.raises(StoreUnavailable):
        await sweeper.sweep()
    assert len(await ground.entries("decisions")) == 12
    assert await sweeper.sweep() == 8
    assert await sweeper.sweep() == 0
    assert sorted(entry.event.approval for entry in await ground.entries("decisions")) == sorted(numbers(20))
    assert await bus.channel(0).call("EXISTS", names.restored(0)) == 0


async def test_two_sweepers_append_a_page_once(bus: Bus, ground: RedisGround) -> None:
    past = Past(*((event, now() - timedelta(minutes=1)) for event in sorted(votes(20), key=lambda event: event.id)), page=1)
    sweepers = [Sweeper(bus, Outputs(), past, SweeperOptions(), now) for _ in range(2)]
    while sum(await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))):
        pass
    assert sorted(entry.event.approval for entry in await ground.entries("decisions")) == sorted(numbers(20))


async def test_a_server_that_is_nearly_full_gets_the_rest_when_it_has_room(own_redis: Starter) -> None:
    server = await own_redis()
    bus = await connect(server.url, name="test")
    ground, channel = RedisGround(bus), bus.channel(0)
    past = Past(*((event, now() - timedelta(minutes=1)) for event in sorted(votes(5000), key=lambda event: event.id)))
    sweeper = Sweeper(bus, Outputs(), past, SweeperOptions(), now)
    used = int(fields(await channel.call("INFO", "memory"))["used_memory"])
    await channel.call("CONFIG", "SET", "maxmemory", used + (1 << 20))
    first = await sweeper.sweep()
    assert await sweeper.sweep() == 0
    assert 0 < first < 5000
    assert await bus.append([vote(7)])  # what comes from outside is still taken
    await channel.call("CONFIG", "SET", "maxmemory", 0)
    assert await sweeper.sweep() == 5000 - first
    assert len(await ground.entries("decisions")) == 5001
    await bus.close()


async def test_a_server_that_is_away_does_not_end_the_sweeper(own_redis: Starter) -> None:
    server = await own_redis()
    bus = await connect(server.url, name="test", patience=0.1)
    outputs, stop = Outputs(), asyncio.Event()
    running = asyncio.create_task(Sweeper(bus, outputs, Past(), SweeperOptions(period=0.01), now).run(stop))
    await until(lambda: outputs.asked)
    await server.stop()
    await asyncio.sleep(0.05)
    await server.start()
    asked = outputs.asked
    await until(lambda: outputs.asked > asked)
    stop.set()
    await running
    await bus.close()
