"""The sandbox over HTTP on loopback: an address that a Kubernetes client can use, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Self

from ops.sandbox.api import Api
from ops.sandbox.cluster import Cluster

_KEEP_ALIVE = 75  # seconds; longer than clients keep a connection, so that none is closed under a request


class Sandbox:
    """A small simulated cluster; `async with Sandbox(speed=10) as sandbox: sandbox.url`.

    `speed` is how much faster than life its containers age (a wedge after 20 s comes after 2 s at 10), `port` 0 takes any.
    What its identity may not do goes into `denied`, such as `patch deployments.apps` or `patch deployments.apps in shop`.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        nodes: int = 3,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.cluster = (
            Cluster(speed=speed, nodes=nodes, seed=seed) if clock is None else Cluster(speed=speed, nodes=nodes, seed=seed, clock=clock)
        )
        self.url = ""
        self._address = (host, port)
        self._server: Any = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def denied(self) -> set[str]:
        """What the identity of every client may not do; change it at any time."""
        return self.cluster.denied

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> Self:
        """Listens, and lets time pass; raises OSError when the port is taken."""
        listener = _listener(self._address)
        host, port = listener.getsockname()[:2]
        self._server = _server(Api(self.cluster))
        self._tasks = [asyncio.create_task(self._server.serve(sockets=[listener])), asyncio.create_task(self.cluster.run())]
        while not self._server.started:
            await asyncio.sleep(0.005)
            if self._tasks[0].done():
                self._tasks[0].result()
                raise OSError(f"the sandbox could not listen on {host}:{port}")
        self.url = f"http://{host}:{port}"
        return self

    async def stop(self) -> None:
        """Closes every connection and ends."""
        if not self._tasks:
            return
        serving, running = self._tasks
        self._tasks = []
        self._server.should_exit = True
        running.cancel()
        await asyncio.gather(serving, running, return_exceptions=True)


def _listener(address: tuple[str, int]) -> socket.socket:
    """A listening socket. Its protocol is named, as asyncio sends small answers at once only where it sees that it is TCP."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _server(api: Api) -> Any:
    """A uvicorn server for the API. Signals stay with the process that it is part of."""
    import uvicorn

    class Quiet(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    options: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "off", "ws": "none"}
    return Quiet(uvicorn.Config(_application(api), timeout_keep_alive=_KEEP_ALIVE, timeout_graceful_shutdown=1, **options))


def _application(api: Api) -> Any:
    """One handler for all paths: the API takes them apart itself, as their shape depends on the resource."""
    from litestar import Litestar, Request, Response, route

    @route("/{path:path}", http_method=["GET", "POST", "PATCH", "PUT", "DELETE"], status_code=200)
    async def handle(request: Request[Any, Any, Any]) -> Response[bytes]:
        query = {name: str(value) for name, value in request.query_params.items()}
        status, answer = api.answer(
            request.method, request.scope["path"], query, request.headers.get("content-type", ""), await request.body()
        )
        if isinstance(answer, str):
            return Response(answer.encode(), status_code=status, media_type="text/plain")
        return Response(json.dumps(answer).encode(), status_code=status, media_type="application/json")

    handle_types = {"Request": Request, "Response": Response}
    return Litestar([handle], openapi_config=None, logging_config=None, signature_namespace=handle_types)
