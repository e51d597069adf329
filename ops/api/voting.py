"""The routes of those who decide: a vote of the person who asks, cast by `ops.votes`. The gate alone decides whether it counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler

from ops.api.answers import Named, known_text, told
from ops.api.body import MAX_BODY, read
from ops.api.callers import address_of
from ops.api.description import described
from ops.api.problems import ProblemFound, away
from ops.errors import NoSuchApproval
from ops.tokens import Role
from ops.votes import Answer, Ballots
from schemas.words import Choice

if TYPE_CHECKING:
    from ops.api.refusals import Refusals
    from ops.settings.model import PersonSettings

_AT_ONCE = 16  # votes that wait for the gate; each has a connection to Redis of its own
_QUEUE = 5.0  # seconds that a vote waits for its turn
_PROBLEMS = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_ANSWERS: dict[int, tuple[str, Any]] = {
    200: ("The vote counts.", Answer),
    202: ("The vote is cast, and the gate has not answered within 5 s.", Answer),
}


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What comes with a vote: what the others should know."""

    comment: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class Booth:
    """Casts the votes of people who have proved who they are: few at once."""

    def __init__(self, ballots: Ballots, people: Mapping[str, PersonSettings], refusals: Refusals) -> None:
        self._ballots = ballots
        self._people = people
        self._refusals = refusals
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def vote(self, request: Request[Any, Any, Any], approval: str, choice: Choice) -> Response[bytes]:
        """Casts one vote. Raises ProblemFound, with a row in the audit log where it is the vote that is wrong."""
        async with self._refusals.audited(request), self._turn():
            person = request.state.caller.person
            if self._people and person not in self._people:
                raise ProblemFound(HTTPStatus.FORBIDDEN, f"{person} is not listed under [people] and may not sign")
            said = await read(request, Said)
            origin = f"api/{address_of(request)}"
            try:
                answer = await self._ballots.answered(
                    known_text(approval, "approval"), choice, person=person, origin=origin, comment=said.comment
                )
            except NoSuchApproval as error:
                raise ProblemFound(HTTPStatus.NOT_FOUND, str(error)) from error
            if answer.refused:
                raise ProblemFound(HTTPStatus.CONFLICT, answer.said)
            return await told(answer, HTTPStatus.OK if answer.counted else HTTPStatus.ACCEPTED)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_QUEUE):
                await self._turns.acquire()
        except TimeoutError as error:
            raise away("too many votes wait for the gate at once; this one was not cast") from error
        try:
            yield
        finally:
            self._turns.release()


def voting_routes(booth: Booth) -> list[HTTPRouteHandler]:
    """Signing and rejecting."""

    @post(
        "/v1/approvals/{approval:str}/sign",
        role=Role.OPERATOR,
        vote=True,
        status_code=HTTPStatus.OK,
        request_max_body_size=MAX_BODY,
        operation_class=described(_ANSWERS, body=Said, problems=_PROBLEMS),
        summary="Signs an approval as the person of the token",
    )
    async def sign(request: Request[Any, Any, Any], approval: Named) -> Response[bytes]:
        return await booth.vote(request, approval, Choice.SIGN)

    @post(
        "/v1/approvals/{approval:str}/reject",
        role=Role.OPERATOR,
        vote=True,
        status_code=HTTPStatus.OK,
        request_max_body_size=MAX_BODY,
        operation_class=described(_ANSWERS, body=Said, problems=_PROBLEMS),
        summary="Rejects an approval as the person of the token: one rejection ends it",
    )
    async def reject(request: Request[Any, Any, Any], approval: Named) -> Response[bytes]:
        return await booth.vote(request, approval, Choice.REJECT)

    return [sign, reject]
