"""Events for people as they come: filtered, masked, resumed without a gap, and ended for who may read no more."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from bus import inspect, names
from bus.connect import connect
from bus.follow import order_of
from bus.replay import Past, feed
from ops.api import connections, events
from ops.api.server import bind, serve, url_of
from ops.tokens import Role
from schemas.codec import encode
from schemas.event import Event
from schemas.events import DeadLettered, PeopleAsked
from schemas.identity import new_id, time_of
from schemas.words import DeadReason
from sql import event_log, people
from sql.database import Database
from tests.integration.bus.ground import until, vote, votes
from tests.integration.desk import Desk, desk, problem


@pytest_asyncio.fixture
async def api(redis_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(redis_url, database) as api:
        api.scene.now = datetime.now(UTC)
        await api.let_in("vera", Role.VIEWER)
        yield api


class Told(msgspec.Struct):
    """One server-sent event."""

    id: str = ""
    event: str = ""
    data: str = ""

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.data)["event"]
        return found


class Reader:
    """A person who reads events over a real connection."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()
        self.position = ""

    async def next(self, *, heartbeats: bool = False) -> Told:
        """The next event; a heartbeat, which has no data, is passed over unless it is asked for."""
        told = Told()
        async with asyncio.timeout(30):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if name in ("id", "event", "data"):
                    setattr(told, name, value)
                if not line and (told.data or (heartbeats and told.id)):
                    self.position = told.id
                    return told
        raise EOFError

    async def end(self) -> None:
        """Returns when the answer ends."""
        async with asyncio.timeout(30):
            async for _ in self._lines:
                pass

    async def numbers(self, count: int) -> list[str]:
        return [str((await self.next()).body["approval"]) for _ in range(count)]


@asynccontextmanager
async def served(api: Desk, *, send_buffer: int = 0) -> AsyncIterator[str]:
    """The API behind a real socket; ends with its process' stop."""
    listener = bind("127.0.0.1", 0)
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    serving = asyncio.create_task(serve(api.application, listener, api.stop))
    try:
        yield url_of(listener)
    finally:
        api.stop.set()
        await serving
        listener.close()


@asynccontextmanager
async def reading(url: str, token: str, query: str = "", position: str = "") -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": position} if position else {})
    async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", f"{url}/v1/events{query}", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Reader(answer)


class Stored:
    """An entry as the archive hands it to the log."""

    def __init__(self, row: inspect.EntryRow) -> None:
        assert row.event is not None
        event: Event = row.event
        self.id, self.at, self.by, self.incident, self.cause = event.id, event.at, event.by, event.incident, event.cause
        self.born, self.type, self.topic, self.body = time_of(event.id), type(event).__name__, row.topic, encode(event)
        self.partition, self.entry = row.partition, row.entry


async def archive_and_trim(api: Desk, topic: str = "decisions") -> None:
    """What the archive does with a stream that every group has finished."""
    rows = [row async for row in inspect.tail(api.bus, topic, last=1000)]
    await event_log.store(api.database, [Stored(row) for row in rows])
    await api.bus.channel(0).call("XTRIM", names.stream(0, topic), "MAXLEN", 0)


def header(incident: str = "i-1") -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"id": new_id(now), "key": "k", "at": now, "by": "test", "incident": incident}


def asked(question: str, incident: str = "i-1") -> PeopleAsked:
    return PeopleAsked(**header(incident), subject="s", reason="r", question=question)


async def append(api: Desk, found: Sequence[Event]) -> None:
    await api.bus.append(found)


async def test_what_comes_is_told_filtered_and_masked(api: Desk) -> None:
    token = api.tokens["vera"]
    async with served(api) as url:
        everything = reading(url, token)
        some = reading(url, token, "?topic=failures&topic=incidents&type=PeopleAsked&incident=i-2")
        async with everything as whole, some as part:
            await append(api, [vote(1), asked("one", "i-1"), asked("two, with password=hunter2-and-more\x1b", "i-2")])
            kinds = [(await whole.next()).event for _ in range(3)]
            assert sorted(kinds) == ["PeopleAsked", "PeopleAsked", "VoteRefused"]
            told = await part.next()
            assert (told.event, told.body["incident"]) == ("PeopleAsked", "i-2")
            assert told.body["question"] == "two, with password=***"


