"""What a process watches besides its streams: whether Postgres answers, and the servers that it started itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sql.errors import StoreUnavailable

if TYPE_CHECKING:
    from sql.database import Database

_PERIOD = 2.0  # seconds between two looks
_PATIENCE = 3.0  # seconds for one answer


class StoreWatch:
    """Asks Postgres every two seconds for a sign of life. `reason` says why it is away, or is empty."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reason = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            self.reason = await self._look()
            try:
                async with asyncio.timeout(_PERIOD):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _look(self) -> str:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._database.ping()
        except StoreUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"Postgres does not answer within {_PATIENCE:g} s"
        return ""
