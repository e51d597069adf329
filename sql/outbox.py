"""Kept outputs: what a handler decided about an input, in the same transaction as the change that it made.

A second delivery of the same input returns the kept outputs instead of deciding again; the sweeper appends again what
Redis lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from schemas.event import Delayed, Event, Output
from schemas.events import AnyEvent
from sql.database import Connection, Database
from sql.event_log import archived
from sql.told import REMEMBER, columns


class AlreadyDone(Exception):
    """Raised in a decision: what the event asks for is done, or nothing is left of it. `once` answers with nothing and keeps nothing.

    Before an event is proven it may carry the id of another one, which is still to come and must get its own answer.
    """


class _Kept(msgspec.Struct, frozen=True):
    event: AnyEvent
    until: float | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[_Kept]).decode


class Overdue(msgspec.Struct, frozen=True, kw_only=True):
    """Kept outputs of one input that were looked at because their time had come.

    `lost` are those that should be in the archive and are not: append them again, as they are. `again_at` is when to look
    next, or None when the archive has everything. `error` says why they could not be read: another version kept them, which
    may also append them.
    """

    stage: str
    input: str
    lost: tuple[Event, ...]
    again_at: datetime | None
    error: str = ""


_OUTPUTS = "SELECT outputs FROM outbox WHERE stage = $1 AND input = $2"
_KEEP = f"WITH told AS ({REMEMBER}) INSERT INTO outbox (stage, input, outputs, settled) VALUES ($4, $5, $6, $7)"
_OVERDUE = """
SELECT stage, input, outputs FROM outbox WHERE NOT settled AND check_at <= $1 ORDER BY check_at LIMIT $2 FOR UPDATE SKIP LOCKED
"""
# Who looks at a row later puts `check_at` off, never back before `kept_at`: so its index finds what is new.
_UNSETTLED = """
SELECT outputs FROM outbox WHERE NOT settled AND check_at > $1 AND kept_at > $1 AND outputs LIKE ANY ($2)
"""
PAGE = 500
"""Inputs of which the unsettled outputs are in memory at once."""
_SETTLE = """
UPDATE outbox o SET settled = v.again_at IS NULL, check_at = coalesce(v.again_at, o.check_at)
  FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS v(stage, input, again_at)
 WHERE o.stage = v.stage AND o.input = v.input
