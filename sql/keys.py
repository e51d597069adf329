"""Keys of projections, kept apart: whoever folds one key has it alone until the transaction ends."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from sql.database import Connection

Since = tuple[datetime, str]
"""A place in the order of events: the time of an event, and its id."""
BEGINNING: Since = (datetime.min.replace(tzinfo=UTC), "")
"""Before every event."""
Touched = dict[str, Since]
"""The keys that new rows of a ledger are about, each with the place of its earliest new row."""

# Sixty-four places for all keys: a batch may touch thousands of keys, and the server has room for only so many locks. The number of the
# table is part of the lock, so that what builds a projection aside, in tables of the same names, waits for nobody and holds up nobody.
_HOLD = """
SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || place, to_regclass($1)::oid::bigint)) FROM (
    SELECT DISTINCT hashtext(key) & 63 AS place FROM unnest($2::text[]) AS key ORDER BY place
) AS places
"""


async def hold_keys(connection: Connection, table: str, keys: Collection[str]) -> None:
    """Keeps every other writer of these keys of a table away until the transaction ends; always in one order, so that none deadlock."""
    await connection.execute(_HOLD, table, list(keys))


def touch(touched: Touched, key: str, since: Since) -> None:
    """Notes that there is something new of `key` at this place."""
    touched[key] = min(touched.get(key, since), since)


def merge(touched: Touched, more: Touched) -> None:
    """Notes in `touched` all that `more` has."""
    for key, since in more.items():
        touch(touched, key, since)
