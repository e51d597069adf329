"""Where the card of each incident is at each channel, and who may write it at this moment.

One writer at a time, by a lease of the clock of Postgres: two processes that hear of an incident at once post one card.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from sql.database import Connection

_CLAIM = """
INSERT INTO cards (incident, channel, held_until, changed_at)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), $4)
ON CONFLICT (incident, channel) DO UPDATE SET turn = cards.turn + 1, held_until = excluded.held_until
WHERE cards.held_until <= clock_timestamp()
RETURNING message, shown, turn
"""
_SAVE = "UPDATE cards SET message = $4, shown = $5, changed_at = $6 WHERE incident = $1 AND channel = $2 AND turn = $3"
_LEAVE = "UPDATE cards SET held_until = '-infinity' WHERE incident = $1 AND channel = $2 AND turn = $3"


class CardPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The right to write one card. `message` is empty where none was posted; `shown` is a hash of what it shows."""

    incident: str
    channel: str
    message: str
    shown: str
    turn: int


async def claim_card(connection: Connection, incident: str, channel: str, *, seconds: float, at: datetime) -> CardPlace | None:
    """The right to write this card for so many seconds, or None while somebody else has it."""
    row = await connection.fetchrow(_CLAIM, incident, channel, seconds, at)
    return None if row is None else CardPlace(incident=incident, channel=channel, **dict(row))


async def save_card(connection: Connection, place: CardPlace, *, message: str, shown: str, at: datetime) -> None:
    """Remembers where the card is and what it shows; nothing where somebody else has the right by now."""
    await connection.execute(_SAVE, place.incident, place.channel, place.turn, message, shown, at)


async def leave_card(connection: Connection, place: CardPlace) -> None:
    """Gives the right back."""
    await connection.execute(_LEAVE, place.incident, place.channel, place.turn)