"""


async def once(
    database: Database, stage: str, event: Event, decide: Callable[[Connection], Awaitable[Sequence[Output]]]
) -> Sequence[Output]:
    """Runs `decide` in a transaction, once for each input of a stage; afterwards returns what it decided then.

    `decide` gets the transaction's connection; what it changes and what it returns are committed together. Two workers
    with the same input at the same time: the second waits for the first and returns the first one's outputs. Where `decide`
    raises AlreadyDone nothing is changed and nothing is kept.
    Raises StoreUnavailable.
    """
    try:
        async with database.transaction() as connection:
            kept = await connection.fetchval("SELECT kept_outputs($1, $2)", stage, event.id)
            if kept is not None:
                return [_output(item) for item in _decode(kept)]
            outputs = await decide(connection)
            told = columns(stage, [output for output in outputs if isinstance(output, Event)])
            body = _encode([_kept(output) for output in outputs]).decode()
            await connection.execute(_KEEP, *told, stage, event.id, body, not outputs)
            return outputs
    except AlreadyDone:
        return []


async def kept(database: Database, stage: str, event_id: str) -> Sequence[Output] | None:
    """What a stage decided about an input, or None: asked before the world is, so that a second delivery does not ask it again.

    Raises StoreUnavailable.
    """
    async with database.connection() as connection:
        outputs = await connection.fetchval(_OUTPUTS, stage, event_id)
    return None if outputs is None else [_output(item) for item in _decode(outputs)]


async def has_told(connection: Connection, stage: str, event: Event) -> bool:
    """Whether `stage` really told this very event: it is among the outputs kept for its cause, field by field.

    What somebody else put on a stream is not. Kept outputs are forgotten after a while: an old event cannot be proven any more.
    """
    outputs = await connection.fetchval(_OUTPUTS, stage, event.cause)
    return outputs is not None and any(item.event == event for item in _decode(outputs))


async def due_of(connection: Connection, stage: str, event: Event) -> datetime | None:
    """When this very event is due, where `stage` told it as a delayed one; None where it did not, or where it is forgotten."""
    outputs = await connection.fetchval(_OUTPUTS, stage, event.cause)
    times = [] if outputs is None else [item.until for item in _decode(outputs) if item.event == event and item.until is not None]
    return datetime.fromtimestamp(times[0], UTC) if times else None


async def overdue(connection: Connection, *, now: datetime, grace: timedelta, limit: int = 200) -> list[Overdue]:
    """Kept outputs that the archive should have seen `grace` ago, oldest first, `limit` inputs at most.

    The rows stay locked until the transaction ends, so that two sweepers share the work: append what was lost, then `settle`.
    """
    before = now - grace
    rows = [(row["stage"], row["input"], *_read(row["outputs"])) for row in await connection.fetch(_OVERDUE, before, limit)]
    seen = await archived(connection, [item.event.id for _, _, kept, _ in rows for item in kept])
    return [
        Overdue(stage=stage, input=event_id, lost=(), again_at=now, error=error)
        if error
        else _look(stage, event_id, kept, seen, now=now, before=before)
        for stage, event_id, kept, error in rows
    ]


def _read(outputs: str) -> tuple[list[_Kept], str]:
    """Kept outputs, or why this version cannot read them: one such row must not keep the others waiting."""
    try:
        return _decode(outputs), ""
    except msgspec.DecodeError as error:
        return [], str(error)


def _look(stage: str, event_id: str, items: Sequence[_Kept], seen: set[str], *, now: datetime, before: datetime) -> Overdue:
    missing = [item for item in items if item.event.id not in seen]
    times = [None if item.until is None else datetime.fromtimestamp(item.until, UTC) for item in missing]
    lost = tuple(item.event for item, time in zip(missing, times, strict=True) if time is None or time <= before)
    later = [time for time in times if time is not None and time > before]
    return Overdue(stage=stage, input=event_id, lost=lost, again_at=now if lost else min(later, default=None))


async def unsettled(connection: Connection, since: datetime, types: Sequence[str] = ()) -> AsyncIterator[list[Event]]:
    """What stages have told since a time and the archive was not seen to have, a page at a time; only these types where some are named.

    What is delayed is not told yet. In a transaction.
    """
    cursor = await connection.cursor(_UNSETTLED, since, [f'%"type":"{name}"%' for name in types] or ["%"])
    while rows := await cursor.fetch(PAGE):
        items = [item for row in rows for item in _read(row["outputs"])[0] if item.until is None]
        yield [item.event for item in items if not types or type(item.event).__name__ in types]


async def settle(connection: Connection, rows: Sequence[Overdue]) -> None:
    """Remembers when to look again at each of the rows, or that nothing is left to look for."""
    await connection.execute(_SETTLE, [row.stage for row in rows], [row.input for row in rows], [row.again_at for row in rows])


async def forget(connection: Connection, *, before: datetime) -> int:
    """Deletes settled rows kept before a time, and returns how many: a delivery after that would be decided anew.

    Keep them for longer than an event can come back, as a replayed dead letter does.
    """
    answer: str = await connection.execute("DELETE FROM outbox WHERE settled AND kept_at < $1", before)
    return int(answer.rsplit(maxsplit=1)[-1])


def _kept(output: Output) -> _Kept:
    if isinstance(output, Delayed):
        return _Kept(output.event, output.until.timestamp())  # type: ignore[arg-type]
    return _Kept(output)  # type: ignore[arg-type]


def _output(item: _Kept) -> Output:
    if item.until is None:
        return item.event
    return Delayed(item.event, datetime.fromtimestamp(item.until, UTC))
