"""Presses of buttons that were taken, so that the same one is never taken twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from sql.database import Connection

_KEPT = timedelta(days=7)
_TAKE = "INSERT INTO presses (nonce, at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING nonce"


async def take_press(connection: Connection, nonce: str, *, at: datetime) -> bool:
    """Whether this press is a new one; from now on it is not. Those of a week ago are forgotten."""
    await connection.execute("DELETE FROM presses WHERE at < $1", at - _KEPT)
    return await connection.fetchval(_TAKE, nonce, at) is not None


async def give_press_back(connection: Connection, nonce: str) -> None:
    """Forgets a press that could not be worked: it may come again."""
    await connection.execute("DELETE FROM presses WHERE nonce = $1", nonce)
