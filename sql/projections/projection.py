"""What a projection is to those who build it anew: its events, its tables, and how it takes the one into the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from schemas.event import Event
from sql.database import Connection
from sql.keys import Touched, merge
from sql.proof import Proof

LONG = 3600.0
"""Seconds that one statement over a whole projection may take."""
_FOLDED_AT_ONCE = 2000  # keys
_TOUCHED_AT_ONCE = 50_000  # keys


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """A fold over events: the same ones in any order, any number of times, by any number of writers, give the same rows.

    `keep` takes a batch of events into the ledgers, proven by few queries, and says what was touched; `fold` folds that, or is None where
    there is nothing to fold. Both run in a transaction, and name their tables without a schema, so that temporary tables of the same
    names can stand in for the live ones. `tables` are in the order in which they are written. `stage` is the stage that takes the events.
    `newest` asks for the id and the time of the newest event that was taken.
    """

    name: str
    types: tuple[str, ...]
    tables: tuple[str, ...]
    keep: Callable[[Proof, Sequence[Event]], Awaitable[Touched | None]]
    fold: Callable[[Connection, Touched], Awaitable[object]] | None = None
    newest: str = ""
    stage: str = "learn"

    async def take(self, connection: Connection, events: Sequence[Event]) -> None:
        """Takes a batch of events in one transaction."""
        async with connection.transaction():
            await self.fold_all(connection, await self.keep(Proof(connection), events) or {})

    async def fold_all(self, connection: Connection, touched: Touched) -> None:
        """Folds these keys, so many at a time that memory stays bounded."""
        keys = list(touched.items())
        for start in range(0, len(keys) if self.fold else 0, _FOLDED_AT_ONCE):
            assert self.fold is not None
            async with connection.transaction():
                await self.fold(connection, dict(keys[start : start + _FOLDED_AT_ONCE]))


class Build:
    """A projection on its way: batches are kept as they come, and everything is folded at the end, or where too much has been touched.

    A key that is touched again is folded again, as the live one is with each event.
    """

    def __init__(self, projection: Projection, connection: Connection) -> None:
        self._projection = projection
        self._connection = connection
        self._touched: Touched = {}
        self.events = 0

    async def add(self, events: Sequence[Event]) -> None:
        self.events += len(events)
        async with self._connection.transaction():
            merge(self._touched, await self._projection.keep(Proof(self._connection), events) or {})
        if len(self._touched) >= _TOUCHED_AT_ONCE:
            await self.finish()

    async def finish(self) -> None:
        """Folds everything that was touched since the last time."""
        await self._projection.fold_all(self._connection, self._touched)
        self._touched = {}
