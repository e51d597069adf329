"""Events to bytes and back: JSON by msgspec, in one field, so that redis-cli shows it.

Unknown fields are accepted; an unknown type or a newer version is an error of its own, so that the bytes can be kept.
"""

from __future__ import annotations

import re

import msgspec

from schemas.errors import UndecodableEvent, UnknownEventType
from schemas.event import Event
from schemas.events import EVENT_TYPES, AnyEvent


class _Tag(msgspec.Struct):
    """As much of an event as can be read without knowing its type."""

    type: str = ""
    id: str = ""
    incident: str = ""


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyEvent).decode
_peek = msgspec.json.Decoder(_Tag).decode
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def decode(data: bytes) -> AnyEvent:
    """The event in `data`.

    Raises UnknownEventType when the type, or its version, is not known here, UndecodableEvent for anything else.
    """
    try:
        event: AnyEvent = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _reason(data, error) from error
    if event.v > type(event).version:
        raise UnknownEventType(
            f"{type(event).__name__} of version {event.v} is newer than version {type(event).version},"
            " which this process knows: upgrade it, then replay"
        )
    return event


def _reason(data: bytes, error: Exception) -> UndecodableEvent | UnknownEventType:
    name, _, _ = peek(data)
    if name and name not in EVENT_TYPES:
        return UnknownEventType(f"the event type {name[:64]!r} is not known to this process: upgrade it, then replay")
    return UndecodableEvent(f"not an event: {error}: write it as docs/producers.md and `mend schemas export` say")


def peek(data: bytes) -> tuple[str, str, str]:
    """Type, id and incident of bytes that may be an event; empty strings for what cannot be read."""
    try:
        tag = _peek(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", "", ""
    return tag.type, tag.id, tag.incident


def holds_nul(data: bytes) -> bool:
    """Whether a text in these bytes of JSON has the character NUL, which Postgres cannot hold: no stage tells such an event."""
    return b"\\u0000" in data and _NUL.search(data) is not None


def topic_of(event: Event) -> str:
    """The topic that an event flows on."""
    return type(event).topic
