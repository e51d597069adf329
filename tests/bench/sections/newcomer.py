"""A newcomer's first minute: how soon `mend --help` answers, and how long the demo takes."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.ground import median
from tests.bench.table import Section, below

SAMPLES = 10
_ROOT = Path(__file__).parents[3]


async def measure() -> Section:
    section = Section(
        title="A newcomer's first minute",
        how=f"As installed, each in a fresh process, until it has ended: `mend --help` {SAMPLES} times, after once that is not counted, and"
        " the demo once, from nothing to three stories told, its Redis, its Postgres and its simulated cluster included.",
        columns=("", "median", "slowest"),
    )
    await _seconds("--help")
    helps = [await _seconds("--help") * 1000 for _ in range(SAMPLES)]
    demo = await _seconds("demo")
    section.rows = [
        ("mend --help", f"{median(helps):.0f} ms", f"{max(helps):.0f} ms"),
        ("mend demo", f"{demo:.1f} s", ""),
    ]
    section.wanted = [
        below("`mend --help`, median", 150, median(helps), " ms", digits=0),
        below("the demo, from nothing to its end", 60, demo, " s"),
    ]
    return section


async def _seconds(*arguments: str) -> float:
    """How long `mend ARGUMENTS` takes, with a home of its own; raises RuntimeError when it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEND_")}
    with tempfile.TemporaryDirectory(prefix="mend-bench-") as home:
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ops.cli", *arguments),
            cwd=_ROOT,
            env=environment | {"HOME": home, "TMPDIR": home},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        took = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"mend {' '.join(arguments)} ended with {process.returncode}: {told.decode(errors='replace')[-500:]}")
    return took
