"""Mendstream: the stage loop that every stage runs in, as it is in production."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence

import structlog

from bus.connect import connect
from bus.handler import Context
from bus.loop import StageLoop
from bus.options import LoopOptions
from ops.process import spare_collector
from schemas.event import Event, Output
from tests.bench.contestants.course import BATCH, GROUP, Course


class _Relay:
    """A stage with the trivial handler; counts, and says when the course is done."""

    name = GROUP

    def __init__(self, course: Course, done: asyncio.Event) -> None:
        self.topics = (course.source.rpartition(":")[2],)
        self._link = course.link
        self._missing = course.hops
        self._done = done

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        self._missing -= 1
        if not self._missing:
            self._done.set()
        return [context.event(self._link.kind, **self._link.fields)]


async def run(course: Course) -> None:
    """Runs the loop until the course is done or SIGTERM comes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    bus = await connect(course.url, name="bench")
    spare_collector()
    await StageLoop(bus, _Relay(course, done), LoopOptions(batch=BATCH)).run(done)
    await bus.close()
