"""The stage loop: what makes a process out of a stage. It is a list of named steps, each in a task of its own.

read    takes new entries in hand, as many as there is room for          (one for each partition)
work    runs the handler                                                  (`concurrency` of them)
settle  writes outputs and acknowledgement together                       (one for each partition)
keep    heartbeat of what is in hand, claims of what others left          (one for each partition)
wake    brings back what waits for another attempt
move    brings delayed events to their streams                            (one for each partition)
measure lag, pending and age                                              (one for each partition)
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import secrets
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from bus import steps
from bus.errors import BusError
from bus.handler import Clock, Stage
from bus.meter import Meter
from bus.options import LoopOptions
from bus.state import Lane, LoopState, log
from bus.transport import FINISHED, QUEUED, RUNNING, Carrier
from bus.work import work

_now = partial(datetime.now, UTC)
_LAST_WORDS = 5.0
"""Seconds that cancelled handlers get to clean up."""


class Status(msgspec.Struct, frozen=True):
    """How a loop is: `alive` while its steps run, Redis away or not; `ready` while it reads from every partition."""

    alive: bool
    ready: bool
    reason: str = ""


class StageLoop:
    """Runs one stage on a bus until it is told to stop.

    `transient` are exception types that mean that a store is away: the event waits and no attempt counts.
    """

    def __init__(
        self,
        bus: Carrier,
        stage: Stage,
        options: LoopOptions | None = None,
        clock: Clock = _now,
        transient: tuple[type[Exception], ...] = (),
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.stage = stage
        host = platform.node() or "host"
        self.consumer = f"{host}:{os.getpid()}:{secrets.token_hex(4)}"
        topics = tuple(stage.topics)
        self._state = LoopState(
            stage=stage,
            options=options or LoopOptions(),
            clock=clock,
            chance=chance,
            transient=transient,
            host=host,
            transports=[bus.transport(stage.name, topics, partition, self.consumer) for partition in range(bus.partitions)],
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def meter(self) -> Meter:
        """What the loop has counted so far."""
        return self._state.meter

    @property
    def in_hand(self) -> int:
        """Deliveries that this loop holds in memory; bounded whatever the backlog."""
        return self._state.in_hand

    @property
    def status(self) -> Status:
        """For /livez and /readyz."""
        state = self._state
        if not self._tasks or any(task.done() for task in self._tasks):
            return Status(alive=False, ready=False, reason=f"{state.name}: the loop is not running")
        now = asyncio.get_running_loop().time()
        # a full loop does not read, so only one with room can be late
        late = [
            lane.partition
            for lane in state.lanes
            if not lane.away and lane.ready.is_set() and state.free() > 0 and now - lane.heard_at > state.options.block + 30
        ]
        if late:
            return Status(alive=False, ready=False, reason=f"{state.name}: partition {late[0]} has not been read for over 30 s")
        away = [lane.partition for lane in state.lanes if lane.away or not lane.ready.is_set()]
        if away:
            return Status(alive=True, ready=False, reason=f"{state.name}: partition {away[0]} of Redis cannot be read")
        return Status(alive=True, ready=not state.stopping)

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then finishes within the grace time. Cancelling it stops at once.

        What was read and not begun goes back to the other consumers. Raises only what is a defect of the loop itself.
        """
        state = self._state
        stopper = asyncio.create_task(stop.wait(), name=f"{state.name}-stop")
        readers = [*self._each("read", steps.read), *self._each("measure", steps.measure), self._task("wake", steps.wake(state))]
        workers = [self._task("work", self._work(state)) for _ in range(state.options.concurrency)]
        writers = [*self._each("settle", steps.settle), *self._each("keep", steps.keep), *self._each("move", steps.move)]
        self._tasks = [*readers, *workers, *writers]
        log.info("stage_started", stage=state.name, consumer=self.consumer, partitions=len(state.lanes))
        try:
            done, _ = await asyncio.wait([stopper, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopper}:
                task.result()
            await self._wind_down(readers, workers)
        finally:
            await _cancel([stopper, *self._tasks], state.name)
            self._tasks = []
            for lane in state.lanes:
                await lane.transport.close()
            log.info("stage_stopped", stage=state.name, consumer=self.consumer)

    async def _wind_down(self, readers: Sequence[asyncio.Task[None]], workers: Sequence[asyncio.Task[None]]) -> None:
        """Stops reading, lets running handlers finish and settle, gives the rest back."""
        state = self._state
        state.stopping = True
        await _cancel(readers, state.name)
        state.queue.clear()
        try:
            async with asyncio.timeout(state.options.grace):
                await _quiet(state)
        except TimeoutError:
            log.warning("grace_over", stage=state.name, seconds=state.options.grace)
        await _cancel(workers, state.name)
        for lane in state.lanes:
            await _release(state, lane)

    def _work(self, state: LoopState) -> Coroutine[Any, Any, None]:
        """The step that handles events; the archive has another."""
        return work(state)

    def _each(self, step: str, function: Callable[[LoopState, Lane], Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
        return [self._task(f"{step}-{lane.partition}", function(self._state, lane)) for lane in self._state.lanes]

    def _task(self, step: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(coroutine, name=f"{self._state.name}-{step}")


async def _quiet(state: LoopState) -> None:
    """Waits until no handler runs and all that has finished is settled."""
    while any(delivery.phase in {RUNNING, FINISHED} for lane in state.lanes for held in lane.held.values() for delivery in held.values()):
        state.eased.clear()
        await state.eased.wait()


async def _release(state: LoopState, lane: Lane) -> None:
    """Gives everything that is still pending to whoever asks first; what was never begun gets its delivery back."""
    for topic, held in lane.held.items():
        begun = [entry for entry, delivery in held.items() if delivery.phase != QUEUED and delivery.counts]
        try:
            released = await lane.transport.release(topic, begun, state.options.idle_limit * 10)
        except BusError as error:
            log.warning("release_failed", stage=state.name, partition=lane.partition, error=state.letters.bounded(str(error), 500))
            return
        if released:
            log.info("entries_released", stage=state.name, topic=topic, partition=lane.partition, entries=released)


async def _cancel(tasks: Sequence[asyncio.Task[Any]], stage: str) -> None:
    """Cancels tasks and waits for their end; one that will not end is named in the log."""
    for task in tasks:
        task.cancel()
    _, stubborn = await asyncio.wait(tasks, timeout=_LAST_WORDS)
    for task in stubborn:
        log.error("task_will_not_end", stage=stage, task=task.get_name())