async def test_a_reader_goes_on_after_the_last_event_without_a_gap(api: Desk) -> None:
    """Also where the streams were trimmed meanwhile: then the event log tells what they hold no more."""
    token = api.tokens["vera"]
    async with served(api) as url:
        async with reading(url, token, "?topic=decisions") as reader:
            await append(api, [vote(number) for number in range(3)])
            assert await reader.numbers(2) == ["0", "1"]
            position = reader.position
        await append(api, [vote(number) for number in range(3, 6)])
        await archive_and_trim(api)
        async with reading(url, token, "?topic=decisions", position) as reader:
            assert await reader.numbers(4) == ["2", "3", "4", "5"]
            await append(api, [vote(6)])
            assert await reader.numbers(1) == ["6"]
            position = reader.position
        await append(api, [vote(7)])
        await archive_and_trim(api)
        await append(api, [vote(8)])
        async with reading(url, token, "?topic=decisions", position) as reader:
            assert await reader.numbers(2) == ["7", "8"]


async def test_the_bytes_of_a_dead_letter_are_told_to_nobody_as_they_come_or_later(api: Desk) -> None:
    """No mask finds a secret in base64, nor the proof of the vote that is dead."""
    original = b'{"type":"VoteCast","proof":"3f9c0a","comment":"password=hunter2-and-more"}'
    letter = DeadLettered(
        **header(),
        source_topic="votes",
        group="gate",
        entry="1-0",
        reason=DeadReason.UNDECODABLE,
        error="not an event: password=hunter2-and-more",
        attempts=1,
        original=original,
    )
    token = api.tokens["vera"]
    async with served(api) as url:
        async with reading(url, token, "?topic=dead") as reader:
            await append(api, [asked("nothing"), msgspec.structs.replace(letter, id=new_id(letter.at)), letter])
            first, live = await reader.next(), await reader.next()
        await archive_and_trim(api, "dead")
        async with reading(url, token, "?topic=dead", first.id) as reader:
            logged = await reader.next()
    for told in (live, logged):
        assert (told.body["id"], told.body["error"]) == (letter.id, "not an event: password=***")
        assert "original" not in told.body
        assert b64encode(original).decode() not in told.data


