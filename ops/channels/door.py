"""What the doors for presses share: small bodies, read in bounded time, and answers that say what is wrong."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from ops.api.problems import Problem, ProblemFound
from schemas.text import clean

if TYPE_CHECKING:
    from litestar import Request, Response

MAX_BODY = 256 * 1024  # bytes
_READ_TIMEOUT = 10.0  # seconds
_log = logging.getLogger("mend.channels")


async def body_of(request: Request[Any, Any, Any]) -> bytes:
    """The body of a request; raises ProblemFound for one that does not come in time."""
    try:
        async with asyncio.timeout(_READ_TIMEOUT):
            return await request.body()
    except TimeoutError:
        raise ProblemFound(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {_READ_TIMEOUT:g} s") from None


def answered(status: HTTPStatus, detail: str) -> Response[Any]:
    """An answer that says what is wrong."""
    from litestar import Response

    content = msgspec.json.encode(Problem(title=status.phrase, status=status, detail=detail))
    return Response(content, status_code=status, media_type="application/problem+json")


def log_untold(channel: str, said: str, error: Exception) -> None:
    """What the presser could not be told; the card and the log have it."""
    _log.warning("who pressed a button in %s was not told '%s': %s", channel, clean(said, 200), clean(str(error), 300))
