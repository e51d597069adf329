"""What is usual for a metric, from synthetic pasts: rhythm, trend, noise, gaps, and too little of it."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ports import Usual
from schemas.evidence import Band
from stages.verify.baseline import BaselineOptions, usual

DAY, WEEK, HOUR, MINUTE = 86_400.0, 604_800.0, 3_600.0, 60.0
HALF_HOUR = 1_800.0
START = 1_700_000_000.0
Samples = list[tuple[float, float]]


def series(value: Callable[[float], float], *, span: float, step: float = HALF_HOUR, noise: float = 0.0, seed: int = 1) -> Samples:
    """A sample every `step` over `span` seconds; `value` is of the seconds since the begin."""
    dice = random.Random(seed)
    return [(START + n * step, value(n * step) + dice.gauss(0, noise)) for n in range(int(span / step) + 1)]


def daily(seconds: float) -> float:
    return 100 + 40 * math.sin(2 * math.pi * seconds / DAY)


def weekly(seconds: float) -> float:
    return daily(seconds) if seconds % WEEK < 5 * DAY else 20.0


def after(samples: Samples, seconds: float = HALF_HOUR) -> float:
    return samples[-1][0] + seconds


def band_of(found: Usual) -> Band:
    assert found.band is not None, found.note
    return found.band


def test_a_days_rhythm_is_expected_to_go_on() -> None:
    samples = series(daily, span=5 * DAY, noise=2)
    for hours in (1, 3, 6, 12, 20):
        at = after(samples, hours * HOUR)
        band = band_of(usual(samples, at, HALF_HOUR))
        assert band.season == "daily"
        assert band.lower < daily(at - START) < band.upper
        assert band.expected == pytest.approx(daily(at - START), abs=8)
        assert band.upper - band.lower < 40, "a band as wide as the rhythm itself would say nothing"


def test_between_two_steps_the_expectation_moves_on() -> None:
    """With half an hour between samples the next step is not now: rounding up to it told the usual of half an hour later."""
    samples = series(daily, span=5 * DAY)
    for minutes in range(31, 300, 7):
        at = after(samples, minutes * MINUTE)
        assert band_of(usual(samples, at, HALF_HOUR)).expected == pytest.approx(daily(at - START), abs=0.6)


def test_what_is_usual_at_noon_is_not_at_night() -> None:
    """The very value that is usual at the one hour is outside of the band at the other."""
    samples = series(daily, span=5 * DAY, noise=2)
    top, bottom = (
        band_of(usual(samples, after(samples, 6 * HOUR), HALF_HOUR)),
        band_of(usual(samples, after(samples, 18 * HOUR), HALF_HOUR)),
    )
    assert bottom.upper < top.lower


def test_a_week_shows_from_two_of_them() -> None:
    samples = series(weekly, span=2 * WEEK, noise=2)
    saturday = START + 2 * WEEK + 5 * DAY + 6 * HOUR
    # The past ends where the trouble began, so it is asked for a time that is not far from it.
    known = series(weekly, span=2 * WEEK + 5 * DAY, noise=2)
    band = band_of(usual(known, saturday, HALF_HOUR))
    assert band.season == "weekly"
    assert band.lower < 20 < band.upper < 100
    assert band_of(usual(samples, after(samples), HALF_HOUR)).season == "weekly"
    fewer = series(weekly, span=2 * WEEK - DAY, noise=2)
    assert band_of(usual(fewer, after(fewer), HALF_HOUR)).season == "daily"


def test_a_day_shows_from_two_of_them() -> None:
    enough, less = series(daily, span=2 * DAY, noise=1), series(daily, span=2 * DAY - 2 * HOUR, noise=1)
    assert band_of(usual(enough, after(enough), HALF_HOUR)).season == "daily"
    assert band_of(usual(less, after(less), HALF_HOUR)).season == "trend"


def test_a_trend_goes_on() -> None:
    samples = series(lambda seconds: 10 + seconds / 60, span=6 * HOUR, step=MINUTE, noise=0.5)
    band = band_of(usual(samples, after(samples, 5 * MINUTE), MINUTE))
    assert band.season == "trend"
    assert band.expected == pytest.approx(10 + 365, abs=5)
    assert band.upper - band.lower < 40


def test_the_band_is_as_wide_as_the_noise_and_the_setting_say() -> None:
    quiet, loud = (series(lambda _: 100.0, span=12 * HOUR, step=MINUTE, noise=noise) for noise in (1.0, 10.0))
    narrow, wide = (band_of(usual(samples, after(samples, MINUTE), MINUTE)) for samples in (quiet, loud))
    assert (narrow.upper - narrow.lower) / 2 == pytest.approx(3 * 1.0, rel=0.3)
    assert (wide.upper - wide.lower) / 2 == pytest.approx(3 * 10.0, rel=0.3)
    one = band_of(usual(loud, after(loud, MINUTE), MINUTE, BaselineOptions(deviations=1.0)))
    assert (one.upper - one.lower) * 3 == pytest.approx(wide.upper - wide.lower)


def test_it_holds_nearly_all_of_what_comes() -> None:
    """Three deviations hold 99.7 % of normal noise; of 40 forecasts one may miss."""
    missed = 0
    for seed in range(40):
        samples = series(lambda _: 5.0, span=4 * HOUR, step=MINUTE, noise=1, seed=seed)
        band = band_of(usual(samples[:-1], samples[-1][0], MINUTE))
        missed += not band.lower <= samples[-1][1] <= band.upper
    assert missed <= 1


def test_further_ahead_it_is_wider() -> None:
    samples = series(lambda _: 5.0, span=12 * HOUR, step=MINUTE, noise=1)
    near, far = (band_of(usual(samples, after(samples, minutes * MINUTE), MINUTE)) for minutes in (1, 120))
    assert far.upper - far.lower > near.upper - near.lower


def test_an_earlier_incident_does_not_become_usual() -> None:
    samples = series(daily, span=5 * DAY, noise=2)
    spoiled = [(when, 5000.0 if index in range(120, 126) else value) for index, (when, value) in enumerate(samples)]
    clean, dirty = (band_of(usual(some, after(some), HALF_HOUR)) for some in (samples, spoiled))
    assert dirty.upper - dirty.lower < 1.5 * (clean.upper - clean.lower)
    assert dirty.expected == pytest.approx(clean.expected, abs=8)


def test_what_happens_every_night_is_no_exception() -> None:
    samples = series(lambda seconds: 900.0 if 3 * HOUR <= seconds % DAY < 4 * HOUR else 10.0, span=5 * DAY, noise=1)
    band = band_of(usual(samples, after(samples, 3 * HOUR), HALF_HOUR))
    assert band.lower < 900 < band.upper
    assert band.lower > 10


def test_a_gap_is_filled_by_the_rhythm_and_a_large_one_is_told() -> None:
    samples = series(daily, span=5 * DAY, noise=1)
    holed = [sample for index, sample in enumerate(samples) if not 100 <= index < 124]
    band = band_of(usual(holed, after(samples, 6 * HOUR), HALF_HOUR))
    assert band.season == "daily"
    assert band.expected == pytest.approx(daily(samples[-1][0] + 6 * HOUR - START), abs=8)
    torn = [sample for index, sample in enumerate(samples) if not 50 <= index < 150]
    assert usual(torn, after(samples), HALF_HOUR) == Usual(
        band=None, history=5 * DAY, note="41% of its history is missing, too much to say what is usual"
    )


def test_what_is_no_number_counts_as_missing() -> None:
    samples = series(daily, span=5 * DAY, noise=1)
    odd = [(when, [math.nan, math.inf, -math.inf][index % 3] if index % 20 == 0 else value) for index, (when, value) in enumerate(samples)]
    plain = [sample for index, sample in enumerate(samples) if index % 20]
    assert usual(odd, after(samples), HALF_HOUR) == usual(plain, after(samples), HALF_HOUR)


@pytest.mark.parametrize("level", [0.0, 1.0, -3.5, 1e-9, 1e15])
def test_what_never_changes_is_usual_as_it_is(level: float) -> None:
    samples = series(lambda _: level, span=DAY, step=MINUTE)
    band = band_of(usual(samples, after(samples, MINUTE), MINUTE))
    assert band.expected == level
    assert band.lower < level < band.upper
    assert band.upper - band.lower <= max(0.021 * abs(level), 1e-11)


def test_values_below_zero_are_as_good_as_any() -> None:
    samples = series(lambda seconds: daily(seconds) - 500, span=5 * DAY, noise=2)
    at = after(samples, 6 * HOUR)
    band = band_of(usual(samples, at, HALF_HOUR))
    assert band.lower < daily(at - START) - 500 < band.upper < 0


def test_too_little_history_is_told() -> None:
    samples = series(daily, span=50 * MINUTE, step=MINUTE)
    found = usual(samples, after(samples, MINUTE), MINUTE)
    assert found == Usual(band=None, history=50 * MINUTE, note="too little history (50 min) to say what is usual")
    assert usual(samples, after(samples, MINUTE), MINUTE, BaselineOptions(least=1800.0)).band is not None
    assert usual([], START, MINUTE) == Usual(band=None, history=0.0, note="it has no history")


def test_a_history_that_ended_long_ago_is_told() -> None:
    samples = series(daily, span=4 * HOUR, step=MINUTE)
    found = usual(samples, after(samples, 3 * HOUR), MINUTE)
    assert (found.band, found.note) == (None, "its history ends 3 h before, too early to say what is usual now")


def test_statsmodels_is_loaded_for_a_forecast_only() -> None:
    """It costs a second and 140 MB, which a stage without Prometheus does not pay."""
    script = (
        "import sys, stages.verify.baseline as b, adapters.prometheus; b.usual([], 0.0, 60.0)\n"
        "print(any(name in sys.modules for name in ('statsmodels', 'numpy', 'aiohttp', 'httpx')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "False\n"


NUMBERS = st.floats() | st.integers(-5, 5).map(float)
SAMPLES = st.lists(st.tuples(st.floats(-1e6, 1e10), NUMBERS), max_size=60) | st.lists(NUMBERS, min_size=24, max_size=120).map(
    lambda values: [(START + 60.0 * index, value) for index, value in enumerate(values)]
)
ANY_TIME = st.floats() | st.floats(0, 4_000).map(lambda ahead: START + 1_440.0 + ahead)


@given(SAMPLES, ANY_TIME, st.sampled_from([60.0, 1.0, 0.0, -1.0, math.nan, math.inf, 1e-300]) | st.floats())
@settings(max_examples=150, deadline=None)
def test_whatever_the_samples_it_raises_nothing_and_the_band_holds_the_forecast(samples: Samples, at: float, step: float) -> None:
    found = usual(samples, at, step, BaselineOptions(least=60.0))
    assert math.isfinite(found.history)
    assert (found.band is None) == bool(found.note)
    if found.band is not None:
        assert all(math.isfinite(number) for number in (found.band.lower, found.band.upper))
        assert found.band.lower <= found.band.expected <= found.band.upper
