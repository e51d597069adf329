"""Serving the application with uvicorn, inside a process that has its own signals and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ops.errors import PortTaken

if TYPE_CHECKING:
    from litestar import Litestar

_log = logging.getLogger("mend.api")
_GRACE = 10  # seconds that requests under way get after a stop
_WAITING = 256  # connections that wait to be accepted


def bind(host: str, port: int, section: str = "http") -> socket.socket:
    """A listening socket: whoever connects before it is served waits, so its address can be told at once.

    `section` of the settings names the address. Raises PortTaken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each answer waits 40 ms for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen(_WAITING)
    except OSError as error:
        listener.close()
        raise PortTaken(f"the API cannot listen on {host}:{port}: {error.strerror}; set {section}.host and {section}.port") from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the address of all is reached by loopback
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_at(api: str, port: int) -> bool:
    """Whether the API at this URL, which may be empty, has this port."""
    return bool(api) and urlsplit(api).port == port


async def serve(application: Litestar, listener: socket.socket, stop: asyncio.Event, *, name: str = "api") -> None:
    """Serves until `stop` is set, then lets requests under way end, for 10 seconds at most. The process keeps its signals."""
    import uvicorn

    from ops.api.connections import LIMITS, BoundedConnection

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        http=BoundedConnection,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=int(LIMITS["idle"]),
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name=name)
    stopping = asyncio.create_task(stop.wait(), name=f"{name}-stop")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.should_exit = True
        await serving
