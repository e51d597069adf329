"""The step of a stage loop that runs handlers, and the closed set of ways in which one can end."""

from __future__ import annotations

import asyncio
from time import perf_counter

from bus.handler import Context, Reject, Retry
from bus.letters import describe
from bus.retry import backoff
from bus.state import LoopState, log
from bus.transport import RUNNING, Delivery, Emit
from schemas.codec import decode, encode
from schemas.errors import UndecodableEvent, UnknownEventType
from schemas.event import Delayed, Event, Output
from schemas.words import DeadReason

_NO_FIELD = "not an event: the entry has no field `e`: write the event into it as JSON, as docs/producers.md says"
_TURN = 32
"""Handlers that never suspend give way to the rest of the loop after so many events."""


async def work(state: LoopState) -> None:
    """Runs handlers, one after another; `concurrency` of these run side by side."""
    queue, turn = state.queue, 0
    while True:
        delivery = queue.take()
        if delivery is None:
            await queue.rest()
            continue
        delivery.phase = RUNNING
        await _deliver(state, delivery)
        turn += 1
        if turn == _TURN:
            turn = 0
            await asyncio.sleep(0)


async def _deliver(state: LoopState, delivery: Delivery) -> None:
    """One run of the handler, and what becomes of the delivery. The only place where any exception is caught."""
    started = perf_counter()
    event = delivery.event or _decoded(state, delivery)
    if event is None:
        return
    try:
        context = Context(stage=state.name, by=state.by, clock=state.clock, input=event, attempt=delivery.deliveries)
        delivery.outputs = list(map(_emit, await state.stage.handle(event, context)))
    except Retry as later:
        _postpone(state, delivery, later.after, later.reason)
    except Reject as rejection:
        state.bury(delivery, DeadReason.REJECTED, rejection.reason)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        _fail(state, delivery, error)
    except state.transient as error:
        options = state.options
        wait = min(options.transient_delay * 2.0 ** min(delivery.waits, 30), options.transient_limit)
        delivery.waits += 1
        _postpone(state, delivery, wait, describe(error)[0])
    except Exception as error:  # noqa: BLE001 - the edge of the loop: a bug in a handler becomes an outcome
        _fail(state, delivery, error)
    else:
        state.finish(delivery)
    seconds = perf_counter() - started
    state.seconds_each += (seconds - state.seconds_each) * 0.2
    state.meter.topics[delivery.topic].took(seconds)


def _decoded(state: LoopState, delivery: Delivery) -> Event | None:
    """The event inside, kept for further attempts; None when there is none and the delivery is dead."""
    if delivery.foreign:
        state.bury(delivery, DeadReason.UNDECODABLE, _NO_FIELD)
        return None
    try:
        delivery.event = decode(delivery.body)
    except UnknownEventType as error:
        state.bury(delivery, DeadReason.UNKNOWN_TYPE, str(error))
    except UndecodableEvent as error:
        state.bury(delivery, DeadReason.UNDECODABLE, str(error))
    return delivery.event


def _emit(output: Output) -> Emit:
    if isinstance(output, Delayed):
        return Emit(output.event.topic, encode(output.event), max(1, int(output.until.timestamp() * 1000)))
    return Emit(output.topic, encode(output), 0)


def _postpone(state: LoopState, delivery: Delivery, after: float, reason: str) -> None:
    """The world is not ready: later, and the attempt does not count."""
    state.meter.topics[delivery.topic].retried += 1
    log.info(
        "event_postponed",
        stage=state.name,
        topic=delivery.topic,
        entry=delivery.id.decode(),
        partition=delivery.partition,
        seconds=after,
        reason=state.letters.bounded(reason, 500),
    )
    state.postpone(delivery, after, counts=0)


def _fail(state: LoopState, delivery: Delivery, error: BaseException) -> None:
    """A bug: later, and the attempt counts; after the last one it is a dead letter."""
    state.meter.topics[delivery.topic].failed += 1
    line, trace = describe(error)
    if delivery.deliveries >= state.options.attempts:
        state.bury(delivery, DeadReason.EXHAUSTED, line, trace)
        return
    options = state.options
    wait = backoff(delivery.deliveries, base=options.backoff, limit=options.backoff_limit, chance=state.chance())
    log.warning(
        "event_failed",
        stage=state.name,
        topic=delivery.topic,
        entry=delivery.id.decode(),
        partition=delivery.partition,
        attempt=delivery.deliveries,
        again_in=round(wait, 3),
        error=state.letters.bounded(line, 500),
        traceback=state.letters.bounded(trace, 4000),
    )
    state.postpone(delivery, wait, counts=1)
