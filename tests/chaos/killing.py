"""Runs a stage in a process of its own until that is killed."""

from __future__ import annotations

import asyncio
import signal
import sys

from schemas.codec import encode
from schemas.event import Event

Process = asyncio.subprocess.Process


async def killed(stage: str, postgres: str, world: str, event: Event, point: str, fault: str = "none", *, later: float = 0) -> None:
    """Gives the event to `tests.chaos.execute_process`, until that dies at `point`; its clock is `later` seconds ahead."""
    process = await begun(stage, postgres, world, event, point, fault, later=later)
    _, complaint = await process.communicate()
    assert process.returncode == -signal.SIGKILL, complaint.decode()


async def begun(stage: str, postgres: str, world: str, event: Event, point: str, fault: str = "none", *, later: float = 0) -> Process:
    """The same, while it runs."""
    arguments = ("-m", "tests.chaos.execute_process", stage, postgres, world, point, fault, str(later))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(encode(event))
    await process.stdin.drain()
    process.stdin.close()
    return process
