"""The archive: events from Redis into Postgres, the process as it is, and the same events once more."""

from __future__ import annotations

import os
import signal
import time

import msgspec

from schemas.codec import encode
from tests.bench.contestants.course import stream_of
from tests.bench.ground import fill, processor_time, until
from tests.bench.pipeline import Pipeline, pipeline
from tests.bench.relay import CHAIN, fresh
from tests.bench.table import Section, at_least

EVENTS = 60_000
_STREAM = stream_of(CHAIN[0])


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds until everything was stored, processor seconds of the process, and rows of the log afterwards."""

    seconds: float
    processor: float
    rows: int


async def measure() -> Section:
    section = Section(
        title="Archive",
        how=f"One archive process, trimming and sweeping included, {EVENTS:,} events of {len(encode(fresh()))} bytes waiting in Redis,"
        " until every one of them is committed in Postgres and acknowledged; then the same events, appended once more."
        " Redis with its append-only file, Postgres with fsync.",
        columns=("", "events/s", "CPU s per 10,000 events", "rows in the log afterwards"),
    )
    bodies = [encode(fresh()) for _ in range(EVENTS)]
    async with pipeline([("archive",)]) as running:
        runs = {"new events": await _run(running, bodies), "the same events again": await _run(running, bodies)}
    for name, run in runs.items():
        speed, cost = EVENTS / run.seconds, run.processor / EVENTS * 10_000
        section.rows.append((name, f"{speed:,.0f}", f"{cost:.3f}", f"{run.rows:,}"))
        if run.rows != EVENTS:
            section.broken.append(f"{name}: the log has {run.rows} rows of {EVENTS}")
    section.wanted = [at_least("archive", 20_000, EVENTS / runs["new events"].seconds, " events/s")]
    return section


async def _run(running: Pipeline, bodies: list[bytes]) -> Run:
    """Lets the process sleep until everything waits in Redis, then takes the time."""
    pid = running.processes["archive"].pid
    os.kill(pid, signal.SIGSTOP)
    await fill(running.redis, _STREAM, bodies)
    used, started = processor_time(pid), time.perf_counter()
    os.kill(pid, signal.SIGCONT)
    await until(running.is_quiet, 120)
    seconds = time.perf_counter() - started
    rows = await running.count("SELECT count(*) FROM event_log")
    return Run(seconds=seconds, processor=processor_time(pid) - used, rows=rows)
