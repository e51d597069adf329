"""What an installation is set to for good: settings that must not change while there is data."""

from __future__ import annotations

from sql.database import Connection

_SET = "INSERT INTO installation (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING"


async def set_once(connection: Connection, name: str, value: str) -> str:
    """What `name` is set to; where it is not yet, it is `value` from now on."""
    await connection.execute(_SET, name, value)
    return str(await connection.fetchval("SELECT value FROM installation WHERE name = $1", name))


async def get(connection: Connection, name: str) -> str | None:
    """What `name` is set to, or None."""
    value: str | None = await connection.fetchval("SELECT value FROM installation WHERE name = $1", name)
    return value
