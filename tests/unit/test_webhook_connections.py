"""Connections to the door for alerts that say nothing, or a byte now and then: they end, and keep no alert out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import httpx
import pytest

from ops.api import connections
from ops.api.application import build_api
from ops.api.guard import Guard
from ops.api.problems import Problem
from ops.api.server import bind, serve, url_of
from schemas.event import Event

TOKEN = "a-long-token-of-the-settings"
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
EMPTY = b'{"alerts":[]}'
ALERT = b'{"alerts":[{"status":"firing","startsAt":"2026-11-20T10:00:00Z","labels":{"alertname":"A"}}]}'
HEAD = b"POST /v1/alertmanager HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
ALLOWED = f"Authorization: Bearer {TOKEN}\r\n".encode()
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Bus:
    """Holds what is appended until `leave` is set."""

    def __init__(self) -> None:
        self.entered, self.leave = asyncio.Semaphore(0), asyncio.Event()
        self.leave.set()

    async def append(self, _: Sequence[Event]) -> None:
        self.entered.release()
        await self.leave.wait()


class Served:
    """A door that is open on a port of this machine."""

    def __init__(self, url: str, address: tuple[str, int], bus: Bus) -> None:
        self.bus = bus
        self._url, self._address = url, address
        self._open: list[asyncio.StreamWriter] = []

    async def connect(self, first: bytes = b"") -> Stream:
        reader, writer = await asyncio.open_connection(*self._address)
        self._open.append(writer)
        writer.write(first)
        return reader, writer

    async def post(self, body: bytes = EMPTY) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self._url, timeout=20) as http:
            return await http.post("/v1/alertmanager", content=body, headers=HEADERS)

    async def close(self) -> None:
        for writer in self._open:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    bus, stop, listener = Bus(), asyncio.Event(), bind("127.0.0.1", 0)
    application = build_api(bus, guard=Guard(token=TOKEN), clock=lambda: datetime(2026, 11, 20, 12, tzinfo=UTC), by="api")
    serving = asyncio.create_task(serve(application, listener, stop))
    door = Served(url_of(listener), listener.getsockname()[:2], bus)
    yield door
    await door.close()
    stop.set()
    await asyncio.wait_for(serving, 10)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What was still sent before the connection ended."""
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""


async def trickle(stream: Stream, piece: bytes) -> bytes:
    """Sends this piece again and again until the other side has had enough; what it said."""

    async def send() -> None:
        while True:
            stream[1].write(piece)
            await stream[1].drain()
            await asyncio.sleep(0.01)

    sending = asyncio.create_task(send())
    try:
        return await ended(stream[0])
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def test_connections_that_say_nothing_keep_no_alert_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 20)
    silent = [await served.connect() for _ in range(20)]
    assert (await served.post()).status_code == 200
    assert await ended(silent[0][0]) == b"", "the one that had waited longest gave its place away"
    more = [await served.connect(HEAD) for _ in range(50)]
    assert (await served.post()).status_code == 200
    assert await ended(more[0][0]) == b""


async def test_where_all_are_served_a_further_one_is_told_to_try_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    served.bus.leave.clear()
    posting = [asyncio.create_task(served.post(ALERT)) for _ in range(3)]
    for _ in posting:
        await asyncio.wait_for(served.bus.entered.acquire(), 10)
    refused = await served.post(ALERT)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.headers["content-type"] == "application/problem+json"
    assert "3 connections" in Problem(**refused.json()).detail
    served.bus.leave.set()
    assert [answer.status_code for answer in await asyncio.gather(*posting)] == [200] * 3
    assert (await served.post(ALERT)).status_code == 200


async def test_a_connection_that_says_nothing_ends(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.LIMITS, "head", 0.2)
    reader, _ = await served.connect()
    assert await ended(reader) == b""


async def test_a_head_that_never_ends_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.LIMITS, "head", 0.2)
    assert await trickle(await served.connect(HEAD), b"X-A: a\r\n") == b""


async def test_nor_is_that_of_a_second_request(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.LIMITS, "head", 0.3)
    reader, writer = await served.connect(HEAD + ALLOWED + b"Content-Length: 13\r\n\r\n" + EMPTY)
    assert b" 200 " in await asyncio.wait_for(reader.readline(), 10)
    assert b"HTTP/1.1" not in await trickle((reader, writer), b"P"), "and there is no answer to it"


async def test_a_body_that_nobody_wants_is_not_read_for_ever(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a credential: the answer is there at once, and the rest of the request never ends."""
    monkeypatch.setitem(connections.LIMITS, "head", 0.3)
    reader, writer = await served.connect(HEAD + b"Content-Length: 4000000\r\n\r\n")
    assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
    assert b"HTTP/1.1" not in await trickle((reader, writer), b"x")


async def test_a_request_as_a_whole_has_a_limit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.LIMITS, "served", 0.3)
    assert await trickle(await served.connect(HEAD + ALLOWED + b"Content-Length: 4000000\r\n\r\n"), b" ") == b""
    assert (await served.post()).status_code == 200


async def test_between_requests_a_connection_may_rest_for_longer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.LIMITS, "head", 0.2)
    request = HEAD + ALLOWED + b"Content-Length: 13\r\n\r\n" + EMPTY
    reader, writer = await served.connect(request)
    await asyncio.wait_for(reader.readuntil(b'{"accepted":0}'), 10)
    silent, _ = await served.connect()
    await ended(silent)  # longer than the head of a request may take
    writer.write(request)
    assert b" 200 " in await asyncio.wait_for(reader.readline(), 10)
