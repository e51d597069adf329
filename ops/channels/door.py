"""What the doors for presses share: small bodies, few at once and read in bounded time, and answers that say what is wrong."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from ops.api.problems import Problem, ProblemFound, away
from schemas.text import clean

if TYPE_CHECKING:
    from litestar import Request, Response

MAX_BODY = 256 * 1024  # bytes
_AT_ONCE = 16  # bodies that one door reads
_READ_TIMEOUT = 3.0  # seconds; no longer does Slack wait for an answer
_log = logging.getLogger("mend.channels")


class Bodies:
    """Reads the bodies of the requests to one door. Whoever sends them slowly holds few connections of the API, and not for long."""

    def __init__(self) -> None:
        self._read = 0

    async def of(self, request: Request[Any, Any, Any]) -> bytes:
        """The body of a request; raises ProblemFound where too many are read already (503), and for one that does not come in time."""
        if self._read >= _AT_ONCE:
            raise away(f"{_AT_ONCE} bodies are read at once, and no more")
        self._read += 1
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                return await request.body()
        except TimeoutError:
            raise ProblemFound(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {_READ_TIMEOUT:g} s") from None
        finally:
            self._read -= 1


def answered(status: HTTPStatus, detail: str) -> Response[Any]:
    """An answer that says what is wrong."""
    from litestar import Response

    content = msgspec.json.encode(Problem(title=status.phrase, status=status, detail=detail))
    return Response(content, status_code=status, media_type="application/problem+json")


def log_untold(channel: str, said: str, error: Exception) -> None:
    """What the presser could not be told; the card and the log have it."""
    _log.warning("who pressed a button in %s was not told '%s': %s", channel, clean(said, 200), clean(str(error), 300))
