"""What Prometheus sees of a loop, and what /livez and /readyz may say of it."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from bus.connect import Bus
from bus.handler import Context, Reject, Retry
from bus.loop import StageLoop
from bus.metrics import BusCollector
from schemas.event import Event, Output
from tests.integration.bus.ground import QUICK, Desk, answer, running, until, votes


async def test_every_outcome_is_counted(bus: Bus) -> None:
    async def mixed(event: Event, context: Context) -> list[Output]:
        match event.key:
            case "key-0":
                raise Reject("never")
            case "key-1" if context.attempt == 1:
                raise ValueError
            case "key-2" if len(desk.seen) < 8:
                raise Retry(0.01, "later")
        return await answer(event, context)

    desk = Desk(mixed)
    registry = CollectorRegistry()
    await bus.append(votes(5))
    waiting = bus.transport("learn", ["decisions"], 0, "one")
    await waiting.open()
    async with running(bus, desk) as loops:
        registry.register(BusCollector(loops))

        def read(name: str, **labels: str) -> float | None:
            return registry.get_sample_value(name, {"stage": "gate", "topic": "decisions", **labels})

        await until(lambda: read("mend_events_handled_total") == 5)
        assert read("mend_events_dead_total") == 1
        assert read("mend_events_failed_total") == 1
        assert (read("mend_events_retried_total") or 0) >= 1
        assert (read("mend_events_lost_total"), read("mend_events_refused_total")) == (0, 0)
        assert read("mend_handler_seconds_count") == len(desk.seen)
        assert (read("mend_handler_seconds_sum") or 0) > 0
        await until(lambda: read("mend_stream_length", partition="0") == 5)
        await until(lambda: read("mend_group_lag", partition="0") == 0)
        assert registry.get_sample_value("mend_events_in_hand", {"stage": "gate"}) == 0
        assert b'mend_handler_seconds_bucket{le="+Inf",stage="gate",topic="decisions"}' in generate_latest(registry)
    (backlog,) = await waiting.backlog()
    assert (backlog.lag, backlog.pending) == (5, 0)
    assert backlog.oldest >= 0
    await waiting.close()


async def test_a_loop_says_how_it_is(bus: Bus) -> None:
    stop, loop = asyncio.Event(), StageLoop(bus, Desk(), QUICK)
    assert (loop.status.alive, loop.status.ready) == (False, False)
    task = asyncio.create_task(loop.run(stop))
    await until(lambda: loop.status.ready)
    assert loop.status.alive
    stop.set()
    await task
    assert not loop.status.alive


async def test_consumers_that_left_are_deleted(bus: Bus) -> None:
    """A loop deletes itself when it stops with nothing pending; one that was killed is deleted after a while."""
    killed = bus.transport("gate", ["decisions"], 0, "killed")
    await killed.open()
    await bus.append(votes(1))
    await killed.settle((await killed.read(10, 0.1)).deliveries)
    await killed.close()
    async with running(bus, Desk()):
        pass

    async def consumers() -> list[bytes]:
        return [flat[1] for flat in await bus.channel(0).call("XINFO", "CONSUMERS", "mend:{0}:decisions", "gate")]

    assert await consumers() == [b"killed"]
    other = bus.transport("gate", ["decisions"], 0, "other")
    assert await other.prune("decisions", 3600) == 0
    await bus.append(votes(1), token="more")
    await other.read(10, 0.1)
    assert await other.prune("decisions", 0) == 1
    assert await consumers() == [b"other"], "one with something pending must stay"
    await other.close()
