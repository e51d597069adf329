"""Repair statistics: how each kind of action has ended for one problem, and which one is recommended by that.

A problem is one alert on one target. Of an action counts what was verified as success, failed or degraded, or failed to run; what
nobody could tell, and what only looked, does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from schemas.intervals import Rate, rate_of
from sql.database import Connection

LEAST_SAMPLES = 5
LEAST_RATE = 0.6
ALTERNATIVES = 2
_TIERS = {
    **dict.fromkeys(("restart", "delete", "evict", "rerun", "restart-unit", "restart-container", "restart-service"), 1),
    **dict.fromkeys(("scale", "limit", "bounds"), 2),
}
_OTHER_TIER = 3  # what changes a configuration, rolls back or deletes
_REPAIRS = """
SELECT split_part(l.pattern, ':', 1) AS verb, count(*) AS samples, count(*) FILTER (WHERE l.verdict = 'success') AS successes,
       avg(l.seconds) AS seconds
FROM lessons l JOIN incidents i ON i.id = l.incident JOIN incidents here ON here.id = $1
WHERE i.key = here.key AND l.incident <> here.id AND l.alert IN (SELECT alert FROM incident_alerts WHERE incident = here.id)
  AND (l.verdict IN ('success', 'failed', 'degraded') OR l.outcome = 'failed')
  AND split_part(l.pattern, ':', 1) NOT IN ('investigate', 'diagnose')
GROUP BY verb
"""


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of action, by its verb, has ended: `seconds` is how long it ran on average, None where that is not known."""

    verb: str
    samples: int
    successes: int
    seconds: float | None = None

    @property
    def rate(self) -> float:
        """The share of successes, 0 to 1."""
        return self.successes / self.samples

    @property
    def sure(self) -> Rate:
        """The rate with its interval: five of five are fewer than fifty of fifty."""
        return rate_of(self.successes, self.samples)

    @property
    def score(self) -> float:
        """rate * ln(samples + 1): what was tried more often counts for more."""
        return self.rate * math.log(self.samples + 1)

    @property
    def rank(self) -> tuple[float, int, str]:
        """The better, the less; of equals the one that changes less."""
        return -round(self.score, 9), _TIERS.get(self.verb, _OTHER_TIER), self.verb


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What has mended this problem before, the best first; empty where nothing was tried often enough, or nothing helped.

    `tried` counts everything that was tried, whatever came of it.
    """

    repairs: tuple[Repair, ...] = ()
    tried: int = 0


async def repairs_of(connection: Connection, incident: str) -> list[Repair]:
    """How each kind of action has ended in earlier incidents about the same target and one of the same alerts."""
    rows = await connection.fetch(_REPAIRS, incident)
    return [Repair(verb=row["verb"], samples=row["samples"], successes=row["successes"], seconds=row["seconds"]) for row in rows]


def recommend(repairs: Sequence[Repair]) -> Recommendation:
    """The kind of action with the highest score of those with 5 samples and 60 % successes at least, and two alternatives at most."""
    known = sorted((one for one in repairs if one.samples >= LEAST_SAMPLES and one.rate >= LEAST_RATE), key=lambda one: one.rank)
    return Recommendation(repairs=tuple(known[: 1 + ALTERNATIVES]), tried=sum(one.samples for one in repairs))
