"""When a failed event is tried again: exponential backoff with jitter, as a function of numbers only."""

from __future__ import annotations


def backoff(attempt: int, *, base: float, limit: float, chance: float) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): `base` doubled each time, `limit` at most, then jitter.

    `chance` is 0 to 1; it takes up to half of the wait away, so that events that failed together do not return together.
    """
    # 2 ** 60 times any base is beyond any limit, and a float still holds it
    whole = min(limit, base * 2.0 ** min(max(attempt, 1) - 1, 60))
    return whole * (1.0 - chance / 2.0)
