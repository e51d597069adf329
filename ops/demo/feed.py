"""Everything that flows, as it flows: shown to whoever reads, and waited for by whoever tells a story."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from bus.connect import Bus
from bus.inspect import tail
from ops.demo.pipeline import DemoFailed
from schemas.event import Event
from schemas.events import TOPICS

E = TypeVar("E", bound=Event)


class Feed:
    """Follows all topics; `show` is called once for each event."""

    def __init__(self, bus: Bus, show: Callable[[Event], None]) -> None:
        self._bus = bus
        self._show = show
        self._seen: dict[str, Event] = {}
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        """Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for topic in TOPICS:
                group.create_task(self._topic(topic))

    async def _topic(self, topic: str) -> None:
        async for row in tail(self._bus, topic, last=1000, follow=True):
            event = row.event
            if event is None or event.id in self._seen:
                continue
            self._show(event)
            async with self._news:
                self._seen[event.id] = event
                self._news.notify_all()

    def events(self, incident: str) -> list[Event]:
        """What was seen of one incident, by time."""
        return sorted((event for event in self._seen.values() if event.incident == incident), key=lambda event: (event.at, event.id))

    async def until(self, kind: type[E], holds: Callable[[E], bool], what: str, *, seconds: float = 30.0) -> E:
        """The first event of `kind` for which `holds`. Raises DemoFailed, with `what` was waited for."""
        try:
            async with asyncio.timeout(seconds), self._news:
                while True:
                    for event in self._seen.values():
                        if isinstance(event, kind) and holds(event):
                            return event
                    await self._news.wait()
        except TimeoutError:
            raise DemoFailed(f"{what} did not happen within {seconds:g} s") from None
