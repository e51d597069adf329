"""A generic webhook: one POST of JSON for each message, signed where a secret is given.

The body is `{"delivery": ID, "text": ALL LINES, "lines": [LINE, …]}`. A repetition has the same `delivery`. With a secret, the
header `Mend-Signature` is `sha256=` and the HMAC-SHA256, in hex, over the header `Mend-Timestamp` (Unix seconds), a dot and
the body.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from adapters.errors import Refused, Transient

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from schemas.secret import Secret, SecretUrl

_TOO_MANY = 429
_TIMEOUT = 408
_SERVER_ERRORS = 500


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of the header `Mend-Signature`."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, "sha256").hexdigest()


def verify_signature(secret: bytes, timestamp: str, body: bytes, given: str) -> bool:
    """Whether a request is from who knows the secret, in constant time: for receivers. Refuse an old timestamp as well."""
    return hmac.compare_digest(signature(secret, timestamp, body).encode(), given.encode())


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
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        """Posts one message. Raises Transient when it may work later, Refused when the receiver will not have it.

        No message of an error has the URL in it, for its path may be a secret.
        """
        import httpx

        body = msgspec.json.encode({"delivery": delivery, "text": "\n".join(lines), "lines": list(lines)})
        try:
            answer = await self._open().post(self._url.reveal(), content=body, headers=self._headers(body, delivery))
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise Refused(f"the URL of the channel {self.name} cannot be used: it must begin with https:// or http://") from None
        except httpx.HTTPError as error:
            raise Transient(f"{self.name} cannot be reached ({type(error).__name__})") from None
        if answer.is_success:
            return
        said = f"{self.name} answered {answer.status_code}"
        if answer.status_code in (_TOO_MANY, _TIMEOUT) or answer.status_code >= _SERVER_ERRORS:
            raise Transient(said)
        raise Refused(f"{said}: check the URL and what it expects")

    def _headers(self, body: bytes, delivery: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "mendstream", "Mend-Delivery": delivery}
        if self._secret:
            timestamp = str(int(self._clock().timestamp()))
            headers |= {"Mend-Timestamp": timestamp, "Mend-Signature": signature(self._secret.reveal().encode(), timestamp, body)}
        return headers

    def _open(self) -> httpx.AsyncClient:
        """The client, made when it is first needed: httpx costs 20 MB and a tenth of a second."""
        import httpx

        if self._client is None:
            # At INFO it logs the whole URL of every request.
            logging.getLogger("httpx").setLevel(logging.WARNING)
            logging.getLogger("httpcore").setLevel(logging.WARNING)
            self._client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False)
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
