"""The body of a request: small, in time, plain JSON, and of a type."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from ops.api.problems import ProblemFound

MAX_BODY = 16 * 1024  # bytes
_SECONDS = 15.0
_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
S = TypeVar("S", bound=msgspec.Struct)


async def read(request: Request[Any, Any, Any], kind: type[S]) -> S:
    """The body as a struct of this kind; an empty body is one with all its defaults. Raises ProblemFound (400, 413)."""
    try:
        async with asyncio.timeout(_SECONDS):
            body = await request.body()
    except RequestEntityTooLarge as error:
        raise ProblemFound(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MAX_BODY} bytes") from error
    except TimeoutError as error:
        raise ProblemFound(HTTPStatus.BAD_REQUEST, f"the body did not arrive within {_SECONDS:g} s") from error
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ProblemFound(HTTPStatus.BAD_REQUEST, "the header Content-Type must be application/json", field="Content-Type")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        path = _PATH.search(str(error))
        raise ProblemFound(HTTPStatus.BAD_REQUEST, f"the body is wrong: {error}", field=path["path"] if path else "") from error
