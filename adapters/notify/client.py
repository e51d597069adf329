"""One way to post JSON to a service outside: bounded in time, without redirects, and no error of it has the URL, which may be a secret.

A proxy of the environment (`HTTPS_PROXY` and the like) is used for what is not on this machine.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.errors import Busy, Refused, Transient
from adapters.loopback import LOOPBACK

if TYPE_CHECKING:
    import httpx

_TOO_MANY = 429
_TIMEOUT = 408
_SERVER_ERRORS = 500
_ANSWER_LIMIT = 1024 * 1024  # bytes
_LONGEST_WAIT = 3600.0  # seconds; a service that names a longer one is asked again after this


class Answer(msgspec.Struct, frozen=True):
    """What came back: the status and the body, which may be cut."""

    status: int
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object in the body; empty where there is none."""
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class PostClient:
    """Posts to the service `name`. `timeout` in seconds bounds each step of a request."""

    def __init__(self, name: str, *, timeout: float) -> None:
        self.name = name
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever it says. Raises Busy for 429, Transient where none came or the service failed, Refused for no URL."""
        import httpx

        try:
            async with self._open().stream("POST", url, content=body, headers=dict(headers)) as answer:
                got = Answer(answer.status_code, await _bounded(answer))
                wait = answer.headers.get("retry-after", "")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise Refused(f"the URL of the channel {self.name} cannot be used: it must begin with https:// or http://") from None
        except httpx.HTTPError as error:
            raise Transient(f"{self.name} cannot be reached ({type(error).__name__})") from None
        if got.status == _TOO_MANY:
            raise self.busy(wait or got.fields.get("parameters", {}).get("retry_after"))
        if got.status == _TIMEOUT or got.status >= _SERVER_ERRORS:
            raise Transient(f"{self.name} answered {got.status}")
        return got

    def busy(self, wait: object) -> Transient:
        """The error for a service that wants to be left alone for `wait` seconds, or for as long as we like where it names no number."""
        said = f"{self.name} answered {_TOO_MANY}"
        try:
            after = float(str(wait))
        except ValueError:
            return Transient(said)
        if not 0 <= after < float("inf"):
            return Transient(said)
        return Busy(f"{said}: it wants to be left alone for {after:g} s", min(after, _LONGEST_WAIT))

    def _open(self) -> httpx.AsyncClient:
        """The client, made when it is first needed: httpx costs 20 MB and a tenth of a second."""
        import httpx

        if self._client is None:
            # At INFO it logs the whole URL of every request.
            logging.getLogger("httpx").setLevel(logging.WARNING)
            logging.getLogger("httpcore").setLevel(logging.WARNING)
            here = {f"all://[{host}]" if ":" in host else f"all://{host}": None for host in LOOPBACK}
            self._client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False, mounts=here)
        return self._client

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def _bounded(answer: httpx.Response) -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > _ANSWER_LIMIT:
            break
    return body[:_ANSWER_LIMIT]
