"""The self-healing score, 0 to 1, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.words import Health
from stages.verify.options import Weights

REGRESSIONS = "regressions"
_STATE = {Health.HEALTHY: 1.0, Health.PROGRESSING: 0.4}
_UNSTEADY = 3  # restarts, from which on nothing is left of that part
_UNKNOWN_ALERT = 0.5


def state_share(health: Health) -> float:
    return _STATE.get(health, 0.0)


def change_share(health: Health, faulty_before: int, faulty_after: int) -> float:
    """What became of the faulty pods of before."""
    if health is Health.HEALTHY:
        return 1.0
    return max(faulty_before - faulty_after, 0) / faulty_before if faulty_before else 0.0


def steadiness_share(health: Health, restarts: int) -> float:
    return 0.0 if health is Health.ABSENT else 1.0 - min(restarts / _UNSTEADY, 1.0)


def alert_share(cleared: bool | None) -> float:
    return _UNKNOWN_ALERT if cleared is None else float(cleared)


def parts_of(shares: Mapping[str, float | None], regressions: int, weights: Weights) -> dict[str, float]:
    """What each part adds to the score: its share (0 to 1, None where it does not count) times its weight among those that count.

    What got worse takes away, as the part `regressions`. The names are those of the weights.
    """
    counted = {name: share for name, share in shares.items() if share is not None and getattr(weights, name)}
    total = sum(getattr(weights, name) for name in counted)
    parts = {name: round(share * getattr(weights, name) / total, 4) for name, share in counted.items()}
    if regressions:
        parts[REGRESSIONS] = round(-weights.regression * regressions, 4)
    return parts


def score_of(parts: Mapping[str, float]) -> float:
    """The sum of the parts, within 0 and 1."""
    return round(min(max(sum(parts.values()), 0.0), 1.0), 3)


def shown(parts: Mapping[str, float]) -> str:
    """The parts for people: `state 0.45, change 0.18, regressions -0.1`."""
    return ", ".join(f"{name} {part:.2g}" for name, part in parts.items())
