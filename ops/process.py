"""One process: its signals, its end, and the small HTTP port on which it tells its health and its metrics.

The first SIGTERM or SIGINT, or SIGHUP of a terminal that is closed, asks for a graceful end, and the process exits with 0; the second ends
it at once.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ops.errors import PortTaken

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from prometheus_client import CollectorRegistry

_log = logging.getLogger("mend.process")
_BEAT = 1.0  # seconds
_STALLED = 15.0  # seconds without a beat after which the event loop counts as stuck
_SLOW_CLIENT = 5.0  # seconds


def spare_collector() -> None:
    """Once everything is loaded: it stays as long as the process, so the collector of cycles need not go through it again and again."""
    gc.collect()
    gc.freeze()


class Health:
    """What a process knows of itself: Empty is `waiting_for` when it is ready, `warning` when all is as usual. `monotonic` gives s."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._beat = monotonic()
        self.waiting_for = "starting"
        self.warning = ""

    @property
    def is_alive(self) -> bool:
        """Whether the event loop has turned within the last 15 seconds."""
        return self._monotonic() - self._beat < _STALLED

    @property
    def is_ready(self) -> bool:
        return not self.waiting_for

    async def beat(self, waiting_for: Callable[[], str], warning: Callable[[], str] = lambda: "") -> None:
        """Notes every second that the event loop turns, what the process waits for and what people should know, until it is cancelled."""
        while True:
            self._beat = self._monotonic()
            self.waiting_for = waiting_for()
            self.warning = warning()
            await asyncio.sleep(_BEAT)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = _SLOW_CLIENT

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Scrapes are not news."""


class HealthPort:
    """`/metrics`, `/livez` and `/readyz` on a thread of its own, so that a stuck event loop can still be seen."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        from prometheus_client import make_wsgi_app

        self._health = health
        self._metrics = make_wsgi_app(registry)
        try:
            self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Quiet)
        except OSError as error:
            raise PortTaken(f"the metrics cannot listen on {host}:{port}: {error.strerror}; set metrics.port, 0 is off") from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="health", daemon=True)

    def start(self) -> HealthPort:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environment.get("PATH_INFO", "")
        if path == "/livez":
            return _told(start_response, self._health.is_alive, "the event loop is stuck")
        if path == "/readyz":
            return _told(start_response, self._health.is_ready, self._health.waiting_for, self._health.warning)
        if path == "/metrics":
            pages: Iterable[bytes] = self._metrics(environment, start_response)
            return pages
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there are /metrics, /livez and /readyz\n"]


def _told(start_response: StartResponse, fine: bool, reason: str, warning: str = "") -> list[bytes]:
    start_response("200 OK" if fine else "503 Service Unavailable", [("Content-Type", "application/json")])
    told = {"ok": fine, **({"warning": warning} if warning else {})} if fine else {"ok": fine, "reason": reason}
    return [json.dumps(told).encode() + b"\n"]


class AtOnce:
    """What must be ended even when the process ends at once: embedded servers, by their process ids."""

    def __init__(self) -> None:
        self._endings: list[Callable[[], None]] = []

    def add(self, ending: Callable[[], None]) -> None:
        self._endings.append(ending)

    def end(self) -> None:
        for ending in self._endings:
            ending()


def run_process(work: Callable[[asyncio.Event, AtOnce], Awaitable[None]]) -> int:
    """Runs `work(stop, at_once)` until it returns; returns 0. SIGTERM, SIGINT and SIGHUP set `stop`, a second one ends everything at once.

    What `work` raises is raised here.
    """

    async def watched() -> None:
        stop, at_once = asyncio.Event(), AtOnce()

        def on_signal(number: int) -> None:
            if stop.is_set():
                _log.warning("second signal: ending at once, without waiting for handlers")
                at_once.end()
                os._exit(128 + number)
            _log.info("%s: stopping; a second signal ends at once", signal.Signals(number).name)
            stop.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means that it stays
                loop.add_signal_handler(number, on_signal, number)
        await work(stop, at_once)

    asyncio.run(watched())
    return 0
