"""Hops per second of one process: ours with every guarantee, beside the yardstick and the peers, in turns."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis

from schemas.codec import encode
from tests.bench.contestants.course import GROUP, Course, Lap
from tests.bench.ground import Child, fill, median, redis_server
from tests.bench.relay import fresh
from tests.bench.table import Section, at_least

ROUNDS = 5
_HOPS = {
    "bare": 60_000,
    "plain": 30_000,
    "ours": 60_000,
    "bytes": 60_000,
    "multi": 30_000,
    "single": 5_000,
    "faststream": 3_000,
    "faststream best": 20_000,
}
_NAMES = {
    "bare": "gated Lua loop by hand, C packer (the yardstick)",
    "plain": "the yardstick with redis-py's own packing",
    "ours": "Mendstream's stage loop, all guarantees on",
    "bytes": "the yardstick passing bytes on, nothing decoded",
    "multi": "MULTI/EXEC through redis-py's pipeline",
    "single": "one awaited command at a time",
    "faststream": "FastStream",
    "faststream best": "FastStream, batch subscriber and pipeline",
}


async def measure() -> Section:
    section = Section(
        title="One hop: read, handle, emit, settle",
        how=f"One process, one stream to the next, events of {len(encode(fresh()))} bytes decoded and encoded as typed structs, a trivial"
        f" asynchronous handler, batches of 100. Each contestant in a fresh process on the same Redis, in turns, {ROUNDS} rounds, medians."
        " Redis keeps nothing on disk here. The yardstick decodes and encodes each event as Mendstream does; one that only passes bytes on"
        " has a line of its own, and every share is of the first.",
        columns=("contestant", "hops/s", "of the yardstick", "CPU s per 10,000 hops", "slowest", "fastest"),
    )
    bodies = [encode(fresh()) for _ in range(max(_HOPS.values()))]
    laps: dict[str, list[Lap]] = {name: [] for name in _HOPS}
    async with redis_server(durable=False) as server, Redis.from_url(server.url, protocol=2) as client:
        for _ in range(ROUNDS):
            for name, hops in _HOPS.items():
                laps[name].append(await _lap(client, name, Course(socket=str(server.socket), hops=hops), bodies[:hops], section))
    _compare(section, laps)
    return section


def _compare(section: Section, laps: dict[str, list[Lap]]) -> None:
    speeds = {name: [_HOPS[name] / lap.seconds for lap in done] for name, done in laps.items()}
    middle = {name: median(found) for name, found in speeds.items()}
    for name, found in speeds.items():
        cost = median([lap.processor for lap in laps[name]]) / _HOPS[name] * 10_000
        share = f"{middle[name] / middle['bare']:.0%}"
        section.rows.append((_NAMES[name], f"{middle[name]:,.0f}", share, f"{cost:.3f}", f"{min(found):,.0f}", f"{max(found):,.0f}"))
    section.wanted = [
        at_least("one stage process, of the yardstick", 70, middle["ours"] / middle["bare"] * 100, " %"),
        at_least("one stage process, against FastStream's best", 4, middle["ours"] / middle["faststream best"], " times", 1),
    ]


async def _lap(client: Redis, name: str, course: Course, bodies: list[bytes], section: Section) -> Lap:
    """One contestant once, from an empty Redis; what it lost or doubled goes into `section.broken`."""
    await client.flushall()
    if name.startswith("faststream"):
        from tests.bench.contestants.faststream_peer import as_published

        await fill(client, course.source, await as_published(bodies), field="__data__")
    else:
        await fill(client, course.source, bodies)
    async with Child.started("tests.bench.contestants", name, msgspec.json.encode(course).decode()) as child:
        child.go()
        lap = msgspec.json.decode(await child.line(), type=Lap)
    section.broken += [f"{_NAMES[name]}: {what}" for what in await _wrong(client, course)]
    return lap


async def _wrong(client: Redis, course: Course) -> list[str]:
    """What the streams say against a contestant: entries missing, doubled or still pending."""
    found = []
    written: int = await client.xlen(course.sink)
    if written != course.hops:
        found.append(f"{written} events came of {course.hops}")
    pending: Any = await client.xpending(course.source, GROUP)
    if pending["pending"]:
        found.append(f"{pending['pending']} entries are still pending")
    return found
