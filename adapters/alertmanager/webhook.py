"""The webhook of Alertmanager (version 4) and what Grafana sends in its likeness: bytes to alerts, whole or not at all."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

import msgspec

from schemas.text import clean
from schemas.words import SignalStatus

ALERTS = 10_000  # alerts of one payload
_GO_ZERO_YEAR = 1  # Go writes a time that is not set as 0001-01-01T00:00:00Z
_PATH = re.compile(r"(?s)(.*?) - at `(?:key in )?(\$.*?)`\Z")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_NO_MEMBER = re.compile(r"(?s)Invalid enum value (.*)")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_ANY_KEY = "[...]"  # msgspec's word for a key of a mapping, whichever it is
_MEMBERS = {"version": ("4", "1"), "status": tuple(SignalStatus)}


class InvalidPayload(ValueError):
    """The payload was refused whole: `field` is the path of what is wrong with it, such as `$.alerts[0].labels`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{reason} (at {field})")
        self.field = field
        self.reason = reason


class WebhookAlert(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert of a payload. Times have a zone; `endsAt` is left out or zero while nobody knows the end."""

    status: SignalStatus
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    annotations: dict[str, str] | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    fingerprint: str | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A notification: the alerts of one group. Alertmanager writes version 4, Grafana 1; unknown fields are accepted."""

    alerts: list[WebhookAlert]
    version: Literal["4", "1"] = "4"
    status: SignalStatus | None = None
    receiver: str = ""
    group_key: str = ""
    truncated_alerts: int = 0
    group_labels: dict[str, str] | None = None
    common_labels: dict[str, str] | None = None
    common_annotations: dict[str, str] | None = None
    external_url: str = msgspec.field(default="", name="externalURL")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert as understood: with an end only where there is one. `fingerprint` is empty where the sender left it out."""

    status: SignalStatus
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None
    generator_url: str
    fingerprint: str


_decode = msgspec.json.Decoder(Webhook).decode


def parse(body: bytes) -> list[Alert]:
    """The alerts of a payload, in its order; raises InvalidPayload, which names the field."""
    try:
        webhook = _decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error, body) from error
    except msgspec.DecodeError as error:
        raise InvalidPayload("$", f"the body is no JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidPayload("$", "the body is not UTF-8") from error
    except RecursionError as error:
        raise InvalidPayload("$", "the body is nested too deeply") from error
    if len(webhook.alerts) > ALERTS:
        raise InvalidPayload("$.alerts", f"there are {len(webhook.alerts)} alerts: {ALERTS} are allowed, set max_alerts in the receiver")
    return [_alert(alert) for alert in webhook.alerts]


def _invalid(error: msgspec.ValidationError, body: bytes) -> InvalidPayload:
    """The field and the reason, from msgspec's sentence, which may quote what was sent."""
    match = _PATH.fullmatch(str(error))
    reason, field = (match[1], match[2]) if match else (str(error), "$")
    if missing := _MISSING.fullmatch(reason):
        field = f"{field}.{missing[1]}"
    elif field.endswith(_ANY_KEY):
        field = _with_key(field.removesuffix(_ANY_KEY), body)
    elif unknown := _NO_MEMBER.fullmatch(reason):
        members = _MEMBERS.get(field.rpartition(".")[2], ())
        reason = f"expected one of {', '.join(members)}, not {clean(unknown[1], 100)}"
    return InvalidPayload(field, clean(reason, 200))


def _with_key(field: str, body: bytes) -> str:
    """The path of the first value in this mapping of texts that is none, such as `$.alerts[0].labels.pod`.

    As it was, where the body as a whole cannot be read or has a name twice.
    """
    try:
        found = msgspec.json.decode(body)
        for name, number in _STEP.findall(field):
            found = found[name] if name else found[int(number)]
        return f"{field}.{clean(next(key for key, value in found.items() if not isinstance(value, str)), 64)}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, AttributeError, StopIteration):
        return field + _ANY_KEY


def _alert(alert: WebhookAlert) -> Alert:
    ends_at = alert.ends_at
    return Alert(
        status=alert.status,
        labels=alert.labels,
        annotations=alert.annotations or {},
        starts_at=alert.starts_at,
        ends_at=None if ends_at is None or ends_at.year <= _GO_ZERO_YEAR else ends_at,
        generator_url=alert.generator_url or "",
        fingerprint=alert.fingerprint or "",
    )
