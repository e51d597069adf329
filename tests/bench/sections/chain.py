"""Seven stage processes in a chain: how many events pass through all of them, and how long one takes when nothing else flows."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import msgspec
from redis.asyncio import Redis

from ops.embedded import EmbeddedRedis
from schemas.codec import encode, peek
from tests.bench.contestants.bare import RawConnection
from tests.bench.contestants.course import Course, stream_of
from tests.bench.ground import Child, fill, median, peak_memory, processor_time, quantile, redis_server, until
from tests.bench.relay import CHAIN, fresh
from tests.bench.table import Section, at_least, below

STAGES = len(CHAIN) - 1
EVENTS = 30_000
SAMPLES = 300
ROUNDS = 3
_FIRST, _LAST = stream_of(CHAIN[0]), stream_of(CHAIN[-1])
_NAMES = {
    "bytes": "seven bare loops, bytes passed on",
    "bare": "seven loops by hand (the yardstick)",
    "ours": "seven Mendstream stages",
}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Events per second through the chain; processor seconds of the stages and of Redis; milliseconds of each idle sample;
    MB of the largest process."""

    speed: float
    stages: float
    redis: float
    idle: list[float]
    memory: float


async def measure() -> Section:
    section = Section(
        title="Seven stages in a chain",
        how="Seven processes with trivial handlers, each emitting the next kind of event."
        f" {EVENTS:,} events appended at once, until the last one has arrived at the end, {ROUNDS} rounds in turns, medians."
        f" Idle: {SAMPLES} events a round, one after another, each from before its XADD until a reader has it."
        " Redis keeps nothing on disk here; the yardstick decodes and encodes each event too. The figures that are wanted are of a machine"
        " on which bare loops do 20,000 events/s, idle 1.8 ms: half as many, and 2.2 times as long.",
        columns=("", "events/s", "CPU s per 10,000 events", "of Redis", "idle p50", "idle p99", "largest process"),
    )
    runs: dict[str, list[Run]] = {name: [] for name in _NAMES}
    async with redis_server(durable=False) as server:
        for _ in range(ROUNDS):
            for name, done in runs.items():
                done.append(await _run(server, name, section))
    speeds = {name: median([run.speed for run in done]) for name, done in runs.items()}
    idle = {name: [sample for run in done for sample in run.idle] for name, done in runs.items()}
    p50, p99 = ({name: quantile(samples, share) for name, samples in idle.items()} for share in (0.5, 0.99))
    for name, done in runs.items():
        memory = max(run.memory for run in done)
        costs = [f"{median(used) / EVENTS * 10_000:.2f}" for used in ([run.stages for run in done], [run.redis for run in done])]
        figures = (f"{speeds[name]:,.0f}", *costs, f"{p50[name]:.1f} ms", f"{p99[name]:.1f} ms", f"{memory:.0f} MB")
        section.rows.append((_NAMES[name], *figures))
    section.wanted = [
        at_least("seven stages, of the bare loops", 50, speeds["ours"] / speeds["bytes"] * 100, " %"),
        at_least("seven stages, end to end", 10_000, speeds["ours"], " events/s"),
        below("seven stages, idle, p50, of the bare loops'", 2.2, p50["ours"] / p50["bytes"], " times"),
        below("seven stages, idle, p50", 4, p50["ours"], " ms"),
        below("seven stages, idle, p99", 15, p99["ours"], " ms"),
    ]
    return section


async def _run(server: EmbeddedRedis, name: str, section: Section) -> Run:
    assert server.process is not None
    socket, redis = str(server.socket), server.process.pid
    async with Redis(unix_socket_path=socket, protocol=2) as client, AsyncExitStack() as stack:
        await client.flushall()
        courses = [Course(socket=socket, hops=0, step=step) for step in range(STAGES)]
        starts = [Child.started("tests.bench.contestants", name, msgspec.json.encode(course).decode()) for course in courses]
        children = await asyncio.gather(*(stack.enter_async_context(start) for start in starts))
        for child in children:
            child.go()
        idle = await _idle(socket)
        bodies = [encode(fresh()) for _ in range(EVENTS)]
        pids = [child.pid for child in children]
        used, used_by_redis = sum(map(processor_time, pids)), processor_time(redis)
        started = time.perf_counter()
        await fill(client, _FIRST, bodies)
        await until(lambda: _arrived(client, EVENTS + len(idle) + 1), 120)
        speed = EVENTS / (time.perf_counter() - started)
        section.broken += [f"{_NAMES[name]}: {what}" for what in await _wrong(socket, EVENTS + len(idle) + 1)]
        return Run(
            speed=speed,
            stages=sum(map(processor_time, pids)) - used,
            redis=processor_time(redis) - used_by_redis,
            idle=idle,
            memory=max(map(peak_memory, pids)),
        )


async def _idle(socket: str) -> list[float]:
    """Milliseconds of each sample; a first event, not counted, waits until all seven are there."""
    sender, receiver = await RawConnection.opened(socket), await RawConnection.opened(socket)
    samples: list[float] = []
    last: bytes = b"0"
    for _ in range(SAMPLES + 1):
        body = encode(fresh())
        started = time.perf_counter()
        await sender.send_command("XADD", _FIRST, "*", "e", body)
        reply = await receiver.call("XREAD", "BLOCK", 30_000, "STREAMS", _LAST, last)
        samples.append((time.perf_counter() - started) * 1000)
        last = reply[0][1][-1][0]
        await sender.read_response()
        await asyncio.sleep(0.003)  # long enough for every stage to block in its read again
    await sender.disconnect()
    await receiver.disconnect()
    return samples[1:]


async def _arrived(client: Redis, events: int) -> bool:
    length: int = await client.xlen(_LAST)
    return length >= events


async def _wrong(socket: str, events: int) -> list[str]:
    """Events missing or doubled at the end of the chain, by their ids."""
    connection = await RawConnection.opened(socket)
    entries = await connection.call("XRANGE", _LAST, "-", "+")
    await connection.disconnect()
    ids = {peek(fields[1])[1] for _, fields in entries}
    found = []
    if len(ids) != events:
        found.append(f"{events - len(ids)} events of {events} were lost")
    if len(entries) != len(ids):
        found.append(f"{len(entries) - len(ids)} events were doubled")
    return found
