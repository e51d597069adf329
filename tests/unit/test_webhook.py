"""The webhook is read strictly, and what is wrong is named by its field."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.alertmanager.webhook import ALERTS, InvalidPayload, parse
from schemas.events import SignalReceived
from schemas.identity import is_identifier
from schemas.words import SignalStatus
from stages.ingest.accept import signals_of

DATA = Path(__file__).parent.parent / "data"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALERT: dict[str, Any] = {"status": "firing", "labels": {"alertname": "Down", "host": "a"}, "startsAt": "2026-11-20T09:00:00Z"}


def payload(**change: Any) -> bytes:
    """A payload of one alert with these fields changed; None leaves a field out."""
    alert = {name: value for name, value in {**ALERT, **change}.items() if value is not None}
    return json.dumps({"alerts": [alert]}).encode()


def signals(body: bytes, by: str = "api") -> list[SignalReceived]:
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(signals_of(parse(body), now=NOW, by=by))


def refusal(body: bytes) -> InvalidPayload:
    with pytest.raises(InvalidPayload) as caught:
        signals(body)
    return caught.value


def test_what_alertmanager_sends_is_understood() -> None:
    firing, resolved = signals((DATA / "alertmanager-0.27-group.json").read_bytes(), by="api/h")
    assert (firing.status, firing.fingerprint, firing.ends_at) == (SignalStatus.FIRING, "1b67f1cbd93acd9c", None)
    assert firing.starts_at == datetime(2026, 11, 20, 9, 41, 22, 287000, tzinfo=UTC)
    assert (firing.key, resolved.key) == ("prod-eu/shop/Deployment/api", "prod-eu/shop/Deployment/web")
    assert firing.annotations["summary"] == "Pod is crash looping."
    assert (resolved.status, resolved.ends_at) == (SignalStatus.RESOLVED, datetime(2026, 11, 20, 9, 40, 37, 123457, tzinfo=UTC))
    assert is_identifier(firing.id)
    assert firing.id != resolved.id
    assert (firing.at, firing.by, firing.source) == (NOW, "api/h", "alertmanager")


def test_what_grafana_sends_is_understood() -> None:
    (signal,) = signals((DATA / "grafana-11-alert.json").read_bytes())
    assert signal.key == "hosts//Host/web-1.example"
    assert signal.starts_at == datetime(2026, 11, 20, 9, 28, 50, tzinfo=UTC)
    assert signal.generator_url == "https://play.grafana.org/alerting/1afz29v7z/edit"


def test_the_fingerprint_is_computed_where_it_is_missing() -> None:
    """The same as the one that Alertmanager gives; `test_alertmanager` compares it with the real one's."""
    for missing in (None, ""):
        (signal,) = signals(payload(fingerprint=missing))
        assert signal.fingerprint == "a854bc9b71abec83"


