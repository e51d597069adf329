"""How what was learned is told: as events, and as lines in the incident's timeline."""

from __future__ import annotations

from bus.handler import Context
from schemas.event import Output
from schemas.events import TrustChanged
from schemas.text import clean
from sql import incidents
from sql.database import Connection
from sql.trust import TrustMove

TEXT_LIMIT = 2000  # characters


async def note(what: str, context: Context, connection: Connection) -> None:
    """One line in the timeline of the input's incident, where it has one."""
    cause = context.input
    if cause.incident:
        await incidents.add_timeline(connection, incident=cause.incident, event=cause.id, at=context.now(), by=context.by, what=what)


async def trust_moved(move: TrustMove, reason: str, context: Context, connection: Connection) -> list[Output]:
    """A change of trust as an event and a line, where the score changed."""
    if move.before == move.after:
        return []
    said = clean(reason, TEXT_LIMIT)
    await note(f"trust of {move.pattern} {move.before} → {move.after}: {said}", context, connection)
    return [context.event(TrustChanged, pattern=move.pattern, before=move.before, after=move.after, reason=said)]
