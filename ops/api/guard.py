"""Who may post alerts, and where the API may listen: without credentials, on this machine only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
from typing import TYPE_CHECKING

from ops.errors import OpsError

if TYPE_CHECKING:
    from ops.settings.model import HttpSettings

_log = logging.getLogger("mend.api")


class UnguardedAddress(OpsError):
    """The API would be open to others without credentials: set http.token, or listen on 127.0.0.1."""


class Guard:
    """Checks the header `Authorization`: a bearer token, or a user name and password, or either where both are set."""

    def __init__(self, *, token: str = "", username: str = "", password: str = "") -> None:
        self._token = _digest(token.encode()) if token else b""
        self._basic = _digest(f"{username}:{password}".encode()) if username and password else b""
        schemes = (["Bearer"] if self._token else []) + (["Basic"] if self._basic else [])
        self.challenge = ", ".join(f'{scheme} realm="mendstream"' for scheme in schemes)

    @classmethod
    def of(cls, settings: HttpSettings) -> Guard:
        return cls(token=settings.token.reveal(), username=settings.username, password=settings.password.reveal())

    @property
    def is_open(self) -> bool:
        """Whether no credential is configured, so that nothing is checked."""
        return not self._token and not self._basic

    def allows(self, authorization: bytes) -> bool:
        """Whether the header's value is a configured credential. Takes the same time for every wrong one of a scheme."""
        if self.is_open:
            return True
        scheme, _, given = authorization.partition(b" ")
        given = given.strip()
        if scheme.lower() == b"bearer" and self._token:
            return hmac.compare_digest(_digest(given), self._token)
        if scheme.lower() == b"basic" and self._basic:
            return hmac.compare_digest(_digest(_decoded(given)), self._basic)
        return False


def _digest(text: bytes) -> bytes:
    """Equal length for whatever text, so that a comparison does not tell the length of the secret."""
    return hashlib.sha256(text).digest()


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address. A name other than localhost counts as one that others reach."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_guard(guard: Guard, host: str) -> None:
    """Lets an API without credentials listen on loopback only, and says so in the log. Raises UnguardedAddress."""
    if not guard.is_open:
        return
    if not is_loopback(host):
        raise UnguardedAddress(
            f"http.host is {host}, which others can reach, and no credential is set:"
            " set http.token (or http.username and http.password), or set http.host to 127.0.0.1"
        )
    _log.warning("no credential is set for the API (http.token): it listens on %s only", host)
