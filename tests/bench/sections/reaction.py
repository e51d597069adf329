"""From an alert to the start of its remedy, on a machine that does nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from schemas.codec import decode
from schemas.events import ExecutionStarted
from tests.bench.alerts import notification, of_deployment
from tests.bench.contestants.bare import RawConnection
from tests.bench.contestants.course import stream_named
from tests.bench.ground import quantile, until
from tests.bench.pipeline import ONE_PROCESS, PROCESS_EACH, Pipeline, pipeline
from tests.bench.table import Section, below

SAMPLES = 120
_WARM_UP = 2  # alerts that are not counted
_LATER = "[verify]\nsettle = 3600\n"  # no verification comes between the samples
_WAYS = {"one process for each stage": PROCESS_EACH, "all in one process, as `mend up`": ONE_PROCESS}


async def measure() -> Section:
    section = Section(
        title="From the alert to the start of its remedy",
        how=f"{SAMPLES} alerts, one after another, each about another Deployment, severity info, mode auto: from before the POST to"
        " /v1/alertmanager until a reader has ExecutionStarted from the stream. Real stages, Redis with its append-only file, Postgres with"
        " fsync; the world answers at once and does nothing. Otherwise than by default, no valve is reached, and nothing is verified"
        " between the samples. Processor time is that of everything that an alert sets off, until every stage has settled it; that of"
        " Redis is also of the bench, which asks it every 10 ms whether they have.",
        columns=("", "p50", "p90", "p99", "slowest", "CPU ms per alert", "of Redis", "of Postgres"),
    )
    for name, processes in _WAYS.items():
        async with pipeline(processes, _LATER) as running:
            await _samples(running, range(_WARM_UP))
            used = running.processor_times()
            samples = await _samples(running, range(_WARM_UP, _WARM_UP + SAMPLES))
            costs = [(after - before) / SAMPLES * 1000 for before, after in zip(used, running.processor_times(), strict=True)]
        p50, p90, p99 = (quantile(samples, share) for share in (0.5, 0.9, 0.99))
        section.rows.append((name, *(f"{value:.1f} ms" for value in (p50, p90, p99, max(samples))), *(f"{cost:.1f}" for cost in costs)))
        section.wanted += [
            below(f"alert to execution, {name}, p50", 40, p50, " ms"),
            below(f"alert to execution, {name}, p99", 150, p99, " ms"),
        ]
    return section


async def _samples(running: Pipeline, numbers: Iterable[int]) -> list[float]:
    """Milliseconds of each sample, one for each number."""
    connection = await RawConnection.opened(str(running.redis_socket))
    samples: list[float] = []
    last = b"0"
    for number in numbers:
        body = notification([of_deployment(f"api-{number}")])
        started = time.perf_counter()
        await running.post(body)
        last = await _started(connection, last, f"api-{number}")
        samples.append((time.perf_counter() - started) * 1000)
        await until(running.is_quiet, 30)
        await asyncio.sleep(0.01)  # every stage blocks in its read again
    await connection.disconnect()
    return samples


async def _started(connection: RawConnection, last: bytes, name: str) -> bytes:
    """Waits for the execution's start about this Deployment; returns the id of the newest entry that was read."""
    while True:
        for _, entries in await connection.call("XREAD", "BLOCK", 30_000, "STREAMS", stream_named("executions"), last):
            last = entries[-1][0]
            for _, fields in entries:
                event = decode(fields[1])
                if isinstance(event, ExecutionStarted) and event.action.target.name == name:
                    return last
