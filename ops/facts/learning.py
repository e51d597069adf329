"""What has been learned of a problem: how each kind of action has ended, how sure that is, and which one is recommended by it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import asdict

from ops.errors import NoSuchProblem
from ops.facts.rates import rate_in
from schemas.intervals import Interval, Rate, rate_of
from schemas.target import Kind
from sql.database import Database
from sql.declarations import Reach
from sql.diagnoses import DebateRecord, Record, record_of_critics, record_of_sources
from sql.problems import Problem, find_problem, repairs_about, usual_repairs
from sql.repairs import Recommendation, Repair, recommend

LEAST_ATTEMPTS = 3
KNOWN_ATTEMPTS = 10
EXCELLENT = 0.8


class Status(StrEnum):
    """How much is known: `insufficient` under 3 attempts, `learning` under 10, then `excellent` from a rate of 0.8, else `sufficient`."""

    INSUFFICIENT = "insufficient"
    LEARNING = "learning"
    SUFFICIENT = "sufficient"
    EXCELLENT = "excellent"


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of action, by its verb, has ended: its rate of successes, 0 to 1, in which interval (95 %) the true one lies, and
    how many seconds it ran on average, where that is known.
    """

    verb: str
    samples: int
    successes: int
    rate: float
    interval: Interval
    seconds: float | None

    @property
    def sure(self) -> Rate:
        return rate_of(self.successes, self.samples)


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What has mended a problem before, the best first, two alternatives at most; `tried` counts everything that was tried.

    Empty where nothing was tried often enough, or nothing helped. `usual` is what is tried as a rule where nothing at all is known: a
    default, and no finding.
    """

    repairs: tuple[Tried, ...] = ()
    tried: int = 0
    usual: tuple[str, ...] = ()


class ProblemAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """What is recommended for the problem with this key."""

    key: str
    advice: Advice


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried for the problem with this key. `actions` are the best first; `best` is the best of those with 3 samples or more.

    `rate` is that of all attempts, None without any; `interval` (95 %) is where the true one lies, and 0 to 1 where nothing is known.
    """

    key: str
    status: Status
    attempts: int
    successes: int
    rate: float | None
    interval: Interval
    actions: tuple[Tried, ...]
    best: Tried | None


class SourceRecord(Record, frozen=True, kw_only=True):
    """How often what a source took to be wrong was borne out: `rate` is of what is known, None without any, in its `interval` (95 %)."""

    rate: float | None
    interval: Interval


class CriticRecord(DebateRecord, frozen=True, kw_only=True):
    """How often a critic of a provider's suggestions was right, in the same way, apart for where it agreed and where it objected."""

    rate: float | None
    interval: Interval


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """How often each source of diagnoses, and each critic of one, was right."""

    sources: tuple[SourceRecord, ...]
    critics: tuple[CriticRecord, ...]


class Farther(Reach, frozen=True, kw_only=True):
    """How often operations went farther than foreseen: `rate` is of those measured, None without any, in its `interval` (95 %)."""

    rate: float | None
    interval: Interval


async def records_of(database: Database) -> Records:
    """How often each source and critic was right. Raises StoreUnavailable."""
    async with database.connection() as connection:
        sources, critics = await record_of_sources(connection), await record_of_critics(connection)
    return Records(
        sources=tuple(SourceRecord(**asdict(one), **rate_in(one.right, one.wrong, as_text=False)) for one in sources),
        critics=tuple(CriticRecord(**asdict(one), **rate_in(one.right, one.wrong, as_text=False)) for one in critics),
    )


def farther_of(reach: Reach) -> Farther:
    """The same with how often it was farther than foreseen."""
    return Farther(**asdict(reach), **rate_in(reach.farther, reach.measured - reach.farther, as_text=False))


def advice_of(found: Recommendation, kind: Kind | None) -> Advice:
    """A recommendation with how sure it is; `kind` is that of the target, None where it is not known."""
    usual = usual_repairs(kind) if kind and not found.tried else ()
    return Advice(repairs=tuple(_tried(one) for one in found.repairs), tried=found.tried, usual=usual)


def summarise(key: str, repairs: Sequence[Repair]) -> Summary:
    """The summary of how each kind of action has ended; the best is the one with the highest score that has healed at all."""
    ranked = [_tried(one) for one in sorted(repairs, key=lambda one: one.rank)]
    whole = rate_of(sum(one.successes for one in repairs), sum(one.samples for one in repairs))
    return Summary(
        key=key,
        status=_status(whole),
        attempts=whole.samples,
        successes=whole.successes,
        rate=whole.rate,
        interval=whole.interval,
        actions=tuple(ranked),
        best=next((one for one in ranked if one.samples >= LEAST_ATTEMPTS and one.successes), None),
    )


async def summary_of(database: Database, key: str) -> Summary:
    """The summary of the problem with this anomaly key or incident key. Raises NoSuchProblem, StoreUnavailable."""
    problem, repairs = await _known(database, key)
    return summarise(problem.key, repairs)


async def advice_about(database: Database, key: str) -> ProblemAdvice:
    """What is recommended for the problem with this anomaly key or incident key. Raises NoSuchProblem, StoreUnavailable."""
    problem, repairs = await _known(database, key)
    return ProblemAdvice(key=problem.key, advice=advice_of(recommend(repairs), problem.kind))


async def _known(database: Database, key: str) -> tuple[Problem, list[Repair]]:
    async with database.connection() as connection:
        problem = await find_problem(connection, key) if key.isprintable() else None
        if problem is None:
            raise NoSuchProblem(
                "no incident was ever about that: give the id of an incident, a target as CLUSTER/NAMESPACE/KIND/NAME,"
                ' or an alert about one as "ALERT on CLUSTER/NAMESPACE/KIND/NAME"'
            )
        return problem, await repairs_about(connection, problem.key)


def _status(whole: Rate) -> Status:
    if whole.rate is None or whole.samples < LEAST_ATTEMPTS:
        return Status.INSUFFICIENT
    if whole.samples < KNOWN_ATTEMPTS:
        return Status.LEARNING
    return Status.EXCELLENT if whole.rate >= EXCELLENT else Status.SUFFICIENT


def _tried(one: Repair) -> Tried:
    interval = one.sure.interval
    return Tried(verb=one.verb, samples=one.samples, successes=one.successes, rate=one.rate, interval=interval, seconds=one.seconds)
