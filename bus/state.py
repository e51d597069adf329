"""What the steps of a stage loop share: the deliveries in hand, the line to the workers, and what is known of Redis."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import structlog

from bus.handler import Clock, Stage
from bus.letters import Letters
from bus.meter import Meter
from bus.options import LoopOptions
from bus.park import Park
from bus.transport import FINISHED, FORGOTTEN, PARKED, Delivery, Taken, Transport
from bus.work_queue import WorkQueue
from schemas.words import DeadReason

log = structlog.get_logger("mend.bus")
_AHEAD = 0.5  # seconds of work that may be read ahead


class Lane:
    """One partition as this loop sees it. `held` are all deliveries that are this consumer's, by topic and entry id."""

    def __init__(self, transport: Transport, topics: Iterable[str]) -> None:
        self.transport = transport
        self.partition = transport.partition
        self.held: dict[str, dict[bytes, Delivery]] = {topic: {} for topic in topics}
        self.finished: deque[Delivery] = deque()
        self.to_settle = asyncio.Event()
        self.to_move = asyncio.Event()
        self.to_claim = asyncio.Event()
        self.ready = asyncio.Event()
        self.suspect: Delivery | None = None
        self.away = False
        self.heard_at = 0.0


class LoopState:
    """One stage's loop. `transient` are exceptions that mean that a store is away; `chance` gives numbers from 0 to 1."""

    def __init__(
        self,
        *,
        stage: Stage,
        options: LoopOptions,
        clock: Clock,
        chance: Callable[[], float],
        transient: tuple[type[Exception], ...],
        host: str,
        transports: Iterable[Transport],
    ) -> None:
        self.stage = stage
        self.name = stage.name
        self.topics = tuple(stage.topics)
        self.by = f"{stage.name}/{host}"
        self.options = options
        self.clock = clock
        self.chance = chance
        self.transient = transient
        self.meter = Meter(stage.name, self.topics)
        self.letters = Letters(stage.name, self.by, clock)
        self.queue = WorkQueue()
        self.park = Park()
        self.lanes = [Lane(transport, self.topics) for transport in transports]
        self.lane_of = {lane.partition: lane for lane in self.lanes}
        self.in_hand = 0
        self.stopping = False
        self.eased = asyncio.Event()
        # a guess for the first read; the workers correct it within a few events
        self.seconds_each = _AHEAD

    def free(self) -> int:
        """How many more deliveries may be taken in hand: half a second of work ahead, four batches at most."""
        options = self.options
        if self.stopping or len(self.park) >= options.max_parked:
            return 0
        ahead = options.concurrency * (1 + _AHEAD / max(self.seconds_each, 1e-6))
        return int(min(ahead, 4 * options.batch)) - (self.in_hand - len(self.park))

    async def room(self) -> int:
        """Waits until something may be read; how many entries, one batch at most."""
        while (free := self.free()) <= 0:
            self.eased.clear()
            await self.eased.wait()
        return min(free, self.options.batch)

    def admit(self, lane: Lane, taken: Taken, known: frozenset[tuple[str, bytes]] = frozenset()) -> None:
        """Takes deliveries in hand, except those already held, and passes them to the workers."""
        fresh = []
        name, attempts = self.name, self.options.attempts
        for delivery in taken.deliveries:
            held = lane.held[delivery.topic]
            if delivery.id in held or (known and (delivery.topic, delivery.id) in known):
                continue
            held[delivery.id] = delivery
            self.in_hand += 1
            if delivery.only and delivery.only != name:
                self.finish(delivery)
            elif delivery.deliveries > attempts:
                self.bury(delivery, DeadReason.CRASHED, "its consumer was lost each time it was delivered")
            else:
                fresh.append(delivery)
        if fresh:
            self.queue.put(fresh)
        for topic, entry in taken.vanished:
            self.lost(lane, topic, entry)

    def finish(self, delivery: Delivery) -> None:
        """The delivery's outcome is known: the settler will write it."""
        delivery.phase = FINISHED
        # nobody needs it any more, hundreds may wait for Redis, and now it is still in the processor's cache
        delivery.event = None
        lane = self.lane_of[delivery.partition]
        if not lane.finished:
            lane.to_settle.set()
        lane.finished.append(delivery)

    def bury(self, delivery: Delivery, reason: DeadReason, error: str, traceback: str = "") -> None:
        """Finishes a delivery as a dead letter, with its original bytes."""
        letter = self.letters.write(delivery, reason, error, traceback)
        delivery.outputs = (letter,) if letter else ()
        self.meter.topics[delivery.topic].dead += 1
        level = log.warning if letter else log.error
        level(
            "event_dead",
            stage=self.name,
            topic=delivery.topic,
            entry=delivery.id.decode(),
            partition=delivery.partition,
            reason=reason.value,
            attempts=delivery.deliveries,
            error=self.letters.bounded(error, 500),
        )
        self.finish(delivery)

    def let_go(self, lane: Lane, deliveries: Sequence[Delivery]) -> None:
        """The deliveries are no longer in this consumer's hands."""
        for delivery in deliveries:
            del lane.held[delivery.topic][delivery.id]
        self.in_hand -= len(deliveries)
        if lane.suspect is not None and lane.suspect in deliveries:
            self.survived(lane.suspect)
        self.eased.set()

    def postpone(self, delivery: Delivery, seconds: float, *, counts: int) -> None:
        """Parks a delivery until its next attempt."""
        delivery.counts = counts
        self.park.put(delivery, asyncio.get_running_loop().time() + max(seconds, 0.0))
        self.survived(delivery)
        self.eased.set()

    def survived(self, delivery: Delivery) -> None:
        """A suspect did not take this process with it: the next one may be claimed."""
        lane = self.lane_of[delivery.partition]
        if lane.suspect is delivery:
            lane.suspect = None
            lane.to_claim.set()

    def forget(self, lane: Lane, delivery: Delivery) -> None:
        """Another consumer took the delivery over before its handler was started here."""
        if delivery.phase == PARKED:
            self.park.forget(delivery)
        delivery.phase = FORGOTTEN
        log.warning("entry_taken_over", stage=self.name, topic=delivery.topic, entry=delivery.id.decode(), partition=lane.partition)
        self.let_go(lane, (delivery,))

    def lost(self, lane: Lane, topic: str, entry: bytes) -> None:
        """An entry is pending but no longer in its stream: nobody can handle it."""
        self.meter.topics[topic].lost += 1
        log.error("event_lost", stage=self.name, topic=topic, entry=entry.decode(), partition=lane.partition)
