"""Trimming: a stream loses only what every group has finished and the archive has stored.

It is told which groups there must be. As long as one of them is missing, as on a fresh or a flushed Redis, nothing is
trimmed at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import structlog

from bus import names
from bus.connect import Bus
from bus.options import DEAD_AGE
from bus.scripts import script
from schemas.events import TOPICS

log = structlog.get_logger("mend.bus")


class Trimmed(msgspec.Struct, frozen=True):
    """One stream after trimming. `held_by` names the group that holds the oldest entry, or `missing` the one that is not there."""

    partition: int
    topic: str
    entries: int
    held_by: str = ""
    missing: str = ""


async def trim(bus: Bus, groups: Mapping[str, Sequence[str]], now: datetime) -> list[Trimmed]:
    """Trims all streams once. `groups` are the expected groups of each topic; the archive is added to every topic.

    A topic that is not in `groups` is trimmed by the archive and whatever groups it has. Raises BusUnavailable.
    """
    rows = []
    for partition in range(bus.partitions):
        for topic in TOPICS:
            expected = sorted({*groups.get(topic, ()), names.ARCHIVE})
            rows.append(await _trim(bus, partition, topic, expected, now))
    return rows


async def _trim(bus: Bus, partition: int, topic: str, expected: Sequence[str], now: datetime) -> Trimmed:
    bound = f"{int((now - DEAD_AGE).timestamp() * 1000)}-0" if topic == names.DEAD else "+"
    total = 0
    while True:
        entries, holder, _ = await bus.channel(partition).run(script("trim"), [names.stream(partition, topic)], [bound, *expected])
        if entries < 0:
            log.warning("trim_refused", topic=topic, partition=partition, missing=holder.decode())
            return Trimmed(partition, topic, total, missing=holder.decode())
        total += entries
        if entries == 0:
            return Trimmed(partition, topic, total, held_by=holder.decode())
