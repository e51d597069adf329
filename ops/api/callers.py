"""Who asks: a person with a token of `mend people add`, whose hash is kept, or with the one of the settings."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from ops.api.problems import ProblemFound
from ops.tokens import id_of, is_genuine
from sql.people import get_token

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    from ops.settings.model import PersonSettings
    from sql.database import Database

CHALLENGE = 'Bearer realm="mendstream"'
_LONGEST = 512  # characters of a token


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A person who has proved to be that person. `token` names the token without telling it."""

    person: str
    roles: tuple[str, ...]
    token: str


class Callers:
    """Finds out who asks, anew for each request: a revoked token lets nobody in from that moment."""

    def __init__(self, database: Database, people: Mapping[str, PersonSettings]) -> None:
        self._database = database
        self._people = people
        self._of_settings = {name: _digest(one.token.reveal()) for name, one in people.items() if one.token}

    async def identify(self, authorization: bytes) -> Caller:
        """The person of the header's bearer token. Raises ProblemFound (401) and StoreUnavailable."""
        scheme, _, given = authorization.partition(b" ")
        token = given.strip().decode("latin-1")
        if scheme.lower() == b"bearer" and 0 < len(token) <= _LONGEST:
            found = self._in_settings(token) or await self._in_store(token)
            if found is not None:
                return found
        detail = "the header Authorization must carry `Bearer` and a token that is valid: `mend people add` makes one"
        raise ProblemFound(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": CHALLENGE})

    def _in_settings(self, token: str) -> Caller | None:
        """The one person of the settings with this token; all are compared, in the same time whichever it is."""
        digest = _digest(token)
        names = [name for name, known in self._of_settings.items() if hmac.compare_digest(digest, known)]
        if len(names) != 1:
            return None
        return Caller(person=names[0], roles=self._people[names[0]].roles, token=f"settings/{names[0]}")

    async def _in_store(self, token: str) -> Caller | None:
        named = id_of(token)
        if not named:
            return None
        async with self._database.connection() as connection:
            row = await get_token(connection, named)
        return Caller(person=row.person, roles=row.roles, token=row.id) if row is not None and is_genuine(token, row) else None


def address_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The IP address that the request comes from, or `unknown`. Of a proxy on this machine it is what its X-Forwarded-For says."""
    try:
        return str(ipaddress.ip_address(connection.client.host)) if connection.client is not None else "unknown"
    except ValueError:
        return "unknown"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
