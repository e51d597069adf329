"""Dead letters for people: list, show, replay, drop.

A replay puts the original bytes back on the stream they came from, for the one group that could not handle them, and takes
the dead letter away, in one script: replayed twice, it happens once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum

import msgspec

from bus import names
from bus.connect import Bus
from bus.scripts import script
from schemas.codec import decode
from schemas.errors import SchemaError
from schemas.events import DeadLettered
from schemas.words import DeadReason

_PAGE = 200


class DeadRow(msgspec.Struct, frozen=True):
    """A dead letter and where it lies."""

    partition: int
    entry: str
    letter: DeadLettered


class Outcome(StrEnum):
    """What became of a dead letter: done, gone already, a group (such as the archive) has yet to finish with it, or it cannot be done."""

    DONE = "done"
    GONE = "gone"
    UNSEEN = "unseen"
    REFUSED = "refused"


class Result(msgspec.Struct, frozen=True):
    """`group` is the one that has yet to finish, where the outcome is `unseen`; `why` says what to do, where it is `refused`."""

    outcome: Outcome
    group: str = ""
    why: str = ""


async def letters(
    bus: Bus,
    *,
    event: str = "",
    kind: str = "",
    reason: DeadReason | None = None,
    group: str = "",
) -> AsyncIterator[DeadRow]:
    """Dead letters, oldest first in each partition: all, or those of this event id (its own or that of the event
    inside), kind of event inside, reason and group. Raises BusUnavailable.
    """
    for partition in range(bus.partitions):
        start = "-"
        while True:
            page = await bus.channel(partition).call("XRANGE", names.stream(partition, names.DEAD), start, "+", "COUNT", _PAGE)
            for entry, fields in page:
                letter = _letter(fields)
                if letter is not None and _fits(letter, event, kind, reason, group):
                    yield DeadRow(partition, entry.decode(), letter)
            if len(page) < _PAGE:
                break
            start = "(" + page[-1][0].decode()


def _letter(fields: list[bytes]) -> DeadLettered | None:
    """The dead letter in an entry; one that was replayed for a group that reads dead letters is only told to it again, and is none."""
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    if b"g" in named:
        return None
    try:
        event = decode(named.get(b"e", b""))
    except SchemaError:
        return None
    return event if isinstance(event, DeadLettered) else None


def _fits(letter: DeadLettered, event_id: str, kind: str, reason: DeadReason | None, group: str) -> bool:
    return (
        (not event_id or event_id in {letter.id, letter.subject})
        and (not kind or kind == letter.original_type)
        and (reason is None or reason == letter.reason)
        and (not group or group == letter.group)
    )


async def show(bus: Bus, event: str) -> DeadRow | None:
    """The dead letter with this id, its own or that of the event inside. Raises BusUnavailable."""
    async for row in letters(bus, event=event):
        return row
    return None


async def replay(bus: Bus, row: DeadRow, *, force: bool = False) -> Result:
    """Puts the original back for the group that could not handle it; safe to repeat. Raises BusUnavailable, BusFull.

    While a group has yet to finish with the dead letter itself, it is left alone unless `force` says otherwise. One of a topic that
    this version does not have is refused.
    """
    if row.letter.source_topic not in names.POSITION:
        why = f"this version has no topic {row.letter.source_topic!r} to replay to: upgrade Mendstream, then replay"
        return Result(Outcome.REFUSED, why=why)
    keys = [names.stream(row.partition, names.DEAD), names.stream(row.partition, row.letter.source_topic)]
    arguments: list[bytes | str | int] = [row.entry, int(force), row.letter.original, row.letter.group]
    return _result(await bus.channel(row.partition).run(script("dead"), keys, arguments))


async def drop(bus: Bus, row: DeadRow, *, force: bool = False) -> Result:
    """Takes a dead letter away for good; the archive keeps it. Raises BusUnavailable."""
    keys = [names.stream(row.partition, names.DEAD)]
    return _result(await bus.channel(row.partition).run(script("dead"), keys, [row.entry, int(force)]))


def _result(answer: bytes) -> Result:
    word = answer.decode()
    if word in {Outcome.DONE, Outcome.GONE}:
        return Result(Outcome(word))
    return Result(Outcome.UNSEEN, word)
