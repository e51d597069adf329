"""A real Alertmanager, started for a test, that sends to our API at once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_alertmanager = pytest.mark.skipif(BINARY is None, reason="needs prometheus-alertmanager on PATH")

_CONFIG = """
route:
  receiver: mendstream
  group_by: [alertname]
  group_wait: 10ms
  group_interval: 100ms
  repeat_interval: 1h
inhibit_rules:
  - source_matchers: ['alertname="Outage"']
    target_matchers: ['severity="critical"']
receivers:
  - name: mendstream
    webhook_configs:
      - url: {url}/v1/alertmanager
        send_resolved: true
        http_config:
          authorization:
            type: Bearer
            credentials: {token}
"""


class Alertmanager:
    """A running Alertmanager; `url` is its own API. Unless `tells_start`, it has to find the alerts' start itself.

    An alert `Outage` inhibits those that are critical.
    """

    def __init__(self, folder: Path, config: str) -> None:
        self._folder = folder
        self._config = config
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.tells_start = True
        self._started = datetime.now(UTC)

    async def tell(self, *alerts: dict[str, str], ended: bool = False) -> None:
        """Has alerts with these labels fire, or end now."""
        now = datetime.now(UTC)
        times = {"startsAt": self._started.isoformat()} if self.tells_start else {}
        times["endsAt"] = (now if ended else now + timedelta(hours=1)).isoformat()
        body = [{"labels": labels, "annotations": {"summary": f"{labels['alertname']} happened"}, **times} for labels in alerts]
        async with httpx.AsyncClient(base_url=self.url) as http:
            (await http.post("/api/v2/alerts", json=body)).raise_for_status()

    async def silence(self, alert: str) -> None:
        """Nobody is told of the alerts of this name for an hour."""
        now = datetime.now(UTC)
        matcher = {"name": "alertname", "value": alert, "isRegex": False, "isEqual": True}
        times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
        async with httpx.AsyncClient(base_url=self.url) as http:
            body = {"matchers": [matcher], **times, "createdBy": "ana", "comment": "known"}
            (await http.post("/api/v2/silences", json=body)).raise_for_status()

    async def states(self) -> dict[str, str]:
        """The state of each alert, by its name: active, suppressed, or unprocessed until it was looked at."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            listed = (await http.get("/api/v2/alerts")).json()
        return {alert["labels"]["alertname"]: alert["status"]["state"] for alert in listed}

    async def start(self) -> None:
        self._process = await _start(self._folder, self._config, self._port)
        await _ready(self.url, self._folder)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def fingerprints(self) -> dict[str, str]:
        """The fingerprint that Alertmanager gives each alert, by its name."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            listed = (await http.get("/api/v2/alerts")).json()
        return {alert["labels"]["alertname"]: alert["fingerprint"] for alert in listed}


@asynccontextmanager
async def alertmanager(folder: Path, webhook: str, token: str) -> AsyncIterator[Alertmanager]:
    """An Alertmanager that posts to the API at `webhook` with this bearer token."""
    running = Alertmanager(folder, _CONFIG.format(url=webhook, token=token))
    try:
        await running.start()
        yield running
    finally:
        await running.stop()


async def _start(folder: Path, config: str, port: int) -> asyncio.subprocess.Process:
    assert BINARY is not None
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a test may wait for its own disk
    path = folder / "alertmanager.yml"
    path.write_text(config)
    with (folder / "alertmanager.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *[BINARY, f"--config.file={path}", f"--storage.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
            *["--cluster.listen-address=", "--log.level=debug"],
            stdout=log,
            stderr=log,
        )


async def _ready(url: str, folder: Path) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    async with httpx.AsyncClient(base_url=url) as http:
        while asyncio.get_running_loop().time() < deadline:
            with suppress(httpx.HTTPError):
                if (await http.get("/-/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    pytest.fail("Alertmanager did not start: " + (folder / "alertmanager.log").read_text()[-1000:])
