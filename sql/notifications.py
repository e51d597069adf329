"""Which channel has been sent which event."""

from __future__ import annotations

from datetime import datetime

from sql.database import Connection

_SENT = "INSERT INTO notifications (event, channel, sent_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


async def channels_sent(connection: Connection, event: str) -> frozenset[str]:
    """The channels that have been sent this event."""
    return frozenset(row["channel"] for row in await connection.fetch("SELECT channel FROM notifications WHERE event = $1", event))


async def mark_sent(connection: Connection, event: str, channel: str, *, at: datetime) -> None:
    """Remembers that the channel has it."""
    await connection.execute(_SENT, event, channel, at)


async def prune_notifications(connection: Connection, *, before: datetime) -> int:
    """Forgets what was sent, and the cards that were last written, before that time; returns how many messages."""
    status: str = await connection.execute("DELETE FROM notifications WHERE sent_at < $1", before)
    await connection.execute("DELETE FROM cards WHERE changed_at < $1", before)
    await connection.execute("DELETE FROM card_news WHERE at < $1", before)
    return int(status.rpartition(" ")[2])
