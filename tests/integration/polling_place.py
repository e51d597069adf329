"""Where votes are cast in tests: a real bus and database, a gate that counts, and approvals that wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.connect import Bus, connect
from ops.votes import Ballots
from sql.approvals import ApprovalRow
from sql.database import Database
from tests.integration.bus.ground import running
from tests.integration.scene import KEYS, Scene, gate, requested


class PollingPlace:
    """Approvals are made and votes are counted at the scene's time, which only the test moves."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self.database = database
        self.bus = bus
        self.scene = Scene(database)
        self.ballots = Ballots(database, bus, KEYS, by="api/test", clock=lambda: self.scene.now)

    async def waiting(self) -> ApprovalRow:
        """An approval that two people must sign."""
        return await requested(self.scene)

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """The gate counts for as long as the block runs."""
        async with running(self.bus, gate(self.scene), clock=lambda: self.scene.now):
            yield


@asynccontextmanager
async def polling_place(redis_url: str, database: Database) -> AsyncIterator[PollingPlace]:
    bus = await connect(redis_url, name="test")
    try:
        yield PollingPlace(database, bus)
    finally:
        await bus.close()
