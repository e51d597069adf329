"""Which verification of an operation is under way: one for each, however often its execution is announced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.words import Verdict
from sql.database import Connection

_BEGIN = "INSERT INTO verifications (operation, awaits) VALUES ($1, $2) ON CONFLICT (operation) DO NOTHING RETURNING operation"
_GO_ON = "UPDATE verifications SET awaits = $3 WHERE operation = $1 AND awaits = $2 RETURNING operation"
_HOLD = """
UPDATE verifications SET awaits = $3, held = $4, held_at = $5, held_gone = $6
 WHERE operation = $1 AND awaits = $2 AND held = '' RETURNING operation
"""
_END = """
UPDATE verifications SET awaits = '', verdict = $3, score = $4, ended_at = $5 WHERE operation = $1 AND awaits = $2 RETURNING operation
"""


class VerificationRow(msgspec.Struct, frozen=True, kw_only=True):
    """The verification of one operation: `awaits` is the id of the one event that may bring it on, empty when it has ended.

    A success that is held has the id of the snapshot that found it healed in `held`, and since when in `held_at`; `held_gone` are
    the names of the alerts that were gone by then.
    """

    awaits: str
    held: str = ""
    held_at: datetime | None = None
    held_gone: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        return not self.awaits


async def begin_verification(connection: Connection, operation: str, *, awaits: str) -> bool:
    """Begins the verification, to be brought on by the event `awaits`; False when there is one already."""
    return await connection.fetchval(_BEGIN, operation, awaits) is not None


async def get_verification(connection: Connection, operation: str) -> VerificationRow | None:
    """The verification of an operation, or None."""
    row = await connection.fetchrow("SELECT awaits, held, held_at, held_gone FROM verifications WHERE operation = $1", operation)
    return None if row is None else VerificationRow(**dict(row) | {"held_gone": tuple(row["held_gone"])})


async def continue_verification(connection: Connection, operation: str, *, event: str, awaits: str) -> bool:
    """Hands the verification from `event` to the next one; False when it was not this event's turn."""
    return await connection.fetchval(_GO_ON, operation, event, awaits) is not None


async def hold_verification(
    connection: Connection, operation: str, *, event: str, awaits: str, held: str, at: datetime, gone: Sequence[str]
) -> bool:
    """Holds a success since `at`, on the snapshot `held`; False when it was not this event's turn, or it is held already."""
    return await connection.fetchval(_HOLD, operation, event, awaits, held, at, list(gone)) is not None


async def end_verification(connection: Connection, operation: str, *, event: str, verdict: Verdict, score: float, at: datetime) -> bool:
    """Ends the verification; False when it was not this event's turn."""
    return await connection.fetchval(_END, operation, event, verdict.value, score, at) is not None
