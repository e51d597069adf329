"""How consumers of one group share an event, lose it and take it over, proven over Redis and over memory by the very same tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import pytest_asyncio

from bus.connect import connect
from bus.handler import Context, Retry
from bus.loop import StageLoop
from bus.memory import MemoryBus, MemoryTransport
from bus.redis_transport import RedisTransport
from bus.transport import Delivery, Emit, Transport
from schemas.event import Event, Output
from schemas.words import DeadReason
from tests.integration.bus.ground import (
    QUICK,
    Desk,
    Ground,
    MemoryGround,
    RedisGround,
    answer,
    answers,
    numbers,
    raw,
    running,
    settled,
    until,
    vote,
    votes,
)

HASTY = msgspec.structs.replace(QUICK, idle_limit=0.3)
ONE = msgspec.structs.replace(QUICK, concurrency=1)


@pytest_asyncio.fixture(params=["redis", "memory"])
async def ground(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Ground]:
    """An empty bus of either kind."""
    if request.param == "memory":
        yield MemoryGround(MemoryBus())
        return
    bus = await connect(redis_url, name="test")
    yield RedisGround(bus)
    await bus.close()


async def consumer(ground: Ground, name: str) -> Transport:
    """A bare consumer of the group `gate`: it reads and settles by hand, and keeps nothing by a heartbeat."""
    transport: Transport = ground.bus.transport("gate", ["decisions"], 0, name)
    await transport.open()
    return transport


async def lost_with_its_consumer(ground: Ground, times: int = 1) -> list[Delivery]:
    """Gives everything on `decisions` to consumers that are never heard of again, `times` one after another."""
    transport = await consumer(ground, "lost-0")
    taken = (await transport.read(1000, 0.05)).deliveries
    await transport.close()
    for number in range(1, times):
        transport = await consumer(ground, f"lost-{number}")
        await transport.claim("decisions", b"-", 0.0, 1000, 1000)
        await transport.close()
    return taken


class Gate:
    """Holds handlers until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, event: Event, context: Context) -> Sequence[Output]:
        await self.opened.wait()
        return await answer(event, context)


@pytest.mark.parametrize("loops", [2, 4])
async def test_loops_of_one_stage_share_the_work(ground: Ground, loops: int) -> None:
    async def slow(event: Event, context: Context) -> list[Output]:
        await asyncio.sleep(0.002)
        return await answer(event, context)

    desks = [Desk(slow) for _ in range(loops)]
    await ground.bus.append(votes(300))
    async with running(ground.bus, *desks):
        await until(lambda: sum(len(desk.seen) for desk in desks) >= 300)
        await until(lambda: settled(ground))
    assert sorted(await answers(ground)) == sorted(numbers(300))
    assert all(desk.seen for desk in desks)


async def test_who_settles_first_wins(ground: Ground) -> None:
    await ground.bus.append([vote()])
    stale, quick = await consumer(ground, "stale"), await consumer(ground, "quick")
    (first,) = (await stale.read(10, 0.1)).deliveries
    (second,) = (await quick.claim("decisions", b"-", 0.0, 10, 1)).deliveries
    first.outputs, second.outputs = [Emit("failures", raw(vote(1)))], [Emit("failures", raw(vote(2)))]
    assert list(await quick.settle([second])) == []
    assert list(await stale.settle([first])) == [1]
    assert [entry.event.approval for entry in await ground.entries("failures")] == ["2"]
    await stale.close()
    await quick.close()


async def test_a_repeated_settle_appends_nothing(ground: Ground) -> None:
    await ground.bus.append(votes(3))
    transport = await consumer(ground, "one")
    batch = (await transport.read(10, 0.1)).deliveries
    for delivery in batch:
        delivery.outputs = [Emit("failures", raw(vote()))]
    assert list(await transport.settle(batch)) == []
    assert list(await transport.settle(batch)) == [1, 2, 3]
    assert len(await ground.entries("failures")) == 3
    await transport.close()


async def test_what_a_lost_consumer_held_is_taken_over(ground: Ground) -> None:
    await ground.bus.append(votes(150))
    await lost_with_its_consumer(ground)
    desk = Desk()
    async with running(ground.bus, desk, options=HASTY):
        await until(lambda: len(desk.seen) == 150)
        await until(lambda: settled(ground))
    assert {attempt for _, attempt in desk.seen} == {2}
    assert sorted(await answers(ground)) == sorted(numbers(150))


