"""A reply is lost on its way: nothing is doubled, nothing is stranded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bus.connect import Bus, connect
from bus.errors import BusUnavailable
from bus.scripts import script
from ops.embedded import EmbeddedRedis
from tests.integration.bus.conftest import Starter
from tests.integration.bus.ground import QUICK, Desk, RedisGround, answers, numbers, running, settled, until, vote, votes
from tests.integration.bus.proxy import Proxy, proxied


@pytest_asyncio.fixture
async def proxy(redis_server: EmbeddedRedis, redis_url: str) -> AsyncIterator[Proxy]:
    async with proxied(redis_server.socket) as started:
        yield started


@pytest_asyncio.fixture
async def lossy(proxy: Proxy) -> AsyncIterator[Bus]:
    """A bus behind the proxy, its scripts known to the server."""
    bus = await connect(proxy.url, name="lossy")
    for name in ("append", "settle"):
        await bus.channel(0).call("SCRIPT", "LOAD", script(name).text)
    yield bus
    await bus.close()


async def test_an_append_whose_answer_was_lost_is_repeated_and_happens_once(lossy: Bus, proxy: Proxy, ground: RedisGround) -> None:
    proxy.swallow(script("append").sha)
    entries = await lossy.append(votes(5))
    assert proxy.swallowed.is_set()
    assert [entry.id for entry in await ground.entries("decisions")] == entries


async def test_a_read_whose_answer_was_lost_is_found_among_the_pending(lossy: Bus, proxy: Proxy, ground: RedisGround) -> None:
    desk = Desk()
    async with running(lossy, desk):
        proxy.swallow(b"XREADGROUP")
        await asyncio.wait_for(proxy.armed.wait(), 5)
        await ground.bus.append(votes(20))
        await asyncio.wait_for(proxy.swallowed.wait(), 5)
        await until(lambda: len(desk.seen) == 20)
        await until(lambda: settled(ground))
    assert sorted(desk.seen) == sorted((number, 1) for number in numbers(20))
    assert sorted(await answers(ground)) == sorted(numbers(20))


async def test_a_settle_whose_answer_was_lost_is_repeated_and_happens_once(lossy: Bus, proxy: Proxy, ground: RedisGround) -> None:
    desk = Desk()
    async with running(lossy, desk) as (loop,):
        proxy.swallow(script("settle").sha)
        await ground.bus.append(votes(20))
        await asyncio.wait_for(proxy.swallowed.wait(), 5)
        await until(lambda: settled(ground))
        await until(lambda: loop.in_hand == 0)
    assert sorted(desk.numbers) == sorted(numbers(20))
    assert sorted(await answers(ground)) == sorted(numbers(20))


async def test_an_idle_reader_keeps_its_connection(lossy: Bus, proxy: Proxy) -> None:
    async with running(lossy, Desk()):
        # the test's own, the loop's for commands, and the reader
        await until(lambda: proxy.connections == 3)
        await asyncio.sleep(QUICK.block * 4)
        assert proxy.connections == 3


async def test_a_server_that_stops_answering_is_waited_for(own_redis: Starter) -> None:
    server = await own_redis()
    assert server.process is not None
    bus = await connect(server.url, name="test", timeout=0.3, patience=0.5)
    ground, desk = RedisGround(bus), Desk()
    async with running(bus, desk) as (loop,):
        await bus.append(votes(50))
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(BusUnavailable, match="no answer within"):
                await bus.append([vote(50)], token="fifty")
            await until(lambda: not loop.status.ready)
        finally:
            server.process.send_signal(signal.SIGCONT)
        await bus.append([vote(50)], token="fifty")
        await until(lambda: len(desk.seen) >= 51)
        await until(lambda: settled(ground))
    assert sorted(await answers(ground)) == sorted(numbers(51))
    await bus.close()


async def test_an_append_gives_up_in_time_when_redis_is_gone(redis_server: EmbeddedRedis, redis_url: str) -> None:
    async with proxied(redis_server.socket) as proxy:
        bus = await connect(proxy.url, name="test", patience=0.2)
        await bus.append([vote()])
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(bus.append([vote()]), 2)
    await bus.close()
