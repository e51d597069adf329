"""What is wrong with a request, as problem details (RFC 9457); never 429, which Alertmanager drops, and never 500."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from litestar import Request, Response
    from litestar.exceptions import HTTPException

_log = logging.getLogger("mend.api")
RETRY_AFTER = 5  # seconds
_CLIENT_ERRORS = range(400, 500)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not 2xx. `field` is the path of the field that is wrong, where one is."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    field: str = ""


class ProblemFound(Exception):
    """A handler's way to answer with a problem."""

    def __init__(self, status: int, detail: str, *, field: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers or {}


def away(detail: str) -> ProblemFound:
    """503: the sender is to try again."""
    return ProblemFound(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER)})


def answer_problem(_: Request[Any, Any, Any], problem: ProblemFound) -> Response[Any]:
    from litestar import Response

    status = HTTPStatus(problem.status)
    body = Problem(title=status.phrase, status=status, detail=problem.detail, field=problem.field)
    content = msgspec.json.encode(body)
    return Response(content, status_code=status, media_type="application/problem+json", headers=problem.headers)


def _said(error: HTTPException) -> tuple[str, str]:
    """What the framework says of a request, and which of its fields it means, where it means one."""
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else None
    if isinstance(first, dict) and "message" in first:
        field = str(first.get("key", "")).rstrip("_")  # a name that the framework, or Python, has taken for itself
        return f"{field}: {first['message']}" if field else str(first["message"]), field
    return error.detail or HTTPStatus(error.status_code).phrase, ""


def answer_any(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What the framework refuses keeps its status; whatever else goes wrong is ours, and the sender is to try again."""
    from litestar.exceptions import HTTPException

    if isinstance(error, HTTPException) and error.status_code in _CLIENT_ERRORS and error.status_code != HTTPStatus.TOO_MANY_REQUESTS:
        detail, field = _said(error)
        return answer_problem(request, ProblemFound(error.status_code, detail, field=field, headers=dict(error.headers or {})))
    _log.error("a request to %s could not be answered: %s", request.url.path, type(error).__name__, exc_info=error)
    return answer_problem(request, away("something went wrong here; the log says what"))
