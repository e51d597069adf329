"""Whatever is posted, the answer is 200, 400 or 413, and only what was answered with 200 is in the stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.api.application import build_api
from ops.api.guard import Guard
from schemas.codec import decode, encode
from schemas.errors import UndecodableEvent
from schemas.event import Event
from stages.ingest.bounds import fault_of
from tests.unit.test_webhook_api import JSON, Recorder

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DATA = Path(__file__).parent.parent / "data"
PAYLOADS = [json.loads(path.read_bytes()) for path in sorted(DATA.glob("*.json"))]
BUS = Recorder()
APPLICATION: Any = build_api(BUS, guard=Guard(), clock=lambda: NOW, by="api/test", max_body=64 * 1024)

texts = st.text() | st.sampled_from(
    ["\x00", "firing", "resolved", "4", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "x" * 5000, "\u202e", "é"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.datetimes().map(datetime.isoformat)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12)
FIELDS = sorted({field for payload in PAYLOADS for field in [*payload, *payload["alerts"][0], *payload["alerts"][0]["labels"]]})


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON document."""
    inner = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [(*path, key) for key, _ in inner] + [deeper for key, value in inner for deeper in places(value, (*path, key))]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real payload with a few of its values replaced, removed or joined by others."""
    document = json.loads(json.dumps(draw(st.sampled_from(PAYLOADS))))
    for _ in range(draw(st.integers(0, 4))):
        *way, last = draw(st.sampled_from(places(document) or [("alerts",)]))
        node = document
        for step in way:
            node = node[step]
        action = draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "replace":
            node[last] = draw(values)
        elif action == "remove":
            del node[last]
        elif isinstance(node, dict):
            node[draw(st.sampled_from(FIELDS) | texts)] = draw(values)
        else:
            node.append(draw(values))
        if not document:
            break
    return json.dumps(document).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real payload with some of its bytes replaced or cut off."""
    body = bytearray(json.dumps(draw(st.sampled_from(PAYLOADS))).encode())
    for place in draw(st.lists(st.integers(0, len(body) - 1), max_size=5)):
        body[place] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)))])


bodies = (
    values.map(lambda value: json.dumps(value).encode())
    | st.binary()
    | mutated()
    | damaged()
    | st.integers(1, 100_000).map(lambda depth: b"[" * depth)
    | st.integers(1, 30_000).map(lambda depth: b'{"alerts":' * depth)
    | st.integers(0, 70_000).map(lambda size: b'{"alerts":[]}' + b" " * size)
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
headers = st.dictionaries(
    st.sampled_from(["Content-Type", "Content-Encoding", "Accept", "Authorization", "Expect", "X-Forwarded-For", "User-Agent", "Cookie"]),
    header_values | st.sampled_from(["application/json", "gzip", "identity", "application/json; charset=utf-16", "multipart/form-data"]),
    max_size=4,
)


async def answer_to(body: bytes, more: dict[str, str]) -> httpx.Response:
    BUS.events.clear()
    transport = httpx.ASGITransport(APPLICATION)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.post("/v1/alertmanager", content=body, headers={**JSON, **more})


def check(answer: httpx.Response) -> None:
    assert answer.status_code in (200, 400, 413), answer.text
    if answer.status_code == 200:
        assert answer.json() == {"accepted": len(BUS.events)}
        assert all(is_fine(event) for event in BUS.events)
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert BUS.events == []


def is_fine(event: Event) -> bool:
    """Whether the event survives the stream and is fit for the stage, whose texts Postgres can hold."""
    again = decode(encode(event))
    return again == event and fault_of(again, NOW) is None and "\x00" not in event.key  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(body=bodies)
async def test_any_body(body: bytes) -> None:
    check(await answer_to(body, {}))


@settings(max_examples=150, deadline=None)
@given(body=bodies, more=headers)
async def test_any_headers(body: bytes, more: dict[str, str]) -> None:
    check(await answer_to(body, more))


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_the_payloads_that_are_mutated_are_taken(payload: dict[str, Any]) -> None:
    answer = await answer_to(json.dumps(payload).encode(), {})
    assert answer.status_code == 200
    check(answer)


@given(data=st.binary() | st.integers(1, 100_000).map(lambda depth: b'{"type":"SignalReceived","x":' * depth))
def test_any_bytes_are_an_event_or_undecodable(data: bytes) -> None:
    with pytest.raises(UndecodableEvent):
        decode(data)


def test_deep_nesting_cannot_be_read_by_anybody() -> None:
    with pytest.raises(RecursionError):
        msgspec.json.decode(b"[" * 100_000)
