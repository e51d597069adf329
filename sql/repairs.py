"""Repair statistics: how each kind of action has ended for one problem, and which one is recommended by that.

A problem is one alert on one target, by its anomaly key; of an incident it is that of its first alert. Of an action counts what was
verified as success, failed or degraded, or failed once it had begun; what nobody could tell, and what only looked, does not. The
statistics are the fold of a ledger with one row for each operation, which its execution and its verification fill in any order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from schemas.action import is_observation
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.intervals import Rate, rate_of
from schemas.words import Outcome, Verdict
from sql.database import Connection
from sql.keys import BEGINNING, Touched, hold_keys
from sql.proof import Deed, Proof

TYPES: tuple[str, ...] = ("ExecutionFinished", "VerificationFinished")
TABLES: tuple[str, ...] = ("repair_ledger", "repairs")
LEAST_SAMPLES = 5
LEAST_RATE = 0.6
ALTERNATIVES = 2
_TIERS = {
    **dict.fromkeys(("restart", "delete", "evict", "rerun", "restart-unit", "restart-container", "restart-service"), 1),
    **dict.fromkeys(("scale", "limit", "bounds"), 2),
}
_OTHER_TIER = 3  # what changes a configuration, rolls back or deletes
_COUNTED = (Verdict.SUCCESS, Verdict.FAILED, Verdict.DEGRADED)
_ANOMALIES = """
SELECT DISTINCT ON (incident) incident, anomaly FROM incident_alerts WHERE incident = ANY($1) ORDER BY incident, place
"""
_EXECUTED = """
INSERT INTO repair_ledger (operation, incident, anomaly, verb, failed, seconds, executed_at, execution)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::float8[], $7::timestamptz[], $8::text[])
ON CONFLICT (operation) DO UPDATE SET failed = excluded.failed, seconds = excluded.seconds,
       executed_at = excluded.executed_at, execution = excluded.execution
 WHERE repair_ledger.execution = '' OR (excluded.executed_at, excluded.execution) < (repair_ledger.executed_at, repair_ledger.execution)
"""
_VERIFIED = """
INSERT INTO repair_ledger (operation, incident, anomaly, verb, verdict, verified_at, verification)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
ON CONFLICT (operation) DO UPDATE SET verdict = excluded.verdict, verified_at = excluded.verified_at, verification = excluded.verification
 WHERE repair_ledger.verification = ''
    OR (excluded.verified_at, excluded.verification) < (repair_ledger.verified_at, repair_ledger.verification)
"""
# The mean is taken in one order, so that it is the same to the last bit whenever it is taken.
_FOLD = """
WITH folded AS (
    SELECT anomaly, verb, count(*) AS samples, count(*) FILTER (WHERE verdict = 'success') AS successes, count(seconds) AS timed,
           avg(seconds ORDER BY operation) AS seconds
      FROM repair_ledger WHERE anomaly = ANY($1) AND (failed OR verdict <> '') GROUP BY anomaly, verb
), emptied AS (
    DELETE FROM repairs r WHERE anomaly = ANY($1) AND NOT EXISTS (SELECT FROM folded f WHERE f.anomaly = r.anomaly AND f.verb = r.verb)
)
INSERT INTO repairs (anomaly, verb, samples, successes, timed, seconds) SELECT * FROM folded
ON CONFLICT (anomaly, verb) DO UPDATE
   SET samples = excluded.samples, successes = excluded.successes, timed = excluded.timed, seconds = excluded.seconds
