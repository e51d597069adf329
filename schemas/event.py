"""The header that every event carries."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

KEY_LIMIT = 2048  # characters: a cluster, a namespace, a kind and a name, each as long as anybody's may be
ID_LIMIT = 128  # characters

Identifier = Annotated[str, msgspec.Meta(max_length=ID_LIMIT)]
"""The id of an event or an incident. What is copied from event to event and indexed is bounded: no entry may grow the next one."""

Teller = Annotated[str, msgspec.Meta(max_length=512)]
"""Who told an event: `stage/host`, or a person."""

Key = Annotated[str, msgspec.Meta(max_length=KEY_LIMIT)]
"""What is kept in order."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="type", gc=False):
    """One fact, told once. `type` (the tag) is the class name; `topic` says which stream it flows on.

    id        UUIDv7 from outside, UUIDv8 derived from the input otherwise (see `schemas.identity`)
    incident  id of the incident it belongs to, or empty
    key       what is kept in order: the incident key of the target; chooses the partition where an event enters
    at        UTC time at which it was told
    cause     id of the event that it answers, or empty
    by        `stage/host` or the person who told it
    v         version of the fields of this type

    An entry with a longer header than these types allow is no event: it becomes a dead letter.
    """

    topic: ClassVar[str]
    version: ClassVar[int] = 1

    id: Identifier
    key: Key
    at: datetime
    by: Teller
    incident: Identifier = ""
    cause: Identifier = ""
    v: int = 1


class Delayed(msgspec.Struct, frozen=True):
    """An event that is to appear on its topic at `until` (UTC), not before."""

    event: Event
    until: datetime


Output = Event | Delayed
