"""A Redis Cluster of three masters, of Debian's redis-server, for as long as a test needs it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.ports import free_port

MASTERS = 3


@asynccontextmanager
async def redis_cluster(folder: Path) -> AsyncIterator[list[int]]:
    """The ports of masters that share the slots; they keep their files in `folder`."""
    ports, processes = [free_port() for _ in range(MASTERS)], []
    for port in ports:
        place = folder / f"node-{port}"
        place.mkdir()
        where = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(place))
        command = ("redis-server", *where, "--save", "", "--cluster-enabled", "yes")
        processes.append(await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL))
    nodes = [f"127.0.0.1:{port}" for port in ports]
    for _ in range(100):
        create = await asyncio.create_subprocess_exec("redis-cli", "--cluster", "create", *nodes, "--cluster-yes", stdout=subprocess.PIPE)
        told, _ = await create.communicate()
        if create.returncode == 0 or b"is not empty" in told:
            break
        await asyncio.sleep(0.1)
    try:
        yield ports
    finally:
        for process in processes:
            process.kill()
            await process.wait()


async def ask(port: int, *words: str) -> str:
    """What redis-cli says to a command at one node."""
    process = await asyncio.create_subprocess_exec("redis-cli", "-p", str(port), *words, stdout=subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == 0, told
    return told.decode()
