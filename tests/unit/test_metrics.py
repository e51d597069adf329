"""The judgement of metrics: each row of its table, and what must never sway it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.evidence import Band, MetricView
from schemas.words import Health, Worse
from stages.verify.metrics import Change, Circumstances, MetricResult, MetricsAssessment, judge_metrics
from tests.unit.snapshots import snapshot

WELL = Circumstances(healthy_before=True, healthy_after=True)
HEALED = Circumstances(healthy_before=False, healthy_after=True)
BROKEN = Circumstances(healthy_before=False, healthy_after=False)
USUAL = Band(lower=0.2, upper=0.5, expected=0.35, season="daily")


def memory(value: float | None, **fields: Any) -> MetricView:
    """A metric of what a target uses."""
    plain: dict[str, Any] = {"name": "memory_ratio", "query": "q", "unit": "ratio", "worse": Worse.UP, "use": True, "noise": 0.02}
    return MetricView(value=value, **(plain | fields))


def restarts(value: float | None, **fields: Any) -> MetricView:
    """A metric with an ideal."""
    plain: dict[str, Any] = {"name": "restarts_15m", "query": "q", "unit": "restarts", "worse": Worse.UP, "ideal": 0.0, "noise": 0.5}
    return MetricView(value=value, **(plain | fields))


def free(value: float | None, **fields: Any) -> MetricView:
    """A metric that gets worse as it falls."""
    return memory(value, name="filesystem_free", worse=Worse.DOWN, use=False, **fields)


def up(value: float | None, **fields: Any) -> MetricView:
    return MetricView(name="up", query="q", value=value, unit="1", worse=Worse.DOWN, ideal=1.0, noise=0.01, **fields)


def judged(before: MetricView | None, after: MetricView | None, known: Circumstances = WELL) -> MetricResult:
    earlier, later = (snapshot(metrics=(view,) if view else ()) for view in (before, after))
    (result,) = judge_metrics(earlier, later, known).results
    return result


def summary(result: MetricResult) -> tuple[Change, float | None, Health]:
    return result.change, result.share, result.judgement.health


IMPROVED, WORSE = (Change.IMPROVED, 1.0, Health.HEALTHY), (Change.WORSE, 0.0, Health.UNHEALTHY)
WELL_AS_BEFORE, UNKNOWN = (Change.UNCHANGED, 1.0, Health.HEALTHY), (Change.UNKNOWN, None, Health.UNKNOWN)
BETTER, AS_BAD = (Change.IMPROVED, 0.5, Health.PROGRESSING), (Change.UNCHANGED, 0.0, Health.UNHEALTHY)
NOT_COUNTED = (Change.UNCHANGED, None, Health.UNKNOWN)


@pytest.mark.parametrize(
    ("before", "after", "known", "expected"),
    [
        # With an ideal.
        (restarts(4.2), restarts(0.0), HEALED, IMPROVED),
        (restarts(4.2), restarts(2.1), HEALED, BETTER),
        (restarts(4.2), restarts(4.4), HEALED, AS_BAD),
        (restarts(0.0), restarts(0.0), WELL, WELL_AS_BEFORE),
        (restarts(0.0), restarts(1.1), HEALED, WORSE),
        (restarts(0.0), restarts(1.1, baseline=Band(lower=0, upper=9, expected=4, season="daily")), HEALED, WORSE),
        (up(0.0), up(1.0), HEALED, IMPROVED),
        (up(1.0), up(0.0), WELL, WORSE),
        (up(0.0), up(0.0), BROKEN, AS_BAD),
        (up(None), up(1.0), HEALED, WELL_AS_BEFORE),
        (up(None), up(0.0), HEALED, AS_BAD),
        # With what is usual.
        (memory(0.9), memory(0.4, baseline=USUAL), HEALED, IMPROVED),
        (memory(0.9), memory(0.7, baseline=USUAL), HEALED, BETTER),
        (memory(0.9), memory(0.91, baseline=USUAL), HEALED, AS_BAD),
        (memory(0.8), memory(0.95, baseline=USUAL), HEALED, WORSE),
        (memory(0.4), memory(0.6, baseline=USUAL), HEALED, WORSE),
        (memory(0.49), memory(0.53, baseline=USUAL), HEALED, WORSE),
        (memory(0.5), memory(0.51, baseline=USUAL), HEALED, WELL_AS_BEFORE),
        (memory(0.3), memory(0.31, baseline=USUAL), WELL, WELL_AS_BEFORE),
        (memory(0.01), memory(0.4, baseline=USUAL), HEALED, WELL_AS_BEFORE),
        (memory(None), memory(0.4, baseline=USUAL), HEALED, WELL_AS_BEFORE),
        (memory(None), memory(0.9, baseline=USUAL), HEALED, AS_BAD),
        (free(0.05), free(0.4, baseline=USUAL), HEALED, IMPROVED),
        (free(0.3), free(0.1, baseline=USUAL), HEALED, WORSE),
        # With too little history: before and after.
        (memory(0.9), memory(0.4), HEALED, IMPROVED),
        (memory(0.4), memory(0.9), WELL, WORSE),
        (memory(0.4), memory(0.42), WELL, NOT_COUNTED),
        (memory(0.01), memory(0.4), HEALED, UNKNOWN),
        (free(0.1), free(0.4), HEALED, IMPROVED),
        (free(0.4), free(0.1), WELL, WORSE),
        (memory(None), memory(0.4), WELL, UNKNOWN),
        # What a target uses that is down is no proof of anything good; that it got worse is one of something bad.
        (memory(0.9), memory(0.0), BROKEN, UNKNOWN),
        (memory(0.9), memory(0.4, baseline=USUAL), BROKEN, UNKNOWN),
        (memory(0.4), memory(0.9, baseline=USUAL), BROKEN, WORSE),
        (free(0.1), free(0.4), BROKEN, IMPROVED),
        # Not measured.
        (memory(0.4), memory(None), WELL, UNKNOWN),
        (memory(0.4), None, WELL, UNKNOWN),
        (up(1.0), up(None), WELL, UNKNOWN),
    ],
)
def test_each_row_of_the_table(before: MetricView, after: MetricView | None, known: Circumstances, expected: object) -> None:
    assert summary(judged(before, after, known)) == expected


def test_a_reason_has_the_numbers_and_what_is_usual() -> None:
    result = judged(memory(0.41), memory(0.93, baseline=USUAL))
    assert result.judgement.reason == "has left what is usual: 93 %, 41 % before, usually 20 % to 50 % (daily)"
    assert (result.judgement.about, result.judgement.before, result.judgement.after) == ("metric memory_ratio", "41 %", "93 %")
    note = "too little history (2 min) to say what is usual"
    assert note in judged(memory(0.41), memory(0.4, note=note)).judgement.reason
    gone = judged(memory(0.41), memory(None, note="Prometheus did not answer within 8 s"))
    assert gone.judgement.reason == "could not be measured any more: 41 % before (Prometheus did not answer within 8 s)"


def test_a_sample_from_before_the_action_says_nothing_of_it() -> None:
    early = Circumstances(healthy_before=False, healthy_after=True, elapsed=10.0)
    assert summary(judged(up(0.0), up(1.0, age=3.0), early)) == IMPROVED
    assert summary(judged(up(0.0), up(1.0, age=12.0), early)) == UNKNOWN
    assert summary(judged(up(0.0), up(1.0, age=None), early)) == IMPROVED


def test_regressions_are_named_whatever_else_got_better() -> None:
    before = snapshot(metrics=(restarts(3.0), memory(0.4), up(None)))
    after = snapshot(metrics=(restarts(0.0), memory(0.9, baseline=USUAL), up(None)))
    found = judge_metrics(before, after, HEALED)
    assert found.regressions == ("memory_ratio has left what is usual: 90 %, 40 % before, usually 20 % to 50 % (daily)",)
    assert found.parts == {"memory_ratio": 0.0, "restarts_15m": 1.0}
    assert found.share == 0.5
    assert found.measured
    assert [one.about for one in found.judgements] == ["metric memory_ratio", "metric restarts_15m", "metric up"]


def test_nothing_measured_is_neither_good_nor_bad() -> None:
    for nothing in (
        judge_metrics(snapshot(), snapshot(), WELL),
        judge_metrics(None, snapshot(), WELL),
        judge_metrics(snapshot(metrics=(up(1.0),)), snapshot(metrics=(up(None),)), WELL),
    ):
        assert (nothing.share, nothing.regressions, nothing.measured, nothing.parts) == (None, (), False, {})
    assert MetricsAssessment() == judge_metrics(None, snapshot(), WELL)


@pytest.mark.parametrize("late", [True, False])
def test_without_a_look_before_only_what_is_usual_or_ideal_counts(late: bool) -> None:
    before = snapshot(metrics=(restarts(0.0), memory(0.4), up(1.0)), late=True) if late else None
    after = snapshot(metrics=(restarts(2.0), memory(0.9), up(1.0)))
    found = judge_metrics(before, after, WELL)
    assert (found.regressions, found.parts) == ((), {"restarts_15m": 0.0, "up": 1.0})


FINITE = st.floats(-1e12, 1e12)
VALUES = st.none() | FINITE
BANDS = st.none() | st.tuples(FINITE, st.floats(0, 1e9)).map(
    lambda pair: Band(lower=pair[0], upper=pair[0] + pair[1], expected=pair[0] + pair[1] / 2, season="trend")
)
KNOWN = st.builds(Circumstances, healthy_before=st.booleans(), healthy_after=st.booleans(), elapsed=st.none() | st.floats(0, 100))
VIEWS = st.builds(
    MetricView,
    name=st.just("m"),
    query=st.just("q"),
    value=VALUES,
    unit=st.sampled_from(["ratio", "bytes", "1"]),
    worse=st.sampled_from(Worse),
    ideal=st.none() | FINITE,
    use=st.booleans(),
    noise=st.floats(0, 1e6),
    age=st.none() | st.floats(0, 200),
    baseline=BANDS,
    note=st.text(max_size=20),
)


@given(VIEWS, VIEWS, KNOWN)
def test_what_is_unknown_never_counts_and_only_what_is_worse_is_a_regression(
    before: MetricView, after: MetricView, known: Circumstances
) -> None:
    (result,) = judge_metrics(snapshot(metrics=(before,)), snapshot(metrics=(after,)), known).results
    if after.value is None:
        assert result.change is Change.UNKNOWN
    if result.change is Change.UNKNOWN:
        assert (result.share, result.judgement.health) == (None, Health.UNKNOWN)
    assert (result.change is Change.WORSE) <= (result.share == 0.0)
    assert result.share is None or 0 <= result.share <= 1
    if result.change is Change.WORSE:
        assert before.value is not None
        assert after.value is not None
        assert (after.value > before.value) if after.worse is Worse.UP else (after.value < before.value)


@given(VIEWS, KNOWN)
def test_what_stays_the_very_same_is_no_regression(view: MetricView, known: Circumstances) -> None:
    found = judge_metrics(snapshot(metrics=(view,)), snapshot(metrics=(view,)), known)
    assert found.regressions == ()
    assert found.results[0].change in (Change.UNCHANGED, Change.UNKNOWN)
