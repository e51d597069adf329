"""The retry schedule, as a law: it doubles, it has a ceiling, and its jitter takes at most half away."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bus.park import Park
from bus.retry import backoff
from bus.transport import Delivery

attempts = st.integers(min_value=1, max_value=100_000)
seconds = st.floats(min_value=0.001, max_value=1000)
chances = st.floats(min_value=0, max_value=1)


@given(attempts, seconds, seconds, chances)
def test_a_wait_is_never_longer_than_the_limit_nor_shorter_than_half_of_it(attempt: int, base: float, limit: float, chance: float) -> None:
    whole = backoff(attempt, base=base, limit=limit, chance=0)
    assert 0 < whole <= limit
    assert whole / 2 <= backoff(attempt, base=base, limit=limit, chance=chance) <= whole


@given(attempts, seconds, seconds)
def test_a_wait_doubles_until_the_limit(attempt: int, base: float, limit: float) -> None:
    this, following = (backoff(number, base=base, limit=limit, chance=0) for number in (attempt, attempt + 1))
    assert following == min(limit, this * 2)


@given(attempts, seconds, seconds, chances, chances)
def test_more_chance_means_less_wait(attempt: int, base: float, limit: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert backoff(attempt, base=base, limit=limit, chance=high) <= backoff(attempt, base=base, limit=limit, chance=low)


def test_the_defaults() -> None:
    assert [backoff(attempt, base=0.5, limit=60, chance=0) for attempt in (1, 2, 3, 4, 5, 6, 7, 8, 9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def parked(number: int) -> Delivery:
    return Delivery(0, "decisions", b"%d-0" % number, b"")


async def test_what_is_parked_comes_back_in_the_order_of_its_time() -> None:
    park, start = Park(), asyncio.get_running_loop().time()
    for number, wait in enumerate((0.03, 0.01, 0.02)):
        park.put(parked(number), start + wait)
    order: list[bytes] = []
    while len(order) < 3:
        order += [delivery.id for delivery in await park.due()]
    assert order == [b"1-0", b"2-0", b"0-0"]
    assert asyncio.get_running_loop().time() - start >= 0.03


async def test_a_sooner_one_wakes_who_waits_for_a_later_one() -> None:
    park, start = Park(), asyncio.get_running_loop().time()
    park.put(parked(1), start + 60)
    waiting = asyncio.create_task(park.due())
    await asyncio.sleep(0)
    park.put(parked(2), start)
    assert [delivery.id for delivery in await asyncio.wait_for(waiting, 5)] == [b"2-0"]


async def test_what_was_forgotten_meanwhile_never_comes_back() -> None:
    park, now = Park(), asyncio.get_running_loop().time()
    gone, kept = parked(1), parked(2)
    park.put(gone, now)
    park.put(kept, now)
    park.forget(gone)
    assert await park.due() == [kept]
    assert len(park) == 0
