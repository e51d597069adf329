"""How sure a rate is: the interval in which the true rate lies, beside every rate that people are shown."""

from __future__ import annotations

import math

import msgspec

CONFIDENCE = 0.95
_QUANTILE = 1.959963984540054  # of the standard normal distribution, at (1 + CONFIDENCE) / 2


class Interval(msgspec.Struct, frozen=True):
    """From `low` to `high`, both 0 to 1."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.0%} to {self.high:.0%}"


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """The share of successes, None without any sample, and its interval (95 %): from 0 to 1 where nothing is known."""

    successes: int
    samples: int
    rate: float | None
    interval: Interval

    def __str__(self) -> str:
        """`83% (44% to 97%)`, or `unknown`."""
        return "unknown" if self.rate is None else f"{self.rate:.0%} ({self.interval})"


def wilson(successes: int, samples: int) -> Interval:
    """The 95 % score interval of a rate: of 5 out of 6, from 0.44 to 0.97. Raises ValueError unless 0 <= successes <= samples.

    With p = successes / samples, n = samples and z the quantile 1.96, the bounds are
    (p + z²/2n ± z * sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n). Unlike p ± z * sqrt(p(1 - p)/n) they stay within 0 and 1, and say
    something for few samples and for a rate of 0 or 1. From E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
    Inference", Journal of the American Statistical Association 22 (1927), pages 209 to 212.
    """
    if not 0 <= successes <= samples:
        raise ValueError(f"{successes} of {samples} is no rate: successes are between 0 and the number of samples")
    if samples == 0:
        return Interval(0.0, 1.0)
    share, square = successes / samples, _QUANTILE**2
    middle = share + square / (2 * samples)
    reach = _QUANTILE * math.sqrt(share * (1 - share) / samples + square / (4 * samples**2))
    scale = 1 + square / samples
    # The interval contains the rate; in floating point it may miss it by the last bit where the rate is 0 or 1.
    return Interval(max(0.0, min((middle - reach) / scale, share)), min(1.0, max((middle + reach) / scale, share)))


def rate_of(successes: int, samples: int) -> Rate:
    """The rate and its interval. Raises ValueError unless 0 <= successes <= samples."""
    interval = wilson(successes, samples)
    return Rate(successes=successes, samples=samples, rate=successes / samples if samples else None, interval=interval)
