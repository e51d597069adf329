"""The API for people and programs: what is wrong, what waits for them, their votes, the stop switch and events; each needs a token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request, Response
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from bus.errors import BusError
from ops.api.admission import Admission
from ops.api.application import health_routes
from ops.api.body import MAX_BODY
from ops.api.callers import Callers
from ops.api.events import Readers, events_route
from ops.api.feedback import feedback_route
from ops.api.learned import learned_routes
from ops.api.problems import ProblemFound, answer_any, answer_problem, away
from ops.api.reading import reading_routes
from ops.api.refusals import Refusals
from ops.api.switch import switch_routes
from ops.api.voting import Booth, voting_routes
from ops.channels.doors import open_doors
from ops.errors import NoSuchApproval, NoSuchEntry, NoSuchIncident, NoSuchProblem
from ops.feedback import SuggestionBox
from ops.votes import Ballots
from sql.errors import StoreError

if TYPE_CHECKING:
    from bus.connect import Bus
    from ops.settings import Settings
    from sql.database import Database
    from stages.gate.votes import VoteKeys


def build_rest(
    bus: Bus,
    database: Database,
    settings: Settings,
    *,
    keys: VoteKeys,
    by: str,
    clock: Callable[[], datetime],
    stop: asyncio.Event,
    waiting_for: Callable[[], str] = lambda: "",
    warning: Callable[[], str] = lambda: "",
) -> Litestar:
    """The ASGI application. `by` is the process that casts votes here; streams of events end when `stop` is set."""
    refusals = Refusals(database, clock)
    admission = Admission(Callers(database, settings.people), settings.api, refusals)
    ballots = Ballots(database, bus, keys, by=by, clock=clock)
    doors = open_doors(settings, database, ballots, clock=clock)
    readers = Readers(bus, database, clock=clock, stop=stop, identify=admission.identify)
    return Litestar(
        [
            *reading_routes(database),
            *learned_routes(database),
            *voting_routes(Booth(ballots, settings.people, refusals)),
            feedback_route(SuggestionBox(database, bus, keys, by=by, clock=clock), settings.people),
            events_route(readers),
            *switch_routes(database, settings.people, clock),
            *doors.routers,
            *health_routes(waiting_for, warning),
        ],
        guards=[admission],
        on_shutdown=[doors.close],
        request_max_body_size=MAX_BODY,
        exception_handlers={
            ProblemFound: answer_problem,
            NoSuchIncident: _answer_not_found,
            NoSuchApproval: _answer_not_found,
            NoSuchEntry: _answer_not_found,
            NoSuchProblem: _answer_not_found,
            StoreError: _answer_away,
            BusError: _answer_away,
            Exception: answer_any,
        },
        openapi_config=OpenAPIConfig(
            title="Mendstream",
            version="1",
            path="/openapi.json",
            render_plugins=[JsonRenderPlugin(path="/")],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        ),
        signature_namespace={"Request": Request, "Response": Response},
        logging_config=None,
    )


def _answer_not_found(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return answer_problem(request, ProblemFound(HTTPStatus.NOT_FOUND, str(error)))


def _answer_away(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return answer_problem(request, away(str(error)))
