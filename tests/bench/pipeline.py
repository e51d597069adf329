"""Mendstream as it runs in production, for a section to measure: stores of its own, one process or one for each stage, real HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from ops.embedded import EmbeddedPostgres, EmbeddedRedis
from ops.wiring import STAGES
from schemas.events import TOPICS
from sql.database import Database
from sql.migrate import migrate
from tests.bench.contestants.course import stream_named
from tests.bench.ground import forget_peak, of_family, peak_memory, processor_time, until

ONE_PROCESS: tuple[tuple[str, ...], ...] = ((),)
"""All stages in one process, as `mend up` starts them."""
PROCESS_EACH: tuple[tuple[str, ...], ...] = tuple((name,) for name in STAGES)
"""One process for each stage, as the Procfile starts them."""

_SETTINGS = """
[redis]
url = "{redis}"
[postgres]
url = "{postgres}"
[data]
folder = "{folder}"
[http]
port = {port}
[api]
port = 0
[clusters.default]
server = "http://127.0.0.1:9"
[log]
level = "error"
[gate]
mode = "auto"
cooldown = {{ actions = 1000000, seconds = 600 }}
storm = {{ incidents = 1000000, seconds = 600 }}
"""


class Process:
    """One process of Mendstream: the stages in it and the port of its health."""

    def __init__(self, stages: Sequence[str], process: asyncio.subprocess.Process, port: int) -> None:
        self.name = stages[0] if stages else "mend up"
        self.pid = process.pid
        self._process = process
        self._ready = f"http://127.0.0.1:{port}/readyz"

    async def wait_ready(self, http: aiohttp.ClientSession) -> None:
        """Returns when the process says that it is ready; raises RuntimeError when it ended, TimeoutError after a minute."""

        async def ready() -> bool:
            if self._process.returncode is not None:
                raise RuntimeError(f"the process {self.name} ended with code {self._process.returncode}")
            try:
                async with http.get(self._ready) as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectionError:
                return False

        await until(ready, 60)

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        if await self._process.wait():
            raise RuntimeError(f"the process {self.name} ended with code {self._process.returncode}")


class Pipeline:
    """What runs, and what it uses: `processes` are Mendstream's by their names, `servers` the process ids of Redis and Postgres."""

    def __init__(self, redis: Redis, redis_socket: Path, database: Database, http: aiohttp.ClientSession, url: str) -> None:
        self.redis = redis
        self.redis_socket = redis_socket
        self.database = database
        self.processes: dict[str, Process] = {}
        self.servers: dict[str, int] = {}
        self._http = http
        self._url = url

    async def post(self, payload: bytes) -> None:
        """One notification of Alertmanager; raises RuntimeError unless it was taken."""
        async with self._http.post(self._url, data=payload, headers={"Content-Type": "application/json"}) as answer:
            if answer.status != 200:
                raise RuntimeError(f"a notification was answered with {answer.status}: {await answer.text()}")

    async def is_quiet(self) -> bool:
        """Whether every group has settled everything that is in the streams."""
        for topic in TOPICS:
            if not await self.redis.exists(stream_named(topic)):
                continue
            groups: list[dict[str, Any]] = await self.redis.xinfo_groups(stream_named(topic))
            if any(group["pending"] or group["lag"] for group in groups):
                return False
        return True

    async def count(self, query: str, *values: object) -> int:
        """The one number that a query gives."""
        rows = await self.database.fetch(query, *values)
        return int(rows[0][0])

    def processor_times(self) -> list[float]:
        """Processor seconds used so far: by all processes of Mendstream together, by Redis, by Postgres with its backends."""
        stages = sum(processor_time(process.pid) for process in self.processes.values())
        return [stages, *(sum(of_family(pid, processor_time)) for pid in self.servers.values())]

    def memory(self) -> dict[str, float]:
        """The peak of each process in MB, by its name; that of a server is the peak of its largest process."""
        return {name: max(of_family(pid, peak_memory)) for name, pid in self._pids().items()}

    def forget_peaks(self) -> None:
        """From now on the peaks are counted anew."""
        for pid in self._pids().values():
            of_family(pid, forget_peak)

    def _pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items()} | self.servers


@asynccontextmanager
async def pipeline(processes: Sequence[Sequence[str]], settings: str = "") -> AsyncIterator[Pipeline]:
    """Runs stages until the end of the block. `settings` are further lines of mend.toml."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mend-bench-")))
        redis, postgres = EmbeddedRedis(folder / "redis"), EmbeddedPostgres(folder / "postgres")
        for server in (redis, postgres):
            stack.push_async_callback(server.stop)
            await server.start()
        database = await Database(postgres.url, name="bench").open()
        stack.push_async_callback(database.close)
        await migrate(database)
        client = await stack.enter_async_context(Redis.from_url(redis.url, protocol=2))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        port = _free_port()
        file = folder / "mend.toml"
        file.write_text(_SETTINGS.format(redis=redis.url, postgres=postgres.url, folder=folder, port=port) + settings)
        found = Pipeline(client, redis.socket, database, http, f"http://127.0.0.1:{port}/v1/alertmanager")
        found.servers = {server.name: server.process.pid for server in (redis, postgres) if server.process is not None}
        for stages in processes:
            process = await _start(stages, file)
            stack.push_async_callback(process.stop)
            found.processes[process.name] = process
        for process in found.processes.values():
            await process.wait_ready(http)
        yield found


async def _start(stages: Sequence[str], file: Path) -> Process:
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.stage_process", str(file), *stages),
        env={**os.environ, "MEND_METRICS_PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    return Process(stages, process, port)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
