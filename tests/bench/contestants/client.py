"""What is usually written with redis-py: a MULTI/EXEC pipeline for each batch, or one awaited command at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from schemas.codec import encode
from tests.bench.contestants.course import BATCH, GROUP, Course
from tests.bench.relay import handle


async def _batches(client: Redis, course: Course) -> AsyncIterator[list[tuple[bytes, dict[bytes, bytes]]]]:
    """Batches of entries until the course is done."""
    await client.xgroup_create(course.source, GROUP, "0", mkstream=True)
    done = 0
    while done < course.hops:
        reply: Any = await client.xreadgroup(GROUP, "1", {course.source: ">"}, count=BATCH, block=1000)
        for _, entries in reply or ():
            yield entries
            done += len(entries)


async def run_multi(course: Course) -> None:
    """One transaction for each batch: XADD and XACK of every entry."""
    link, decode = course.link, course.decoder()
    async with Redis.from_url(course.url, protocol=2) as client:
        async for entries in _batches(client, course):
            pipeline = client.pipeline(transaction=True)
            for entry, fields in entries:
                pipeline.xadd(course.sink, {"e": encode(await handle(decode(fields[b"e"]), link))})
                pipeline.xack(course.source, GROUP, entry)
            await pipeline.execute()


async def run_single(course: Course) -> None:
    """XADD, then XACK, each awaited: twice a round trip for every event."""
    link, decode = course.link, course.decoder()
    async with Redis.from_url(course.url, protocol=2) as client:
        async for entries in _batches(client, course):
            for entry, fields in entries:
                await client.xadd(course.sink, {"e": encode(await handle(decode(fields[b"e"]), link))})
                await client.xack(course.source, GROUP, entry)
