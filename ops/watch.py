"""What a process watches besides its streams: whether Postgres answers, and whether somebody has stopped everything."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sql import switch
from sql.errors import StoreUnavailable

if TYPE_CHECKING:
    from sql.database import Database

_log = logging.getLogger("mend.watch")
_PERIOD = 2.0  # seconds between two looks
_PATIENCE = 3.0  # seconds for one answer


class StoreWatch:
    """Asks Postgres every two seconds for the stop switch. `reason` says why it is away, `stopped` who has stopped everything; or empty."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reason = ""
        self.stopped = ""

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
                async with self._database.connection() as connection:
                    self._heard((await switch.state(connection)).said)
        except StoreUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"Postgres does not answer within {_PATIENCE:g} s"
        return ""

    def _heard(self, stopped: str) -> None:
        if stopped != self.stopped:
            _log.warning("%s", stopped or "Mendstream is resumed")
        self.stopped = stopped
