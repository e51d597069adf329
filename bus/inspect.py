"""Looking at the streams without touching them: for the ops CLI, and for whoever wonders where an event is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from bus import names
from bus.channel import Channel
from bus.connect import Bus
from bus.options import SIGN_OF_LIFE
from bus.scripts import script
from schemas.codec import decode, peek
from schemas.errors import SchemaError
from schemas.event import Event
from schemas.events import TOPICS
from schemas.identity import time_of

_PAGE = 500
_BLOCK = 1.0


class GroupRow(msgspec.Struct, frozen=True):
    """A consumer group on one stream: `lag` not yet delivered, `pending` not yet settled, `oldest` of both in seconds.

    `consumers` are those that have asked for entries within the last 30 seconds.
    """

    name: str
    lag: int
    pending: int
    oldest: float
    consumers: int


class StreamRow(msgspec.Struct, frozen=True):
    """A stream and its groups."""

    partition: int
    topic: str
    length: int
    groups: tuple[GroupRow, ...]


class PendingRow(msgspec.Struct, frozen=True):
    """An entry that a consumer holds: `idle` seconds since it was last delivered or kept by a heartbeat."""

    partition: int
    entry: str
    consumer: str
    idle: float
    deliveries: int


class EntryRow(msgspec.Struct, frozen=True):
    """One entry of a stream, appended at `at`; `event` is None for bytes that are no event known here.

    `only` names the group that it was replayed for; every other finishes it unseen, and to nobody else is it news.
    """

    partition: int
    topic: str
    entry: str
    at: datetime
    body: bytes
    event: Event | None
    only: str = ""


class DelayedRow(msgspec.Struct, frozen=True):
    """How many events wait for their time, and the soonest."""

    partition: int
    events: int
    soonest: datetime | None


async def streams(bus: Bus) -> list[StreamRow]:
    """Every stream that exists, with its groups. Raises BusUnavailable."""
    rows = []
    for partition in range(bus.partitions):
        channel = bus.channel(partition)
        for topic in TOPICS:
            key = names.stream(partition, topic)
            if await channel.call("EXISTS", key):
                rows.append(StreamRow(partition, topic, await channel.call("XLEN", key), await _groups(channel, key)))
    return rows


async def _groups(channel: Channel, key: bytes) -> tuple[GroupRow, ...]:
    groups = []
    for flat in await channel.call("XINFO", "GROUPS", key):
        group = dict(zip(flat[::2], flat[1::2], strict=True))
        [(_, lag, pending, oldest)] = await channel.run(script("backlog"), [key], [group[b"name"]])
        groups.append(GroupRow(group[b"name"].decode(), lag, pending, oldest / 1000, await _reading(channel, key, group[b"name"])))
    return tuple(groups)


async def _reading(channel: Channel, key: bytes, group: bytes) -> int:
    """How many consumers have given a sign of life of late: Redis keeps those of processes that were killed, too."""
    rows = await channel.call("XINFO", "CONSUMERS", key, group)
    return sum(dict(zip(flat[::2], flat[1::2], strict=True))[b"idle"] < SIGN_OF_LIFE * 1000 for flat in rows)


async def pending(bus: Bus, topic: str, group: str, limit: int = 100) -> list[PendingRow]:
    """What a group has been given and has not settled, oldest first, `limit` of each partition. Raises GroupMissing."""
    rows = []
    for partition in range(bus.partitions):
        answer = await bus.channel(partition).call("XPENDING", names.stream(partition, topic), group, "-", "+", limit)
        rows += [PendingRow(partition, entry.decode(), consumer.decode(), idle / 1000, count) for entry, consumer, idle, count in answer]
    return rows


async def delayed(bus: Bus) -> list[DelayedRow]:
    """What waits for its time, for each partition. Raises BusUnavailable."""
    rows = []
    for partition in range(bus.partitions):
        key, channel = names.delayed(partition), bus.channel(partition)
        first = await channel.call("ZRANGE", key, 0, 0, "WITHSCORES")
        soonest = datetime.fromtimestamp(float(first[1]) / 1000, UTC) if first else None
        rows.append(DelayedRow(partition, await channel.call("ZCARD", key), soonest))
    return rows


async def tail(
    bus: Bus,
    topic: str,
    *,
    last: int = 10,
    follow: bool = False,
    kind: str = "",
    incident: str = "",
) -> AsyncIterator[EntryRow]:
    """The `last` entries of each partition, in the order of their time, then with `follow` whatever comes, until it is closed.

    Only events of one type or of one incident where given, and nothing that was replayed for one group. Raises BusUnavailable.
    """
    found, ends = await newest(bus, topic, last=last, kind=kind, incident=incident)
    for row in found:
        if not row.only:
            yield row
    if follow:
        async for row in follow_from(bus, topic, ends, kind=kind, incident=incident):
            if not row.only:
                yield row


async def newest(bus: Bus, topic: str, *, last: int, kind: str = "", incident: str = "") -> tuple[list[EntryRow], Mapping[int, bytes]]:
    """Those of the `last` entries of each partition that fit, in the order of their time, and the end of each partition's stream.

    What a stream has lost to trimming is not among them: the event log has it. Raises BusUnavailable.
    """
    found: list[EntryRow] = []
    ends: dict[int, bytes] = {}
    for partition in range(bus.partitions):
        page = await bus.channel(partition).call("XREVRANGE", names.stream(partition, topic), "+", "-", "COUNT", max(last, 1))
        ends[partition] = page[0][0] if page else b"0-0"
        found += [row_of(partition, topic, entry, fields) for entry, fields in page[:last]]
    return in_order(row for row in found if _fits(row, kind, incident)), ends


def in_order(rows: Iterable[EntryRow]) -> list[EntryRow]:
    """By the time at which they were appended."""
    return sorted(rows, key=lambda row: (row.at, row.partition, _sequence(row.entry)))


async def follow_from(bus: Bus, topic: str, ends: Mapping[int, bytes], *, kind: str = "", incident: str = "") -> AsyncIterator[EntryRow]:
    """What comes after the end of each partition's stream, those that fit, until it is closed. Raises BusUnavailable.

    The partitions take turns; each turn blocks on a connection of its own, so that appends never wait.
    """
    cursors = dict(ends)
    channels = {partition: Channel(bus.route, partition, timeout=bus.timeout) for partition in cursors}
    block = int(_BLOCK * 1000 / len(channels)) or 1
    try:
        while True:
            for partition, channel in channels.items():
                key = names.stream(partition, topic)
                answer = await channel.call("XREAD", "COUNT", _PAGE, "BLOCK", block, "STREAMS", key, cursors[partition])
                for entry, fields in answer[0][1] if answer else ():
                    cursors[partition] = entry
                    row = row_of(partition, topic, entry, fields)
                    if _fits(row, kind, incident):
                        yield row
    finally:
        for channel in channels.values():
            await channel.close()


async def find(bus: Bus, event: str, *, topics: Sequence[str] = TOPICS, within: timedelta = timedelta(days=1)) -> EntryRow | None:
    """The entry by which the event of this id entered: looked for from a minute before the time in the id until `within` after it.

    An answer's id carries the time of what it answers, so it may lie much later. Raises InvalidIdentifier, BusUnavailable.
    """
    born = time_of(event)
    first, final = (f"{int(time.timestamp() * 1000)}" for time in (born - timedelta(minutes=1), born + within))
    needle = b'"' + event.encode() + b'"'
    for partition in range(bus.partitions):
        for topic in topics:
            start = first
            while True:
                page = await bus.channel(partition).call("XRANGE", names.stream(partition, topic), start, final, "COUNT", _PAGE)
                for entry, fields in page:
                    if any(needle in field for field in fields[1::2]):
                        row = row_of(partition, topic, entry, fields)
                        if not row.only and peek(row.body)[1] == event:
                            return row
                if len(page) < _PAGE:
                    break
                start = "(" + page[-1][0].decode()
    return None


def row_of(partition: int, topic: str, entry: bytes, fields: Sequence[bytes]) -> EntryRow:
    """An entry as Redis tells it: its stream id, and the names and values of its fields."""
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    return entry_row(partition, topic, entry.decode(), bytes(named.get(b"e", b"")), only=named.get(b"g", b"").decode(errors="replace"))


def entry_row(partition: int, topic: str, entry: str, body: bytes, *, only: str = "") -> EntryRow:
    """An entry by where it is or was, `entry` being its stream id, what is in it, and the one group that it was replayed for."""
    event: Event | None
    try:
        event = decode(body)
    except SchemaError:
        event = None
    at = datetime.fromtimestamp(int(entry.split("-", maxsplit=1)[0]) / 1000, UTC)
    return EntryRow(partition, topic, entry, at, body, event, only)


def _sequence(entry: str) -> int:
    return int(entry.split("-")[1])


def _fits(row: EntryRow, kind: str, incident: str) -> bool:
    name, _, of = peek(row.body)
    return (not kind or kind == name) and (not incident or incident == of)
