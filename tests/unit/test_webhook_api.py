"""The door for alerts: who may come in, and what each wrong payload is answered with."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from bus.errors import BusFull, BusUnavailable
from ops.api import door
from ops.api.application import MAX_BODY, build_api
from ops.api.guard import Guard, UnguardedAddress, is_loopback, require_guard
from ops.api.problems import Problem
from ops.api.server import bind, serve, url_of
from ops.errors import PortTaken
from schemas.event import Event
from schemas.events import SignalReceived
from stages.ingest.accept import signals_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
GROUP = (Path(__file__).parent.parent / "data" / "alertmanager-0.27-group.json").read_bytes()
JSON = {"Content-Type": "application/json"}
TOKEN = "a-long-token-of-the-settings"
GUARD = Guard(token=TOKEN, username="ann", password="pass:wörd")


class Recorder:
    """A bus that remembers, or fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.error = error

    async def append(self, events: Sequence[Event]) -> None:
        if self.error:
            raise self.error
        self.events += events


def client(bus: Recorder | None = None, guard: Guard | None = None) -> httpx.AsyncClient:
    application = build_api(bus or Recorder(), guard=guard or Guard(), clock=lambda: NOW, by="api/test", metrics=lambda: b"up 1\n")
    return over(application)


def over(application: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost")


async def post(body: bytes | AsyncIterator[bytes] = GROUP, bus: Recorder | None = None, **headers: str) -> httpx.Response:
    async with client(bus) as http:
        return await http.post("/v1/alertmanager", content=body, headers={**JSON, **headers})


def problem(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(answer.content, type=Problem)
    assert found.status == answer.status_code
    assert found.detail
    return found


async def test_a_payload_is_answered_with_200_once_it_is_in_the_stream() -> None:
    bus = Recorder()
    answer = await post(bus=bus)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2})
    assert len(bus.events) == 2


async def test_a_wrong_field_is_named() -> None:
    bus = Recorder()
    body = GROUP.replace(b'"resolved"', b'"pending"')
    found = problem(await post(body, bus))
    assert (found.status, found.field) == (400, "$.alerts[1].status")
    assert bus.events == []


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_payload_above_the_limit_is_413(chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b" " * 65536

    bus = Recorder()
    answer = await post(chunks() if chunked else b" " * (MAX_BODY + 1), bus)
    assert problem(answer).status == 413
    exactly = GROUP + b" " * (MAX_BODY - len(GROUP))
    assert (await post(exactly, bus)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"Content-Encoding": "gzip"}, "Content-Encoding"),
        ({"Content-Encoding": "br, gzip"}, "Content-Encoding"),
        ({"Content-Type": "text/plain"}, "Content-Type"),
        ({"Content-Type": ""}, "Content-Type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "Content-Type"),
    ],
)
async def test_only_plain_json_is_read(headers: dict[str, str], field: str) -> None:
    body = gzip.compress(GROUP) if "Content-Encoding" in headers else GROUP
    found = problem(await post(body, None, **headers))
    assert (found.status, found.field) == (400, field)


@pytest.mark.parametrize("error", [BusUnavailable("Redis is away"), BusFull("Redis is full")])
async def test_a_bus_that_takes_nothing_is_503(error: Exception) -> None:
    answer = await post(bus=Recorder(error))
    assert problem(answer).status == 503
    assert answer.headers["retry-after"] == "5"
    assert str(error) in problem(answer).detail


async def test_a_fault_of_ours_is_503_and_logged_and_never_500(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "mend.api"):
        answer = await post(bus=Recorder(ZeroDivisionError("inside")))
    assert problem(answer).status == 503
    assert "inside" not in answer.text
    assert [record.exc_info is not None for record in caplog.records] == [True]


def basic(credential: str) -> str:
    return "Basic " + base64.b64encode(credential.encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (basic("ann:pass:wörd"), 200),
        ("", 401),
        (TOKEN, 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        (f"Basic {TOKEN}", 401),
        (basic("ann:"), 401),
        (basic("bob:pass:wörd"), 401),
        ("Basic !!!", 401),
        ("Digest x", 401),
    ],
)
async def test_only_a_configured_credential_opens_the_door(authorization: str, status: int) -> None:
    bus = Recorder()
    headers = {**JSON, "Authorization": authorization} if authorization else JSON
    async with client(bus, GUARD) as http:
        answer = await http.post("/v1/alertmanager", content=GROUP, headers=headers)
    assert answer.status_code == status
    assert bool(bus.events) == (status == 200)
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="mendstream", Basic realm="mendstream"'
        assert TOKEN not in answer.text


async def test_a_guard_without_a_token_asks_for_none() -> None:
    async with client(guard=Guard(username="ann", password="p")) as http:
        answer = await http.post("/v1/alertmanager", content=GROUP, headers={**JSON, "Authorization": "Bearer "})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="mendstream"')


async def test_without_credentials_a_web_page_may_not_post() -> None:
    found = problem(await post(Origin="https://evil.example"))
    assert (found.status, found.field) == (403, "Origin")


