"""Dead letters are listed, shown, replayed once for the one group that could not handle them, or dropped."""

from __future__ import annotations

import asyncio

from bus import dead, names
from bus.connect import Bus
from bus.dead import DeadRow, Outcome
from bus.handler import Context, Reject
from bus.replay import Past, feed
from schemas.event import Event, Output
from schemas.identity import derived_id
from schemas.words import DeadReason
from tests.integration.bus.ground import Desk, RedisGround, answer, answers, raw, running, settled, until, vote, votes


class Moody:
    """A handler that rejects until its mood changes."""

    def __init__(self) -> None:
        self.good = False

    async def __call__(self, event: Event, context: Context) -> list[Output]:
        if not self.good:
            raise Reject("bad mood")
        return await answer(event, context)


async def rows(bus: Bus, **which: str | DeadReason) -> list[DeadRow]:
    return [row async for row in dead.letters(bus, **which)]  # type: ignore[arg-type]


async def test_a_replay_happens_once_however_often_it_is_asked_for(bus: Bus, ground: RedisGround) -> None:
    mood, event = Moody(), vote(1)
    desk, other = Desk(mood), Desk(name="learn")
    await bus.append([event])
    async with running(bus, desk, other) as loops:
        (row,) = await until(lambda: rows(bus))
        await until(lambda: settled(ground))
        mood.good = True
        results = await asyncio.gather(*(dead.replay(bus, row) for _ in range(5)))
        assert sorted(result.outcome for result in results) == [Outcome.DONE] + [Outcome.GONE] * 4
        await until(lambda: loops[0].meter.topics["decisions"].handled == 2)
        await until(lambda: loops[1].meter.topics["decisions"].handled == 2)
    assert [entry.body for entry in await ground.entries("decisions")] == [raw(event), raw(event)]
    assert (len(desk.seen), len(other.seen)) == (2, 1)
    ids = [entry.event.id for entry in await ground.entries("failures")]
    assert sorted(ids) == sorted([derived_id(event.id, "gate", 0), derived_id(event.id, "learn", 0)])
    assert await rows(bus) == []


async def test_a_replay_that_dies_again_is_another_dead_letter(bus: Bus, ground: RedisGround) -> None:
    await bus.append([vote(1)])
    async with running(bus, Desk(Moody())):
        (first,) = await until(lambda: rows(bus))
        await dead.replay(bus, first)
        (second,) = await until(lambda: rows(bus))
    assert first.letter.id != second.letter.id
    assert first.letter.original == second.letter.original


async def test_unreadable_bytes_come_back_as_they_were(bus: Bus, ground: RedisGround) -> None:
    await ground.put("decisions", b"\x00\xff")
    async with running(bus, Desk()):
        (row,) = await until(lambda: rows(bus))
        await dead.replay(bus, row)
        await until(lambda: rows(bus))
    assert [entry.body for entry in await ground.entries("decisions")] == [b"\x00\xff"] * 2


async def test_a_dead_letter_that_a_group_has_not_finished_is_left_alone(bus: Bus, ground: RedisGround) -> None:
    await bus.append([vote(1)])
    watch = bus.transport("failure_watch", ["dead"], 0, "one")
    await watch.open()
    async with running(bus, Desk(Moody())):
        (row,) = await until(lambda: rows(bus))
        assert await dead.replay(bus, row) == dead.Result(Outcome.UNSEEN, "failure_watch")
        batch = (await watch.read(10, 0.1)).deliveries
        assert (await dead.drop(bus, row)).outcome == Outcome.UNSEEN
        await watch.settle(batch)
        assert (await dead.drop(bus, row)).outcome == Outcome.DONE
        assert (await dead.drop(bus, row)).outcome == Outcome.GONE
    await watch.close()
    assert await answers(ground) == []


async def test_force_does_not_wait_for_anybody(bus: Bus, ground: RedisGround) -> None:
    await bus.append([vote(1)])
    watch = bus.transport("failure_watch", ["dead"], 0, "one")
    await watch.open()
    async with running(bus, Desk(Moody())):
        (row,) = await until(lambda: rows(bus))
        assert (await dead.drop(bus, row, force=True)).outcome == Outcome.DONE
    await watch.close()


async def test_letters_are_found_by_id_kind_reason_and_group(bus: Bus, ground: RedisGround) -> None:
    batch = votes(3)
    await bus.append(batch)
    await ground.put("decisions", b"nonsense")
    async with running(bus, Desk(Moody())):
        await until(lambda: _count(bus, 4))
    assert len(await rows(bus, reason=DeadReason.REJECTED)) == 3
    assert len(await rows(bus, reason=DeadReason.UNDECODABLE)) == 1
    assert len(await rows(bus, kind="VoteRefused", group="gate")) == 3
    assert await rows(bus, group="learn") == []
    (row,) = await rows(bus, event=batch[1].id)
    assert row.letter.original == raw(batch[1])
    assert await dead.show(bus, row.letter.id) == row
    assert await dead.show(bus, "no such") is None


async def test_a_dead_letter_that_is_told_again_to_one_group_is_not_there_again(bus: Bus, ground: RedisGround) -> None:
    """Whatever people did with it: what reads dead letters hears of it, and it can be replayed no second time."""
    await bus.append(votes(3))
    async with running(bus, Desk(Moody())):
        await until(lambda: _count(bus, 3))
        dropped, replayed, left = await rows(bus)
        page = [Past(names.DEAD, 0, entry.body) for entry in await ground.entries("dead")]
        assert (await dead.drop(bus, dropped)).outcome == Outcome.DONE
        assert (await dead.replay(bus, replayed)).outcome == Outcome.DONE
        (_, again) = await until(lambda: _rows(bus, 2))
        await feed(bus, "failure_watch", page, token="t")
        assert len(await ground.entries("dead")) == 5
        assert await rows(bus) == [left, again]
        assert await dead.show(bus, dropped.letter.id) is None
        assert await dead.show(bus, left.letter.id) == left
        assert (await dead.drop(bus, left)).outcome == Outcome.DONE
        assert await dead.show(bus, left.letter.id) is None


async def _rows(bus: Bus, count: int) -> list[DeadRow]:
    found = await rows(bus)
    return found if len(found) == count else []


async def _count(bus: Bus, count: int) -> bool:
    return len(await rows(bus)) == count
