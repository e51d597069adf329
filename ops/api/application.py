"""The application: `POST /v1/alertmanager`, the health of the API, and its own description at `/openapi.json`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ops.api.door import Accepted, Appender, Door
from ops.api.guard import Guard
from ops.api.problems import ProblemFound, answer_any, answer_problem
from stages.ingest.options import IngestOptions

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

    Check = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]

MAX_BODY = 4 * 1024 * 1024  # bytes


def build_api(
    bus: Appender,
    *,
    guard: Guard,
    clock: Callable[[], datetime],
    by: str,
    default_cluster: str = "default",
    options: IngestOptions | None = None,
    waiting_for: Callable[[], str] = lambda: "",
    warning: Callable[[], str] = lambda: "",
    metrics: Callable[[], bytes] | None = None,
    max_body: int = MAX_BODY,
) -> Litestar:
    """The ASGI application.

    `by` is who tells its events; `waiting_for` says why it is not ready, or nothing, `warning` what is wrong though it takes alerts;
    `metrics` gives its scrape in Prometheus' text form; `max_body` is in bytes.
    """
    from litestar import Litestar, Request, Response
    from litestar.openapi import OpenAPIConfig
    from litestar.openapi.plugins import JsonRenderPlugin

    def guarded(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        check(guard, connection)

    door = Door(bus, clock=clock, by=by, default_cluster=default_cluster, options=options or IngestOptions(), max_body=max_body)
    routes = [_alert_route(door, guarded, max_body), *health_routes(waiting_for, warning)]
    if metrics is not None:
        routes.append(_metrics_route(metrics, guarded))
    return Litestar(
        routes,
        exception_handlers={ProblemFound: answer_problem, Exception: answer_any},
        openapi_config=OpenAPIConfig(
            title="Mendstream",
            version="1",
            path="/openapi.json",
            render_plugins=[JsonRenderPlugin(path="/")],
        ),
        signature_namespace={"Request": Request, "Response": Response},
        logging_config=None,
    )


def check(guard: Guard, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Raises ProblemFound for who may not come in."""
    given = dict(connection.scope["headers"])
    if guard.is_open and b"origin" in given:
        raise ProblemFound(HTTPStatus.FORBIDDEN, "web pages may not post here while no credential is set (http.token)", field="Origin")
    if not guard.allows(given.get(b"authorization", b"")):
        detail = "the header Authorization must carry the configured credential"
        raise ProblemFound(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": guard.challenge})


def _alert_route(door: Door, guarded: Check, max_body: int) -> HTTPRouteHandler:
    from litestar import Request, post

    from ops.api.description import WebhookOperation

    @post(
        "/v1/alertmanager",
        guards=[guarded],
        status_code=HTTPStatus.OK,
        request_max_body_size=max_body,
        operation_class=WebhookOperation,
        summary="Takes a notification of Alertmanager; 200 once all its alerts are in the stream",
    )
    async def alertmanager(request: Request[Any, Any, Any]) -> Accepted:
        return await door.take(request)

    return alertmanager


def health_routes(waiting_for: Callable[[], str], warning: Callable[[], str]) -> list[HTTPRouteHandler]:
    """`/livez` and `/readyz`: `waiting_for` says why it is not ready, or nothing, `warning` what is wrong all the same."""
    from litestar import Response, get

    @get("/livez", summary="Whether the process answers")
    async def livez() -> dict[str, bool]:
        return {"ok": True}

    @get("/readyz", summary="Whether it is ready")
    async def readyz() -> Response[dict[str, bool | str]]:
        reason = waiting_for()
        if reason:
            return Response({"ok": False, "reason": reason}, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
        return Response({"ok": True, "warning": told} if (told := warning()) else {"ok": True})

    return [livez, readyz]


def _metrics_route(metrics: Callable[[], bytes], guarded: Check) -> HTTPRouteHandler:
    from litestar import MediaType, get

    @get("/metrics", media_type=MediaType.TEXT, guards=[guarded], summary="Metrics in Prometheus' text form")
    async def scrape() -> bytes:
        return metrics()

    return scrape
