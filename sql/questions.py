"""Which kind of question people were asked when, so that a storm of one kind is put to them once in a while and not once each."""

from __future__ import annotations

from datetime import datetime, timedelta

from sql.database import Connection

_FIRST = "INSERT INTO questions (kind, asked_at, silent) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING RETURNING kind"
_LAST = "SELECT asked_at, silent FROM questions WHERE kind = $1 FOR UPDATE"
_ASK = "UPDATE questions SET asked_at = $2, silent = 0 WHERE kind = $1"
_SILENT = "UPDATE questions SET silent = silent + 1 WHERE kind = $1"


async def may_ask(connection: Connection, kind: str, *, at: datetime, quiet: timedelta) -> int | None:
    """Whether people may be asked a question of this kind now: None when they were within `quiet`, which is counted.

    Otherwise how many were held back since the last time. Of questions asked at once, one is first; part of the caller's
    transaction, which the others wait for.
    """
    if await connection.fetchval(_FIRST, kind, at) is not None:
        return 0
    row = await connection.fetchrow(_LAST, kind)
    assert row is not None
    if at - row["asked_at"] < quiet:
        await connection.execute(_SILENT, kind)
        return None
    await connection.execute(_ASK, kind, at)
    return int(row["silent"])
