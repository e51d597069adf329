"""From the door over a real Redis to the incident, and what a producer of its own may get wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from bus.connect import Bus, connect
from bus.loop import StageLoop
from ops.api.application import build_api
from ops.api.guard import Guard
from ops.embedded import EmbeddedRedis
from schemas.codec import decode
from schemas.event import Event
from schemas.events import DeadLettered, IncidentOpened
from schemas.identity import new_id
from schemas.words import DeadReason
from sql.database import Database
from sql.errors import StoreUnavailable
from stages.ingest.stage import Ingest

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    bus = await connect(redis_url, name="test")
    yield bus
    await bus.close()


@pytest.fixture
async def running(bus: Bus, database: Database) -> AsyncIterator[None]:
    """The ingest stage, at work."""
    stop = asyncio.Event()
    loop = asyncio.create_task(StageLoop(bus, Ingest(database), transient=(StoreUnavailable,)).run(stop))
    yield
    stop.set()
    await loop


async def told(redis_url: str, topic: str, count: int) -> list[Event]:
    """The events of a topic, as soon as there are that many."""
    deadline = asyncio.get_running_loop().time() + 30
    async with Redis.from_url(redis_url) as client:
        while True:
            entries: Any = await client.xrange(f"mend:{{0}}:{topic}")
            if len(entries) >= count:
                return [decode(fields[b"e"]) for _, fields in entries]
            assert asyncio.get_running_loop().time() < deadline, f"only {len(entries)} events on {topic}"
            await asyncio.sleep(0.02)


def door(bus: Bus) -> httpx.AsyncClient:
    application: Any = build_api(bus, guard=Guard(), clock=lambda: datetime.now(UTC), by="api/test")
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost")


def alert(deployment: str) -> dict[str, Any]:
    labels = {"alertname": "Down", "namespace": "shop", "deployment": deployment}
    return {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}


async def test_what_is_posted_opens_incidents(bus: Bus, running: None, redis_url: str) -> None:
    async with door(bus) as http:
        answer = await http.post("/v1/alertmanager", json={"alerts": [alert("api"), alert("web"), alert("api")]})
    assert answer.json() == {"accepted": 3}
    incidents = [event for event in await told(redis_url, "incidents", 2) if isinstance(event, IncidentOpened)]
    assert {event.target.name for event in incidents} == {"api", "web"}
    signals = {event.id for event in await told(redis_url, "signals", 3)}
    assert {event.cause for event in incidents} <= signals


async def test_ten_thousand_alerts_in_one_payload_are_taken_whole(bus: Bus, redis_url: str) -> None:
    body = json.dumps({"alerts": [alert("a")] * 10_000}).encode()
    async with door(bus) as http:
        answer = await http.post("/v1/alertmanager", content=body, headers=JSON)
    assert answer.json() == {"accepted": 10_000}
    assert len(await told(redis_url, "signals", 10_000)) == 10_000


def signal(**change: Any) -> dict[str, Any]:
    """A signal as a producer of its own would write it; None leaves a field out."""
    now = datetime.now(UTC)
    fields = {
        "type": "SignalReceived",
        "id": new_id(now),
        "key": "k",
        "at": now.isoformat(),
        "by": "mine",
        "fingerprint": "f",
        "status": "firing",
        "starts_at": now.isoformat(),
        "labels": {"alertname": "Down"},
        "source": "mine",
    }
    return {name: value for name, value in {**fields, **change}.items() if value is not None}


@pytest.mark.parametrize(
    ("change", "reason", "word"),
    [
        ({"fingerprint": None}, DeadReason.UNDECODABLE, "fingerprint"),
        ({"fingerprint": None}, DeadReason.UNDECODABLE, "write it as docs/producers.md and `mend schemas export` say"),
        ({"labels": {"a": 1}}, DeadReason.UNDECODABLE, "labels"),
        ({"fingerprint": ""}, DeadReason.REJECTED, "fingerprint"),
        ({"fingerprint": "\x00"}, DeadReason.REJECTED, "fingerprint"),
        ({"labels": {"big": "x" * 5_000_000}}, DeadReason.REJECTED, "label"),
        ({"starts_at": "0001-01-01T00:00:00Z"}, DeadReason.REJECTED, "startsAt"),
        ({"starts_at": "9999-12-31T23:59:59-10:00"}, DeadReason.REJECTED, "startsAt"),
        ({"id": "mine-1"}, DeadReason.REJECTED, "id"),
    ],
)
async def test_a_wrong_signal_is_dead_lettered_with_a_sentence(
    bus: Bus, running: None, redis_url: str, change: dict[str, Any], reason: DeadReason, word: str
) -> None:
    body = json.dumps(signal(**change)).encode()
    async with Redis.from_url(redis_url) as client:
        await client.xadd("mend:{0}:signals", {"e": body})
        await client.xadd("mend:{0}:signals", {"e": json.dumps(signal(labels={"alertname": "Fine\x00"})).encode()})
    (dead,) = await told(redis_url, "dead", 1)
    assert isinstance(dead, DeadLettered)
    assert (dead.reason, dead.original) == (reason, body)
    assert word in dead.error
    (opened,) = await told(redis_url, "incidents", 1)
    assert isinstance(opened, IncidentOpened)
    assert opened.alert == "Fine"


async def test_a_signal_in_another_field_is_dead_lettered_with_a_sentence(bus: Bus, running: None, redis_url: str) -> None:
    body = json.dumps(signal()).encode()
    async with Redis.from_url(redis_url) as client:
        await client.xadd("mend:{0}:signals", {"x": body, "y": "one"})
        await client.xadd("mend:{0}:signals", {"e": json.dumps(signal(labels={"alertname": "Fine"})).encode()})
    (dead,) = await told(redis_url, "dead", 1)
    assert isinstance(dead, DeadLettered)
    assert (dead.reason, dead.original) == (DeadReason.UNDECODABLE, b"x: " + body + b"\ny: one")
    assert "no field `e`" in dead.error
    assert "docs/producers.md" in dead.error
    (opened,) = await told(redis_url, "incidents", 1)
    assert isinstance(opened, IncidentOpened)
    assert opened.alert == "Fine"


async def test_without_redis_nothing_is_taken_and_the_sender_is_told_to_come_back(tmp_path: Path) -> None:
    server = await EmbeddedRedis(tmp_path / "redis", durable=False).start()
    bus = await connect(server.url, name="test", timeout=1.0, patience=0.2)
    try:
        async with door(bus) as http:
            assert (await http.post("/v1/alertmanager", json={"alerts": [alert("a")]})).status_code == 200
            await server.stop()
            answer = await http.post("/v1/alertmanager", json={"alerts": [alert("a")]})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    finally:
        await bus.close()
        await server.stop()


async def test_a_full_redis_takes_nothing_and_the_sender_is_told_to_come_back(tmp_path: Path) -> None:
    server = await EmbeddedRedis(tmp_path / "redis", durable=False, arguments=("--maxmemory", "3mb")).start()
    bus = await connect(server.url, name="test", timeout=1.0, patience=0.2)
    body = json.dumps({"alerts": [alert("a")] * 1000}).encode()
    try:
        async with door(bus) as http:
            answers = [await http.post("/v1/alertmanager", content=body, headers=JSON) for _ in range(20)]
        assert [answers[0].status_code, answers[-1].status_code] == [200, 503]
        taken = sum(answer.json()["accepted"] for answer in answers if answer.status_code == 200)
        async with Redis(unix_socket_path=str(server.socket)) as client:
            assert await client.xlen("mend:{0}:signals") == taken
    finally:
        await bus.close()
        await server.stop()
