"""Two storms through everything, one process for each stage: many signals of one problem, and many problems at once.

What was lost or doubled is counted from the event log, the stores and a witness of the streams.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from ops.wiring import NEEDS_WORLD, STAGES
from tests.bench.alerts import in_groups, of_deployment
from tests.bench.contestants.course import stream_named
from tests.bench.ground import quantile, until
from tests.bench.pipeline import PROCESS_EACH, Pipeline, pipeline
from tests.bench.table import Section, Wanted, below
from tests.bench.witness import Witness

SIGNALS = 10_000
INCIDENTS = 1_000
PATIENCE = 240.0
"""Seconds after which a storm that is not over is reported as it is."""
_SETTLE = 1
_SETTINGS = f"[verify]\nsettle = {_SETTLE}\nhold_down = 0\n"
_POSTERS = 4
_USERS = ("", ", of Redis", ", of Postgres")

_EVENTS = "SELECT count(*) FROM event_log"
_HEALED = """
SELECT count(*) FROM event_log WHERE type = 'VerificationFinished' AND body::jsonb ->> 'verdict' = 'success'
"""
_JOINED = """
SELECT extract(epoch FROM told.at - signal.at) FROM event_log told JOIN event_log signal ON signal.id = told.cause
 WHERE signal.type = 'SignalReceived' AND told.type IN ('IncidentOpened', 'IncidentUpdated') AND signal.at >= $1
"""
_UNTIL = """
SELECT extract(epoch FROM told.at - signal.at) FROM event_log opened
  JOIN event_log signal ON signal.id = opened.cause
  JOIN event_log told ON told.incident = opened.incident AND told.type = $2
 WHERE opened.type = 'IncidentOpened' AND signal.at >= $1
"""
_ONCE = """
SELECT count(*) FROM incidents i
 WHERE (SELECT count(*) FROM approvals a WHERE a.incident = i.id) = 1
   AND (SELECT count(*) FROM operations o WHERE o.incident = i.id AND o.state = 'succeeded') = 1
"""


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted and what must come of it, counted from the beginning of the section."""

    name: str
    alerts: list[dict[str, Any]]
    group: int
    signals: int
    incidents: int


async def measure() -> Section:
    section = Section(
        title="Storms",
        how="One process for each stage, real HTTP, Redis with its append-only file, Postgres with fsync. Alerts are posted in groups by"
        f" {_POSTERS} senders; the world answers at once and does nothing. Otherwise than by default, verification waits {_SETTLE} s, not"
        " 10, a success is told at once instead of held for 120 s, and no valve is ever reached. Over means: every incident healed,"
        " every group has settled everything. Latencies are from the acceptance of a signal: until it has joined its incident, of every"
        " signal; to the execution's start and to healed, of the signal that opened the incident, one for each incident: of one incident"
        " there is its own time and no p99. The same processes live through both storms, and their peak memory is of each, in the first"
        " with their start; of Postgres it is that of its largest process, with what that touched of the shared buffers.",
        columns=(),
    )
    one = Storm(
        name=f"{SIGNALS:,} signals of one Deployment, groups of 100",
        alerts=[of_deployment("broken", number) for number in range(SIGNALS)],
        group=100,
        signals=SIGNALS,
        incidents=1,
    )
    many = Storm(
        name=f"{INCIDENTS:,} broken Deployments, groups of 10",
        alerts=[of_deployment(f"api-{number}") for number in range(INCIDENTS)],
        group=10,
        signals=SIGNALS + INCIDENTS,
        incidents=INCIDENTS + 1,
    )
    async with pipeline(PROCESS_EACH, _SETTINGS) as running, Witness.watching(running.redis_socket) as witness:
        told = [await _run(running, storm, witness, section) for storm in (one, many)]
        logged = await running.count(_EVENTS)
    section.columns = ("", one.name, many.name)
    section.rows = [(what, *(column[what] for column, _ in told)) for what in told[0][0]]
    section.wanted += _memory_wanted([memory for _, memory in told])
    section.notes += [
        "The Kubernetes client of these processes is loaded and not used.",
        "With a Prometheus in the settings verify exceeds its limit: the first forecast loads statsmodels, 140 MB (docs/dependencies.md).",
        f"A witness of all streams saw {witness.seen.total():,} events, {witness.doubled} of them more than once.",
        f"The event log has {logged:,}.",
    ]
    return section


