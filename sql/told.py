"""Which event a stage told of an end or a decision. Whoever can write to Redis can copy one, with another time or another word in it."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, IncidentResolved, VerificationFinished
from sql.database import Connection

Told = tuple[str, str]
"""An end or a decision: the type of the event that tells it, and the id of what it is about."""

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


def told_of(event: Event) -> Told | None:
    """What of it is told once, by its type and what it is about; None for an event that is told any number of times."""
    return _key(event) if type(event) in _TELLERS else None


async def tellings(connection: Connection, keys: Iterable[Told]) -> dict[Told, str]:
    """The ids of the events that told these, as far as they were kept."""
    wanted = set(keys)
    rows = await connection.fetch(_TOLD, list({kind for kind, _ in wanted}), list({about for _, about in wanted}))
    return {key: row["event"] for row in rows if (key := (row["type"], row["about"])) in wanted}


def _key(event: Event) -> Told:
    return type(event).__name__, str(getattr(event, _TELLERS[type(event)][1]))
