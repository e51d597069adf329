"""The routes of the stop switch: who threw it and why, stopping everything, and letting it go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import HttpMethod, Request, Response, get, post, route
from litestar.handlers import HTTPRouteHandler

from ops.api.answers import told
from ops.api.body import MAX_BODY, read
from ops.api.description import described
from ops.api.problems import ProblemFound
from ops.tokens import Role
from sql.switch import InFlight, SwitchState, in_flight, resume, state, stop

if TYPE_CHECKING:
    from ops.settings.model import PersonSettings
    from sql.database import Database


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """The stop switch, and what has not ended."""

    switch: SwitchState
    in_flight: InFlight


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is changed: what the others are told."""

    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


def switch_routes(database: Database, people: Mapping[str, PersonSettings], clock: Callable[[], datetime]) -> list[HTTPRouteHandler]:
    """Looking at the switch, throwing it, and letting everything go on."""
    answers = {200: ("The switch as it is now.", Switch)}
    changes = described(answers, body=Reason, problems=(HTTPStatus.REQUEST_ENTITY_TOO_LARGE,))

    async def now(found: SwitchState | None = None) -> Response[bytes]:
        async with database.connection() as connection:
            switch = Switch(switch=found or await state(connection), in_flight=await in_flight(connection, at=clock()))
        return await told(switch)

    @route("/v1/stop", http_method=HttpMethod.OPTIONS, include_in_schema=False)
    async def allowed() -> Response[None]:
        """What the framework answers by itself knows only the first method of a path."""
        return Response(None, status_code=HTTPStatus.NO_CONTENT, headers={"Allow": "GET, OPTIONS, POST"})

    @get("/v1/stop", role=Role.VIEWER, operation_class=described(answers), summary="Whether everything is stopped, by whom and why")
    async def look() -> Response[bytes]:
        return await now()

    @post(
        "/v1/stop",
        role=Role.ADMIN,
        status_code=HTTPStatus.OK,
        request_max_body_size=MAX_BODY,
        operation_class=changes,
        summary="Stops everything: nothing is proposed, approved or begun until it is resumed",
    )
    async def throw(request: Request[Any, Any, Any]) -> Response[bytes]:
        given = await read(request, Reason)
        async with database.transaction() as connection:
            found = await stop(connection, by=request.state.caller.person, reason=given.reason, at=clock())
        return await now(found)

    @post(
        "/v1/resume",
        role=Role.ADMIN,
        status_code=HTTPStatus.OK,
        request_max_body_size=MAX_BODY,
        operation_class=changes,
        summary="Lets it go on; what was approved before the stop is not run",
    )
    async def go_on(request: Request[Any, Any, Any]) -> Response[bytes]:
        person, given = request.state.caller.person, await read(request, Reason)
        if people and person not in people:
            raise ProblemFound(
                HTTPStatus.FORBIDDEN, f"{person} is not listed under [people]: anybody may stop, and only those listed resume"
            )
        async with database.transaction() as connection:
            before = await state(connection)
            found = await resume(connection, by=person, at=clock(), reason=given.reason) if before.stopped else before
        return await now(found)

    return [allowed, look, throw, go_on]
