"""The routes that only read: incidents, approvals, trust and playbooks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from ops.api.answers import PAGE, After, Limit, Named, Page, known_text, no_such, page_of, told
from ops.api.description import described
from ops.api.items import ApprovalItem, IncidentItem, PlaybookItem, TrustItem, items_of, playbook_items, trust_items
from ops.facts.dossier import Dossier, Story, dossier_of, story_of
from ops.tokens import Role
from schemas.words import ApprovalState, IncidentState
from sql.approvals import get_approval, list_approvals
from sql.declarations import reach_of
from sql.incidents import get_incident, list_incidents
from sql.playbooks import PlaybookStatus, get_playbook, list_playbooks
from sql.trust import get_trust, list_trust

if TYPE_CHECKING:
    from sql.database import Database

IN_STATE = QueryParameter(name="state", description="Only those in this state.")
_NOT_FOUND = (HTTPStatus.NOT_FOUND,)


def reading_routes(database: Database) -> list[HTTPRouteHandler]:
    """All of them; each asks the store anew."""
    return [*_incidents(database), *_approvals(database), _trust(database), _playbooks(database)]


def _incidents(database: Database) -> list[HTTPRouteHandler]:
    @get(
        "/v1/incidents",
        role=Role.VIEWER,
        operation_class=described({200: ("The newest first.", Page[IncidentItem])}, problems=_NOT_FOUND),
        summary="What is wrong, and what was",
    )
    async def incidents(
        state_: Annotated[IncidentState | None, IN_STATE] = None, limit: Limit = PAGE, after: After = ""
    ) -> Response[bytes]:
        async with database.connection() as connection:
            if known_text(after, "incident") and await get_incident(connection, after) is None:
                raise no_such("incident to go on after")
            rows = await list_incidents(connection, limit + 1, (state_,) if state_ else (), after=after)
        return await page_of(items_of(rows, IncidentItem), limit, "id")

    @get(
        "/v1/incidents/{incident:str}",
        role=Role.VIEWER,
        operation_class=described({200: ("All about it.", Story)}, problems=_NOT_FOUND),
        summary="One incident: what was asked of people about it, what was seen, and its timeline",
    )
    async def incident(incident: Named) -> Response[bytes]:
        return await told(await story_of(database, known_text(incident, "incident")))

    return [incidents, incident]


def _approvals(database: Database) -> list[HTTPRouteHandler]:
    @get(
        "/v1/approvals",
        role=Role.VIEWER,
        operation_class=described({200: ("The newest first.", Page[ApprovalItem])}, problems=_NOT_FOUND),
        summary="What waits for signatures, and what did",
    )
    async def approvals(
        state_: Annotated[ApprovalState | None, IN_STATE] = None,
        incident: Annotated[str, QueryParameter(description="Only those of this incident.")] = "",
        limit: Limit = PAGE,
        after: After = "",
    ) -> Response[bytes]:
        async with database.connection() as connection:
            if known_text(after, "approval") and await get_approval(connection, after) is None:
                raise no_such("approval to go on after")
            states, about = (state_,) if state_ else (), known_text(incident, "incident")
            rows = await list_approvals(connection, states=states, incident=about, limit=limit + 1, after=after)
        return await page_of(items_of(rows, ApprovalItem), limit, "id")

    @get(
        "/v1/approvals/{approval:str}",
        role=Role.VIEWER,
        operation_class=described({200: ("All that an approver needs.", Dossier)}, problems=_NOT_FOUND),
        summary="One approval: what would be done, why, what it rests on, what it changes, and what undoes it",
    )
    async def approval(approval: Named) -> Response[bytes]:
        return await told(await dossier_of(database, known_text(approval, "approval")))

    return [approvals, approval]


def _trust(database: Database) -> HTTPRouteHandler:
    @get(
        "/v1/trust",
        role=Role.VIEWER,
        operation_class=described({200: ("The highest score first.", Page[TrustItem])}, problems=_NOT_FOUND),
        summary="How far each kind of action is trusted",
    )
    async def trust(limit: Limit = PAGE, after: After = "") -> Response[bytes]:
        async with database.connection() as connection:
            if known_text(after, "pattern") and await get_trust(connection, after) is None:
                raise no_such("pattern to go on after")
            rows = await list_trust(connection, limit=limit + 1, after=after)
        return await page_of(trust_items(rows), limit, "pattern")

    return trust


def _playbooks(database: Database) -> HTTPRouteHandler:
    @get(
        "/v1/playbooks",
        role=Role.VIEWER,
        operation_class=described({200: ("The most trusted first.", Page[PlaybookItem])}, problems=_NOT_FOUND),
        summary="Known remedies by their newest version, and how much each is trusted",
    )
    async def playbooks(status: FromQuery[PlaybookStatus | None] = None, limit: Limit = PAGE, after: After = "") -> Response[bytes]:
        async with database.connection() as connection:
            if known_text(after, "playbook") and await get_playbook(connection, after) is None:
                raise no_such("playbook to go on after")
            rows = await list_playbooks(connection, statuses=(status,) if status else (), limit=limit + 1, after=after)
            reaches = await reach_of(connection, [row.name for row in rows])
        return await page_of(playbook_items(rows, reaches), limit, "name")

    return playbooks
