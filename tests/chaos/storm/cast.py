"""All processes of a storm, and who starts them again when they are killed, as an init system would."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import aiohttp
import msgspec

from ops.wiring import PROCESSES
from tests.bench.ground import until
from tests.patience import PATIENCE
from tests.ports import free_port

REPLICAS = {"gate": 3, "execute": 3}
"""How many processes of a stage there are; of the others there is one."""
ALONE = ("ingest", "api")
"""They have a port, so there is one of each."""
LONG_REPLICAS = {stage: REPLICAS.get(stage, 2) for stage in PROCESSES if stage not in ALONE}
"""The same in a long storm."""
SPARED = {f"{stage}-1": 0.0 for stage in LONG_REPLICAS} | dict.fromkeys(ALONE, 2 / 3)
"""One of each kind who is not killed in a long storm from this share of it on (0: never), so that the memory of one and the same process
is known early and late."""
_ROOT = Path(__file__).parents[3]
WARM = 30.0
"""Seconds after which a process is taken to have loaded what it needs: its memory counts from then on."""
_ENOUGH = 60.0
"""Seconds for which memory must have counted to tell anything."""


class Sample(msgspec.Struct, frozen=True):
    """The memory of a process, in MB, `age` seconds after it was started; `actor` is the place that it has in the cast."""

    actor: str
    process: int
    age: float
    size: float


class Actor:
    """One place in the cast: a process of a stage, and the next one when that has ended."""

    def __init__(self, name: str, stage: str, command: list[str], log: Path) -> None:
        self.name = name
        self.stage = stage
        self.killed = 0
        self.fell: list[int] = []
        self.port = free_port()
        self._command = command
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._doomed = False
        self._ending = False
        self.started_at = 0.0

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def live(self, pause: Callable[[], float]) -> None:
        """Runs one process after another; `pause` says how many seconds are between them. Ends after `end`."""
        while not self._ending:
            code = await (await self._begun()).wait()
            if not self._doomed and not self._ending:
                self.fell.append(code)
            self._doomed = False
            if not self._ending:
                await asyncio.sleep(pause())

    async def _begun(self) -> asyncio.subprocess.Process:
        """The next process; one that came while it was told to end is killed."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd=_ROOT, stdout=log, stderr=log, env=_environment(self.port)
            )
        self.started_at = time.monotonic()
        if self._ending:
            self._process.kill()
        return self._process

    def kill(self) -> bool:
        """SIGKILL; False where there is nothing to kill at this moment."""
        if self.pid is None or self._process is None:
            return False
        self._doomed = True
        self.killed += 1
        self._process.kill()
        return True

    def end(self) -> None:
        """Ends it at once, and lets no other follow: after a storm nothing is left that it could lose."""
        self._ending = True
        if self.pid is not None and self._process is not None:
            self._process.kill()


def _environment(port: int) -> dict[str, str]:
    """Without other `MEND_` settings, and with a port of its own for its health."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MEND_")}
    return plain | {"PYTHONPATH": str(_ROOT), "MEND_METRICS_PORT": str(port)}


class Cast:
    """Everybody who is on stage: every process of `ops.wiring.PROCESSES`, some of them several times."""

    def __init__(
        self, settings: Path, effects: Path, logs: Path, pause: Callable[[], float], replicas: Mapping[str, int] = REPLICAS, seed: int = 0
    ) -> None:
        self.actors = [
            Actor(
                f"{stage}-{number}" if stage in replicas else stage,
                stage,
                [sys.executable, "-m", "tests.chaos.storm.stage_process", str(settings), str(effects), str(seed), stage],
                logs / f"{stage}-{number}.log",
            )
            for stage in PROCESSES
            for number in range(1, replicas.get(stage, 1) + 1)
        ]
        self.samples: list[Sample] = []
        self._pause = pause
        self._tasks: list[asyncio.Task[None]] = []

    def enter(self) -> None:
        self._tasks = [asyncio.create_task(actor.live(self._pause), name=actor.name) for actor in self.actors]

    async def until_ready(self, http: aiohttp.ClientSession) -> None:
        """Returns when every process says that it is ready; raises TimeoutError."""
        for actor in self.actors:
            await until(partial(_is_ready, http, actor.port), 2 * PATIENCE, every=0.1)

    async def leave(self) -> None:
        """Ends every process; raises what its task raised."""
        for actor in self.actors:
            actor.end()
        await asyncio.gather(*self._tasks)

    async def weigh(self, *, every: float = 2.0) -> None:
        """Samples the memory of every process until it is cancelled."""
        while True:
            now = time.monotonic()
            for actor in self.actors:
                if actor.pid is not None and (size := memory_of(actor.pid)):
                    self.samples.append(Sample(actor.name, actor.pid, now - actor.started_at, size))
            await asyncio.sleep(every)


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """The memory of those who are spared, in MB: of the last process of each, once it is warm, the median of the first third of the samples
    and that of the last third.

    Somebody whose last process is too young is left out.
    """
    found = {}
    for name in SPARED:
        own = [sample for sample in samples if sample.actor == name]
        warm = [sample for sample in own if sample.process == own[-1].process and sample.age >= WARM]
        third = len(warm) // 3
        if third and warm[-1].age - warm[0].age >= _ENOUGH:
            early, late = warm[:third], warm[-third:]
            found[name] = (statistics.median(one.size for one in early), statistics.median(one.size for one in late))
    return found


async def _is_ready(http: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def memory_of(pid: int) -> float:
    """What a process has resident (VmRSS), in MB; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)
