"""What is usual for a metric: a Holt-Winters forecast of its own past, and a band of what the forecast has missed by so far.

The season is the longest one that the past shows twice: weekly, daily, or none but the trend. What an earlier incident left
in the past (few samples, far off) is replaced by what the season has in its place. statsmodels is loaded here only, and
only when a forecast is made, for it costs a second and 140 MB; call `usual` in a thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.ports import Usual
from schemas.evidence import Band

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_DAY, _WEEK = 86_400.0, 604_800.0
_CYCLES = 2  # a season counts when the past shows it so often
_LEAST_POINTS = 24
_MOST_POINTS = 20_000
_LARGEST = 1e100  # in a metric it is nonsense, and its square is still a number
_FAR = 6.0  # deviations, from which on a sample is an exception
_FEW = 0.1  # share of the samples that may be replaced: more are no exception
_AROUND = 25  # samples, half of which an exception may last
_MAD = 1.4826  # from the median of absolute deviations to the deviation of a normal distribution
_LEVELS, _TRENDS, _SEASONS = (0.05, 0.2, 0.5), (0.01, 0.1), (0.05, 0.2)
_DAMPING = 0.98


class BaselineOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a metric's usual band is told from its past."""

    deviations: float = 3.0
    """Half the width of the band, in standard deviations of what the forecast missed by."""

    least: float = 3600.0
    """The shortest past that tells what is usual, in seconds; with less, only before and after are compared."""

    gaps: float = 0.25
    """The largest share of a past that may be missing, 0 to 1."""

    floor: float = 0.01
    """The least half width of the band, as a share of what is expected: for what hardly ever changes."""


class _Past(msgspec.Struct, frozen=True):
    """Samples on a regular grid, NaN where there is none; `step` in seconds, `end` the Unix time of the last."""

    values: Any
    step: float
    end: float

    @property
    def span(self) -> float:
        return (len(self.values) - 1) * self.step


def usual(samples: Sequence[tuple[float, float]], at: float, step: float, options: BaselineOptions | None = None) -> Usual:
    """The band for the time `at` from samples (Unix time in seconds, value) that are `step` seconds apart. Raises nothing.

    Samples that are no finite number count as missing.
    """
    options = options or BaselineOptions()
    known = sorted((when, value) for when, value in samples if math.isfinite(when) and math.isfinite(value) and abs(value) <= _LARGEST)
    if not known or not (math.isfinite(step) and step > 0 and math.isfinite(at)):
        return Usual(band=None, history=0.0, note="it has no history")
    span = known[-1][0] - known[0][0]
    if span < options.least or len(known) < _LEAST_POINTS:
        return Usual(band=None, history=span, note=f"too little history ({shown(span)}) to say what is usual")
    if span / step > _MOST_POINTS:
        return Usual(band=None, history=span, note="its history has too many samples to say what is usual")
    past = _on_grid(known, step)
    if (reason := _unusable(past, at, options)) is not None:
        return Usual(band=None, history=span, note=reason)
    try:
        return Usual(band=_band(past, at, options), history=span)
    except ImportError:
        return Usual(band=None, history=span, note="statsmodels is not installed, so what is usual is not known")
    except (ValueError, ArithmeticError) as error:
        return Usual(band=None, history=span, note=f"its history fits no forecast ({type(error).__name__})")