async def test_a_long_handler_keeps_its_entry(ground: Ground) -> None:
    async def long(event: Event, context: Context) -> list[Output]:
        await asyncio.sleep(HASTY.idle_limit * 3)
        return await answer(event, context)

    first, second = Desk(long), Desk(long)
    await ground.bus.append(votes(5))
    async with running(ground.bus, first, second, options=HASTY):
        await until(lambda: ground.entries("failures"))
        await until(lambda: settled(ground))
    assert sorted(first.numbers + second.numbers) == sorted(numbers(5))
    assert sorted(await answers(ground)) == sorted(numbers(5))


async def test_what_waits_behind_a_long_handler_is_kept_as_well(ground: Ground) -> None:
    gate = Gate()
    first, second = Desk(gate), Desk()
    await ground.bus.append(votes(3))
    options = msgspec.structs.replace(HASTY, concurrency=1)
    async with running(ground.bus, first, options=options) as (loop,):
        await until(lambda: loop.in_hand == 2)
        async with running(ground.bus, second, options=options):
            await until(lambda: second.seen)
            await asyncio.sleep(HASTY.idle_limit * 3)
            assert second.numbers == ["2"]
            gate.opened.set()
            await until(lambda: settled(ground))
    assert first.numbers == ["0", "1"]


async def test_an_event_that_loses_its_consumer_each_time_is_a_dead_letter(ground: Ground) -> None:
    event = vote(1)
    await ground.bus.append([event])
    await lost_with_its_consumer(ground, times=5)
    desk = Desk()
    async with running(ground.bus, desk, options=HASTY):
        await until(lambda: ground.entries("dead"))
        await until(lambda: settled(ground))
    ((_, body),) = await ground.entries("dead")
    letter = msgspec.json.decode(body)
    assert (letter["reason"], letter["attempts"], letter["subject"]) == (DeadReason.CRASHED, 6, event.id)
    assert desk.seen == []


async def test_suspects_run_alone(ground: Ground) -> None:
    """What lost its consumer twice may be what killed it: no neighbour is at risk beside it."""
    alone = True
    busy = 0

    async def watch(event: Event, context: Context) -> list[Output]:
        nonlocal alone, busy
        busy += 1
        alone = alone and busy == 1
        await asyncio.sleep(0.005)
        busy -= 1
        return []

    await ground.bus.append(votes(5))
    await lost_with_its_consumer(ground, times=2)
    desk = Desk(watch)
    async with running(ground.bus, desk, options=HASTY):
        await until(lambda: len(desk.seen) == 5)
        await until(lambda: settled(ground))
    assert alone
    assert {attempt for _, attempt in desk.seen} == {3}


async def test_a_suspect_that_waits_does_not_keep_the_others_waiting(ground: Ground) -> None:
    async def later(event: Event, context: Context) -> list[Output]:
        raise Retry(3600, "come back tomorrow")

    await ground.bus.append(votes(5))
    await lost_with_its_consumer(ground, times=2)
    desk = Desk(later)
    async with running(ground.bus, desk, options=HASTY):
        await until(lambda: sorted(desk.numbers) == sorted(numbers(5)))


async def test_a_parked_event_that_another_took_over_is_forgotten(ground: Ground) -> None:
    async def later(event: Event, context: Context) -> list[Output]:
        raise Retry(3600, "come back tomorrow")

    desk = Desk(later)
    await ground.bus.append(votes(3))
    async with running(ground.bus, desk, options=HASTY) as (loop,):
        await until(lambda: len(desk.seen) == 3)
        thief = await consumer(ground, "thief")
        taken = (await thief.claim("decisions", b"-", 0.0, 10, 10)).deliveries
        assert len(taken) == 3
        await thief.settle(taken)
        await until(lambda: loop.in_hand == 0)
        await thief.close()


async def test_what_vanished_is_counted_and_let_go(ground: Ground) -> None:
    entries = await ground.bus.append(votes(3))
    await lost_with_its_consumer(ground)
    await ground.delete("decisions", entries[1])
    desk = Desk()
    async with running(ground.bus, desk, options=HASTY) as (loop,):
        await until(lambda: loop.meter.topics["decisions"].lost == 1)
        await until(lambda: settled(ground))
    assert sorted(desk.numbers) == ["0", "2"]


async def test_an_entry_trimmed_under_its_handler_is_still_answered(ground: Ground) -> None:
    gate = Gate()
    desk = Desk(gate)
    (entry,) = await ground.bus.append([vote(4)])
    async with running(ground.bus, desk):
        await until(lambda: desk.seen)
        await ground.delete("decisions", entry)
        gate.opened.set()
        await until(lambda: ground.entries("failures"))
    assert await answers(ground) == ["4"]


