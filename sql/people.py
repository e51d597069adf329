"""The tokens of people, as far as they are kept: who, which roles, and a salted hash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from sql.database import Connection, Row


class TokenRow(msgspec.Struct, frozen=True, kw_only=True):
    """One token. `id` is the part of it that is no secret; `hash` is of the secret part with `salt`."""

    id: str
    person: str
    roles: tuple[str, ...]
    salt: bytes
    hash: bytes
    made_at: datetime
    made_by: str
    revoked_at: datetime | None = None
    revoked_by: str = ""


_INSERT = """
INSERT INTO person_tokens (id, person, roles, salt, hash, made_at, made_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_REVOKE = """
UPDATE person_tokens SET revoked_at = $2, revoked_by = $3 WHERE (id = $1 OR person = $1) AND revoked_at IS NULL RETURNING id
"""


async def add_token(connection: Connection, row: TokenRow) -> None:
    """Keeps a new token."""
    await connection.execute(_INSERT, row.id, row.person, list(row.roles), row.salt, row.hash, row.made_at, row.made_by)


async def get_token(connection: Connection, id: str) -> TokenRow | None:  # noqa: A002
    """The token with this id, also a revoked one, or None."""
    row = await connection.fetchrow("SELECT * FROM person_tokens WHERE id = $1", id)
    return None if row is None else _row(row)


async def list_tokens(connection: Connection, *, revoked: bool = False, limit: int = 1000) -> list[TokenRow]:
    """The tokens that let somebody in, or all; by person, newest first."""
    query = "SELECT * FROM person_tokens WHERE $1 OR revoked_at IS NULL ORDER BY person, made_at DESC, id LIMIT $2"
    return [_row(row) for row in await connection.fetch(query, revoked, limit)]


async def revoke_tokens(connection: Connection, named: str, *, by: str, at: datetime) -> Sequence[str]:
    """Ends the token with this id, or all of the person with this name; the ids of those ended now."""
    return [str(row["id"]) for row in await connection.fetch(_REVOKE, named, at, by)]


def _row(row: Row) -> TokenRow:
    return TokenRow(**dict(row) | {"roles": tuple(row["roles"])})
