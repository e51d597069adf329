"""The two stores of a storm: they are killed by SIGKILL, with all their processes, and started again on the same files."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import psutil

from ops.embedded import EmbeddedPostgres, EmbeddedRedis
from ops.errors import EmbeddedStoreFailed
from tests.patience import PATIENCE

REDIS, POSTGRES = "redis", "postgres"


class Stores:
    """Redis with its append-only file, and Postgres."""

    def __init__(self, folder: Path) -> None:
        self.redis = EmbeddedRedis(folder / REDIS)
        self.postgres = EmbeddedPostgres(folder / POSTGRES)
        self._servers: dict[str, EmbeddedRedis | EmbeddedPostgres] = {REDIS: self.redis, POSTGRES: self.postgres}

    async def start(self) -> None:
        for server in self._servers.values():
            await server.start()

    async def stop(self) -> None:
        for server in self._servers.values():
            await server.stop()

    async def kill(self, name: str) -> None:
        """Ends the server and whatever it has started, none of which is asked."""
        process = self._servers[name].process
        assert process is not None
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(process.pid)
            for victim in (parent, *parent.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
        await process.wait()

    async def revive(self, name: str) -> None:
        """Starts it on its files; a Postgres is refused its shared memory until the last of the killed is gone."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await self._servers[name].start()
                except EmbeddedStoreFailed:
                    await asyncio.sleep(0.2)
                else:
                    return
