"""A bus on the session's Redis, and servers of a test's own for whatever stops, fills or empties one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest_asyncio

from bus.connect import Bus, connect
from ops.embedded import EmbeddedRedis
from tests.integration.bus.ground import RedisGround

Starter = Callable[..., Awaitable[EmbeddedRedis]]


@pytest_asyncio.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    """A bus on the session's Redis, which is empty."""
    connected = await connect(redis_url, name="test")
    yield connected
    await connected.close()


@pytest_asyncio.fixture
async def ground(bus: Bus) -> RedisGround:
    return RedisGround(bus)


@pytest_asyncio.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[Starter]:
    """Starts a Redis that only this test knows: `await own_redis("--maxmemory", "5mb", durable=True)`."""
    servers: list[EmbeddedRedis] = []

    async def start(*arguments: str, durable: bool = False) -> EmbeddedRedis:
        server = EmbeddedRedis(tmp_path / f"redis-{len(servers)}", arguments=arguments, durable=durable)
        servers.append(server)
        return await server.start()

    yield start
    for server in servers:
        await server.stop()