async def test_an_entry_trimmed_while_it_waits_for_another_attempt_still_ends(ground: Ground) -> None:
    async def broken(event: Event, context: Context) -> list[Output]:
        (entry,) = await ground.pending("decisions", "gate")
        if context.attempt == 2:
            await ground.delete("decisions", entry)
        raise ValueError

    desk = Desk(broken)
    await ground.bus.append([vote(4)])
    async with running(ground.bus, desk):
        await until(lambda: ground.entries("dead"))
    assert [attempt for _, attempt in desk.seen] == [1, 2, 3, 4, 5]


async def test_a_stop_lets_running_handlers_finish_and_gives_the_rest_back(ground: Ground) -> None:
    gate = Gate()
    first = Desk(gate)
    await ground.bus.append(votes(3))
    stop = asyncio.Event()
    loop = StageLoop(ground.bus, first, ONE)
    task = asyncio.create_task(loop.run(stop))
    await until(lambda: loop.in_hand == 2 and first.seen)
    stop.set()
    await asyncio.sleep(0.02)
    assert not task.done()
    gate.opened.set()
    await task
    assert await answers(ground) == ["0"]
    assert list((await ground.pending("decisions", "gate")).values()) == [0]
    second = Desk()
    async with running(ground.bus, second):
        await until(lambda: len(second.seen) == 2)
        await until(lambda: settled(ground))
    assert sorted(second.seen) == [("1", 1), ("2", 1)]


async def test_a_handler_that_outlasts_the_grace_is_cancelled_and_its_event_goes_on(ground: Ground) -> None:
    gate = Gate()
    await ground.bus.append([vote(1)])
    stop = asyncio.Event()
    loop = StageLoop(ground.bus, Desk(gate), msgspec.structs.replace(QUICK, grace=0.05))
    task = asyncio.create_task(loop.run(stop))
    await until(lambda: loop.in_hand == 1)
    stop.set()
    await task
    second = Desk()
    async with running(ground.bus, second):
        await until(lambda: ground.entries("failures"))
    assert second.seen == [("1", 2)]


async def test_a_stopped_loop_leaves_no_task(ground: Ground) -> None:
    before = asyncio.all_tasks()
    await ground.bus.append(votes(3))
    async with running(ground.bus, Desk()):
        await until(lambda: ground.entries("failures"))
    assert asyncio.all_tasks() == before


async def test_a_defect_of_the_loop_itself_ends_it_loudly(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> Sequence[int]:
        raise RuntimeError("a defect")

    monkeypatch.setattr(RedisTransport, "settle", broken)
    monkeypatch.setattr(MemoryTransport, "settle", broken)
    await ground.bus.append(votes(1))
    with pytest.raises(RuntimeError, match="a defect"):
        await StageLoop(ground.bus, Desk(), QUICK).run(asyncio.Event())


async def test_a_cancelled_loop_leaves_no_task(ground: Ground) -> None:
    before = asyncio.all_tasks()
    await ground.bus.append(votes(3))
    gate = Gate()
    loop = StageLoop(ground.bus, Desk(gate), QUICK)
    task = asyncio.create_task(loop.run(asyncio.Event()))
    await until(lambda: loop.in_hand == 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert not loop.status.alive


async def test_memory_is_bounded_whatever_the_backlog(ground: Ground) -> None:
    gate = Gate()
    desk = Desk(gate)
    for start in range(0, 5000, 1000):
        await ground.bus.append(votes(1000), token=f"part-{start}")
    most = 0
    async with running(ground.bus, desk) as (loop,):
        await until(lambda: len(desk.seen) == QUICK.concurrency)
        await asyncio.sleep(QUICK.block * 2)
        most = loop.in_hand
        gate.opened.set()
        await until(lambda: loop.meter.topics["decisions"].handled >= 1000)
        most = max(most, loop.in_hand)
    assert most <= 4 * QUICK.batch


async def test_events_that_wait_for_a_store_hold_the_stream_back(ground: Ground) -> None:
    opened = False

    async def away(event: Event, context: Context) -> Sequence[Output]:
        if not opened:
            raise Retry(0.02, "the store is away")
        return await answer(event, context)

    desk = Desk(away)
    await ground.bus.append(votes(300))
    options = msgspec.structs.replace(QUICK, max_parked=20, batch=20)
    async with running(ground.bus, desk, options=options) as (loop,):
        await until(lambda: len(desk.seen) > 200)
        assert 0 < loop.in_hand <= options.max_parked + 4 * options.batch
        opened = True
        await until(lambda: loop.meter.topics["decisions"].handled == 300)
    assert sorted(await answers(ground)) == sorted(numbers(300))