@pytest.mark.parametrize("ends_at", [None, "0001-01-01T00:00:00Z"])
def test_an_end_that_is_not_set_is_none(ends_at: str | None) -> None:
    assert parse(payload(endsAt=ends_at))[0].ends_at is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "$"),
        (b"[]", "$"),
        (b"nothing", "$"),
        (b"\xff\xfe", "$"),
        (b'{"alerts": "\\ud800"}', "$"),
        (b'{"alerts":[' + b'{"x":' * 100_000, "$"),
        (b"{}", "$.alerts"),
        (b'{"alerts": null}', "$.alerts"),
        (b'{"alerts": [], "version": "5"}', "$.version"),
        (b'{"alerts": [], "status": "odd"}', "$.status"),
        (b'{"alerts": [], "groupLabels": {"a": 1}}', "$.groupLabels.a"),
        (payload(labels=None), "$.alerts[0].labels"),
        (payload(startsAt=None), "$.alerts[0].startsAt"),
        (payload(status="x" * 100_000), "$.alerts[0].status"),
        (payload(labels={}), "$.alerts[0].labels"),
        (payload(labels={"a": 1}), "$.alerts[0].labels.a"),
        (payload(labels={"alertname": "x", "pod": None, "b": 1}), "$.alerts[0].labels.pod"),
        (payload(labels={"alertname": "x", "po\x1b[31m" + "d" * 100: {}}), "$.alerts[0].labels.po[31m" + "d" * 57 + "…"),
        (payload(annotations={"summary": ["x"]}), "$.alerts[0].annotations.summary"),
        (b'{"commonLabels": {"a": 1}, "alerts": [}', "$.commonLabels[...]"),
        (b'{"commonLabels": {"a": 1}, "commonLabels": 7}', "$.commonLabels[...]"),
        (b'{"commonLabels": {"a": 1}, "commonLabels": {}}', "$.commonLabels[...]"),
        (payload(labels={"a": 1})[:-1] + b', "alerts": []}', "$.alerts[0].labels[...]"),
        (b'{"commonLabels": {"a": 1}, "x": ' + b"[" * 100_000, "$.commonLabels[...]"),
        (b'{"commonLabels": {"a": 1}, "x": "\xff"}', "$.commonLabels[...]"),
        (payload(labels={"a": "x" * 4097}), "$.alerts[0].labels"),
        (payload(labels={"a" * 257: "x"}), "$.alerts[0].labels"),
        (payload(labels={"": "x"}), "$.alerts[0].labels"),
        (payload(labels={f"l{number}": "x" for number in range(129)}), "$.alerts[0].labels"),
        (payload(labels={f"l{number}": "x" * 4000 for number in range(20)}), "$.alerts[0].labels"),
        (payload(status="pending"), "$.alerts[0].status"),
        (payload(startsAt="yesterday"), "$.alerts[0].startsAt"),
        (payload(startsAt="2026-11-20T09:00:00"), "$.alerts[0].startsAt"),
        (payload(startsAt="0001-01-01T00:00:00Z"), "$.alerts[0].startsAt"),
        (payload(startsAt="9999-12-31T23:59:59-10:00"), "$.alerts[0].startsAt"),
        (payload(startsAt="2026-11-22T09:00:00Z"), "$.alerts[0].startsAt"),
        (payload(endsAt="9999-12-31T23:59:59-10:00"), "$.alerts[0].endsAt"),
        (payload(endsAt="0001-06-01T00:00:00+10:00", status=7), "$.alerts[0].status"),
        (payload(fingerprint="a\x00b"), "$.alerts[0].fingerprint"),
        (payload(fingerprint="f" * 129), "$.alerts[0].fingerprint"),
        (payload(annotations=[]), "$.alerts[0].annotations"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(body: bytes, field: str) -> None:
    error = refusal(body)
    assert error.field == field
    assert error.reason
    assert len(error.reason) < 300


def test_what_would_be_right_is_said() -> None:
    assert refusal(b'{"alerts": [], "version": "3"}').reason == "expected one of 4, 1, not '3'"
    assert refusal(payload(status="pending\n")).reason == r"expected one of firing, resolved, not 'pending\n'"
    assert refusal(payload(labels={"a": 1})).reason == "Expected `str`, got `int`"


def test_one_unfit_alert_refuses_the_whole_payload() -> None:
    bad = {**ALERT, "labels": {}}
    assert refusal(json.dumps({"alerts": [ALERT, ALERT, bad]}).encode()).field == "$.alerts[2].labels"


def test_too_many_alerts_are_refused() -> None:
    body = b'{"alerts":[' + b",".join([json.dumps(ALERT).encode()] * (ALERTS + 1)) + b"]}"
    assert refusal(body).field == "$.alerts"


def test_texts_that_identify_nothing_are_cut_to_size() -> None:
    annotations = {f"a{number}": "x" * 10_000 for number in range(100)}
    (signal,) = signals(payload(annotations=annotations, generatorURL="u" * 5000))
    assert (len(signal.annotations), len(signal.annotations["a0"]), len(signal.generator_url)) == (64, 4096, 2048)


def test_texts_that_identify_nothing_reach_the_stream_without_secrets_and_control_characters() -> None:
    annotations = {"summary": "login failed: password=hunter2secret \x1b[31m\u202e", "by\x00": "ann@example.com"}
    (signal,) = signals(payload(annotations=annotations, generatorURL="http://u:s3cretword@prom/graph"))
    assert signal.annotations == {"summary": "login failed: password=*** [31m", "by": "***"}
    assert signal.generator_url == "http://***@prom/graph"


def test_a_nul_in_a_label_is_taken_as_it_came() -> None:
    (signal,) = signals(payload(labels={"host": "a\x00b"}))
    assert signal.labels == {"host": "a\x00b"}
    assert "\x00" not in signal.key


def test_a_payload_without_alerts_is_fine() -> None:
    assert parse(b'{"alerts": []}') == []


@pytest.mark.parametrize(
    ("alerts", "labels", "annotations", "turns"),
    [
        (1, {}, {f"k{number}": "key: value, " * 1700 for number in range(64)}, 60),
        (2000, {}, {"summary": "x" * 100}, 40),
        (40, {f"l{number}": "x" * 4096 for number in range(10)}, {}, 35),
    ],
    ids=["one alert with long texts", "many alerts", "many labels"],
)
async def test_the_other_tasks_get_their_turn_while_a_large_payload_is_read(
    alerts: int, labels: dict[str, str], annotations: dict[str, str], turns: int
) -> None:
    read = parse(json.dumps({"alerts": [{**ALERT, "labels": ALERT["labels"] | labels, "annotations": annotations}] * alerts}).encode())
    given = 0

    async def other() -> None:
        nonlocal given
        while True:
            given += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(other())
    assert len(await signals_of(read, now=NOW, by="api")) == alerts
    turning.cancel()
    assert given > turns
