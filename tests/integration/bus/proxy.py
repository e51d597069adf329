"""A network that loses one answer: a TCP proxy before Redis that swallows the reply to a chosen request and hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_NOTHING = b"*-1\r\n"


class Proxy:
    """Between clients on 127.0.0.1 and a Redis on a unix socket."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._marker: bytes | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._doomed: asyncio.StreamWriter | None = None
        self.armed = asyncio.Event()
        self.swallowed = asyncio.Event()
        self.connections = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def swallow(self, marker: bytes) -> None:
        """Loses the next reply to a request that contains `marker`, unless the reply is that there is nothing.

        `armed` is set while such a request waits for its reply.
        """
        self._marker = marker
        self.armed.clear()
        self.swallowed.clear()

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        answers, requests = await asyncio.open_unix_connection(str(self._upstream))
        back = asyncio.create_task(self._answers(answers, writer))
        try:
            while data := await reader.read(1 << 20):
                if self._marker is not None and self._marker in data:
                    self._doomed = writer
                    self.armed.set()
                requests.write(data)
                await requests.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            back.cancel()
            requests.close()
            writer.close()
            self._tasks.discard(task)

    async def _answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await answers.read(1 << 20):
            if self._doomed is writer and data != _NOTHING:
                self._doomed = self._marker = None
                self.swallowed.set()
                writer.transport.abort()
                return
            if self._doomed is writer:
                self._doomed = None
                self.armed.clear()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxied(upstream: Path) -> AsyncIterator[Proxy]:
    proxy = await Proxy(upstream).start()
    try:
        yield proxy
    finally:
        await proxy.stop()
