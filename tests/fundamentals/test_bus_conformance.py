"""What a stage may rely on, proven over Redis and over memory by the very same tests.

Each test appends votes to the topic `decisions`; the stage `gate` answers each on the topic `failures`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio

from bus.connect import connect
from bus.handler import Context, Reject, Retry
from bus.memory import MemoryBus
from schemas.event import Event, Output
from schemas.events import DeadLettered, PeopleAsked
from schemas.identity import derived_id, is_identifier
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


@pytest_asyncio.fixture(params=["redis", "memory"])
async def ground(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Ground]:
    """An empty bus of either kind."""
    if request.param == "memory":
        yield MemoryGround(MemoryBus())
        return
    bus = await connect(redis_url, name="test")
    yield RedisGround(bus)
    await bus.close()


async def the_letter(ground: Ground) -> DeadLettered:
    """The one dead letter, when it has come and its original is settled."""
    await until(lambda: ground.entries("dead"))
    (entry,) = await ground.entries("dead")
    await until(lambda: settled(ground))
    letter = entry.event
    assert isinstance(letter, DeadLettered)
    return letter


async def test_each_event_is_handled_once_and_answered_once(ground: Ground) -> None:
    desk = Desk()
    await ground.bus.append(votes(250))
    async with running(ground.bus, desk) as (loop,):
        await until(lambda: loop.meter.topics["decisions"].handled == 250)
    assert sorted(desk.numbers) == sorted(numbers(250))
    assert sorted(await answers(ground)) == sorted(numbers(250))
    assert await settled(ground)


async def test_an_answer_is_derived_from_what_it_answers(ground: Ground) -> None:
    event = vote()
    await ground.bus.append([event])
    async with running(ground.bus, Desk()):
        await until(lambda: ground.entries("failures"))
    ((_, body),) = await ground.entries("failures")
    told = msgspec.json.decode(body)
    assert told["id"] == derived_id(event.id, "gate", 0)
    assert (told["cause"], told["incident"], told["key"]) == (event.id, event.incident, event.key)
    assert told["by"].startswith("gate/")


async def test_an_append_may_be_repeated(ground: Ground) -> None:
    batch = votes(3)
    first = await ground.bus.append(batch)
    assert await ground.bus.append(batch) == first
    assert [entry.id for entry in await ground.entries("decisions")] == first
    assert await ground.bus.append(batch, token="another") != first
    assert len(await ground.entries("decisions")) == 6


async def test_retry_waits_and_never_counts(ground: Ground) -> None:
    left = 12

    async def not_yet(event: Event, context: Context) -> list[Output]:
        nonlocal left
        if left:
            left -= 1
            raise Retry(0.001, "the world is not ready")
        return await answer(event, context)

    desk = Desk(not_yet)
    await ground.bus.append([vote()])
    async with running(ground.bus, desk) as (loop,):
        await until(lambda: ground.entries("failures"))
    assert desk.seen == [("0", 1)] * 13
    assert (loop.meter.topics["decisions"].retried, loop.meter.topics["decisions"].failed) == (12, 0)
    assert await ground.entries("dead") == []


class StoreAway(Exception):
    """As a store's driver would say it."""


async def test_a_store_that_is_away_counts_no_attempt(ground: Ground) -> None:
    left = 7

    async def away(event: Event, context: Context) -> list[Output]:
        nonlocal left
        if left:
            left -= 1
            raise StoreAway
        return await answer(event, context)

    desk = Desk(away)
    await ground.bus.append([vote()])
    async with running(ground.bus, desk, transient=(StoreAway,)):
        await until(lambda: ground.entries("failures"))
    assert desk.seen == [("0", 1)] * 8


@pytest.mark.parametrize("bug", [ValueError("no such\x1b[31m thing"), asyncio.CancelledError()])
async def test_a_bug_is_tried_five_times_and_then_a_dead_letter(ground: Ground, bug: BaseException) -> None:
    async def broken(event: Event, context: Context) -> list[Output]:
        raise bug

    desk, event = Desk(broken), vote(7)
    (entry,) = await ground.bus.append([event])
    async with running(ground.bus, desk) as (loop,):
        letter = await the_letter(ground)
    assert desk.seen == [("7", attempt) for attempt in (1, 2, 3, 4, 5)]
    assert (letter.reason, letter.attempts, letter.group) == (DeadReason.EXHAUSTED, 5, "gate")
    assert (letter.original, letter.original_type, letter.subject) == (raw(event), "VoteRefused", event.id)
    assert (letter.source_topic, letter.entry, letter.incident) == ("decisions", entry, "i-1")
    assert type(bug).__name__ in letter.error
    assert "in broken" in letter.traceback
    assert "\x1b" not in letter.error + letter.traceback
    assert is_identifier(letter.id)
    assert (loop.meter.topics["decisions"].failed, loop.meter.topics["decisions"].dead) == (5, 1)
    assert await answers(ground) == []


async def test_a_bug_that_goes_away_leaves_no_trace(ground: Ground) -> None:
    async def broken_twice(event: Event, context: Context) -> list[Output]:
        if context.attempt < 3:
            raise ValueError
        return await answer(event, context)

    await ground.bus.append([vote()])
    async with running(ground.bus, Desk(broken_twice)):
        await until(lambda: ground.entries("failures"))
    assert await ground.entries("dead") == []


async def test_what_cannot_be_encoded_is_a_bug(ground: Ground) -> None:
    async def nonsense(event: Event, context: Context) -> list[Output]:
        return ["no event"]  # type: ignore[list-item]

    await ground.bus.append([vote()])
    async with running(ground.bus, Desk(nonsense)):
        assert (await the_letter(ground)).reason == DeadReason.EXHAUSTED


