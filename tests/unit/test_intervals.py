"""The interval beside a rate: known values, and the laws that make it one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.intervals import rate_of, wilson


@pytest.mark.parametrize(
    ("successes", "samples", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_values_of_the_books(successes: int, samples: int, low: float, high: float) -> None:
    """The last four are those of R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17
    (1998), table I, method 3."""
    found = wilson(successes, samples)
    assert [found.low, found.high] == pytest.approx([low, high], abs=6e-5)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    samples = draw(st.integers(1, 10**9))
    return draw(st.integers(0, samples)), samples


@given(counts())
def test_it_lies_within_zero_and_one_and_contains_the_rate(count: tuple[int, int]) -> None:
    found = wilson(*count)
    assert 0 <= found.low <= count[0] / count[1] <= found.high <= 1
    assert found.low < found.high


@given(counts(), st.integers(2, 1000))
def test_more_samples_of_the_same_rate_make_it_narrower(count: tuple[int, int], times: int) -> None:
    few, many = wilson(*count), wilson(count[0] * times, count[1] * times)
    assert many.high - many.low < few.high - few.low


@given(counts())
def test_failures_have_the_same_interval_from_the_other_side(count: tuple[int, int]) -> None:
    successes, samples = count
    here, there = wilson(successes, samples), wilson(samples - successes, samples)
    assert [here.low, here.high] == pytest.approx([1 - there.high, 1 - there.low], abs=1e-9)


@pytest.mark.parametrize(("successes", "samples"), [(-1, 3), (4, 3), (0, -1)])
def test_what_is_no_rate_is_refused(successes: int, samples: int) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        wilson(successes, samples)


def test_a_rate_is_told_with_its_interval_and_nothing_as_nothing() -> None:
    assert str(rate_of(5, 6)) == "83% (44% to 97%)"
    assert (str(rate_of(0, 0)), rate_of(0, 0).rate) == ("unknown", None)
