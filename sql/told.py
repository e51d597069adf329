"""Which event a stage told of an end or a decision. Whoever can write to Redis can copy one, with another time or another word in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, IncidentResolved, VerificationFinished
from sql.database import Connection

E = TypeVar("E", bound=Event)

_TELLERS: dict[type[Event], tuple[str, str]] = {
    ExecutionFinished: ("execute", "operation"),
    VerificationFinished: ("verify", "operation"),
    ActionRejected: ("gate", "approval"),
    ActionApproved: ("gate", "approval"),
    IncidentResolved: ("ingest", "incident"),
}
"""Which stage tells it, and which field says what of it is told once."""
REMEMBER = """
INSERT INTO told_events (type, about, event) SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING
"""
"""Keeps for good which events told of ends and decisions, as `columns` has them; of two about the same, the first."""
_TOLD = "SELECT type, about, event FROM told_events WHERE type = ANY($1) AND about = ANY($2)"


def columns(stage: str, events: Iterable[Event]) -> tuple[list[str], list[str], list[str]]:
    """What is to be remembered of the events that a stage tells: their types, what they are about, and their ids."""
    told = [event for event in events if type(event) in _TELLERS and _TELLERS[type(event)][0] == stage]
    keys = [_key(event) for event in told]
    return [kind for kind, _ in keys], [about for _, about in keys], [event.id for event in told]


async def without_copies(connection: Connection, events: Sequence[E]) -> list[E]:
    """These events without those in whose place a stage has told another. Of what was told before ids were kept, all stay.

    What is about an id with a NUL is about nothing: none of ours has one.
    """
    events = [event for event in events if type(event) not in _TELLERS or "\0" not in _key(event)[1]]
    keys = {_key(event) for event in events if type(event) in _TELLERS}
    known: dict[tuple[str, str], str] = {}
    if keys:
        types, about = {kind for kind, _ in keys}, {about for _, about in keys}
        known = {(row["type"], row["about"]): row["event"] for row in await connection.fetch(_TOLD, list(types), list(about))}
    return [event for event in events if type(event) not in _TELLERS or known.get(_key(event), event.id) == event.id]


def _key(event: Event) -> tuple[str, str]:
    return type(event).__name__, str(getattr(event, _TELLERS[type(event)][1]))
