"""What a stage answers to an event that was just appended, looked for in the stream for a few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from bus.errors import BusError

if TYPE_CHECKING:
    from bus.connect import Bus
    from schemas.event import Event

_log = logging.getLogger("mend.answers")
_RECENT = 200  # entries that are looked at, so that an answer which came before the look is found


async def hear_answers(bus: Bus, event: str, topic: str, hear: Callable[[Event], bool], *, seconds: float) -> None:
    """Tells `hear` the events of a topic that answer the event with this id, as they come, until it has heard enough.

    It ends after `seconds`, too, and when Redis is away: what is in the stream is not undone by whoever looks away.
    """
    from bus.inspect import tail

    try:
        async with asyncio.timeout(seconds):
            async for entry in tail(bus, topic, last=_RECENT, follow=True):
                if entry.event is not None and entry.event.cause == event and hear(entry.event):
                    return
    except TimeoutError:
        return
    except BusError as error:
        _log.warning("the answer to %s could not be read: %s", event, error)
