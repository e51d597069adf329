"""Requests to one API server, each with a time limit, and each answer turned into a type.

kubernetes_asyncio gives the connection, the credentials and their renewal. Its generated models are not used: objects are
read by msgspec into the few fields that matter here, and bodies are plain JSON.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from adapters.errors import AdapterError, OutcomeUnknown, Refused
from adapters.kubernetes.errors import AnswerLost, Busy, Conflict, Expired, Forbidden, NotFound, ServerFault, TooMany, Unreachable
from adapters.kubernetes.objects import List
from schemas.text import clean

T = TypeVar("T")
CONNECT_SECONDS = 5.0
READ_SECONDS = 8.0
WRITE_SECONDS = 10.0
PAGE, PAGES = 500, 20  # objects of one answer, and answers of one list
MERGE_PATCH = "application/merge-patch+json"
_BY_STATUS: dict[int, type[AdapterError]] = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Expired, 429: Busy}


class Status(msgspec.Struct, rename="camel"):
    """The API server's own words for what went wrong."""

    message: str = ""
    reason: str = ""


class Client:
    """One API server as one identity. `refresh` renews credentials after a 401, such as those of an exec plugin.

    `discovered` keeps what discovery said of the server's API versions; `write_seconds` is the time limit of one write, `page`
    how many objects of a list are asked for at once.
    """

    def __init__(self, api: Any, refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        self._api = api
        self._refresh = refresh
        self.discovered: dict[str, str] = {}
        self.write_seconds = WRITE_SECONDS
        self.page = PAGE

    @property
    def server(self) -> str:
        """The server's URL, without credentials."""
        return str(self._api.configuration.host)

    async def close(self) -> None:
        await self._api.close()

    async def read(self, path: str, kind: type[T], *, query: Mapping[str, str] | None = None, timeout: float = READ_SECONDS) -> T:
        """The object or list at `path` as `kind`. Raises NotFound, Forbidden, Refused or Transient."""
        return parse(await self.request("GET", path, query=query, timeout=timeout), kind)

    async def read_all(
        self, path: str, kind: type[T], *, query: Mapping[str, str] | None = None, timeout: float = READ_SECONDS, pages: int = PAGES
    ) -> list[T]:
        """Every object of the list at `path` as `kind`, page by page; `timeout` is seconds for each page.

        Raises what `read` raises, and TooMany for a list of more than `pages` pages: a part of it is never taken for the whole.
        """
        try:
            return await self._pages(path, kind, dict(query or {}), timeout, pages)
        except Expired:  # others wrote so much meanwhile that the list cannot be continued: once more from its beginning
            return await self._pages(path, kind, dict(query or {}), timeout, pages)

    async def _pages(self, path: str, kind: type[T], query: dict[str, str], timeout: float, pages: int) -> list[T]:
        found: list[T] = []
        listed: Any = List
        query["limit"] = str(self.page)
        for _ in range(pages):
            page = await self.read(path, listed[kind], query=query, timeout=timeout)
            found.extend(page.all)
            query["continue"] = str(page.metadata.get("continue") or "")
            if not query["continue"]:
                return found
        raise TooMany(f"{path} has more than {len(found)} objects, which is more than is read here")

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
        timeout: float = READ_SECONDS,
        write: bool = False,
    ) -> bytes:
        """The body of a successful answer.

        Raises NotFound, Forbidden, Refused, Conflict, Busy, ServerFault, Unreachable (nothing was sent), and for an answer
        that was lost: OutcomeUnknown when `write`, else AnswerLost. `timeout` is seconds in all.
        """
        what = f"{method} {path}"
        headers = {"Accept": "application/json", "Content-Type": content, "User-Agent": "mendstream"}

        async def send() -> tuple[int, bytes]:
            async with _typed_failures(what, self.server, timeout):
                return await self._send(method, path, list((query or {}).items()), dict(headers), body=body, timeout=timeout)

        try:
            status, data = await send()
            if status == 401 and self._refresh is not None:
                await self._refresh()
                status, data = await send()
        except AnswerLost as error:
            if write:
                raise OutcomeUnknown(f"{error}: it may have been done") from error
            raise
        if 200 <= status < 300:
            return data
        raise _error(status, data, what)

    async def _send(
        self, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], *, body: Any, timeout: float
    ) -> tuple[int, bytes]:
        from aiohttp import ClientTimeout

        await self._api.update_params_for_auth(headers, query, ["BearerToken"])
        answer = await self._api.rest_client.request(
            method,
            self.server + path,
            query_params=query,
            headers=headers,
            body=body,
            _preload_content=False,
            _request_timeout=ClientTimeout(total=timeout, sock_connect=min(CONNECT_SECONDS, timeout)),
        )
        async with answer:
            return int(answer.status), await answer.read()


@contextlib.asynccontextmanager
async def _typed_failures(what: str, server: str, timeout: float) -> AsyncIterator[None]:
    """aiohttp's failures by what is known of the request: never sent, or sent and not answered."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        why = clean(str(error.certificate_error), 200)
        raise Refused(f"the certificate of {server} is not trusted ({why}): correct certificate-authority in the kubeconfig") from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unreachable(f"{server} cannot be reached (connection refused or timed out): {clean(str(error), 200)}") from error
    except TimeoutError as error:
        raise AnswerLost(f"timeout: {what} was not answered within {timeout:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise AnswerLost(f"connection reset: {what} was sent and the answer was lost ({type(error).__name__})") from error


def _error(status: int, data: bytes, what: str) -> AdapterError:
    """The error of an answer that is not a success."""
    try:
        message = msgspec.json.decode(data, type=Status).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = data[:300].decode("utf-8", "replace")
    kind = _BY_STATUS.get(status, ServerFault if status >= 500 else Refused)
    return kind(f"{what}: {status} {clean(message, 500) or 'without a reason'}")


def parse(data: bytes, kind: type[T]) -> T:
    """`data` as `kind`; raises ServerFault when it is something else, such as a proxy's login page."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServerFault(f"the API server answered with something that is not the expected object: {clean(str(error), 200)}") from error
