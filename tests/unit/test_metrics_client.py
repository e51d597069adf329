"""What is made of Prometheus' answers, the bad ones most of all, over a real connection; and which Prometheus is asked."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.alertmanager.client import AlertmanagerClient
from adapters.errors import AdapterError, Refused, Transient, WrongSettings
from adapters.ports import AlertState, Usual
from adapters.prometheus.answers import alerts_in, rules_in, samples_in, value_in
from adapters.prometheus.client import PrometheusClient
from adapters.prometheus.history import read_history
from adapters.prometheus.metrics import PrometheusMetrics
from adapters.prometheus.options import PrometheusOptions
from adapters.prometheus.state import Answer, same
from adapters.prometheus.together import fires, one_of
from schemas.secret import Secret, SecretUrl
from schemas.target import Kind, Target
from tests.patience import PATIENCE

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
API = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")


class Server:
    """Answers every request with `status` and `body`, or with nothing at all, and keeps what it was asked.

    What is in `bodies`, by path, is answered with 200 and that.
    """

    def __init__(self) -> None:
        self.status, self.body, self.silent = 200, b"", False
        self.bodies: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    def says(self, body: Any, status: int = 200) -> None:
        self.body, self.status = body if isinstance(body, bytes) else json.dumps(body).encode(), status

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        url = urlsplit(head.split()[1])
        credential = next((line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Authorization")), "")
        self.asked.append((url.path, {name: values[0] for name, values in parse_qs(url.query).items()}, credential))
        if self.silent:
            return
        known = self.bodies.get(url.path)
        status, body = (self.status, self.body) if known is None else (200, json.dumps(known).encode())
        head = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    async def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield server
    await server.hang_up()
    listening.close()
    await listening.wait_closed()


@asynccontextmanager
async def client_of(server: Server, **fields: Any) -> AsyncIterator[PrometheusClient]:
    client = PrometheusClient(PrometheusOptions(url=SecretUrl(server.url), **fields))
    try:
        yield client
    finally:
        await client.close()


def vector(*values: str) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, value]} for value in values]}}


def matrix(*pairs: tuple[float, str]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": list(pairs)}]}}


async def test_a_value_is_read_as_it_is(server: Server) -> None:
    async with client_of(server) as client:
        for text, value in (("0.25", 0.25), ("-1e3", -1000.0), ("+Inf", math.inf)):
            server.says(vector(text))
            assert await client.query("up", 1000.0) == value
        server.says(vector())
        assert await client.query("up", 1000.0) is None
        server.says(matrix((1.0, "1"), (2.0, "NaN"), (3.0, "+Inf"), (4.0, "4")))
        assert await client.query_range("up", start=0, end=60, step=1) == [(1.0, 1.0), (4.0, 4.0)]
    path, parameters, credential = server.asked[0]
    assert (path, parameters, credential) == ("/api/v1/query", {"query": "up", "time": "1000.000", "timeout": "8s"}, "")


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (401, b"", Refused, "check its credential"),
        (403, b"", Refused, "check its credential"),
        (302, b"", Refused, "set `url` to where it really is"),
        (400, {"status": "error", "error": "parse error: oh"}, Refused, "status 400: parse error: oh"),
        (422, {"status": "error", "error": "query processing would load too many samples"}, Refused, "too many samples"),
        (404, b"<html>", Refused, "status 404"),
        (503, {"status": "error", "error": "query timed out"}, Transient, "query timed out"),
        (500, b"\xff", Transient, "status 500"),
        (429, b"", Transient, "status 429"),
        (200, b"<html>nothing of the kind</html>", Refused, "check its URL"),
        (200, b"\xff\xfe", Refused, "check its URL"),
        (200, {"status": "success", "data": {"resultType": "scalar", "result": []}}, Refused, "a scalar where a vector"),
        (200, vector("1", "2"), Refused, "2 series where one"),
        (200, vector("one"), Refused, "'one' where a number"),
    ],
)
async def test_any_other_answer_is_a_typed_error(server: Server, status: int, body: Any, error: type[AdapterError], said: str) -> None:
    server.says(body, status)
    async with client_of(server) as client:
        with pytest.raises(error, match=said):
            await client.query("up", 1.0)
    assert len(server.asked) == 1, "no redirection is followed, for it would be given the credential"


async def test_an_answer_is_bounded_in_size_and_time(server: Server) -> None:
    server.says(vector("1") | {"padding": "x" * 5000})
    async with client_of(server, answer_limit=4096) as client:
        with pytest.raises(Refused, match="more than 4096 bytes"):
            await client.query("up", 1.0)
    server.silent = True
    async with client_of(server, timeout=0.2) as client:
        with pytest.raises(Transient, match=r"did not answer within 0\.2 s"):
            await client.query("up", 1.0)


async def test_an_answer_of_alertmanager_is_bounded_in_size(server: Server) -> None:
    server.says(b" " * (16 * 2**20 + 1))
    client = AlertmanagerClient(server.url, timeout=PATIENCE)
    try:
        with pytest.raises(Refused, match="status 200 and more than 16777216 bytes: check its URL"):
            await client.run()
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"token": Secret("the-token")}, "Bearer the-token"),
        ({"username": "us\u00e9r", "password": Secret("p\u00e4ss:w\u014drd")}, "Basic dXPDqXI6cMOkc3M6d8WNcmQ="),
    ],
)
async def test_a_credential_is_sent_and_never_shown(server: Server, fields: dict[str, Any], expected: str) -> None:
    server.says(b"", 401)
    options = PrometheusOptions(url=SecretUrl(server.url), **fields)
    metrics = PrometheusMetrics({"prod": options}, clock=lambda: NOW)
    found = await metrics.measure(API, [], {}, NOW)
    await metrics.close()
    assert server.asked[0][2] == expected
    assert all(secret not in f"{found} {options}" for secret in ("the-token", "p\u00e4ss", "Basic", "Bearer"))


@pytest.mark.parametrize("token", [Secret(""), Secret("another-word")])
async def test_the_password_of_a_url_is_not_in_the_error(token: Secret) -> None:
    for url in ("http://user:hidden-word@127.0.0.1:9", "nonsense://user:hidden-word@x", "hidden-word"):
        client = PrometheusClient(PrometheusOptions(url=SecretUrl(url), token=token))
        with pytest.raises((Transient, Refused)) as caught:
            await client.query("up", 1.0)
        assert "hidden-word" not in str(caught.value)
        await client.close()


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.floats(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)).map(
        lambda tree: json.dumps(tree).encode()
    )
)
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for read in (value_in, samples_in, alerts_in, rules_in):
        with suppress(Refused):
            read(body)


async def test_the_past_is_read_coarsely_and_again_finely_where_it_is_short(server: Server) -> None:
    until, options = 1_700_000_000.0, PrometheusOptions(url=SecretUrl(server.url))
    async with client_of(server) as client:
        server.says(matrix(*((until - 86400.0 * 5 + 1800 * n, "1") for n in range(240))))
        _, step = await read_history(client, options, "up", until=until)
        assert (step, len(server.asked)) == (1800.0, 1)
        server.says(matrix((until - 5400.0, "1"), (until - 3600.0, "1")))
        _, step = await read_history(client, options, "up", until=until)
        assert (step, len(server.asked)) == (60.0, 3)
    first, second = (parameters for _, parameters, _ in server.asked[1:])
    assert float(first["end"]) - float(first["start"]) <= 15 * 86400 < float(first["end"]) - float(first["start"]) + 1800
    assert 5400 <= float(second["end"]) - float(second["start"]) <= 7200 + 60
    assert all(float(parameters["end"]) <= until for parameters in (first, second))
    assert all(float(one["end"]) % float(one["step"]) == 0 == float(one["start"]) % float(one["step"]) for one in (first, second))


async def test_each_cluster_has_its_own_prometheus_and_another_is_never_guessed(server: Server) -> None:
    server.says(vector("1"))
    own = PrometheusOptions(url=SecretUrl(server.url + "/own"))
    every = PrometheusOptions(url=SecretUrl(server.url + "/every/"), cluster_label="cluster")
    metrics = PrometheusMetrics({"prod": own, "central": every}, clock=lambda: NOW)
    await metrics.measure(API, [], {}, NOW)
    assert {path for path, _, _ in server.asked} == {"/own/api/v1/query"}
    assert not any("cluster=" in parameters["query"] for _, parameters, _ in server.asked)
    server.asked.clear()
    elsewhere = Target(cluster="test", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
    await metrics.measure(elsewhere, [], {}, NOW)
    assert {path for path, _, _ in server.asked} == {"/every/api/v1/query"}
    assert all('cluster="test"' in parameters["query"] for _, parameters, _ in server.asked)
    await metrics.close()
    alone = PrometheusMetrics({"prod": own}, clock=lambda: NOW)
    (sensor,) = (await alone.measure(elsewhere, [], {}, NOW)).sensors
    assert sensor.error.startswith("no Prometheus in the settings has the metrics of 'test'")
    assert (await PrometheusMetrics({}, clock=lambda: NOW).measure(API, [], {}, NOW)).sensors == ()
    assert await PrometheusMetrics({}, clock=lambda: NOW).firing({"alertname": "A"}) is None
    with pytest.raises(WrongSettings, match="central, other"):
        PrometheusMetrics({"central": every, "other": every}, clock=lambda: NOW)


async def test_one_probe_that_fails_leaves_the_others(server: Server) -> None:
    """A value that is no number, a history that cannot be read: the metric says so, and no error comes out."""
    server.says(vector("NaN"))
    metrics = PrometheusMetrics(
        {"prod": PrometheusOptions(url=SecretUrl(server.url))}, clock=lambda: NOW, forecast=lambda *_: Usual(band=None, history=0.0)
    )
    found = await metrics.measure(API, [], {}, NOW, usual_until=NOW)
    await metrics.close()
    assert {one.value for one in found.metrics} == {None}
    assert {one.note for one in found.metrics} == {
        "Prometheus says nan; what is usual is not known: Prometheus answers with a vector where a matrix was asked for"
    }
    assert [one.name for one in found.sensors if one.error] == [
        f"metric:{name} usual" for name in ("working_set", "cpu_cores", "restarts_15m")
    ]


TOLD = {"alertname": "A", "pod": "a", "severity": "page", "datacenter": "north"}


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ({"alertname": "A", "pod": "a", "severity": "page"}, True),
        ({"alertname": "A", "pod": "a", "replica": "0"}, True),
        ({"alertname": "A", "pod": "b", "severity": "page"}, False),
        ({"alertname": "B", "pod": "a", "severity": "page"}, False),
        ({"pod": "a"}, False),
    ],
)
def test_labels_that_only_one_side_has_tell_no_alert_from_another(active: dict[str, str], expected: bool) -> None:
    assert same(TOLD, active) is expected
    assert not same({"pod": "a"}, active)


OF_POD = {"alertname": "A", "namespace": "shop", "pod": "api-7d9f8b6c5d-x2x4z", "instance": "192.0.2.1:80", "severity": "page"}


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ({"pod": "api-5c9f8b6c5d-b2b4z", "instance": "192.0.2.9:80"}, True),
        ({"pod": "api-gateway-5c9f8b6c5d-b2b4z"}, False),
        ({"pod": "api-5c9f8b6c5d-b2b4z", "severity": "info"}, False),
        ({"pod": "api-5c9f8b6c5d-b2b4z", "alertname": "B"}, False),
        ({"pod": "api-5c9f8b6c5d-b2b4z", "namespace": "other"}, False),
    ],
)
def test_an_alert_about_one_pod_holds_while_it_holds_for_another_of_the_workload(active: dict[str, str], expected: bool) -> None:
    assert same(OF_POD, OF_POD | active, API) is expected
    assert not same(OF_POD, OF_POD | active)
    assert not same(OF_POD, OF_POD | active, Target(cluster="prod", namespace="shop", kind=Kind.POD, name="api"))


YES, NO, NOT_KNOWN, AWAY = Answer(True), Answer(False), Answer(None), Answer(None, away=True)


@pytest.mark.parametrize(
    ("rules", "heard", "expected"),
    [
        ((YES,), (NO,), True),
        ((NO,), (YES,), True),
        ((AWAY,), (YES,), True),
        ((NO,), (NO,), False),
        ((NO,), (AWAY,), False),
        ((NO,), (NOT_KNOWN,), False),
        ((NOT_KNOWN,), (NO,), False),
        ((NOT_KNOWN,), (NO, NOT_KNOWN), False),
        ((NOT_KNOWN,), (NO, AWAY), None),
        ((), (NO, AWAY), None),
        ((NO, AWAY), (NO,), None),
        ((), (NO,), False),
        ((AWAY,), (NO,), None),
        ((NOT_KNOWN,), (AWAY,), None),
        ((), (), None),
    ],
)
def test_no_is_only_said_when_no_prometheus_was_away(rules: tuple[Answer, ...], heard: tuple[Answer, ...], expected: bool | None) -> None:
    assert fires(rules, heard) is expected
    assert one_of(rules) is (True if YES in rules else False if NO in rules else None)


RUN = "2026-01-01T00:00:00.000Z"


def metrics_at(*urls: str, **fields: Any) -> PrometheusMetrics:
    """Of a Prometheus at the first URL, and an Alertmanager at each of the others."""
    heard = [AlertmanagerClient(url) for url in urls[1:]]
    return PrometheusMetrics({"prod": PrometheusOptions(url=SecretUrl(urls[0]))}, clock=lambda: NOW, alertmanagers=heard, **fields)


async def test_one_that_hangs_ends_with_its_own_time_and_leaves_what_the_others_said(server: Server) -> None:
    server.silent = True
    async with alertmanager_without_alerts() as url:
        metrics = metrics_at(server.url, url, url, seconds=0.2)
        found, measured = await asyncio.gather(metrics.alert(TOLD, cluster="prod", heard_by=(RUN,)), metrics.measure(API, [], {}, NOW))
        await metrics.close()
    (view,) = found.alerts
    assert (view.name, view.rule, view.heard, view.fires) == ("A", None, False, None)
    assert {one.name: one.error for one in found.sensors} == {
        "alert:prometheus": "no answer within 0.2 s",
        "alert:alertmanager 1": "",
        "alert:alertmanager 2": "",
    }
    assert all(0.2 <= one.seconds < 5 for one in (found.sensors[0], *measured.sensors))
    assert {one.note for one in measured.metrics} == {"no answer within 0.2 s"}


@asynccontextmanager
async def alertmanager_without_alerts() -> AsyncIterator[str]:
    """The URL of an Alertmanager that has no alert, in its run `RUN`."""
    server = Server()
    server.bodies = {"/api/v2/alerts": [], "/api/v2/status": {"uptime": RUN}}
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await server.hang_up()


async def test_an_alert_without_a_name_is_asked_of_nobody(server: Server) -> None:
    metrics = metrics_at(server.url, server.url)
    assert await metrics.alert({"pod": "a"}) == AlertState()
    assert await metrics.firing({"pod": "a"}) is None
    assert server.asked == []


async def test_an_alert_with_a_label_that_was_masked_is_not_called_gone(server: Server) -> None:
    """Alertmanager tells alerts apart by all their labels, and one of them is not known here; Prometheus by those that are."""
    active = {"labels": {"alertname": "A", "pod": "a", "owner": "ana"}, "state": "firing"}
    server.says({"status": "success", "data": {"alerts": [active]}})
    metrics = metrics_at(server.url, server.url)
    found = await metrics.alert(TOLD | {"owner": "***"})
    await metrics.close()
    assert (found.alerts[0].rule, found.alerts[0].heard, found.alerts[0].fires) == (True, None, True)
    assert "looked like a secret" in next(one.error for one in found.sensors if one.name == "alert:alertmanager")


@pytest.mark.parametrize(
    ("status", "heard_by", "expected", "said"),
    [
        ({"uptime": RUN}, (RUN,), False, ""),
        ({"uptime": RUN}, ("another", RUN), False, ""),
        ({"uptime": RUN}, ("another",), None, "was started again since it did"),
        ({"uptime": RUN}, (), None, "was not seen to have had it"),
        ({"versionInfo": {}}, (RUN,), None, "Alertmanager's API v2"),
        (None, (RUN,), None, "status 404"),
    ],
)
async def test_that_an_alertmanager_does_not_have_an_alert_says_no_only_in_the_run_that_had_it(
    server: Server, status: Any, heard_by: tuple[str, ...], expected: bool | None, said: str
) -> None:
    server.says(b"", 404)
    server.bodies = {"/api/v2/alerts": []} | ({"/api/v2/status": status} if status else {})
    metrics = PrometheusMetrics({}, clock=lambda: NOW, alertmanagers=[AlertmanagerClient(server.url)])
    found = await metrics.alert(TOLD, heard_by=heard_by)
    await metrics.close()
    (view,) = found.alerts
    assert (view.heard, view.fires, view.heard_by) == (expected, expected, ())
    assert said in view.note + found.sensors[0].error


def rules_of(*healths: str) -> dict[str, Any]:
    rules = [{"name": "A", "health": health, "lastError": "many-to-many matching" if health == "err" else ""} for health in healths]
    return {"data": {"groups": [{"rules": [*rules, {"name": "B", "health": "err"}]}]}}


@pytest.mark.parametrize(
    ("healths", "expected", "said"),
    [
        (("ok",), False, ""),
        (("ok", "ok"), False, ""),
        ((), None, ""),
        (("unknown",), None, "its rule in Prometheus is not evaluated, its health is unknown"),
        (("ok", "err"), None, "its health is err (many-to-many matching)"),
    ],
)
async def test_a_rule_that_is_not_evaluated_or_not_there_does_not_say_that_its_alert_is_over(
    server: Server, healths: tuple[str, ...], expected: bool | None, said: str
) -> None:
    server.bodies = {
        "/api/v1/alerts": {"data": {"alerts": []}},
        "/api/v1/query": vector("1"),
        "/api/v1/rules": rules_of(*healths),
    }
    metrics = PrometheusMetrics({"prod": PrometheusOptions(url=SecretUrl(server.url))}, clock=lambda: NOW)
    found = await metrics.alert(TOLD, cluster="prod")
    await metrics.close()
    (view,) = found.alerts
    assert (view.rule, view.fires) == (expected, expected)
    assert (found.sensors[0].error == "") is (said == "")
    assert said in found.sensors[0].error


@pytest.mark.parametrize("url", ["http://ana:sesame-street@127.0.0.1:1", "http://127.0.0.1:1/sesame-street"])
async def test_an_alertmanager_that_cannot_be_asked_is_an_error_without_its_url(url: str) -> None:
    client = AlertmanagerClient(url, token=Secret("t"))
    with pytest.raises(AdapterError) as raised:
        await client.is_firing(TOLD)
    await client.close()
    assert "sesame-street" not in str(raised.value)
    assert "Alertmanager" in str(raised.value)
