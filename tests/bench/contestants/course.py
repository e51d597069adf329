"""The course that every contestant runs: from one stream to the next, so many hops."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from schemas.event import Event
from schemas.events import EVENT_TYPES
from tests.bench.relay import CHAIN, Link

GROUP = "relay"
BATCH = 100
"""Entries of one read."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """`step` counts the links of the chain from 0: the contestant reads the topic of one link and emits the next.

    `socket` is the path of Redis' unix socket. It ends after `hops` hops, or, with 0, when it is stopped.
    """

    socket: str
    hops: int
    step: int = 0

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def source(self) -> str:
        """The stream to read; named as Mendstream names it."""
        return stream_of(CHAIN[self.step])

    @property
    def sink(self) -> str:
        """The stream to write."""
        return stream_of(self.link)

    @property
    def link(self) -> Link:
        """What the handler answers with."""
        return CHAIN[self.step + 1]

    def decoder(self) -> Callable[[bytes], Event]:
        """A decoder for the one type that this course reads, as one would write by hand."""
        kind: type[Event] = EVENT_TYPES[CHAIN[self.step].kind.__name__]
        return msgspec.json.Decoder(kind).decode


class Lap(msgspec.Struct, frozen=True, kw_only=True):
    """What one process used from its start to its finish: wall and processor seconds, peak memory in MB."""

    seconds: float
    processor: float
    memory: float


def stream_named(topic: str) -> str:
    """The stream of a topic, in partition 0."""
    return f"mend:{{0}}:{topic}"


def stream_of(link: Link) -> str:
    """The stream that a kind of event flows on."""
    return stream_named(link.kind.topic)
