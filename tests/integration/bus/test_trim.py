"""Trimming takes only what every group has finished and the archive has stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from bus import names
from bus.connect import Bus
from bus.redis_transport import RedisTransport
from bus.trim import Trimmed, trim
from tests.integration.bus.ground import RedisGround, raw, vote, votes

GROUPS = {"decisions": ["gate", "learn"], "dead": ["failure_watch"]}
Reader = Callable[..., Awaitable[RedisTransport]]


@pytest_asyncio.fixture
async def reader(bus: Bus) -> AsyncIterator[Reader]:
    """`await reader("gate", 5, 3)`: the group has been given 5 entries and has settled the first 3."""
    opened = []

    async def read(group: str, given: int, done: int, topic: str = "decisions") -> RedisTransport:
        transport = bus.transport(group, [topic], 0, "one")
        opened.append(transport)
        await transport.open()
        if given:
            batch = (await transport.read(given, 0.1)).deliveries
            await transport.settle(batch[:done])
        return transport

    yield read
    for transport in opened:
        await transport.close()


async def trimmed(bus: Bus, topic: str = "decisions", now: datetime | None = None) -> Trimmed:
    rows = await trim(bus, GROUPS, now or datetime.now(UTC))
    return next(row for row in rows if row.topic == topic)


async def test_nothing_goes_while_a_group_is_missing(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    await bus.append(votes(10))
    await reader("gate", 10, 10)
    await reader(names.ARCHIVE, 10, 10)
    assert (await trimmed(bus)).missing == "learn"
    assert len(await ground.entries("decisions")) == 10


async def test_the_slowest_group_decides(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    entries = await bus.append(votes(10))
    await reader("gate", 10, 10)
    await reader("learn", 7, 7)
    await reader(names.ARCHIVE, 10, 4)
    row = await trimmed(bus)
    assert (row.entries, row.held_by) == (4, names.ARCHIVE)
    assert [entry.id for entry in await ground.entries("decisions")] == entries[4:]


async def test_what_is_pending_is_kept_with_all_that_follows(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    entries = await bus.append(votes(10))
    for group in ("gate", names.ARCHIVE):
        await reader(group, 10, 10)
    learn = await reader("learn", 10, 2)
    assert (await trimmed(bus)).entries == 2
    last = (await learn.recover("decisions", b"-", 100)).deliveries
    await learn.settle(last[1:])
    assert (await trimmed(bus)).entries == 0
    await learn.settle(last[:1])
    assert (await trimmed(bus)).entries == 8
    assert len(entries) - 10 == len(await ground.entries("decisions"))


async def test_a_group_that_has_read_nothing_keeps_everything(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    await bus.append(votes(3))
    for group in ("gate", names.ARCHIVE):
        await reader(group, 3, 3)
    await reader("learn", 0, 0)
    assert await trimmed(bus) == Trimmed(0, "decisions", 0, held_by="learn")


async def test_a_group_that_nobody_expected_is_respected(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    await bus.append(votes(3))
    for group in ("gate", "learn", names.ARCHIVE):
        await reader(group, 3, 3)
    await reader("new_stage", 1, 1)
    assert await trimmed(bus) == Trimmed(0, "decisions", 1, held_by="new_stage")


async def test_dead_letters_stay_until_they_are_thirty_days_old(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    for _ in range(3):
        await ground.put("dead", raw(vote()))
    for group in ("failure_watch", names.ARCHIVE):
        await reader(group, 3, 3, "dead")
    assert (await trimmed(bus, "dead")).entries == 0
    assert (await trimmed(bus, "dead", datetime.now(UTC) + timedelta(days=29))).entries == 0
    assert (await trimmed(bus, "dead", datetime.now(UTC) + timedelta(days=31))).entries == 3


async def test_a_long_stream_is_trimmed_to_the_last_entry(bus: Bus, ground: RedisGround, reader: Reader) -> None:
    for start in range(0, 25_000, 5000):
        await bus.append([vote()] * 5000, token=f"part-{start}")
    for group in ("gate", "learn", names.ARCHIVE):
        transport = await reader(group, 0, 0)
        while batch := (await transport.read(5000, 0.05)).deliveries:
            await transport.settle(batch)
    await bus.append([vote(1)])
    assert (await trimmed(bus)).entries == 25_000
    assert [entry.event.approval for entry in await ground.entries("decisions")] == ["1"]


async def test_a_stream_that_does_not_exist_is_no_trouble(bus: Bus) -> None:
    assert await trimmed(bus) == Trimmed(0, "decisions", 0)
