"""What Prometheus' HTTP API answers, decoded as far as it is needed and with every doubt said out loud."""

from __future__ import annotations

import math

import msgspec

from adapters.errors import Refused, Transient
from schemas.text import clean

_OVERLOADED = (408, 429)
_FORBIDDEN = (401, 403)

Sample = tuple[float, float]
"""Unix time in seconds and value; the value may be NaN or infinite."""


class Alert(msgspec.Struct, frozen=True):
    """An alert of a rule; `state` is inactive, pending or firing."""

    labels: dict[str, str]
    state: str = "firing"


class Rule(msgspec.Struct, frozen=True, rename={"last_error": "lastError"}):
    """A rule; `health` is ok once it was evaluated, err when that failed, and unknown before."""

    name: str
    health: str = "unknown"
    last_error: str = ""


class _Series(msgspec.Struct, frozen=True):
    metric: dict[str, str] = {}
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = []


class _Result(msgspec.Struct, frozen=True, rename={"kind": "resultType"}):
    kind: str
    result: list[_Series]


class _Alerts(msgspec.Struct, frozen=True):
    alerts: list[Alert]


class _Group(msgspec.Struct, frozen=True):
    rules: list[Rule]


class _Groups(msgspec.Struct, frozen=True):
    groups: list[_Group]


class _QueryAnswer(msgspec.Struct, frozen=True):
    data: _Result


class _AlertsAnswer(msgspec.Struct, frozen=True):
    data: _Alerts


class _RulesAnswer(msgspec.Struct, frozen=True):
    data: _Groups


class _Failure(msgspec.Struct, frozen=True):
    error: str = ""


_query = msgspec.json.Decoder(_QueryAnswer).decode
_listed = msgspec.json.Decoder(_AlertsAnswer).decode
_rules = msgspec.json.Decoder(_RulesAnswer).decode
_failure = msgspec.json.Decoder(_Failure).decode


def check(status: int, body: bytes) -> None:
    """Raises Transient or Refused for any status but 200."""
    if status == 200:
        return
    if status in _FORBIDDEN:
        raise Refused(f"Prometheus does not let us ask (status {status}): check its credential")
    if 300 <= status < 400:
        raise Refused(f"Prometheus sends us elsewhere (status {status}): set `url` to where it really is")
    said = f"Prometheus answers with status {status}{_reason(body)}"
    raise Transient(said) if status >= 500 or status in _OVERLOADED else Refused(said)


def _reason(body: bytes) -> str:
    try:
        reason = clean(_failure(body).error, 200)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f": {reason}" if reason else ""


def value_in(body: bytes) -> float | None:
    """The value of an instant query that gives one series; None where it gives none. Raises Refused."""
    series = _one(body, "vector")
    if series is None or series.value is None:
        return None
    return _number(series.value[1])


def samples_in(body: bytes) -> list[Sample]:
    """The samples of a range query that gives one series, those that are no finite number left out. Raises Refused."""
    series = _one(body, "matrix")
    pairs = [(at, _number(text)) for at, text in series.values] if series else []
    return [(at, value) for at, value in pairs if math.isfinite(value)]


def alerts_in(body: bytes) -> list[Alert]:
    """The alerts in an answer of `/api/v1/alerts`. Raises Refused."""
    try:
        return _listed(body).data.alerts
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _strange(error) from error


def rules_in(body: bytes) -> list[Rule]:
    """The rules in an answer of `/api/v1/rules`. Raises Refused."""
    try:
        return [rule for group in _rules(body).data.groups for rule in group.rules]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _strange(error) from error


def _one(body: bytes, kind: str) -> _Series | None:
    try:
        data = _query(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _strange(error) from error
    if data.kind != kind:
        raise Refused(f"Prometheus answers with a {clean(data.kind, 40)} where a {kind} was asked for")
    if len(data.result) > 1:
        raise Refused(f"Prometheus answers with {len(data.result)} series where one was asked for")
    return data.result[0] if data.result else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Refused(f"Prometheus answers with {clean(text, 40)!r} where a number should stand") from error


def _strange(error: Exception) -> Refused:
    return Refused(f"this is no answer of Prometheus' HTTP API: {clean(str(error), 200)}; check its URL")
