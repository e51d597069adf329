"""The steps of a stage loop that talk to Redis: read, settle, keep, wake, move, measure. Each runs for ever in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bus.errors import BusError, BusUnavailable, GroupMissing
from bus.options import SIGN_OF_LIFE
from bus.state import Lane, LoopState, log
from bus.transport import PARKED, QUEUED, SUSPECT, Delivery

_PAGE = 500
_SOON = 1.0


async def read(state: LoopState, lane: Lane) -> None:
    """Takes new entries in hand, as many as there is room for. After any loss of Redis it looks at its own pending ones first."""
    pause = 0.05
    while True:
        try:
            await _prepare(state, lane)
            pause = 0.05
            while True:
                taken = await lane.transport.read(await state.room(), state.options.block)
                _heard(state, lane)
                state.admit(lane, taken)
                # a quick handler runs, and its outputs are on their way, before Redis is asked for more
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        except GroupMissing:
            log.warning("groups_missing", stage=state.name, partition=lane.partition)
        except BusError as error:
            _missed(state, lane, error)
        await asyncio.sleep(pause * (0.5 + state.chance()))
        pause = min(pause * 2, 2.0)


async def _prepare(state: LoopState, lane: Lane) -> None:
    """Makes the groups, and takes in hand what a lost answer left pending."""
    made = await lane.transport.open()
    if made:
        log.info("groups_made", stage=state.name, partition=lane.partition, groups=made)
    for topic, held in lane.held.items():
        cursor = b"-"
        while True:
            known = frozenset((topic, entry) for entry in held)
            taken = await lane.transport.recover(topic, cursor, _PAGE)
            state.admit(lane, taken, known)
            cursor = taken.cursor
            if cursor == b"-":
                break
    _heard(state, lane)
    lane.ready.set()


def _heard(state: LoopState, lane: Lane) -> None:
    lane.heard_at = asyncio.get_running_loop().time()
    if lane.away:
        lane.away = False
        log.info("bus_back", stage=state.name, partition=lane.partition)


def _missed(state: LoopState, lane: Lane, error: BusError) -> None:
    if not lane.away:
        lane.away = True
        state.meter.reconnects += 1
        log.warning("bus_away", stage=state.name, partition=lane.partition, error=state.letters.bounded(str(error), 500))


async def settle(state: LoopState, lane: Lane) -> None:
    """Writes what has finished, all that there is, a batch at most for each script; never lets go of it before Redis answered."""
    finished, batch = lane.finished, state.options.batch
    while True:
        if not finished:
            lane.to_settle.clear()
            await lane.to_settle.wait()
        taken = [finished.popleft() for _ in range(min(batch, len(finished)))]
        refused = await _settled(state, lane, taken)
        _account(state, lane, taken, refused)


async def _settled(state: LoopState, lane: Lane, batch: Sequence[Delivery]) -> Sequence[int]:
    pause = 0.05
    while True:
        try:
            return await lane.transport.settle(batch)
        except BusError as error:
            _missed(state, lane, error)
        except asyncio.CancelledError:
            lane.finished.extendleft(reversed(batch))
            raise
        await asyncio.sleep(pause * (0.5 + state.chance()))
        pause = min(pause * 2, 2.0)


def _account(state: LoopState, lane: Lane, batch: Sequence[Delivery], refused: Sequence[int]) -> None:
    meters = state.meter.topics
    delayed = False
    for delivery in batch:
        meters[delivery.topic].handled += 1
        for output in delivery.outputs:
            if output.due:
                delayed = True
    state.let_go(lane, batch)
    for position in refused:
        delivery = batch[position - 1]
        meters[delivery.topic].handled -= 1
        meters[delivery.topic].refused += 1
        log.warning("settle_refused", stage=state.name, topic=delivery.topic, entry=delivery.id.decode(), partition=lane.partition)
    if delayed:
        lane.to_move.set()


async def keep(state: LoopState, lane: Lane) -> None:
    """Keeps what is in hand by a heartbeat, and takes over what others have left."""
    options, clock = state.options, asyncio.get_running_loop().time
    await lane.ready.wait()
    cursors = dict.fromkeys(lane.held, b"-")
    beat_at = 0.0
    while True:
        lane.to_claim.clear()
        try:
            # the heartbeat first: after a stall, what is in hand looks abandoned even to its own consumer
            if clock() >= beat_at:
                beat_at = clock() + min(options.idle_limit / 3, SIGN_OF_LIFE / 3)
                await _beat(state, lane)
            if not state.stopping:
                await _claim(state, lane, cursors)
        except GroupMissing:
            pass  # the reader meets the same and makes the groups
        except BusError as error:
            _missed(state, lane, error)
        await _wait(lane.to_claim, min(options.claim_period, options.idle_limit / 3))


async def _beat(state: LoopState, lane: Lane) -> None:
    for topic, held in lane.held.items():
        entries = list(held)
        for start in range(0, len(entries), _PAGE):
            for entry in await lane.transport.heartbeat(topic, entries[start : start + _PAGE]):
                delivery = held.get(entry)
                if delivery is not None and delivery.phase in {QUEUED, PARKED}:
                    state.forget(lane, delivery)
    if not state.stopping:
        await lane.transport.present()


async def _claim(state: LoopState, lane: Lane, cursors: dict[str, bytes]) -> None:
    for topic, cursor in cursors.items():
        count = min(state.free(), state.options.batch)
        if count <= 0:
            return
        suspects = 0 if lane.suspect else 1
        taken = await lane.transport.claim(topic, cursor, state.options.idle_limit, count, suspects)
        cursors[topic] = taken.cursor
        for delivery in taken.deliveries:
            if delivery.deliveries > SUSPECT and delivery.id not in lane.held[topic]:
                lane.suspect = delivery
        if taken.deliveries:
            log.info("entries_claimed", stage=state.name, topic=topic, partition=lane.partition, entries=len(taken.deliveries))
        state.admit(lane, taken)


async def wake(state: LoopState) -> None:
    """Brings parked deliveries back to the workers when their time has come, if they are still this consumer's."""
    while True:
        due: dict[tuple[int, str], list[Delivery]] = {}
        for delivery in await state.park.due():
            due.setdefault((delivery.partition, delivery.topic), []).append(delivery)
        for (partition, topic), deliveries in due.items():
            await _reclaim(state, state.lane_of[partition], topic, deliveries)


