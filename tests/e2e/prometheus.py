"""A real Prometheus, started for a test, that scrapes an exporter of the test's own every second."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from adapters.prometheus.options import PrometheusOptions
from schemas.secret import Secret, SecretUrl
from tests.patience import PATIENCE
from tests.ports import free_port

BINARY, TOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(BINARY is None or TOOL is None, reason="needs prometheus and promtool on PATH")

USERNAME, PASSWORD = "reader", "test"
_WEB = f"basic_auth_users:\n  {USERNAME}: $2b$04$hNf2lSsxfm0.i4a.1kVpSORlJqwqYFZ3x1Am1frBDy6/wVn4lx8/i\n"  # of PASSWORD; quick
_CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s, external_labels: {{datacenter: north}}}}
rule_files: [{rules}]
alerting:
  alertmanagers: [{{static_configs: [{{targets: [{alertmanager}]}}]}}]
scrape_configs:
  - {{job_name: exporter, honor_labels: true, static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}
"""
T = TypeVar("T")


class Exporter:
    """Serves `series`, by their names with labels, in the text format, until it is `stopped`."""

    def __init__(self, series: Mapping[str, float]) -> None:
        self.series = dict(series)
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # a Prometheus that is stopped hangs up whenever it is
            await reader.readuntil(b"\r\n\r\n")
            body = "".join(f"{name} {value!r}\n" for name, value in self.series.items()).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()


class Prometheus:
    """A Prometheus in a folder. It may be stopped and started again."""

    def __init__(self, folder: Path, *, exporter: int, rules: str = "", alertmanager: str = "", guarded: bool = False) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._auth = (USERNAME, PASSWORD) if guarded else None
        folder.mkdir(parents=True, exist_ok=True)
        self._data.mkdir(exist_ok=True)
        self.evaluate(rules)
        (folder / "web.yml").write_text(_WEB if guarded else "{}\n")
        (folder / "prometheus.yml").write_text(_CONFIG.format(rules=folder / "rules.yml", alertmanager=alertmanager, exporter=exporter))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def options(self, **fields: object) -> PrometheusOptions:
        """The options for reaching it."""
        credential = {"username": USERNAME, "password": Secret(PASSWORD)} if self._auth else {}
        return PrometheusOptions(url=SecretUrl(self.url), **(credential | fields))  # type: ignore[arg-type]

    def evaluate(self, rules: str) -> None:
        """The rules from its next start."""
        (self._folder / "rules.yml").write_text(rules or "groups: []\n")

    def remember(self, samples: Mapping[str, list[tuple[float, float]]]) -> None:
        """Gives it a past, before it is started: samples (Unix time in seconds, value) by gauges' names with labels."""
        assert TOOL is not None
        lines: list[str] = []
        for name, pairs in samples.items():
            lines.append(f"# TYPE {name.partition('{')[0]} gauge")
            lines += [f"{name} {value!r} {when:.3f}" for when, value in pairs]
        path = self._folder / "past.txt"
        path.write_text("\n".join([*lines, "# EOF", ""]))
        made = subprocess.run(
            [TOOL, "tsdb", "create-blocks-from", "openmetrics", path, self._data], check=False, capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr

    async def start(self) -> None:
        assert BINARY is not None
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *[BINARY, f"--config.file={self._folder / 'prometheus.yml'}", f"--web.config.file={self._folder / 'web.yml'}"],
                *[f"--storage.tsdb.path={self._data}", "--storage.tsdb.retention.time=60d"],
                f"--web.listen-address=127.0.0.1:{self._port}",
                stdout=log,
                stderr=log,
            )
        await self._ready()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Takes connections and answers none of them."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    async def _ready(self) -> None:
        deadline = asyncio.get_running_loop().time() + 30
        async with httpx.AsyncClient(base_url=self.url, auth=self._auth) as http:
            while asyncio.get_running_loop().time() < deadline:
                with suppress(httpx.HTTPError):
                    if (await http.get("/-/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.05)
        pytest.fail("Prometheus did not start: " + (self._folder / "prometheus.log").read_text()[-1000:])


@asynccontextmanager
async def exporting(series: Mapping[str, float]) -> AsyncIterator[Exporter]:
    exporter = Exporter(series)
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.stop()


@asynccontextmanager
async def running(prometheus: Prometheus) -> AsyncIterator[Prometheus]:
    await prometheus.start()
    try:
        yield prometheus
    finally:
        await prometheus.stop()


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], *, seconds: float = PATIENCE) -> T:
    """What `ask` gives, as soon as `holds` says so of it."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds(found := await ask()):
        assert asyncio.get_running_loop().time() < deadline, f"it stays {found}"
        await asyncio.sleep(0.1)
    return found
