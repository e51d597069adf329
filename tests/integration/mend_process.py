"""`mend` as people run it: real processes, a data folder and settings of their own, and a sandbox to heal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ops.runtime import RunFile, running
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
SETTINGS = """
[data]
folder = "{folder}/data"
[http]
port = 0
token = "{token}"
[api]
port = 0
[verify]
settle = 0.3
interval = 0.2
limit = 5.0
hold_down = 0.0
[bus]
delay_period = 0.05
measure_period = 0.5
[people.ana]
token = "{ana}"
[people.ben]
token = "{ben}"
"""
TOKEN, ANA, BEN = "http-token-of-the-test", "token-of-ana-of-the-test", "token-of-ben-of-the-test"


class Mend:
    """One installation. Calling it runs a command to its end."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        self.folder = folder
        self.data = folder / "data"
        (folder / "mend.toml").write_text(settings.format(folder=folder, token=TOKEN, ana=ANA, ben=BEN))
        (folder / "mend.toml").chmod(0o600)
        self.log = folder / "log"

    def environment(self, **variables: str) -> dict[str, str]:
        """That of this process without its own settings, KUBECONFIG and home."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MEND_", "XDG_", "KUBE"))}
        return {**plain, "PYTHONPATH": str(ROOT), "HOME": str(self.folder), **variables}

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs `mend ARGUMENTS`; the exit code must be `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "ops.cli", *arguments],
            cwd=self.folder,
            env=self.environment(**variables),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"mend {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        return done

    def said(self, *arguments: str, stdin: str = "", **variables: str) -> str:
        """What a command prints."""
        return self(*arguments, code=0, stdin=stdin, **variables).stdout

    def json(self, *arguments: str, code: int = 0, **variables: str) -> Any:
        """What a command prints with --json."""
        return msgspec.json.decode(self(*arguments, "--json", code=code, **variables).stdout)

    def wrong(self, *arguments: str, code: int = 1, stdin: str = "", **variables: str) -> str:
        """The one sentence that a command ends with when it goes wrong."""
        done = self(*arguments, code=code, stdin=stdin, **variables)
        assert done.stdout == ""
        assert done.stderr.startswith("mend: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def start(self, *arguments: str, module: str = "ops.cli", **variables: str) -> subprocess.Popen[bytes]:
        """Starts a process that stays; its output goes to the log."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                env=self.environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def up(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Starts `mend up` and waits until other commands find it."""
        process = self.start("up", *arguments, **variables)
        until(lambda: process.poll() is not None or running(self.data), self.log)
        assert process.poll() is None, self.log.read_text()
        return process

    @property
    def run(self) -> RunFile:
        run = running(self.data)
        assert run is not None, "mend up does not run"
        return run

    def left_over(self) -> list[str]:
        """The processes that have this installation's folder in their command line."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.folder) in command:
                found.append(command)
        return found


def until(holds: Callable[[], T], log: Path | None = None, seconds: float = PATIENCE) -> T:
    """Waits until `holds()` is true and returns it; it is asked less and less often, for it may start a process."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while True:
        if found := holds():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come within {seconds} s\n{log.read_text()[-3000:] if log and log.exists() else ''}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Sends a signal, waits, returns the exit code."""
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(PATIENCE)


@contextmanager
def installation(settings: str = SETTINGS) -> Iterator[Mend]:
    """An installation in a folder of its own, outside of pytest's, which root closes to the user that Postgres runs as."""
    folder = Path(tempfile.mkdtemp(prefix="mend-cli-"))
    try:
        yield Mend(folder, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
