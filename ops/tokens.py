"""Tokens that let people into the API, and what their roles permit.

A token is `mend_ID_SECRET`: the id finds its row, the secret is 256 random bits. Of the secret only HMAC-SHA256 under a salt is kept. A
slow hash such as scrypt protects what people think up; 256 random bits cannot be guessed however fast a guess is, and a slow hash
for each request would let anybody who sends wrong tokens use up the processor.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

from ops.errors import NotAllowed
from ops.settings import Settings
from schemas.secret import Token
from schemas.text import clean
from sql.people import TokenRow

_FORM = re.compile(r"mend_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME_LIMIT = 128  # characters, as in a signature


class Role(StrEnum):
    """What somebody may do at the API; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


def permits(roles: Iterable[str], needed: Role) -> bool:
    """Whether one of the roles is `needed` or a greater one; names that are no roles of the API permit nothing."""
    ranks = list(Role)
    return any(role in ranks and ranks.index(Role(role)) >= ranks.index(needed) for role in roles)


def require_listed(settings: Settings, person: str, roles: Iterable[str]) -> None:
    """Lets only those be given the right to sign who may sign: with people in the settings, only these. Raises NotAllowed."""
    if permits(roles, Role.OPERATOR) and settings.people and person not in settings.people:
        raise NotAllowed(f"{person} is not listed under [people] and may not sign; a viewer need not be listed")


def new_token(person: str, roles: Sequence[Role], *, at: datetime, by: str) -> tuple[Token, TokenRow]:
    """A token, which is shown once and never again, and the row that knows it again. Raises ValueError for a name that cannot be one."""
    if not person.strip() or clean(person, _NAME_LIMIT) != person or not person.isprintable():
        raise ValueError(f"a name has printable characters, {_NAME_LIMIT} at most, and looks like no secret")
    id_, secret, salt = secrets.token_hex(8), secrets.token_urlsafe(32), secrets.token_bytes(16)
    row = TokenRow(
        id=id_, person=person, roles=tuple(role.value for role in roles), salt=salt, hash=_hash(salt, secret), made_at=at, made_by=by
    )
    return Token(f"mend_{id_}_{secret}"), row


def id_of(token: str) -> str:
    """The id in a token, or an empty text for what has not the form of one."""
    match = _FORM.fullmatch(token)
    return match[1] if match else ""


def is_genuine(token: str, row: TokenRow) -> bool:
    """Whether the token is the one of the row, and not revoked. A wrong secret takes the same time as the right one."""
    match = _FORM.fullmatch(token)
    same = match is not None and hmac.compare_digest(_hash(row.salt, match[2]), row.hash)
    return same and row.revoked_at is None


def _hash(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode(), "sha256")
