"""The server is restarted, filled or emptied while stages run on it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from bus import names
from bus.archive import ArchiveLoop
from bus.connect import Bus, connect
from bus.errors import BusFull
from bus.handler import Context
from bus.options import SweeperOptions
from bus.sweeper import Sweeper
from bus.trim import trim
from ops.archive import KeptOutputs, Log
from schemas.codec import decode
from schemas.event import Delayed, Event, Output
from schemas.events import ExecutionRetryDue, PeopleAsked, VoteRefused
from schemas.identity import new_id
from sql.database import Connection, Database
from sql.errors import StoreUnavailable
from sql.outbox import once
from tests.integration.bus.conftest import Starter
from tests.integration.bus.ground import QUICK, Desk, RedisGround, answers, numbers, running, settled, until, vote, votes

PATIENT = msgspec.structs.replace(QUICK, idle_limit=0.5)


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_restart_with_an_append_only_file_loses_and_doubles_nothing(own_redis: Starter) -> None:
    server = await own_redis(durable=True)
    bus = await connect(server.url, name="test")
    ground = RedisGround(bus)

    async def slow(event: Event, context: Context) -> list[Output]:
        await asyncio.sleep(0.01)
        assert isinstance(event, VoteRefused)
        return [context.event(PeopleAsked, subject=event.id, reason=event.approval, question="?")]

    desk = Desk(slow)
    async with running(bus, desk, options=PATIENT) as (loop,):
        await bus.append(votes(100))
        await until(lambda: len(desk.seen) > 30)
        await server.stop()
        await until(lambda: not loop.status.ready)
        assert loop.status.alive
        await server.start()
        await bus.append([vote(100)])
        await until(lambda: loop.status.ready)
        await until(lambda: _all_settled(ground, 101))
    assert sorted(await answers(ground)) == sorted(numbers(101))
    await bus.close()


async def _all_settled(ground: RedisGround, count: int) -> bool:
    return len(await ground.entries("failures")) >= count and await settled(ground)


async def test_a_full_redis_takes_nothing_in_and_still_settles_and_recovers(own_redis: Starter) -> None:
    server = await own_redis("--maxmemory", "6mb")
    bus = await connect(server.url, name="test")
    ground, opened = RedisGround(bus), asyncio.Event()

    async def held(event: Event, context: Context) -> list[Output]:
        await opened.wait()
        return [context.event(PeopleAsked, subject=event.id, reason="r", question="?")]

    desk = Desk(held)
    async with running(bus, desk) as (loop,):
        count = await _filled(bus)
        assert len(await ground.entries("decisions")) == count, "an append was half done"
        opened.set()
        await until(lambda: loop.meter.topics["decisions"].handled == count)
        assert len(await ground.entries("failures")) == count
        with pytest.raises(BusFull):
            await bus.append([vote()])
        await bus.channel(0).call("CONFIG", "SET", "maxmemory", "50mb")
        archive = bus.transport(names.ARCHIVE, ["decisions"], 0, "archive")
        await archive.open()
        while batch := (await archive.read(1000, 0.05)).deliveries:
            await archive.settle(batch)
        await archive.close()
        await trim(bus, {"decisions": ["gate"]}, now())
        assert await ground.entries("decisions") == []
        await bus.append([vote()])
        await until(lambda: loop.meter.topics["decisions"].handled == count + 1)
    await bus.close()


async def _filled(bus: Bus) -> int:
    """Appends until Redis is full; how many votes it took, a hundred at a time."""
    count = 0
    while True:
        try:
            await bus.append([vote(number) for number in range(count, count + 100)])
        except BusFull:
            return count
        count += 100


_LATER = timedelta(seconds=2)
"""A delay that is longer than the pipeline needs to reach it: at the fault, no delayed event has come up yet."""


class Kept:
    """A stage that decides in Postgres: its outputs are kept with the decision. What the second one tells is delayed."""

    def __init__(self, database: Database, name: str, topic: str) -> None:
        self.name = name
        self.topics = (topic,)
        self._database = database

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        async def decide(_: Connection) -> list[Output]:
            await asyncio.sleep(0.005)
            if isinstance(event, VoteRefused):
                return [context.event(PeopleAsked, subject=event.id, reason=event.approval, question="?")]
            assert isinstance(event, PeopleAsked)
            return [context.delay(context.event(ExecutionRetryDue, approval=event.reason, attempt=1), context.now() + _LATER)]

        return await once(self._database, self.name, event, decide)


@asynccontextmanager
async def archived(bus: Bus, database: Database) -> AsyncIterator[ArchiveLoop]:
    """The archive and its sweeper, both in a hurry."""
    log, stop = Log(database), asyncio.Event()
    loop = ArchiveLoop(bus, log, msgspec.structs.replace(QUICK, concurrency=2), now, (StoreUnavailable,))
    options = SweeperOptions(period=0.1, grace=0.5, window=60)
    tasks = [
        asyncio.create_task(loop.run(stop)),
        asyncio.create_task(Sweeper(bus, KeptOutputs(database, now), log, options, now).run(stop)),
    ]
    yield loop
    stop.set()
    await asyncio.gather(*tasks)


async def logged(database: Database, kind: type[Event]) -> list[Event]:
    return [decode(row["body"].encode()) for row in await database.fetch("SELECT body FROM event_log WHERE type = $1", kind.__name__)]


@pytest.mark.parametrize("fault", ["flushall", "kill"])
async def test_the_pipeline_goes_on_from_postgres_when_redis_loses_everything(own_redis: Starter, database: Database, fault: str) -> None:
    server = await own_redis()
    bus = await connect(server.url, name="test")
    first, second = Kept(database, "gate", "decisions"), Kept(database, "learn", "failures")
    async with archived(bus, database), running(bus, first, second, options=PATIENT, transient=(StoreUnavailable,)) as (gate, _):
        await bus.append(votes(60))
        await until(lambda: _logged(database, VoteRefused, 60))
        await until(lambda: gate.meter.topics["decisions"].handled > 20)
        if fault == "flushall":
            await bus.channel(0).call("FLUSHALL")
        else:
            await server.stop(signal.SIGKILL)
            await server.start()
        await bus.append([vote(60)])
        await until(lambda: _logged(database, ExecutionRetryDue, 61))
    ends = [event.approval for event in await logged(database, ExecutionRetryDue) if isinstance(event, ExecutionRetryDue)]
    assert sorted(ends) == sorted(numbers(61))
    kept = await database.fetch("SELECT stage, count(*) FROM outbox GROUP BY stage ORDER BY stage")
    assert [tuple(row) for row in kept] == [("gate", 61), ("learn", 61)]
    await bus.close()


async def _logged(database: Database, kind: type[Event], count: int) -> bool:
    return len(await logged(database, kind)) >= count


async def test_a_timer_that_only_postgres_has_comes_up_after_its_time(bus: Bus, database: Database) -> None:
    forgotten = PeopleAsked(id=new_id(now()), key="k", at=now(), by="test", subject="s", reason="7", question="?")
    context = Context(stage="learn", by="test", clock=now, input=forgotten)
    (timer,) = await Kept(database, "learn", "failures").handle(forgotten, context)
    assert isinstance(timer, Delayed)
    async with archived(bus, database):
        await until(lambda: _logged(database, ExecutionRetryDue, 1))
    assert now() > timer.until
    assert await logged(database, ExecutionRetryDue) == [timer.event]


async def test_groups_are_made_again_after_a_flush(own_redis: Starter) -> None:
    server = await own_redis()
    bus = await connect(server.url, name="test")
    ground, desk = RedisGround(bus), Desk()
    async with running(bus, desk):
        await bus.append([vote(1)])
        await until(lambda: desk.numbers == ["1"])
        for number in (2, 3):
            await bus.channel(0).call("FLUSHALL")
            await bus.append([vote(number)])
            await until(lambda number=number: desk.numbers[-1] == str(number))  # type: ignore[misc]
            await until(lambda: ground.entries("failures"))
    await bus.close()