async def _reclaim(state: LoopState, lane: Lane, topic: str, deliveries: Sequence[Delivery]) -> None:
    """Asks for them back. While Redis is asked, the heartbeat may find the same loss: what it let go is nobody's here any more."""
    held = lane.held[topic]
    try:
        counts = await lane.transport.reclaim(topic, [(delivery.id, delivery.counts) for delivery in deliveries])
    except BusError as error:
        _missed(state, lane, error)
        again = asyncio.get_running_loop().time() + _SOON
        for delivery in deliveries:
            if held.get(delivery.id) is delivery:
                state.park.put(delivery, again)
        return
    ours = []
    for delivery, count in zip(deliveries, counts, strict=True):
        if held.get(delivery.id) is not delivery:
            continue
        if count == 0:
            state.forget(lane, delivery)
        else:
            delivery.deliveries = max(count, delivery.deliveries + delivery.counts)
            delivery.phase = QUEUED
            ours.append(delivery)
    state.queue.put(ours)


async def move(state: LoopState, lane: Lane) -> None:
    """Moves delayed events that are due to their streams; a delay settled here wakes it at once."""
    options = state.options
    await lane.ready.wait()
    while True:
        lane.to_move.clear()
        wait = options.delay_period
        try:
            now = int(state.clock().timestamp() * 1000)
            moved, following = await lane.transport.move_due(now, options.batch)
            if moved == options.batch:
                continue
            if following >= 0:
                wait = min(wait, max((following - now) / 1000, 0.001))
        except BusError as error:
            _missed(state, lane, error)
        await _wait(lane.to_move, wait)


async def measure(state: LoopState, lane: Lane) -> None:
    """Keeps the gauges of lag and age fresh, and deletes consumers that have long been away."""
    options, clock = state.options, asyncio.get_running_loop().time
    await lane.ready.wait()
    prune_at = clock()
    while True:
        try:
            for backlog in await lane.transport.backlog():
                state.meter.topics[backlog.topic].backlog[lane.partition] = backlog
            if clock() >= prune_at:
                prune_at = clock() + options.consumer_idle / 4
                for topic in lane.held:
                    await lane.transport.prune(topic, options.consumer_idle)
        except BusUnavailable as error:
            _missed(state, lane, error)
        except BusError:
            pass  # no group yet: the reader makes it
        await asyncio.sleep(options.measure_period)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
