"""Keeping a lease while work is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sql.database import Database
from sql.errors import StoreUnavailable
from sql.operations import Lease, renew_lease


@asynccontextmanager
async def holding(database: Database, lease: Lease, seconds: float) -> AsyncIterator[None]:
    """Renews the lease three times within its `seconds` until the block ends.

    A lease that is lost all the same does no harm: whoever has it next looks for the side effect first, and the ledger takes
    no more word from an older fencing token.
    """
    renewal = asyncio.create_task(_renew(database, lease, seconds))
    try:
        yield
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal


async def _renew(database: Database, lease: Lease, seconds: float) -> None:
    kept = True
    while kept:
        await asyncio.sleep(seconds / 3)
        with suppress(StoreUnavailable):
            async with database.connection() as connection:
                kept = await renew_lease(connection, lease, seconds=seconds)
