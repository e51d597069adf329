"""People who sign whatever is asked of them, by the same function as the CLI and the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from bus.connect import Bus
from bus.errors import BusError
from ops.errors import NoSuchApproval
from ops.votes import Ballots
from schemas.words import ApprovalState, Choice
from sql.approvals import ApprovalRow, list_approvals
from sql.database import Database
from sql.errors import StoreError
from stages.gate.votes import VoteKeys
from tests.chaos.storm.effects import kind_of

SIGNERS = ("ana", "ben", "cy")
_LOOK = 0.5  # seconds
_AT_ONCE = 8


class People:
    """They look at what waits and sign it; what is unwanted they reject, and every ninth of all else. `votes` counts what they cast."""

    def __init__(self, database: Database, bus: Bus, key: str) -> None:
        self._database = database
        self._ballots = Ballots(database, bus, VoteKeys(key.encode()), by="cli/chaos", clock=lambda: datetime.now(UTC))
        self._free = asyncio.Semaphore(_AT_ONCE)
        self.votes = 0

    async def sign(self) -> None:
        """Signs until it is cancelled; while a store is away they look again later."""
        while True:
            try:
                async with self._database.connection() as connection:
                    waiting = await list_approvals(connection, states=[ApprovalState.WAITING], limit=50)
                await asyncio.gather(*(self._vote(row) for row in waiting))
            except (StoreError, BusError):
                pass
            await asyncio.sleep(_LOOK)

    async def _vote(self, row: ApprovalRow) -> None:
        async with self._free:
            person = next((name for name in SIGNERS if name not in row.signers), SIGNERS[0])
            unwanted = kind_of(row.action.target) == "unwanted" or int(row.action_hash[:8], 16) % 9 == 0
            choice = Choice.REJECT if unwanted else Choice.SIGN
            try:
                await self._ballots.answered(row.id, choice, person=person, origin="cli/chaos", comment="")
                self.votes += 1
            except (StoreError, BusError, NoSuchApproval):
                return