"""
# What was done for the incident itself is taken off again: it tells nothing about what helped before.
_REPAIRS = """
WITH here AS (SELECT DISTINCT anomaly FROM incident_alerts WHERE incident = $1),
own AS (
    SELECT l.anomaly, l.verb, count(*) AS samples, count(*) FILTER (WHERE l.verdict = 'success') AS successes, sum(l.seconds) AS seconds,
           count(l.seconds) AS timed
      FROM repair_ledger l JOIN here USING (anomaly) WHERE l.incident = $1 AND (l.failed OR l.verdict <> '') GROUP BY l.anomaly, l.verb
)
SELECT verb, sum(r.samples - coalesce(own.samples, 0))::bigint AS samples,
       sum(r.successes - coalesce(own.successes, 0))::bigint AS successes,
       sum(r.seconds * r.timed - coalesce(own.seconds, 0)) / nullif(sum(r.timed - coalesce(own.timed, 0)), 0) AS seconds
  FROM repairs r JOIN here USING (anomaly) LEFT JOIN own USING (anomaly, verb)
 GROUP BY verb HAVING sum(r.samples - coalesce(own.samples, 0)) > 0
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


async def keep(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes the executions and verifications that the store bears out into the ledger; of two alike the earlier one counts."""
    told = [one for one in events if isinstance(one, ExecutionFinished | VerificationFinished) and not is_observation(one.action)]
    proven = sorted(await proof.borne_out(told), key=lambda event: (event.at, event.id), reverse=True)
    if not proven:
        return {}
    connection = proof.connection
    rows = await connection.fetch(_ANOMALIES, list({event.incident for event in proven}))
    anomalies = {row["incident"]: row["anomaly"] for row in rows}
    executed = {one.operation: one for one in proven if isinstance(one, ExecutionFinished) and one.incident in anomalies}
    verified = {one.operation: one for one in proven if isinstance(one, VerificationFinished) and one.incident in anomalies}
    known = await proof.deeds(executed)
    touched = {anomalies[one.incident]: BEGINNING for one in (*executed.values(), *verified.values())}
    await hold_keys(connection, "repair_ledger", touched)
    if executed:
        values = [(*_place(one, anomalies), *_execution(one, known[one.operation])) for one in executed.values()]
        await connection.execute(_EXECUTED, *_columns(values))
    if verified:
        judged = [(*_place(one, anomalies), _verdict(one), one.at, one.id) for one in verified.values()]
        await connection.execute(_VERIFIED, *_columns(judged))
    return touched


def _place(event: ExecutionFinished | VerificationFinished, anomalies: Mapping[str, str]) -> tuple[str, str, str, str]:
    return event.operation, event.incident, anomalies[event.incident], event.action.verb


def _execution(event: ExecutionFinished, deed: Deed) -> tuple[object, ...]:
    """How it ran; one that failed before its action began says nothing of what the action does."""
    return event.outcome is Outcome.FAILED and deed.begun, event.seconds, event.at, event.id


def _verdict(event: VerificationFinished) -> str:
    """The verdict, or nothing where nothing was seen."""
    return event.verdict.value if event.measured and event.verdict in _COUNTED else ""


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def fold_keys(connection: Connection, touched: Touched) -> None:
    """Folds the ledgers of these problems; where nothing is left of one, it has no row."""
    await connection.execute(_FOLD, list(touched))


async def take(proof: Proof, events: Sequence[Event]) -> None:
    """Takes events into the ledger and the statistics: any order, any repetition, the same rows. In a transaction."""
    touched = await keep(proof, events)
    if touched:
        await fold_keys(proof.connection, touched)


async def repairs_of(connection: Connection, incident: str) -> list[Repair]:
    """How each kind of action has ended in earlier incidents about the same target and one of the same alerts."""
    rows = await connection.fetch(_REPAIRS, incident)
    return [Repair(verb=row["verb"], samples=row["samples"], successes=row["successes"], seconds=row["seconds"]) for row in rows]


def recommend(repairs: Sequence[Repair]) -> Recommendation:
    """The kind of action with the highest score of those with 5 samples and 60 % successes at least, and two alternatives at most."""
    known = sorted((one for one in repairs if one.samples >= LEAST_SAMPLES and one.rate >= LEAST_RATE), key=lambda one: one.rank)
    return Recommendation(repairs=tuple(known[: 1 + ALTERNATIVES]), tried=sum(one.samples for one in repairs))