async def test_more_than_a_page_is_told_whole_and_in_order(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.api.feed._PAGE", 3)
    monkeypatch.setattr("ops.api.feed._LOGGED", 4)
    token = api.tokens["vera"]
    async with served(api) as url:
        async with reading(url, token, "?topic=decisions") as reader:
            await append(api, [vote(0)])
            await reader.next()
        await append(api, [vote(number) for number in range(1, 11)])
        await archive_and_trim(api)
        await append(api, [vote(number) for number in range(11, 21)])
        async with reading(url, token, "?topic=decisions", reader.position) as again:
            assert await again.numbers(20) == [str(number) for number in range(1, 21)]


async def test_what_is_told_again_to_one_group_is_no_news_for_readers(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much it is: the reader passes over it, goes on behind it, and is told meanwhile that it is still connected."""
    monkeypatch.setattr("ops.api.feed._PAGE", 3)
    monkeypatch.setattr(events, "_HEARTBEAT", 0.0)
    token = api.tokens["vera"]
    async with served(api) as url:
        async with reading(url, token, "?topic=decisions") as reader:
            await append(api, [vote(0)])
            first = await reader.next()
        position = order_of(first.id.removeprefix("decisions="))
        await feed(api.bus, "gate", [Past("decisions", 0, encode(vote(number))) for number in range(100, 120)], token="t")
        async with reading(url, token, "?topic=decisions", first.id) as again:
            beats = [await again.next(heartbeats=True) for _ in range(7)]
            assert {beat.data for beat in beats} == {""}
            assert all(order_of(beat.id.removeprefix("decisions=")) > position for beat in beats)
            await append(api, [vote(1)])
            assert await again.numbers(1) == ["1"]


async def test_every_partition_is_told_and_resumed(redis_url: str, database: Database) -> None:
    bus = await connect(redis_url, partitions=3, name="test")
    api = Desk(database, bus)
    api.scene.now = datetime.now(UTC)
    token = await api.let_in("vera", Role.VIEWER)
    expected = [str(number) for number in range(12)]
    async with served(api) as url:
        async with reading(url, token, "?topic=decisions") as reader:
            await append(api, votes(6))
            assert sorted(await reader.numbers(6)) == expected[:6]
        await append(api, [vote(number, key=f"key-{number}") for number in range(6, 12)])
        async with reading(url, token, "?topic=decisions", reader.position) as again:
            assert sorted(await again.numbers(6)) == sorted(expected[6:])
    await bus.close()


async def test_heartbeats_tell_the_position_and_end_with_the_token(api: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_HEARTBEAT", 0.0)
    monkeypatch.setattr("ops.api.feed._WAIT", 0.02)
    token = api.tokens["vera"]
    async with served(api) as url, reading(url, token, "?topic=failures") as reader:
        beat = await reader.next(heartbeats=True)
        assert beat.data == ""
        async with reading(url, token, "?topic=failures", beat.id) as again:
            assert (await again.next(heartbeats=True)).id
        async with api.database.transaction() as connection:
            await people.revoke_tokens(connection, "vera", by="root", at=api.scene.now)
        await reader.end()


async def test_a_position_that_is_none_or_too_old_is_refused(api: Desk) -> None:
    for wrong in ("nonsense", "decisions=1", "nothing=1-1", "7/decisions=1-1", "decisions=1-1;", "x" * 50_000):
        found = problem(await api.get("/v1/events?topic=decisions", "vera", **{"Last-Event-ID": wrong}), 400)
        assert found.field == "Last-Event-ID"
    old = int((datetime.now(UTC) - timedelta(days=2)).timestamp() * 1000)
    problem(await api.get("/v1/events", "vera", **{"Last-Event-ID": f"decisions={old}-0"}), 410)


async def test_readers_are_few_and_leave_nothing_behind(api: Desk, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_EACH", 2)
    monkeypatch.setattr("ops.api.feed._WAIT", 0.02)
    token = api.tokens["vera"]
    async with Redis.from_url(redis_url) as client, served(api) as url:
        before = len(await client.client_list())
        async with reading(url, token), reading(url, token):
            problem(await api.get("/v1/events", "vera"), 503)
            assert len(await client.client_list()) > before
        await until(lambda: _connections(client, before))
        async with reading(url, token) as reader:
            await append(api, [vote(1)])
            assert (await reader.next()).event == "VoteRefused"


async def _connections(client: Redis, most: int) -> bool:
    return len(await client.client_list()) <= most + 1  # the one that the API appends with is kept


async def test_a_reader_who_does_not_read_is_cut_off_and_holds_nobody_up(
    api: Desk, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.LIMITS, "stream", 0.1)
    token = api.tokens["vera"]
    async with Redis.from_url(redis_url) as client, served(api, send_buffer=4096) as url, reading(url, token, "?topic=decisions") as quick:
        before = len(await client.client_list())
        lazy = socket.socket()
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(lazy, ("127.0.0.1", int(url.rpartition(":")[2])))
        await loop.sock_sendall(lazy, f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert (await loop.sock_recv(lazy, 64)).startswith(b"HTTP/1.1 200")
        await append(api, [*(asked("words " * 300) for _ in range(200)), vote(1)])
        assert (await quick.next()).event == "VoteRefused"
        await until(lambda: _connections(client, before - 1))
        lazy.close()
        await append(api, [vote(2)])
        assert (await quick.next()).body["approval"] == "2"
