"""What bounds who asks: rates for each token and address, the size of a request, and stores that are away."""

from __future__ import annotations

import asyncio
import threading
from asyncio import StreamReader
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio

from bus.errors import BusFull
from ops.api import answers, connections, voting
from ops.api.application import build_api
from ops.api.guard import Guard
from ops.channels import door
from ops.clock import now
from ops.settings import Settings
from ops.settings.model import ApiSettings
from ops.tokens import Role
from schemas.secret import Secret, Token
from sql.database import Database
from sql.people import revoke_tokens
from stages.notify.options import NotifyOptions, SlackOptions, TelegramOptions
from tests.integration.bus.ground import until
from tests.integration.desk import Desk, desk, problem
from tests.integration.test_rest_events import served


@pytest_asyncio.fixture
async def api(redis_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(redis_url, database) as api:
        await api.let_in("vera", Role.VIEWER)
        await api.let_in("ann", Role.OPERATOR)
        yield api


async def test_a_token_that_asks_too_often_is_told_when_to_come_again(api: Desk) -> None:
    few = api.built(Settings(api=ApiSettings(rate=3, address_rate=100)))
    async with api.client(api.tokens["vera"], application=few) as vera:
        assert [(await vera.get("/v1/incidents")).status_code for _ in range(3)] == [200] * 3
        answer = await vera.get("/v1/incidents")
        assert "with this token" in problem(answer, 429).detail
        assert 1 <= int(answer.headers["retry-after"]) <= 20
    async with api.client(api.tokens["ann"], application=few) as ann:
        assert (await ann.get("/v1/incidents")).status_code == 200, "another token has its own"


async def test_an_address_that_guesses_tokens_is_stopped_and_fills_no_audit_log(api: Desk) -> None:
    waiting = await api.waiting()
    few = api.built(Settings(api=ApiSettings(rate=100, address_rate=5)))
    async with api.client("mend_" + "0" * 16 + "_" + "A" * 43, application=few) as guesser:
        answers = [(await guesser.post(f"/v1/approvals/{waiting.id}/sign")).status_code for _ in range(9)]
        assert answers == [401] * 5 + [429] * 4
    assert len(await api.audited()) == 5
    async with api.client(api.tokens["ann"], address="10.0.0.2", application=few) as elsewhere:
        assert (await elsewhere.get("/v1/incidents")).status_code == 200


async def test_what_needs_no_token_is_bounded_too(api: Desk) -> None:
    few = api.built(Settings(api=ApiSettings(rate=100, address_rate=2)))
    async with api.client(application=few) as client:
        assert [(await client.get("/openapi.json")).status_code for _ in range(3)] == [200, 200, 429]


async def test_a_flood_without_a_token_shuts_out_nobody_of_its_address_who_was_in(api: Desk) -> None:
    """All come by one proxy elsewhere, and have one address."""
    few = api.built(Settings(api=ApiSettings(rate=6, address_rate=3), notify=DOORS.notify))
    async with api.client(api.tokens["vera"], application=few) as vera, api.client(application=few) as nobody:
        for path in ("/v1/slack/interactivity", "/v1/telegram/webhook"):
            assert [(await nobody.post(path)).status_code for _ in range(4)] == [401] * 3 + [429]
        assert (await nobody.get("/readyz")).status_code == 200, "each route that needs no token is counted by itself"
        assert (await vera.get("/v1/incidents")).status_code == 200
        assert [(await nobody.get("/v1/incidents")).status_code for _ in range(4)] == [401] * 3 + [429]
        assert [(await vera.get("/v1/incidents")).status_code for _ in range(6)] == [200] * 5 + [429], "a valid token pays for itself"
    async with api.client(api.tokens["ann"], application=few) as ann:
        assert "from this address" in problem(await ann.get("/v1/incidents"), 429).detail, "what is not known yet could be one more guess"


async def test_a_token_that_was_known_and_is_revoked_lets_nobody_in_and_is_counted_for_its_address(api: Desk) -> None:
    few = api.built(Settings(api=ApiSettings(rate=100, address_rate=2)))
    async with api.client(api.tokens["vera"], application=few) as vera:
        assert (await vera.get("/v1/incidents")).status_code == 200
        async with api.database.transaction() as connection:
            await revoke_tokens(connection, "vera", by="root", at=api.scene.now)
        assert [(await vera.get("/v1/incidents")).status_code for _ in range(4)] == [401] * 3 + [429]


async def test_the_door_for_alerts_counts_nobody(api: Desk) -> None:
    alerts = build_api(api.bus, guard=Guard(token="a-long-token-of-the-settings"), clock=now, by="api/test")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", alerts)), base_url="http://localhost") as client:
        answers = {(await client.post("/v1/alertmanager", json={})).status_code for _ in range(1500)}
    assert answers == {401}


async def test_what_is_written_for_readers_stops_no_stage_and_two_answers_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, lock, writing, most = threading.Semaphore(0), threading.Lock(), 0, 0

    def slow(value: object) -> object:
        nonlocal writing, most
        with lock:
            writing += 1
            most = max(most, writing)
        assert turns.acquire(timeout=30), "the event loop has no turn while an answer is written"
        with lock:
            writing -= 1
        return value

    monkeypatch.setattr(answers, "cleaned", slow)
    asked = [asyncio.create_task(answers.told({"number": number})) for number in range(6)]
    await until(lambda: writing == 2)
    for _ in asked:
        turns.release()
    assert [(await one).content for one in asked] == [b'{"number":%d}' % number for number in range(6)]
    assert most == 2


async def test_a_body_that_is_too_large_is_not_read(api: Desk) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 4096

    waiting = await api.waiting()
    answer = await api.post(f"/v1/approvals/{waiting.id}/sign", "ann", content=endless(), headers={"Content-Type": "application/json"})
    problem(answer, 413)


async def test_stores_that_are_away_are_503_and_nothing_is_cast(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = await api.waiting()

    async def full(events: object) -> None:
        raise BusFull("Redis is at its maxmemory")

    monkeypatch.setattr(api.bus, "append", full)
    answer = await api.post(f"/v1/approvals/{waiting.id}/sign", "ann")
    assert "maxmemory" in problem(answer, 503).detail
    assert answer.headers["retry-after"] == "5"
    await api.database.close()
    answer = await api.get("/v1/incidents", "vera")
    assert "Postgres cannot be reached" in problem(answer, 503).detail
    assert answer.headers["retry-after"] == "5"


async def test_votes_that_wait_for_the_gate_are_few(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voting, "_AT_ONCE", 0)
    monkeypatch.setattr(voting, "_QUEUE", 0.01)
    waiting = await api.waiting()
    async with api.client(api.tokens["ann"], application=api.built(Settings())) as client:
        answer = await client.post(f"/v1/approvals/{waiting.id}/sign")
    assert "this one was not cast" in problem(answer, 503).detail


DOORS = Settings(
    notify=NotifyOptions(
        slack=SlackOptions(token=Token("x" * 16), channel="C1", signing_secret=Secret("a-signing-secret")),
        telegram=TelegramOptions(token=Token("y" * 16), chat="1", secret_token=Token("a-secret-token-of-setWebhook")),
    )
)


@asynccontextmanager
async def slow_pressers(api: Desk, url: str, count: int, **headers: str) -> AsyncIterator[list[StreamReader]]:
    """Connections to the door for Slack whose bodies are promised and do not come; where headers are given, in place of likely ones."""
    likely = headers or {"X-Slack-Request-Timestamp": str(int(api.scene.now.timestamp())), "X-Slack-Signature": "v0=" + "0" * 64}
    host, port = url.removeprefix("http://").split(":")
    lines = [f"{name}: {value}" for name, value in {"Host": "a", "Content-Length": "9999", **likely}.items()]
    head = "\r\n".join(["POST /v1/slack/interactivity HTTP/1.1", *lines, "", "payload="]).encode()
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    try:
        for _, writer in streams:
            writer.write(head)
        yield [reader for reader, _ in streams]
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def statuses(readers: list[StreamReader], count: int) -> list[str]:
    """What the first `count` of these connections that are answered are told."""
    async with asyncio.timeout(20):
        lines = [await one for one in islice(asyncio.as_completed([reader.readline() for reader in readers]), count)]
    return [line.split()[1].decode() for line in lines]


async def test_bodies_that_do_not_come_keep_nobody_out_of_the_api(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 20)
    monkeypatch.setattr(door, "_READ_TIMEOUT", 60.0)
    api.application = api.built(DOORS)
    bearer = {"Authorization": f"Bearer {api.tokens['vera']}"}
    async with served(api) as url, slow_pressers(api, url, 20) as slow, httpx.AsyncClient(headers=bearer) as vera:
        assert await statuses(slow, 4) == ["503"] * 4, "16 are read at once"
        assert (await vera.get(f"{url}/v1/stop")).status_code == 200


async def test_a_body_that_proves_nothing_is_not_waited_for(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_READ_TIMEOUT", 60.0)
    api.application = api.built(DOORS)
    now_, late = (str(int(api.scene.now.timestamp()) - age) for age in (0, 301))
    signed = "v0=" + "0" * 64
    async with served(api) as url:
        for signature, timestamp in (("", now_), ("v0=", now_), ("v1=" + "0" * 64, now_), (signed, ""), (signed, late), (signed, "x")):
            given = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": timestamp}
            async with slow_pressers(api, url, 1, **given) as slow:
                assert await statuses(slow, 1) == ["401"]


async def test_a_body_that_does_not_come_gives_its_place_away(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_READ_TIMEOUT", 0.05)
    monkeypatch.setattr(door, "_AT_ONCE", 1)
    api.application = api.built(DOORS)
    async with served(api) as url:
        for _ in range(2):
            async with slow_pressers(api, url, 1) as slow:
                assert await statuses(slow, 1) == ["408"]


async def test_an_address_of_which_much_is_wrong_is_still_told_so_in_json(api: Desk) -> None:
    async with api.client(api.tokens["vera"]) as client:
        for method, path, status in (("DELETE", "/v1/incidents", 405), ("GET", "/v1", 404), ("PUT", "/v1/approvals/x/sign", 405)):
            answer = await client.request(method, path)
            problem(answer, status)


async def test_only_a_proxy_on_this_machine_says_whose_request_it_brings(api: Desk) -> None:
    """And what it says is an address, or nothing."""
    waiting = await api.waiting()
    path, bearer = f"/v1/approvals/{waiting.id}/sign", {"Authorization": "Bearer nonsense"}
    async with served(api) as url, httpx.AsyncClient() as client:
        for told in ("203.0.113.7", "2001:db8::7", "x" * 5000, ""):
            problem(await client.post(url + path, headers=bearer | ({"X-Forwarded-For": told} if told else {})), 401)
    async with api.client("nonsense", address="198.51.100.9") as elsewhere:
        problem(await elsewhere.post(path, headers={"X-Forwarded-For": "203.0.113.7"}), 401)
    assert sorted(one.input for one in await api.audited()) == [
        "api/127.0.0.1",
        "api/198.51.100.9",
        "api/2001:db8::7",
        "api/203.0.113.7",
        "api/unknown",
    ]
