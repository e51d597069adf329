"""How often somebody may ask: a bucket for each, filled up in a minute, and never more buckets than fit."""

from __future__ import annotations

import pytest

from ops.api.rates import Rates, network_of


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_as_many_as_a_minute_may_come_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    rates = Rates(6, monotonic=clock)
    assert [rates.take("ann") for _ in range(6)] == [0.0] * 6
    assert rates.take("ann") == pytest.approx(10)
    assert rates.take("bob") == 0.0
    clock.now += 4
    assert rates.take("ann") == pytest.approx(6), "asking in vain costs nothing"
    clock.now += 6
    assert rates.take("ann") == 0.0
    assert rates.take("ann") == pytest.approx(10)
    clock.now += 3600
    assert [rates.take("ann") > 0 for _ in range(7)] == [False] * 6 + [True]


def test_what_is_given_back_can_be_taken_again_and_never_makes_more() -> None:
    rates = Rates(1, monotonic=Clock())
    assert rates.take("ann") == 0.0
    rates.give_back("ann")
    rates.give_back("ann")
    rates.give_back("bob")
    assert [rates.take("ann") > 0 for _ in range(2)] == [False, True]


def test_whoever_comes_with_many_names_fills_no_memory() -> None:
    clock = Clock()
    rates = Rates(1, monotonic=clock, most=100)
    assert rates.take("ann") == 0.0
    for number in range(99):
        rates.take(f"10.0.0.{number}")
    assert rates.take("ann") > 0, "the one that was used last stays"
    for number in range(1000):
        rates.take(f"10.0.1.{number}")
    assert len(rates) == 100


def test_a_network_of_one_customer_is_one_address() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7" == network_of("::ffff:192.0.2.7")
    assert network_of("2001:db8:1:2::7") == network_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::7") != network_of("2001:db8:1:2::7")
    assert network_of("unknown") == "unknown"
