"""The header that every event carries."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type", gc=False):
    """One fact, told once. `type` (the tag) is the class name; `topic` says which stream it flows on.

    id        UUIDv7 from outside, UUIDv8 derived from the input otherwise (see `schemas.identity`)
    incident  id of the incident it belongs to, or empty
    key       what is kept in order: the incident key of the target; chooses the partition where an event enters
    at        UTC time at which it was told
    cause     id of the event that it answers, or empty
    by        `stage/host` or the person who told it
    v         version of the fields of this type
    """

    topic: ClassVar[str]
    version: ClassVar[int] = 1

    id: str
    key: str
    at: datetime
    by: str
    incident: str = ""
    cause: str = ""
    v: int = 1


class Delayed(msgspec.Struct, frozen=True):
    """An event that is to appear on its topic at `until` (UTC), not before."""

    event: Event
    until: datetime


Output = Event | Delayed
