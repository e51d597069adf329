"""What people said of how incidents were handled: a ledger of every word, of which the newest of each person counts.

The rows are authority: only what was proven is in them, and a rebuild of trust believes them. A rating is about the operations that
had been begun when it was given, so that what it moves depends on no order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from schemas.action import Action, is_observation, pattern_of
from schemas.event import Event
from schemas.learning import MOST_RATED, NOTE_LIMIT, FeedbackGiven
from schemas.text import clean
from sql.approvals import fold_name
from sql.database import Connection, Row
from sql.keys import BEGINNING, Touched
from sql.proof import Proof
from sql.trust import TYPES, LedgerRow, Move, keep_entries, proven_entries

TRUST_TYPES: tuple[str, ...] = (*TYPES, "FeedbackGiven")
"""The event types that move trust."""
GOOD = 4  # this rating and better ones are praise
BAD = 2  # this rating and worse ones are blame


class FeedbackRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said once. `counts` is false where the same person said something newer of the same incident."""

    event: str
    incident: str
    person: str
    rating: int
    note: str
    instead: str
    operations: tuple[str, ...]
    origin: str
    at: datetime
    counts: bool


_action = msgspec.json.Decoder(Action)
_KEEP = """
INSERT INTO feedback (event, incident, rater, person, rating, note, instead, operations, origin, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING event
"""
_OF = """
SELECT event, incident, person, rating, note, instead, operations, origin, at,
       row_number() OVER (PARTITION BY rater ORDER BY at DESC, event DESC) = 1 AS counts
  FROM feedback WHERE incident = $1 ORDER BY at, event
"""
_BEGUN = """
SELECT o.id, o.action FROM operations o WHERE o.incident = $1 AND o.started_at IS NOT NULL ORDER BY o.opened_at, o.id
"""
_MOVED = """
SELECT f.event, f.incident, f.rater, f.person, f.rating, f.at, o.action
  FROM feedback f JOIN operations o ON o.id = ANY (f.operations) AND o.incident = f.incident AND o.started_at IS NOT NULL
 WHERE f.event = ANY ($1)
   AND NOT EXISTS (SELECT FROM feedback n WHERE n.incident = f.incident AND n.rater = f.rater AND (n.at, n.event) > (f.at, f.event))
 ORDER BY f.at, f.event, o.opened_at, o.id
"""
_RATED = "SELECT incident || '/' || rater AS about, at, event FROM feedback WHERE event = ANY ($1)"


def move_of(rating: int) -> Move:
    """What a rating, 1 to 5, does to trust."""
    return Move.PRAISE if rating >= GOOD else Move.BLAME if rating <= BAD else Move.INDIFFERENCE


async def begun_for(connection: Connection, incident: str) -> tuple[str, ...]:
    """The operations that were begun for an incident, oldest first: what a rating given now is about. Looking is none."""
    rows = await connection.fetch(_BEGUN, incident)
    return tuple(row["id"] for row in rows if not is_observation(_action.decode(row["action"])))[:MOST_RATED]


async def keep(connection: Connection, event: FeedbackGiven) -> bool:
    """Keeps what a person is proven to have said; False where it was kept before."""
    said = (event.rating, clean(event.note, NOTE_LIMIT), clean(event.instead, NOTE_LIMIT))
    values = (event.id, event.incident, fold_name(event.person), clean(event.person, 128), *said)
    return await connection.fetchval(_KEEP, *values, list(event.operations), clean(event.origin, 256), event.at) is not None


async def feedback_of(connection: Connection, incident: str) -> list[FeedbackRow]:
    """All that was said of one incident, oldest first."""
    rows = await connection.fetch(_OF, incident)
    return [FeedbackRow(**dict(row.items()) | {"operations": tuple(row["operations"])}) for row in rows]


async def keep_trust(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes all that moves trust into its ledger: what the stages told, and what people said."""
    connection = proof.connection
    entries = [*await proven_entries(proof, events), *await trust_entries(connection, events)]
    return await keep_entries(connection, entries, await rated(connection, events))


async def rated(connection: Connection, events: Iterable[Event]) -> Touched:
    """Of whom and of which incident these events are kept as ratings, with the place of the newest: what is older there is replaced."""
    given = [event.id for event in events if isinstance(event, FeedbackGiven)]
    found: Touched = {}
    for row in await connection.fetch(_RATED, given) if given else []:
        found[row["about"]] = max(found.get(row["about"], BEGINNING), (row["at"], row["event"]))
    return found


async def trust_entries(connection: Connection, events: Iterable[Event]) -> list[LedgerRow]:
    """What the feedback among these events moves in trust: one row for each pattern that was tried, as the ledger of feedback has it.

    An event that was not kept, that is not what was kept, or that a newer one of the same person replaced moves nothing.
    """
    given = {event.id: event for event in events if isinstance(event, FeedbackGiven)}
    found: dict[tuple[str, str], LedgerRow] = {}
    for row in await connection.fetch(_MOVED, list(given)) if given else []:
        action, event = _action.decode(row["action"]), given[row["event"]]
        if is_observation(action) or not _is_kept(event, row):
            continue
        about = f"{row['incident']}/{row['rater']}"
        pattern = pattern_of(action)
        told: dict[str, str] = {"event": event.id, "pattern": pattern, "told_by": row["person"], "about": about}
        found[event.id, pattern] = LedgerRow(**told, at=row["at"], kind=move_of(row["rating"]))
    return list(found.values())


def _is_kept(event: FeedbackGiven, row: Row) -> bool:
    kept = (row["incident"], row["rater"], row["rating"], row["at"])
    return kept == (event.incident, fold_name(event.person), event.rating, event.at)