async def test_reject_is_a_dead_letter_at_once(ground: Ground) -> None:
    async def refuse(event: Event, context: Context) -> list[Output]:
        raise Reject("never")

    desk = Desk(refuse)
    await ground.bus.append([vote()])
    async with running(ground.bus, desk):
        letter = await the_letter(ground)
    assert (letter.reason, letter.error, letter.attempts) == (DeadReason.REJECTED, "never", 1)
    assert desk.seen == [("0", 1)]


async def test_bytes_that_are_no_event_are_kept_as_they_are(ground: Ground) -> None:
    body = b'\xff\xfe{"type": 3\x00'
    await ground.put("decisions", body)
    desk = Desk()
    async with running(ground.bus, desk):
        letter = await the_letter(ground)
    assert (letter.reason, letter.original, desk.seen) == (DeadReason.UNDECODABLE, body, [])
    assert "write it as docs/producers.md and `mend schemas export` say" in letter.error
    assert is_identifier(letter.id)


@pytest.mark.parametrize("fields", [[(b"x", b"{}"), (b"y", b"\xff"), (b"y", b"")], [(b'{"type"', b'"VoteRefused"}')]])
async def test_an_entry_without_the_field_of_an_event_is_kept_with_all_its_fields(
    ground: Ground, fields: list[tuple[bytes, bytes]]
) -> None:
    await ground.put_foreign("decisions", fields)
    desk = Desk()
    async with running(ground.bus, desk):
        letter = await the_letter(ground)
    assert (letter.reason, desk.seen) == (DeadReason.UNDECODABLE, [])
    assert letter.error == "not an event: the entry has no field `e`: write the event into it as JSON, as docs/producers.md says"
    assert letter.original == b"\n".join(name + b": " + value for name, value in fields)


@pytest.mark.parametrize("change", [{"type": "FromTheFuture"}, {"v": 99}])
async def test_an_unknown_type_or_version_is_kept_as_it_is(ground: Ground, change: dict[str, object]) -> None:
    body = json.dumps(json.loads(raw(vote())) | change).encode()
    await ground.put("decisions", body)
    async with running(ground.bus, Desk()):
        letter = await the_letter(ground)
    assert (letter.reason, letter.original) == (DeadReason.UNKNOWN_TYPE, body)
    assert "upgrade" in letter.error


async def test_unknown_fields_are_accepted(ground: Ground) -> None:
    await ground.put("decisions", json.dumps(json.loads(raw(vote(3))) | {"new": [1]}).encode())
    async with running(ground.bus, Desk()):
        await until(lambda: ground.entries("failures"))
    assert await answers(ground) == ["3"]


async def test_dead_letters_never_breed(ground: Ground) -> None:
    async def broken(event: Event, context: Context) -> list[Output]:
        raise ValueError

    await ground.put("dead", b"nonsense")
    await ground.bus.append([vote()])
    watch = Desk(broken, name="failure_watch", topics=("dead",))
    async with running(ground.bus, Desk(broken), watch) as (_, watching):
        await until(lambda: watching.meter.topics["dead"].handled == 2)
    assert len(await ground.entries("dead")) == 2
    assert watching.meter.topics["dead"].dead == 2


async def test_a_delayed_event_appears_at_its_time(ground: Ground) -> None:
    times = [datetime.now(UTC)]

    async def later(event: Event, context: Context) -> list[Output]:
        answered = await answer(event, context)
        return [context.delay(output, context.now() + timedelta(hours=1)) for output in answered]  # type: ignore[arg-type]

    await ground.bus.append([vote(5)])
    async with running(ground.bus, Desk(later), clock=lambda: times[0]):
        await until(ground.waiting)
        assert await answers(ground) == []
        times[0] += timedelta(minutes=59)
        await asyncio.sleep(QUICK.delay_period * 3)
        assert await answers(ground) == []
        times[0] += timedelta(minutes=2)
        await until(lambda: ground.entries("failures"))
    assert await answers(ground) == ["5"]
    assert await ground.waiting() == 0


async def test_every_group_gets_every_event(ground: Ground) -> None:
    first, second = Desk(), Desk(name="learn")
    await ground.bus.append(votes(20))
    async with running(ground.bus, first, second):
        await until(lambda: len(first.seen) == len(second.seen) == 20)
        await until(lambda: settled(ground))
    ids = [entry.event.id for entry in await ground.entries("failures")]
    assert len(set(ids)) == 40


async def test_a_replayed_entry_is_for_one_group_only(ground: Ground) -> None:
    first, second = Desk(), Desk(name="learn")
    await ground.put("decisions", raw(vote(9)), only="learn")
    async with running(ground.bus, first, second) as loops:
        await until(lambda: all(loop.meter.topics["decisions"].handled == 1 for loop in loops))
    assert (first.seen, second.seen) == ([], [("9", 1)])
    assert [entry.event.by.split("/")[0] for entry in await ground.entries("failures")] == ["learn"]


async def test_a_handler_may_tell_many_events_or_none(ground: Ground) -> None:
    async def three_or_none(event: Event, context: Context) -> list[Output]:
        count = 3 if event.key == "key-1" else 0
        return [context.event(PeopleAsked, subject=event.id, reason=str(n), question="?") for n in range(count)]

    await ground.bus.append(votes(2))
    async with running(ground.bus, Desk(three_or_none)) as (loop,):
        await until(lambda: loop.meter.topics["decisions"].handled == 2)
    assert await answers(ground) == ["0", "1", "2"]
