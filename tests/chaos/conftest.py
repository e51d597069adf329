"""Worker processes of a test's own, all dead when it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from bus.connect import Bus, connect
from tests.chaos.worker import Diary
from tests.integration.bus.ground import RedisGround

Process = asyncio.subprocess.Process
Spawn = Callable[..., Awaitable[Process]]
_ROOT = Path(__file__).parents[2]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


@pytest_asyncio.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    connected = await connect(redis_url, name="test")
    yield connected
    await connected.close()


@pytest_asyncio.fixture
async def ground(bus: Bus) -> RedisGround:
    return RedisGround(bus)


@pytest_asyncio.fixture
async def spawn(redis_url: str, tmp_path: Path) -> AsyncIterator[Spawn]:
    """Starts `tests.chaos.worker`: `await spawn("hang")`; another URL and more words where given."""
    processes: list[Process] = []

    async def start(habit: str, *rest: str, url: str = redis_url, partitions: int = 1) -> Process:
        log = (tmp_path / f"worker-{len(processes)}.log").open("wb")
        command = [sys.executable, "-m", "tests.chaos.worker", url, str(tmp_path / "diary"), habit, str(partitions), *rest]
        process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()