def shown(seconds: float) -> str:
    """A span in the largest unit that fits, for people."""
    for unit, name in ((_DAY, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _on_grid(known: Sequence[tuple[float, float]], step: float) -> _Past:
    import numpy as np

    first = known[0][0]
    values = np.full(round((known[-1][0] - first) / step) + 1, np.nan)
    for when, value in known:
        values[round((when - first) / step)] = value
    return _Past(values, step, first + (len(values) - 1) * step)


def _unusable(past: _Past, at: float, options: BaselineOptions) -> str | None:
    import numpy as np

    missing = float(np.isnan(past.values).mean())
    if missing > options.gaps:
        return f"{missing:.0%} of its history is missing, too much to say what is usual"
    if len(past.values) < _LEAST_POINTS:
        return f"too little history ({shown(past.span)}) to say what is usual"
    if at - past.end > max(past.span / 4, 2 * past.step):
        return f"its history ends {shown(at - past.end)} before, too early to say what is usual now"
    return None


def _band(past: _Past, at: float, options: BaselineOptions) -> Band:
    """The band. Raises ImportError, and ValueError or ArithmeticError where no forecast can be made."""
    import numpy as np

    name, period = _season(past)
    values = _filled(past.values, period)
    middle, scale = float(np.median(values)), float(np.max(np.abs(values - np.median(values))))
    ahead = max((at - past.end) / past.step, 1.0)
    if scale <= 1e-12 * max(abs(middle), 1e-300):
        expected, deviation = middle, 0.0
    else:
        with np.errstate(all="ignore"):
            found = _forecast((values - middle) / scale, ~np.isnan(past.values), period, ahead)
        expected, deviation = middle + scale * found[0], scale * found[1]
    half = max(options.deviations * deviation, options.floor * abs(expected), 1e-12)
    if not (math.isfinite(expected) and math.isfinite(half)):
        raise ArithmeticError("the forecast is no number")
    return Band(lower=expected - half, upper=expected + half, expected=expected, season=name)


def _season(past: _Past) -> tuple[str, int]:
    """The longest season that the past shows twice, and its length in steps; 0 for none."""
    for name, seconds in (("weekly", _WEEK), ("daily", _DAY)):
        period = round(seconds / past.step)
        if period >= 4 and abs(period * past.step - seconds) < seconds / 100 and len(past.values) >= _CYCLES * period:
            return name, period
    return "trend", 0


def _filled(values: Numbers, period: int) -> Numbers:
    """The values with each gap filled from the season before or after, else by a straight line."""
    import numpy as np

    filled = values.copy()
    if period:
        for index in np.flatnonzero(np.isnan(filled)):
            near = [filled[other] for other in (index - period, index + period) if 0 <= other < len(filled)]
            filled[index] = next((value for value in near if not np.isnan(value)), np.nan)
    gaps = np.isnan(filled)
    filled[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), filled[~gaps])
    return filled


def _forecast(values: Numbers, real: NDArray[np.bool_], period: int, ahead: float) -> tuple[float, float]:
    """What is expected `ahead` steps on, and the deviation of that forecast, for values of about 1; `real` ones were measured.

    Between two steps the expectation lies on the line that joins them: a step may be long enough for the metric to turn.
    """
    import numpy as np

    odd = _exceptions(values, period)
    if odd.any():
        values, real = _filled(np.where(odd, np.nan, values), period), real & ~odd
    fit = _best(values, period)
    settled = slice(period or len(values) // 10, None)
    missed = (values - fit.fittedvalues)[settled][real[settled]]
    deviation = float(np.sqrt(np.mean(missed**2))) if len(missed) else 0.0
    steps = math.ceil(ahead)
    path = np.asarray(fit.forecast(steps))
    return float(np.interp(ahead, np.arange(1, steps + 1), path)), deviation * _growth(fit.params, period, steps)


def _exceptions(values: Numbers, period: int) -> NDArray[np.bool_]:
    """Which values are far from those around them and, where there is a season, from their like a season before and after."""
    import numpy as np

    width = _AROUND if period else max(_AROUND, len(values) // 12 | 1)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, width // 2, mode="edge"), width)
    odd = _far(values - np.median(around, axis=1))
    if period:
        changed = _far(values[period:] - values[:-period])
        odd[period:] &= changed
        odd[:-period] &= changed
    return odd if odd.mean() <= _FEW else np.zeros_like(odd)


def _far(differences: Numbers) -> NDArray[np.bool_]:
    import numpy as np

    spread = _MAD * float(np.median(np.abs(differences - np.median(differences))))
    return np.abs(differences) > _FAR * spread if spread > 0 else np.zeros(len(differences), dtype=bool)


def _best(values: Numbers, period: int) -> Any:
    """The fit of the smallest error among a few smoothing parameters.

    They are tried, not searched for: an optimizer warns where it does not converge, and in a thread of a server that warning
    can only be silenced for everybody.
    """
    from statsmodels.tsa.holtwinters import ExponentialSmoothing

    model = ExponentialSmoothing(
        values,
        trend="add",
        damped_trend=True,
        seasonal="add" if period else None,
        seasonal_periods=period or None,
        initialization_method="heuristic",
    )
    fits = [
        model.fit(
            smoothing_level=level,
            smoothing_trend=trend,
            smoothing_seasonal=season,
            damping_trend=_DAMPING,
            optimized=False,
        )
        for level in _LEVELS
        for trend in _TRENDS
        for season in (_SEASONS if period else (None,))
    ]
    return min(fits, key=lambda fit: fit.sse if math.isfinite(fit.sse) else math.inf)


def _growth(parameters: dict[str, Any], period: int, ahead: int) -> float:
    """How much wider a forecast's deviation is `ahead` steps on than one step on.

    Hyndman et al., Forecasting with Exponential Smoothing (2008), table 6.1, for the damped additive model (A,Ad,A).
    """
    level, trend = parameters["smoothing_level"], parameters["smoothing_trend"] * parameters["smoothing_level"]
    season = parameters["smoothing_seasonal"] if period else 0.0
    total, damped = 1.0, 0.0
    for step in range(1, ahead):
        damped += _DAMPING**step
        total += (level + trend * damped + (season if period and step % period == 0 else 0.0)) ** 2
    return math.sqrt(total)
