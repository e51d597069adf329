"""A proxy between the adapter and a cluster, which loses, delays or spoils what a test says."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.cluster.conftest import Place

Rule = Callable[[str, str], str]
"""What to do with (method, path): forward, drop (the request), lose (the answer), hang, an HTTP status, or forward and `then 504`."""


class Proxy:
    """An HTTP/1.1 proxy on loopback for one upstream, without keep-alive. `seen` are the requests that reached the cluster.

    `body` is the body of the request that the rule is asked about.
    """

    def __init__(self, server: str, token: str) -> None:
        self._upstream = urlsplit(server)
        self._token = token
        self.rule: Rule = lambda _method, _path: "forward"
        self.seen: list[tuple[str, str]] = []
        self.body = b""
        self.url = ""
        self._tls: ssl.SSLContext | None = None
        if self._upstream.scheme == "https":
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        method, path, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.body = body
        step = self.rule(method, path)
        if step == "hang":
            await asyncio.Event().wait()
        if step == "drop":
            return
        answer = await self._forward(method, path, headers, body) if step in ("forward", "lose", "then 504") else b""
        if answer.split(b" ", 2)[1:2] == [b"409"]:
            step = "forward"  # somebody else wrote in between, as a node does all the time: there is nothing to lose yet
        if step == "then 504":
            step = "504"
        if step.isdigit():
            text = json.dumps({"kind": "Status", "message": "by the test"}).encode()
            length = f"Content-Length: {len(text)}"
            lines = [f"HTTP/1.1 {step} Fault", "Content-Type: application/json", length, "Connection: close"]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + text)
            await writer.drain()
            return
        if step == "forward":
            writer.write(answer)
            await writer.drain()

    async def _forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """The cluster's whole answer."""
        self.seen.append((method, path))
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port, ssl=self._tls)
        kept = {"content-type": headers.get("content-type", "application/json"), "content-length": str(len(body)), "connection": "close"}
        kept |= {"host": self._upstream.netloc} | ({"authorization": f"Bearer {self._token}"} if self._token else {})
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        return answer


def credentials(kubeconfig: str) -> tuple[str, str]:
    """The server and the token of a kubeconfig with one of each."""
    loaded = yaml.safe_load(Path(kubeconfig).read_text())
    return loaded["clusters"][0]["cluster"]["server"], loaded["users"][0]["user"]["token"]


async def in_front_of(place: Place) -> Proxy:
    """A proxy, started, in front of the test's cluster."""
    server, token = place.server.get("server", ""), ""
    if not server:
        server, token = credentials(place.server["kubeconfig"])
    made = Proxy(server, token)
    await made.start()
    return made
