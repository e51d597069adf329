"""What is made of a language model's endpoint, the bad ones most of all, over a real connection: a reason, in time, and never the key."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from adapters.errors import Refused
from adapters.model.client import ModelClient
from adapters.model.metrics import ModelCollector
from adapters.model.options import ModelOptions
from adapters.model.wire import Ended, Question, Reply
from ops.examination.outside import of_outside
from ops.settings import Settings
from schemas.secret import Secret, SecretUrl
from tests.model_endpoint import KEY, Endpoint, Sent, completion, endpoint, suggests

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
QUESTION = Question(rules="the rules", evidence="the evidence", form="suggestion", schema={"type": "object"})


@pytest.fixture
async def server() -> AsyncIterator[Endpoint]:
    async with endpoint() as server:
        yield server


def options(server: Endpoint, **fields: Any) -> ModelOptions:
    known: dict[str, Any] = {"url": SecretUrl(server.url), "name": "small-1", "key": Secret(KEY), "timeout": 5.0, "retries": 0}
    return ModelOptions(**(known | fields))


async def ask(client: ModelClient, *, budget: float = 30.0) -> Reply:
    return await client.ask(QUESTION, until=asyncio.get_running_loop().time() + budget)


async def asked(server: Endpoint, **fields: Any) -> Reply:
    client = ModelClient(options(server, **fields), clock=lambda: NOW)
    try:
        return await ask(client)
    finally:
        await client.close()


async def test_it_is_asked_once_for_one_json_object_at_temperature_0(server: Endpoint) -> None:
    server.script = (suggests("INVESTIGATE", tokens=321),)
    reply = await asked(server)
    assert (reply.ended, reply.tokens) == (Ended.ANSWERED, 321)
    assert json.loads(reply.text)["action"] == "INVESTIGATE"
    (request,) = server.asked
    assert (request.path, request.credential) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert request.body == {
        "model": "small-1",
        "messages": [{"role": "system", "content": "the rules"}, {"role": "user", "content": "the evidence"}],
        "temperature": 0,
        "max_tokens": 1000,
        "response_format": {"type": "json_schema", "json_schema": {"name": "suggestion", "strict": True, "schema": {"type": "object"}}},
    }


LEAKS = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
FAULTS: dict[str, tuple[Sent, Ended, str]] = {
    "garbage": (Sent(b"\x00\xff<html>"), Ended.INVALID, "no chat completion"),
    "half JSON": (Sent(suggests("INVESTIGATE").body[:60]), Ended.INVALID, "no chat completion"),
    "another form": (Sent(b'{"choices": [{"text": "old API"}]}'), Ended.INVALID, "no chat completion"),
    "deep": (Sent(b'{"choices": ' + b"[" * 5000), Ended.INVALID, "no chat completion"),
    "no choice": (Sent(b'{"choices": []}'), Ended.INVALID, "gave no answer"),
    "empty body": (Sent(b""), Ended.INVALID, "no chat completion"),
    "empty content": (completion("  "), Ended.INVALID, "is empty"),
    "no content": (completion(None), Ended.INVALID, "is empty"),
    "cut off": (completion('{"action": "Resta', reason="length"), Ended.INVALID, "cut off"),
    "refusal": (completion(None, refusal="I can not help with that"), Ended.REFUSED, "refuses to answer: I can not help"),
    "filtered": (completion(None, reason="content_filter"), Ended.REFUSED, "content filter"),
    "huge": (Sent(b"x" * 300_000), Ended.INVALID, "more than 262144 bytes"),
    "429": (Sent(LEAKS, 429), Ended.UNREACHABLE, "answers 429: too many requests"),
    "500": (Sent(LEAKS, 500), Ended.UNREACHABLE, "answers 500"),
    "401": (Sent(LEAKS, 401), Ended.REFUSED, "does not accept model.key"),
    "400": (Sent(LEAKS, 400), Ended.REFUSED, "answers 400: Incorrect API key provided: ***"),
    "404": (Sent(LEAKS, 404), Ended.REFUSED, "check model.url"),
    "redirect": (Sent(b"", 307, ("Location: http://127.0.0.1:9/v1/chat/completions",)), Ended.REFUSED, "the key goes nowhere else"),
    "no HTTP answer": (Sent(b"", 200, ("Bad Header",)), Ended.UNREACHABLE, "broke off its answer"),
    "broken off": (Sent(b'{"choices"', promised=5000), Ended.UNREACHABLE, "broke off its answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_ends_in_a_reason_without_the_key(server: Endpoint, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sent, ended, said = FAULTS[fault]
    server.script = (sent,)
    reply = await asked(server)
    assert reply.ended is ended
    assert said in reply.why
    assert not reply.text
    assert len(server.asked) == 1
    assert KEY not in f"{reply!r}{caplog.text}"
    assert server.url not in reply.why


@pytest.mark.parametrize(
    "sent", [Sent(status=0, hangs=True), Sent(b'{"choices": [', promised=5000, hangs=True)], ids=["slow", "body hangs"]
)
async def test_who_does_not_answer_in_time_is_not_asked_again(server: Endpoint, sent: Sent) -> None:
    server.script = (sent,)
    reply = await asked(server, timeout=0.1, retries=3)
    assert (reply.ended, reply.tokens) == (Ended.LATE, None), "what it cost is not known"
    assert "did not answer within 0.1 s" in reply.why
    assert len(server.asked) == 1


async def test_the_time_budget_holds_where_it_is_shorter_than_the_timeout(server: Endpoint) -> None:
    server.script = (Sent(status=0, hangs=True),)
    client = ModelClient(options(server, timeout=300.0), clock=lambda: NOW)
    assert (await ask(client, budget=0.1)).ended is Ended.LATE
    assert (await ask(client, budget=-1.0)).why == "no time was left to ask the language model"
    await client.close()


async def test_what_was_not_taken_is_repeated_as_often_as_the_settings_say(server: Endpoint) -> None:
    busy = Sent(b"", 429, ("Retry-After: 0",))
    server.script = (busy, Sent(b"", 503, ("Retry-After: 0",)), suggests("INVESTIGATE"))
    assert (await asked(server, retries=2)).ended is Ended.ANSWERED
    assert len(server.asked) == 3
    server.asked.clear()
    server.script = (busy,)
    reply = await asked(server, retries=2)
    assert (reply.ended, reply.tokens) == (Ended.UNREACHABLE, 0)
    assert len(server.asked) == 3


@pytest.mark.parametrize("after", ["86400", "Fri, 31 Dec 2027 23:59:59 GMT", "-1", "1e9", "²"])
async def test_nobody_waits_longer_than_there_is_time(server: Endpoint, after: str) -> None:
    server.script = (Sent(b"", 429, (f"Retry-After: {after}",)),)
    client = ModelClient(options(server, retries=1), clock=lambda: NOW)
    assert (await ask(client, budget=0.4)).ended is Ended.UNREACHABLE, "half a second, or what it asks for, is more than is left"
    assert len(server.asked) == 1
    await client.close()


async def test_who_did_not_answer_three_times_is_left_alone_for_a_while(server: Endpoint) -> None:
    now = NOW
    client = ModelClient(options(server), clock=lambda: now)
    server.script = (Sent(b"", 500),)
    for _ in range(3):
        assert "answers 500" in (await ask(client)).why
    spared = await ask(client)
    assert (spared.ended, spared.tokens) == (Ended.UNREACHABLE, 0)
    assert spared.why.startswith("not asked: the language model did not answer 3 times in a row")
    assert len(server.asked) == 3
    now = NOW + timedelta(seconds=31)
    server.script = (suggests("INVESTIGATE"),)
    assert (await ask(client)).ended is Ended.ANSWERED
    assert (await ask(client)).ended is Ended.ANSWERED
    await client.close()


async def test_nobody_there_and_what_cannot_be_asked_are_told(server: Endpoint) -> None:
    nobody = msgspec.structs.replace(options(server), url=SecretUrl("http://127.0.0.1:1/v1"))
    broken = msgspec.structs.replace(options(server), key=Secret(f"{KEY}\nX-Evil: 1"))
    for given, ended, said in ((nobody, Ended.UNREACHABLE, "cannot be reached"), (broken, Ended.REFUSED, "check model.url and model.key")):
        client = ModelClient(given, clock=lambda: NOW)
        reply = await ask(client)
        await client.close()
        assert reply.ended is ended
        assert said in reply.why
        assert KEY not in reply.why
    assert not server.asked


async def test_what_an_endpoint_claims_of_its_tokens_is_bounded(server: Endpoint) -> None:
    for told, kept in ((10**15, 10_000_000), (-5, None), (0, None), (None, None)):
        server.script = (suggests("INVESTIGATE", tokens=told),)
        assert (await asked(server)).tokens == kept


async def test_prometheus_sees_outcomes_seconds_and_tokens(server: Endpoint) -> None:
    client = ModelClient(options(server), clock=lambda: NOW)
    server.script = (suggests("INVESTIGATE", tokens=250),)
    await ask(client)
    client.meter.ended("suggestion", "answered")
    registry = CollectorRegistry()
    registry.register(ModelCollector(client.meter))
    page = generate_latest(registry).decode()
    await client.close()
    assert 'mend_model_questions_total{outcome="answered",provider="small-1",purpose="suggestion"} 1.0' in page
    assert 'mend_model_tokens_total{provider="small-1"} 250.0' in page
    assert 'mend_model_seconds_count{provider="small-1"} 1.0' in page


LISTED = Sent(b'{"object": "list", "data": [{"id": "small-1"}, {"id": "large-1"}]}')


@pytest.mark.parametrize(
    ("sent", "name", "level", "said"),
    [
        (LISTED, "small-1", "fine", "accepts the key and has this model"),
        (LISTED, "small-2", "warning", "does not list this model"),
        (Sent(b"", 404), "small-1", "warning", "lists no models"),
        (Sent(b"[]"), "small-1", "warning", "lists no models"),
        (Sent(LEAKS, 401), "small-1", "wrong", "does not accept model.key"),
        (Sent(LEAKS, 500), "small-1", "wrong", "answers 500"),
    ],
)
async def test_doctor_says_how_the_endpoint_is(server: Endpoint, sent: Sent, name: str, level: str, said: str) -> None:
    server.script = (sent,)
    (finding,) = [one async for one in of_outside(Settings(model=options(server, name=name)), sandbox=False)]
    assert finding.about == f"language model {name}"
    assert finding.level == level
    assert said in finding.said
    assert KEY not in repr(finding)
    assert [one.path for one in server.asked] == ["/v1/models"]


async def test_a_failure_to_list_is_an_error_of_the_adapter(server: Endpoint) -> None:
    server.script = (Sent(b"", 403),)
    client = ModelClient(options(server), clock=lambda: NOW)
    with pytest.raises(Refused):
        await client.models()
    await client.close()


@pytest.mark.parametrize(("fields", "said"), [({"name": ""}, "url without name"), ({"url": SecretUrl("ftp://x")}, "must begin with https")])
def test_half_a_setting_is_an_error(fields: dict[str, Any], said: str) -> None:
    known: dict[str, Any] = {"url": SecretUrl("https://x/v1"), "name": "m"}
    with pytest.raises(ValueError, match=said):
        ModelOptions(**(known | fields))


def test_it_is_off_by_default() -> None:
    assert not Settings().model.is_on
