"""Windows of time: when they hold, in which places, and what the change of the clocks does to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.target import Kind, Target
from stages.gate.windows import FreezeWindow, Window

BERLIN = "Europe/Berlin"
NIGHT = Window(cron="0 22 * * FRI", duration=8 * 3600, zone=BERLIN)


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        (utc(1, 2, 20, 59), False),
        (utc(1, 2, 21), True),
        (utc(1, 3, 4, 59), True),
        (utc(1, 3, 5), False),
        (utc(1, 3, 21), False),
        (utc(7, 3, 20), True),  # summer: an hour earlier by UTC
        (utc(7, 3, 19, 59), False),
    ],
)
def test_a_window_begins_by_the_clock_of_its_zone_and_lasts_its_time(now: datetime, holds: bool) -> None:
    assert NIGHT.holds(now) is holds
    assert NIGHT.holds(now + timedelta(microseconds=999_999)) is holds


@pytest.mark.parametrize(
    ("now", "holds"),
    [(utc(3, 29, 0, 59), False), (utc(3, 29, 1), True), (utc(3, 29, 1, 59), True), (utc(3, 29, 2), False)],
)
def test_a_start_that_summer_time_leaves_out_is_when_that_hour_is_over(now: datetime, holds: bool) -> None:
    assert Window(cron="30 2 * * *", duration=3600, zone=BERLIN).holds(now) is holds


@pytest.mark.parametrize(
    ("now", "holds"),
    [(utc(10, 25, 0, 29), False), (utc(10, 25, 0, 30), True), (utc(10, 25, 0, 59), True), (utc(10, 25, 1, 30), False)],
)
def test_a_start_that_comes_twice_is_the_first_one(now: datetime, holds: bool) -> None:
    assert Window(cron="30 2 * * *", duration=1800, zone=BERLIN).holds(now) is holds


def test_it_lasts_as_long_as_it_lasts_whatever_the_clocks_do() -> None:
    night = Window(cron="0 22 * * SAT", duration=8 * 3600, zone=BERLIN)  # over the change on 29 March
    assert night.holds(utc(3, 29, 4, 59))
    assert not night.holds(utc(3, 29, 5))


def test_a_window_that_is_longer_than_its_period_always_holds() -> None:
    assert all(Window(cron="0 0 * * *", duration=90_000).holds(utc(1, 1, 0) + timedelta(minutes=37 * step)) for step in range(80))


@given(st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - it is given its zone
def test_law_the_hours_of_work_and_those_without_fill_the_week(now: datetime) -> None:
    work = Window(cron="0 9 * * MON-FRI", duration=8 * 3600, zone="Asia/Taipei")  # a zone without summer time
    local = now + timedelta(hours=8)
    assert work.holds(now) is (local.weekday() < 5 and 9 <= local.hour < 17)


def target(cluster: str, namespace: str) -> Target:
    kind = Kind.DEPLOYMENT if namespace else Kind.HOST
    return Target(cluster=cluster, kind=kind, namespace=namespace, name="web")


@pytest.mark.parametrize(
    ("scope", "frozen"),
    [
        ({}, [True, True, True, True]),
        ({"clusters": ["prod-*"]}, [True, True, False, True]),
        ({"namespaces": ["shop"]}, [True, False, True, False]),
        ({"namespaces": ["prod-eu/*"]}, [True, True, False, False]),
        ({"clusters": ["test"], "namespaces": ["shop", "pay"]}, [False, False, True, False]),
    ],
)
def test_a_freeze_is_about_the_places_that_it_names(scope: dict[str, Any], frozen: list[bool]) -> None:
    window = msgspec.convert({"cron": "* * * * *", "duration": 60, **scope}, FreezeWindow)
    places = [target("prod-eu", "shop"), target("prod-eu", "pay"), target("test", "shop"), target("prod-hosts", "")]
    assert [window.freezes(place, utc(1, 1, 0)) for place in places] == frozen


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cron": "22:00"}, "write five fields"),
        ({"cron": "0 0 0 22 * *"}, "write five fields"),
        ({"cron": "0 25 * * *"}, "bad hour"),
        ({"cron": "0 0 30 2 *"}, "bad day-of-month"),
        ({"cron": "0 22 * * FRI", "zone": "Europe/Bärlin"}, "there is no time zone 'Europe/Bärlin'"),
        ({"cron": "0 22 * * FRI", "zone": "../../etc/passwd"}, "there is no time zone"),
        ({"cron": "0 22 * * FRI", "duration": 0}, "> 0"),
    ],
)
def test_a_window_that_cannot_be_meant_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({"duration": 60} | fields, FreezeWindow)
