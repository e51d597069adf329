"""The first thing that anybody runs: three stories, told without a terminal, with nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


def left_running(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line:
            found.append(line)
    return found


async def start(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEND_")}
    return await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "ops.cli", "demo", *arguments],
        env=environment | {"HOME": str(folder), "TMPDIR": str(folder), "MEND_GATE_MODE": "shadow"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert left_running(tmp_path) == []


async def test_three_stories_end_as_told_and_leave_nothing(folder: Path) -> None:
    process = await start(folder)
    out, err = await process.communicate()
    text = out.decode()
    assert process.returncode == 0, text + err.decode()
    assert err == b""
    assert "\x1b" not in text
    for ending in (
        r"bad rollout +rollback +success +[\d.]+ s +0 → 1",
        r"wedged service +restart +success +[\d.]+ s +0 → 1",
        r"database gone +restart +failed +[\d.]+ s +1 → 0",
    ):
        assert re.search(ending, text), ending
    assert text.index("ana's signature counts, 1 missing") < text.index("approved, signed by ana and ben")
    assert "asks people" in text
    assert text.index("in some eight seconds it will hang") < text.index("alert CheckoutWedged is firing"), "no silence without a reason"
    assert re.search(r"SignalReceived(?s:.*)└─ IncidentOpened(?s:.*)VerificationFinished", text)
    assert not list(folder.glob("mend-demo-*"))  # noqa: ASYNC240


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_is_kept_can_be_looked_at_until_it_is_stopped(folder: Path, number: signal.Signals) -> None:
    process = await start(folder, "--keep")
    assert process.stdout is not None
    settings = ""
    while not settings:
        line = (await process.stdout.readline()).decode()
        assert line, "it ended before it said how to look around"
        settings = line.partition("export MEND_CONFIG=")[2].strip()
    looking = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "ops.cli", "incidents", "ls", "--json"],
        env=os.environ | {"MEND_CONFIG": settings},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await looking.communicate()
    assert looking.returncode == 0
    assert out.count(b'"INVESTIGATING"') + out.count(b'"MITIGATING"') + out.count(b'"RESOLVED"') == 3
    process.send_signal(number)
    await process.communicate()
    assert process.returncode == 0