async def _run(running: Pipeline, storm: Storm, witness: Witness, section: Section) -> tuple[dict[str, str], dict[str, float]]:
    """What is told of the storm, and the peak memory of each process in it."""
    before, used, since = await running.count(_EVENTS), running.processor_times(), datetime.now(UTC)
    started = time.perf_counter()
    await _post(running, list(in_groups(storm.alerts, storm.group)))
    posted = time.perf_counter() - started
    try:
        await until(lambda: _is_over(running, storm), PATIENCE, every=0.25)
    except TimeoutError:
        section.broken.append(f"{storm.name}: not over after {PATIENCE:.0f} s")
    seconds = time.perf_counter() - started
    costs, memory = [after - then for then, after in zip(used, running.processor_times(), strict=True)], running.memory()
    events = await running.count(_EVENTS) - before
    times = {
        "signal to joined": await _seconds(running, _JOINED, since),
        "to execution": await _seconds(running, _UNTIL, since, "ExecutionStarted"),
        "to healed": await _seconds(running, _UNTIL, since, "VerificationFinished"),
    }
    wrong = await _wrong(running, storm, witness) + await _unlike(running, witness)
    section.broken += [f"{storm.name}: {what}" for what in wrong]
    section.wanted.append(Wanted(f"storm of {storm.name}", "none lost or doubled", wrong[0] if wrong else "none", not wrong))
    running.forget_peaks()
    column = {
        "posted in": f"{posted:.1f} s",
        "over in": f"{seconds:.1f} s",
        "signals/s": f"{len(storm.alerts) / seconds:,.0f}",
        "all events/s": f"{events / seconds:,.0f}",
        **{f"{what}, p{share * 100:.0f}": _told(values, share) for what, values in times.items() for share in (0.5, 0.99)},
        **{f"CPU s per 10,000 events{of}": f"{cost / events * 10_000:.2f}" for of, cost in zip(_USERS, costs, strict=True)},
        **{f"peak memory, {name}": f"{size:.0f} MB" for name, size in memory.items()},
    }
    return column, memory


def _told(values: Sequence[float], share: float) -> str:
    """A quantile in seconds; a dash where so few values have no such quantile."""
    return f"{quantile(values, share):.2f} s" if len(values) * (1 - share) >= 1 or (share == 0.5 and values) else "-"


async def _post(running: Pipeline, bodies: Sequence[bytes]) -> None:
    """Posts all, several at a time, each sender in turn."""
    waiting = iter(bodies)

    async def send() -> None:
        for body in waiting:
            await running.post(body)

    await asyncio.gather(*(send() for _ in range(_POSTERS)))


async def _is_over(running: Pipeline, storm: Storm) -> bool:
    return await running.is_quiet() and await running.count(_HEALED) >= storm.incidents and await running.is_quiet()


async def _seconds(running: Pipeline, query: str, *values: object) -> list[float]:
    return [float(row[0]) for row in await running.database.fetch(query, *values)]


async def _wrong(running: Pipeline, storm: Storm, witness: Witness) -> list[str]:
    """What the event log, the stores and the witness say against the storm."""
    expected = {
        "signals in the event log": ("SELECT count(*) FROM event_log WHERE type = 'SignalReceived'", storm.signals),
        "signals in the store": ("SELECT count(*) FROM signals", storm.signals),
        "incidents": ("SELECT count(*) FROM incidents", storm.incidents),
        "actions proposed": ("SELECT count(*) FROM event_log WHERE type = 'ActionProposed'", storm.incidents),
        "approvals": ("SELECT count(*) FROM approvals", storm.incidents),
        "operations": ("SELECT count(*) FROM operations", storm.incidents),
        "incidents with one approval and one operation that succeeded": (_ONCE, storm.incidents),
        "incidents healed": (_HEALED, storm.incidents),
    }
    found = []
    for what, (query, wanted) in expected.items():
        counted = await running.count(query)
        if counted != wanted:
            found.append(f"{counted:,} {what} instead of {wanted:,}")
    dead = await running.redis.xlen(stream_named("dead"))
    return found + [text for count, text in ((dead, f"{dead} dead letters"), (witness.doubled, f"{witness.doubled} doubled")) if count]


async def _unlike(running: Pipeline, witness: Witness) -> list[str]:
    """Where the witness and the event log differ, once both have had time for the newest."""
    wrong: list[str] = []

    async def agree() -> bool:
        nonlocal wrong
        rows = await running.database.fetch("SELECT topic, id FROM event_log")
        wrong = witness.against({(row["topic"], row["id"]) for row in rows})
        return not wrong

    with suppress(TimeoutError):
        await until(agree, 10, every=0.5)
    return wrong


def _memory_wanted(memory: Sequence[dict[str, float]]) -> list[Wanted]:
    """The two limits, each held against the largest process in any storm."""
    peaks = [(name, size) for each in memory for name, size in each.items() if name in STAGES]
    with_client = max(size for name, size in peaks if name in NEEDS_WORLD)
    without = max(size for name, size in peaks if name not in NEEDS_WORLD)
    return [
        below("peak memory of the largest stage", 60, without, " MB", 0),
        below("peak memory of the largest with a Kubernetes client", 120, with_client, " MB", 0),
    ]
