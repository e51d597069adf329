"""The header by which an HTTP API knows us."""

from __future__ import annotations

import base64

from schemas.secret import Secret


def authorization(token: Secret | None, username: str = "", password: Secret | None = None) -> dict[str, str]:
    """The headers for a bearer token, else for a user name and password, in UTF-8 (RFC 7617); none without either."""
    if token:
        return {"Authorization": f"Bearer {token.reveal()}"}
    if username:
        pair = f"{username}:{password.reveal() if password else ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def require_username(username: str, password: Secret) -> None:
    """Raises ValueError for a password that would never be sent, for want of a user name."""
    if password and not username:
        raise ValueError("password without username is never sent: set username too, or neither")
