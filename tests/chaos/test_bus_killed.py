"""Worker processes are killed at the worst moments: every event is answered once all the same."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from bus.connect import Bus
from schemas.words import DeadReason
from tests.chaos.conftest import Spawn
from tests.chaos.worker import OPTIONS, VICTIM, Diary
from tests.integration.bus.ground import RedisGround, answers, numbers, settled, until, votes


async def all_answered(ground: RedisGround, count: int) -> None:
    """Waits until `count` votes are answered and nothing is pending; each must have been answered once."""

    async def done() -> bool:
        return len(await ground.entries("failures")) >= count and await settled(ground)

    await until(done)


async def test_killed_in_the_middle_of_a_handler(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    await bus.append(votes(20))
    first = await spawn("hang")
    await until(lambda: diary.lines("hangs"))
    first.send_signal(signal.SIGKILL)
    assert await first.wait() == -signal.SIGKILL
    assert VICTIM not in await answers(ground)
    await spawn("good")
    await all_answered(ground, 20)
    assert sorted(await answers(ground)) == sorted(numbers(20))
    assert [row[-1] for row in diary.lines("handles", VICTIM)] == ["1", "2"]


async def test_killed_before_its_settle(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    await bus.append(votes(20))
    first = await spawn("unsettled")
    await until(lambda: diary.lines("settling"))
    first.send_signal(signal.SIGKILL)
    await first.wait()
    assert await answers(ground) == []
    await spawn("good")
    await all_answered(ground, 20)
    assert sorted(await answers(ground)) == sorted(numbers(20))


async def test_killed_after_its_settle(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    await bus.append(votes(20))
    first = await spawn("settled")
    await until(lambda: diary.lines("settled"))
    first.send_signal(signal.SIGKILL)
    await first.wait()
    ((_, _, *entries),) = diary.lines("settled")
    assert len(await answers(ground)) == len(entries) > 0
    second = await spawn("good")
    await all_answered(ground, 20)
    assert sorted(await answers(ground)) == sorted(numbers(20))
    again = [row for row in diary.lines("handles") if row[0] == str(second.pid)]
    assert len(again) == 20 - len(entries)


async def test_an_event_that_kills_its_worker_each_time(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    """It becomes a dead letter, and takes none of its neighbours with it."""
    await bus.append(votes(20))
    deaths = 0
    worker = await spawn("suicide")
    while not await ground.entries("dead"):
        await until(partial(_dead_or_letter, worker, ground))
        if worker.returncode is not None:
            deaths += 1
            worker = await spawn("suicide")
    await all_answered(ground, 19)
    ((_, body),) = [(entry.id, entry.event) for entry in await ground.entries("dead")]
    assert (body.reason, body.attempts) == (DeadReason.CRASHED, OPTIONS.attempts + 1)
    assert deaths == OPTIONS.attempts
    assert sorted(await answers(ground)) == sorted(set(numbers(20)) - {VICTIM})


async def _dead_or_letter(worker: object, ground: RedisGround) -> bool:
    return getattr(worker, "returncode", None) is not None or bool(await ground.entries("dead"))


async def test_sigterm_in_mid_batch(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    await bus.append(votes(100))
    first = await spawn("slow")
    await until(lambda: diary.lines("handles"))
    first.terminate()
    assert await first.wait() == 0
    assert [row[-1] for row in diary.lines("ends")] == ["False"]
    begun = len(diary.lines("handles"))
    assert sorted(await answers(ground)) == sorted(row[2] for row in diary.lines("handles"))
    assert 0 < begun < 100
    await spawn("good")
    await all_answered(ground, 100)
    assert sorted(await answers(ground)) == sorted(numbers(100))
    assert len(diary.lines("handles")) == 100
    assert {row[-1] for row in diary.lines("handles")} == {"1"}


async def test_a_second_sigterm_stops_at_once(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    await bus.append(votes(20))
    first = await spawn("hang")
    await until(lambda: diary.lines("hangs"))
    first.terminate()
    await until(lambda: diary.lines("stops"))
    first.terminate()
    assert await first.wait() == 0
    assert [row[-1] for row in diary.lines("ends")] == ["True"]
    assert 1 in (await ground.pending("decisions", "gate")).values()


async def test_stopped_with_what_waits_for_another_attempt(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary) -> None:
    """When it goes on, its heartbeat and the attempts that are due meet the loss at the same moment: it lets go, and works on."""
    await bus.append(votes(200))
    first = await spawn("away")
    await until(lambda: len(diary.lines("handles")) == 200)
    first.send_signal(signal.SIGSTOP)
    second = await spawn("good")
    await all_answered(ground, 200)
    second.terminate()
    await second.wait()
    first.send_signal(signal.SIGCONT)
    await bus.append(votes(220)[200:])
    await all_answered(ground, 220)
    assert sorted(await answers(ground)) == sorted(numbers(220))
    first.terminate()
    assert await first.wait() == 0
    assert [row[0] for row in diary.lines("ends")] == [str(second.pid), str(first.pid)]


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_workers_share_one_stage(bus: Bus, ground: RedisGround, spawn: Spawn, diary: Diary, workers: int) -> None:
    for _ in range(workers):
        await spawn("slow")
    await until(lambda: len(diary.lines("starts")) == workers)
    sent = 0

    async def all_have_work() -> bool:
        """Whether each of them has handled something; on a busy machine one may get nothing of the first votes."""
        nonlocal sent
        if len({row[0] for row in diary.lines("handles")}) == workers:
            return True
        if len(await ground.entries("failures")) >= sent:
            await bus.append(votes(sent + 200)[sent:])
            sent += 200
        return False

    await until(all_have_work)
    await all_answered(ground, sent)
    assert sorted(await answers(ground)) == sorted(numbers(sent))
    assert sorted(row[2] for row in diary.lines("handles")) == sorted(numbers(sent))
