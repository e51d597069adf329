"""FastStream, the usual framework for Redis Streams in Python: as its tutorial has it, and as fast as its own means go.

It acknowledges after the handler has published, so a crash between the two doubles events; nothing is claimed or dead-lettered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fast_depends.msgspec import MsgSpecSerializer
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.message import RedisBatchStreamMessage
from faststream.redis.parser.binary import BinaryMessageFormatV1

from schemas.codec import encode
from schemas.event import Event
from schemas.events import IncidentOpened, SignalReceived
from tests.bench.contestants.course import BATCH, GROUP, Course
from tests.bench.relay import handle


class _Finish:
    """Counts hops and says when the last one was published."""

    def __init__(self, hops: int) -> None:
        self.reached = asyncio.Event()
        self._missing = hops

    def count(self, hops: int) -> None:
        self._missing -= hops
        if self._missing <= 0:
            self.reached.set()


async def run_single(course: Course) -> None:
    """A typed subscriber and publisher: one event, one publish, one acknowledgement."""
    broker = _broker(course.url, serializer=MsgSpecSerializer())
    finish = _Finish(course.hops)

    async def relay(event: SignalReceived) -> IncidentOpened:
        answer = await handle(event, course.link)
        finish.count(1)
        assert isinstance(answer, IncidentOpened)
        return answer

    broker.subscriber(stream=_subscription(course, batch=False))(broker.publisher(stream=course.sink)(relay))
    await _run(broker, course, finish)


async def run_best(course: Course) -> None:
    """Its batch subscriber, and one pipeline for what a batch publishes; bytes are decoded and encoded by msgspec itself."""
    broker = _broker(course.url, apply_types=False)
    finish = _Finish(course.hops)
    decode = course.decoder()

    async def relay(bodies: list[bytes]) -> None:
        pipeline = (await broker.connect()).pipeline(transaction=False)
        for body in bodies:
            answer: Event = await handle(decode(body), course.link)
            await broker.publish(encode(answer), stream=course.sink, pipeline=pipeline)
        await pipeline.execute()
        finish.count(len(bodies))

    broker.subscriber(stream=_subscription(course, batch=True), decoder=_bodies)(relay)
    await _run(broker, course, finish)


async def _bodies(message: RedisBatchStreamMessage) -> list[bytes]:
    """The bytes of each message of a batch, before anything has parsed them as JSON."""
    return [BinaryMessageFormatV1.parse(entry[b"__data__"])[0] for entry in message.raw_message["data"]]


def _subscription(course: Course, *, batch: bool) -> StreamSub[Any]:
    return StreamSub(course.source, group=GROUP, consumer="1", batch=batch, max_records=BATCH, polling_interval=1000)


def _broker(url: str, **choices: Any) -> RedisBroker:
    """A broker that logs nothing: a line for each event would be its greatest cost."""
    made: Any = RedisBroker  # its types forbid what its documentation advises
    broker: RedisBroker = made(url, logger=None, **choices)
    return broker


async def _run(broker: RedisBroker, course: Course, finish: _Finish) -> None:
    """Starts after the group was made at the very first entry: FastStream itself makes it at the newest."""
    client = await broker.connect()
    await client.xgroup_create(course.source, GROUP, "0", mkstream=True)
    await broker.start()
    await finish.reached.wait()
    await broker.stop()


async def as_published(bodies: list[bytes]) -> list[bytes]:
    """The same events in the envelope that FastStream's publisher writes."""
    make: Callable[..., Awaitable[bytes]] = BinaryMessageFormatV1.encode
    return [await make(message=msgspec.json.decode(body), reply_to=None, headers=None, correlation_id="0" * 24) for body in bodies]