async def test_health_and_description_need_no_credential_and_metrics_do() -> None:
    async with client(guard=GUARD) as http:
        assert (await http.get("/livez")).json() == {"ok": True}
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).text == "up 1\n"
        document = (await http.get("/openapi.json")).json()
    operation = document["paths"]["/v1/alertmanager"]["post"]
    webhook = operation["requestBody"]["content"]["application/json"]["schema"]
    assert webhook["properties"]["alerts"]["items"]["required"] == ["status", "labels", "startsAt"]
    assert {"200", "400", "401", "413", "503"} <= set(operation["responses"])
    assert "$ref" not in str(webhook)


async def test_it_says_why_it_is_not_ready() -> None:
    application = build_api(Recorder(), guard=Guard(), clock=lambda: NOW, by="api", waiting_for=lambda: "Redis is away")
    async with over(application) as http:
        answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "reason": "Redis is away"})


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/alertmanager", 405), ("POST", "/v2/alerts", 404), ("GET", "/", 404)])
async def test_what_is_not_there_is_a_problem_too(method: str, path: str, status: int) -> None:
    async with client() as http:
        assert problem(await http.request(method, path)).status == status


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")],
        *[(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "mend.example", "")],
    ],
)
def test_without_credentials_it_listens_on_loopback_only(host: str, loopback: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert is_loopback(host) is loopback
    require_guard(GUARD, host)
    assert caplog.records == []
    if loopback:
        with caplog.at_level(logging.WARNING, "mend.api"):
            require_guard(Guard(), host)
        assert "no credential is set" in caplog.text
    else:
        with pytest.raises(UnguardedAddress, match=r"http\.token"):
            require_guard(Guard(), host)


async def test_a_stop_lets_a_request_under_way_end() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    class Slow(Recorder):
        async def append(self, events: Sequence[Event]) -> None:
            entered.set()
            await leave.wait()
            await super().append(events)

    bus, stop, listener = Slow(), asyncio.Event(), bind("127.0.0.1", 0)
    application = build_api(bus, guard=Guard(), clock=lambda: NOW, by="api")
    serving = asyncio.create_task(serve(application, listener, stop))
    async with httpx.AsyncClient(base_url=url_of(listener)) as http:
        posting = asyncio.create_task(http.post("/v1/alertmanager", content=GROUP, headers=JSON))
        await asyncio.wait_for(entered.wait(), 10)
        stop.set()
        leave.set()
        assert (await posting).status_code == 200
    await asyncio.wait_for(serving, 10)
    assert len(bus.events) == 2


async def test_an_answer_waits_for_no_delayed_acknowledgement() -> None:
    stop, listener = asyncio.Event(), bind("127.0.0.1", 0)
    serving = asyncio.create_task(serve(build_api(Recorder(), guard=Guard(), clock=lambda: NOW, by="api"), listener, stop))
    seconds = []
    async with httpx.AsyncClient(base_url=url_of(listener)) as http:
        for _ in range(20):
            started = time.perf_counter()
            await http.post("/v1/alertmanager", content=GROUP, headers=JSON)
            seconds.append(time.perf_counter() - started)
    stop.set()
    await asyncio.wait_for(serving, 10)
    assert min(seconds[1:]) < 0.03


async def test_a_payload_that_does_not_arrive_gives_its_place_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_READ_TIMEOUT", 0.05)
    monkeypatch.setattr(door, "_AT_ONCE", 1)
    bus, stop, listener = Recorder(), asyncio.Event(), bind("127.0.0.1", 0)
    serving = asyncio.create_task(serve(build_api(bus, guard=Guard(), clock=lambda: NOW, by="api"), listener, stop))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"POST /v1/alertmanager HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{")
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 503")
    async with httpx.AsyncClient(base_url=url_of(listener)) as http:
        assert (await http.post("/v1/alertmanager", content=GROUP, headers=JSON)).status_code == 200
    writer.close()
    await writer.wait_closed()
    stop.set()
    await asyncio.wait_for(serving, 10)


async def test_payloads_are_read_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    reading: list[int] = [0]

    async def counted(*arguments: Any, **options: Any) -> list[SignalReceived]:
        reading.append(reading[-1] + 1)
        await asyncio.sleep(0)
        signals = await signals_of(*arguments, **options)
        reading.append(reading[-1] - 1)
        return signals

    monkeypatch.setattr(door, "signals_of", counted)
    async with client() as http:
        answers = await asyncio.gather(*(http.post("/v1/alertmanager", content=GROUP, headers=JSON) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert reading == [0, *[1, 0] * 5]


async def test_a_taken_port_is_said_in_a_sentence() -> None:
    listener = bind("127.0.0.1", 0)
    try:
        with pytest.raises(PortTaken, match=r"http\.port"):
            bind("127.0.0.1", listener.getsockname()[1])
    finally:
        listener.close()


async def test_a_sender_that_hangs_up_leaves_nothing_behind() -> None:
    bus, stop, listener = Recorder(), asyncio.Event(), bind("127.0.0.1", 0)
    serving = asyncio.create_task(serve(build_api(bus, guard=Guard(), clock=lambda: NOW, by="api"), listener, stop))
    _, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"POST /v1/alertmanager HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n" + GROUP)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with httpx.AsyncClient(base_url=url_of(listener)) as http:
        assert (await http.post("/v1/alertmanager", content=GROUP, headers=JSON)).json() == {"accepted": 2}
    stop.set()
    await asyncio.wait_for(serving, 10)
    assert len(bus.events) == 2
