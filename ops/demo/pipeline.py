"""A real `mend up` in a process and a folder of its own, and the ways to it that anybody has: HTTP and the CLI."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ops.errors import OpsError
from ops.runtime import RunFile, find_running

PEOPLE = ("ana", "ben")
_START_SECONDS = 60.0
_SETTINGS = """\
[data]
folder = "{folder}/data"

[http]
port = 0
token = "{token}"

[api]
port = 0

[log]
level = "{level}"
format = "json"

[people.ana]
token = "{ana}"

[people.ben]
token = "{ben}"

"""


class DemoFailed(OpsError):
    """The demo did not go as it tells; its message says at which step, and where the log is."""


class Pipeline:
    """The process and its folder. `tokens` are the people's; `environment` is what the CLI needs to find it.

    `settings` is TOML that is added to what every such pipeline needs; `arguments` are those of `mend up`.
    """

    def __init__(self, folder: Path, settings: str, *, arguments: Sequence[str] = (), level: str = "warning") -> None:
        self.folder = folder
        self._text = settings
        self._arguments = arguments
        self._level = level
        self.settings = folder / "mend.toml"
        self.log = folder / "mend.log"
        self.tokens = {person: secrets.token_urlsafe(16) for person in PEOPLE}
        self.token = secrets.token_urlsafe(16)
        self._process: asyncio.subprocess.Process | None = None
        self.run: RunFile | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment without other `MEND_` settings, which would change the story."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MEND_")}
        return plain | {"MEND_CONFIG": str(self.settings)}

    @property
    def api(self) -> str:
        assert self.run is not None
        return self.run.api

    @property
    def sandbox(self) -> str:
        assert self.run is not None
        return self.run.sandbox

    async def start(self) -> None:
        """Starts it and waits until it takes alerts. Raises DemoFailed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = _SETTINGS.format(folder=self.folder, token=self.token, level=self._level, **self.tokens)
        self.settings.touch(mode=0o600)
        self.settings.write_text(text + self._text)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "ops.cli", "up", *self._arguments],
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await self._ready():  # noqa: ASYNC110 - another process' readiness has no event here
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DemoFailed(f"mend up did not start within {_START_SECONDS:g} s; its log is {self.log}") from None

    async def _ready(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            tail = self.log.read_text(errors="replace")[-600:]
            raise DemoFailed(f"mend up ended with code {self._process.returncode}; its log {self.log} ends with: {tail}")
        try:
            run = find_running(self.folder / "data")
        except OpsError:
            return False
        if not run.api:
            return False
        self.run = run
        status, _ = await self._get("/readyz")
        return status == 200

    async def post(self, payload: Mapping[str, Any]) -> None:
        """Posts a webhook payload as Alertmanager does. Raises DemoFailed."""
        status, body = await self._request("POST", "/v1/alertmanager", msgspec.json.encode(payload))
        if status != 200:
            raise DemoFailed(f"the webhook answered {status}: {body[:300]!r}")

    async def mend(self, *arguments: str, token: str = "") -> str:
        """Runs a `mend` command as a person at a terminal would; returns what it printed. Raises DemoFailed."""
        environment = {**self.environment, **({"MEND_PERSON_TOKEN": token} if token else {})}
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "ops.cli", *arguments],
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        if process.returncode != 0:
            raise DemoFailed(f"mend {' '.join(arguments)} ended with code {process.returncode}: {printed.decode(errors='replace')[:600]}")
        return printed.decode(errors="replace")

    async def stop(self) -> None:
        """Stops it as a supervisor would, and waits."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(20):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def wait(self) -> int:
        """The exit code, when it ends."""
        assert self._process is not None
        return await self._process.wait()

    async def _get(self, path: str) -> tuple[int, bytes]:
        try:
            return await self._request("GET", path, b"")
        except OSError:
            return 0, b""

    async def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        from aiohttp import ClientError, ClientSession

        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            async with ClientSession() as session, session.request(method, self.api + path, data=body, headers=headers) as answer:
                return answer.status, await answer.read()
        except ClientError as error:
            raise OSError(str(error)) from error
