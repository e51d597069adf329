"""Looking at the streams: what is listed, tailed and found, and that looking changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bus import inspect
from bus.connect import Bus, connect
from bus.errors import GroupMissing
from bus.handler import Context
from bus.replay import Past, feed
from schemas.errors import InvalidIdentifier
from schemas.event import Event, Output
from schemas.identity import new_id
from tests.integration.bus.ground import Desk, RedisGround, answer, raw, running, until, vote, votes


async def test_streams_with_their_groups(bus: Bus, ground: RedisGround) -> None:
    await bus.append(votes(10))
    reader = bus.transport("gate", ["decisions"], 0, "host:1:a")
    await reader.open()
    batch = (await reader.read(6, 0.1)).deliveries
    await reader.settle(batch[:2])
    (row,) = await inspect.streams(bus)
    assert (row.partition, row.topic, row.length) == (0, "decisions", 10)
    ((group),) = row.groups
    assert (group.name, group.lag, group.pending, group.consumers) == ("gate", 4, 4, 1)
    assert 0 <= group.oldest < 60
    pending = await inspect.pending(bus, "decisions", "gate")
    assert [(entry.entry, entry.consumer, entry.deliveries) for entry in pending] == [
        (delivery.id.decode(), "host:1:a", 1) for delivery in batch[2:]
    ]
    assert len(await inspect.pending(bus, "decisions", "gate", limit=3)) == 3
    await reader.close()


async def test_who_reads_counts_though_nothing_has_come_yet_and_who_was_killed_counts_no_more(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reading() -> int:
        (row,) = await inspect.streams(bus)
        return row.groups[0].consumers

    async with running(bus, Desk()):
        await until(reading)
        assert await reading() == 1
    assert await reading() == 0
    killed = bus.transport("gate", ["decisions"], 0, "killed")
    await killed.present()
    assert await reading() == 1
    monkeypatch.setattr(inspect, "SIGN_OF_LIFE", 0.1)
    await asyncio.sleep(0.2)
    assert await reading() == 0
    assert await killed.read(10, 0.05)
    assert await reading() == 0, "a read in vain is no sign of life before Redis 7.2"
    await bus.append(votes(3))
    await killed.present()
    assert await reading() == 1
    (row,) = await inspect.streams(bus)
    assert (row.groups[0].lag, row.groups[0].pending) == (3, 0), "it takes nothing in hand"
    await killed.close()


@pytest.mark.parametrize(("entries", "lag"), [(10, 4), (1506, 1500)])
async def test_what_is_not_read_is_counted_where_redis_tells_too_many(bus: Bus, entries: int, lag: int) -> None:
    """As after a restart, when it does not know how many entries a group has read."""
    await bus.append(votes(entries))
    reader = bus.transport("gate", ["decisions"], 0, "host:1:a")
    await reader.open()
    await reader.settle((await reader.read(6, 0.1)).deliveries)
    (info,) = await bus.channel(0).call("XINFO", "GROUPS", "mend:{0}:decisions")
    last = dict(zip(info[::2], info[1::2], strict=True))[b"last-delivered-id"]
    for told in (6, 0):
        await bus.channel(0).call("XGROUP", "SETID", "mend:{0}:decisions", "gate", last, "ENTRIESREAD", told)
        (backlog,) = await reader.backlog()
        assert (backlog.length, backlog.pending) == (entries, 0)
        assert lag <= backlog.lag <= (lag if entries < 1000 or told else entries)
    await reader.close()


async def test_pending_of_a_group_that_does_not_exist(bus: Bus) -> None:
    with pytest.raises(GroupMissing):
        await inspect.pending(bus, "decisions", "nobody")


async def test_the_tail_and_its_filters(bus: Bus, ground: RedisGround) -> None:
    await bus.append(votes(15))
    await ground.put("decisions", b"\xff nonsense")
    rows = [row async for row in inspect.tail(bus, "decisions", last=5)]
    assert [row.event.approval if row.event else None for row in rows] == ["11", "12", "13", "14", None]  # type: ignore[attr-defined]
    assert rows[-1].body == b"\xff nonsense"
    assert abs(rows[0].at - datetime.now(UTC)) < timedelta(minutes=1)
    assert len([row async for row in inspect.tail(bus, "decisions", last=100, kind="VoteRefused")]) == 15
    assert [row async for row in inspect.tail(bus, "decisions", last=100, kind="VoteCast")] == []
    assert len([row async for row in inspect.tail(bus, "decisions", last=100, incident="i-1")]) == 15
    assert [row async for row in inspect.tail(bus, "decisions", last=0)] == []


async def test_the_tail_follows_all_partitions_and_ends_when_it_is_closed(redis_url: str) -> None:
    bus = await connect(redis_url, partitions=3, name="test")
    await bus.append(votes(5))
    seen: list[str] = []

    async def follow() -> None:
        async for row in inspect.tail(bus, "decisions", last=100, follow=True):
            seen.append(row.event.approval)  # type: ignore[union-attr]  # noqa: PERF401 - seen while it grows

    following = asyncio.create_task(follow())
    await until(lambda: len(seen) == 5)
    await bus.append([vote(number, key=f"other-{number}") for number in range(5, 20)])
    await until(lambda: len(seen) == 20)
    following.cancel()
    await asyncio.wait([following])
    assert sorted(seen, key=int) == [str(number) for number in range(20)]
    await bus.close()


async def test_an_event_is_found_by_its_id(redis_url: str) -> None:
    bus = await connect(redis_url, partitions=3, name="test")
    batch = votes(30)
    await bus.append(batch)
    async with running(bus, Desk()) as (loop,):
        await until(lambda: loop.meter.topics["decisions"].handled == 30)
    found = await inspect.find(bus, batch[17].id)
    assert found is not None
    assert (found.topic, found.body) == ("decisions", raw(batch[17]))
    answered = [row async for row in inspect.tail(bus, "failures", last=100)][3]
    assert answered.event is not None
    assert await inspect.find(bus, answered.event.id) == answered
    assert await inspect.find(bus, new_id(datetime.now(UTC))) is None
    with pytest.raises(InvalidIdentifier):
        await inspect.find(bus, "nonsense")
    await bus.close()


async def test_what_is_told_again_to_one_group_is_told_apart_and_is_no_news(bus: Bus, ground: RedisGround) -> None:
    batch = votes(3)
    await bus.append(batch)
    told: list[str] = []

    async def follow() -> None:
        async for row in inspect.tail(bus, "decisions", last=2, follow=True):
            told.append(row.event.id)  # type: ignore[union-attr]  # noqa: PERF401 - seen while it grows

    following = asyncio.create_task(follow())
    await until(lambda: len(told) == 2)
    await feed(bus, "gate", [Past("decisions", 0, raw(event)) for event in batch], token="t")
    new = vote(3)
    await bus.append([new])
    await until(lambda: len(told) > 2)
    following.cancel()
    await asyncio.wait([following])
    assert told == [batch[1].id, batch[2].id, new.id]
    marked, _ = await inspect.newest(bus, "decisions", last=4)
    assert [row.only for row in marked] == ["gate", "gate", "gate", ""]
    found = await inspect.find(bus, batch[0].id)
    assert found is not None
    assert found.only == ""
    await ground.delete("decisions", found.entry)
    assert await inspect.find(bus, batch[0].id) is None, "what is told again did not enter then"


async def test_what_waits_for_its_time(bus: Bus) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)

    async def later(event: Event, context: Context) -> list[Output]:
        return [context.delay(output, soon) for output in await answer(event, context)]  # type: ignore[arg-type]

    assert await inspect.delayed(bus) == [inspect.DelayedRow(0, 0, None)]
    await bus.append(votes(3))
    async with running(bus, Desk(later)) as (loop,):
        await until(lambda: loop.meter.topics["decisions"].handled == 3)
    assert await inspect.delayed(bus) == [inspect.DelayedRow(0, 3, soon)]
