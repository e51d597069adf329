"""The route of those who rate: how an incident was handled, by the person who asks, given by `ops.feedback`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from ops.api.answers import Named, known_text, told
from ops.api.body import MAX_BODY, read
from ops.api.callers import address_of
from ops.api.description import described
from ops.api.problems import ProblemFound, away
from ops.feedback import Receipt, SuggestionBox
from ops.tokens import Role
from schemas.learning import NOTE_LIMIT

if TYPE_CHECKING:
    from ops.settings.model import PersonSettings

_AT_ONCE = 8  # that wait for learn; each has a connection to Redis of its own
_QUEUE = 5.0  # seconds that one waits for its turn
_PROBLEMS = (HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_ANSWERS: dict[int, tuple[str, Any]] = {
    200: ("It is kept; `effects` is what it moved.", Receipt),
    202: ("It is given, and learn has not answered within 5 s.", Receipt),
}
Said = Annotated[str, msgspec.Meta(max_length=NOTE_LIMIT)]


class Opinion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an incident was handled, 1 (harmful) to 5 (just right), why, and what was done instead."""

    rating: Literal[1, 2, 3, 4, 5]
    note: Said = ""
    override: Said = ""


def feedback_route(box: SuggestionBox, people: Mapping[str, PersonSettings]) -> HTTPRouteHandler:
    """Rating an incident: few at once."""
    turns = asyncio.Semaphore(_AT_ONCE)

    @post(
        "/v1/incidents/{incident:str}/feedback",
        role=Role.OPERATOR,
        status_code=HTTPStatus.OK,
        request_max_body_size=MAX_BODY,
        operation_class=described(_ANSWERS, body=Opinion, problems=_PROBLEMS),
        summary="Rates how an incident was handled, as the person of the token; the newest rating of a person counts",
    )
    async def feedback(request: Request[Any, Any, Any], incident: Named) -> Response[bytes]:
        person = request.state.caller.person
        if people and person not in people:
            raise ProblemFound(HTTPStatus.FORBIDDEN, f"{person} is not listed under [people] and may not rate")
        opinion = await read(request, Opinion)
        about = known_text(incident, "incident")
        said = {"person": person, "origin": f"api/{address_of(request)}", "note": opinion.note, "instead": opinion.override}
        try:
            async with asyncio.timeout(_QUEUE):
                await turns.acquire()
        except TimeoutError as error:
            raise away("too many wait for learn at once; this rating was not given") from error
        try:
            receipt = await box.give(about, opinion.rating, **said)
        finally:
            turns.release()
        return await told(receipt, HTTPStatus.OK if receipt.kept else HTTPStatus.ACCEPTED)

    return feedback
