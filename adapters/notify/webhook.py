"""A generic webhook: one POST of JSON for each message, signed where a secret is given.

The body is `{"delivery": ID, "text": ALL LINES, "lines": [LINE, …]}`. A repetition has the same `delivery`. With a secret, the
header `Mend-Signature` is `sha256=` and the HMAC-SHA256, in hex, over the header `Mend-Timestamp` (Unix seconds), a dot and
the body.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from adapters.errors import Refused
from adapters.notify.client import PostClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.secret import Secret, SecretUrl

_SUCCESS = range(200, 300)


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of the header `Mend-Signature`."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, "sha256").hexdigest()


def verify_signature(secret: bytes, timestamp: str, body: bytes, given: str, *, now: float, window: float = 300.0) -> bool:
    """Whether a request is from who knows the secret, in constant time, and of the last `window` seconds: for receivers.

    `now` is Unix time in seconds. What is delivered twice within the window has the same `delivery`.
    """
    if not hmac.compare_digest(signature(secret, timestamp, body).encode(), given.encode()):
        return False
    return timestamp.isascii() and timestamp.isdigit() and abs(now - int(timestamp)) <= window


class WebhookChannel:
    """Posts to one URL. `timeout` in seconds bounds each step of a request; redirects are not followed."""

    def __init__(
        self,
        url: SecretUrl,
        *,
        clock: Callable[[], datetime],
        secret: Secret | None = None,
        name: str = "webhook",
        timeout: float = 5.0,
    ) -> None:
        self.name = name
        self._url = url
        self._secret = secret
        self._clock = clock
        self._client = PostClient(name, timeout=timeout)

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        """Posts one message. Raises Transient when it may work later, Refused when the receiver will not have it."""
        body = msgspec.json.encode({"delivery": delivery, "text": "\n".join(lines), "lines": list(lines)})
        answer = await self._client.post(self._url.reveal(), body, self._headers(body, delivery))
        if answer.status not in _SUCCESS:
            raise Refused(f"{self.name} answered {answer.status}: check the URL and what it expects")

    def _headers(self, body: bytes, delivery: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "mendstream", "Mend-Delivery": delivery}
        if self._secret:
            timestamp = str(int(self._clock().timestamp()))
            headers |= {"Mend-Timestamp": timestamp, "Mend-Signature": signature(self._secret.reveal().encode(), timestamp, body)}
        return headers

    async def close(self) -> None:
        await self._client.close()
