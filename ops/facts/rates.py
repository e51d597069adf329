"""The rate of what succeeded and failed, with its interval, as it stands beside the two counts."""

from __future__ import annotations

from typing import Any

from schemas.intervals import rate_of


def rate_in(successes: int, failures: int, *, as_text: bool) -> dict[str, Any]:
    """`rate` as a person reads it, or `rate` (None without any) and its `interval` (95 %) as numbers."""
    sure = rate_of(successes, successes + failures)
    return {"rate": str(sure)} if as_text else {"rate": sure.rate, "interval": sure.interval}
