"""The routes that tell what was learned: the knowledge base, what is known of a problem that comes again, and whose word was right."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from ops.api.answers import PAGE, After, Limit, Named, Page, known_text, no_such, page_of, told
from ops.api.description import described
from ops.api.items import KnowledgeItem, knowledge_items
from ops.api.problems import ProblemFound
from ops.facts.knowledge import entry_of
from ops.facts.learning import ProblemAdvice, Records, Summary, advice_about, records_of, summary_of
from ops.tokens import Role
from schemas.event import KEY_LIMIT
from schemas.words import Result
from sql.errors import QueryTooLong
from sql.knowledge_search import Entry, get_entry, search
from sql.segments import QUERY_LIMIT

if TYPE_CHECKING:
    from sql.database import Database

Words = Annotated[
    str, QueryParameter(name="q", max_length=QUERY_LIMIT, description='Words, "a phrase", or, and -not; English and Chinese. Empty: all.')
]
OfAlert = Annotated[str, QueryParameter(name="alert", max_length=256, description="Only those of this alert.")]
Ended = Annotated[Result | None, QueryParameter(name="result", description="Only those that ended so.")]
Since = Annotated[datetime | None, QueryParameter(name="since", description="Only those since this time.")]
Key = Annotated[
    str,
    QueryParameter(
        name="key", max_length=KEY_LIMIT, description="An incident's id, its target CLUSTER/NAMESPACE/KIND/NAME, or ALERT on that target."
    ),
]
_NOT_FOUND = (HTTPStatus.NOT_FOUND,)


def learned_routes(database: Database) -> list[HTTPRouteHandler]:
    """All of them; each asks the store anew."""
    return [*_knowledge(database), *_learning(database)]


def _knowledge(database: Database) -> list[HTTPRouteHandler]:
    @get(
        "/v1/knowledge",
        role=Role.VIEWER,
        operation_class=described({200: ("The best match first, the newest of equals.", Page[KnowledgeItem])}, problems=_NOT_FOUND),
        summary="What executions have taught, found by words",
    )
    async def knowledge(
        *,
        request: Request[Any, Any, Any],
        words: Words = "",
        alert: OfAlert = "",
        result: Ended = None,
        since: Since = None,
        limit: Limit = PAGE,
        after: After = "",
    ) -> Response[bytes]:
        named, began = known_text(alert, "alert"), _utc(since, request.query_params.get("since", ""))
        async with database.connection() as connection:
            if known_text(after, "entry") and await get_entry(connection, after) is None:
                raise no_such("entry to go on after")
            try:
                found = await search(connection, words, alert=named, result=result, since=began, after=after, limit=limit + 1)
            except QueryTooLong as error:
                raise ProblemFound(HTTPStatus.BAD_REQUEST, str(error), field="q") from None
        return await page_of(knowledge_items(found), limit, "id")

    @get(
        "/v1/knowledge/{entry:str}",
        role=Role.VIEWER,
        operation_class=described({200: ("All about it.", Entry)}, problems=_NOT_FOUND),
        summary="One entry: what was done about what, how it ended, and what people noted",
    )
    async def entry(entry: Named) -> Response[bytes]:
        return await told(await entry_of(database, entry))

    return [knowledge, entry]


def _learning(database: Database) -> list[HTTPRouteHandler]:
    @get(
        "/v1/learning/summary",
        role=Role.VIEWER,
        operation_class=described({200: ("How each kind of action has ended.", Summary)}, problems=_NOT_FOUND),
        summary="What was tried for a problem, how it ended, and how sure that is",
    )
    async def summary(key: Key) -> Response[bytes]:
        return await told(await summary_of(database, key))

    @get(
        "/v1/learning/recommendation",
        role=Role.VIEWER,
        operation_class=described({200: ("What has mended it before.", ProblemAdvice)}, problems=_NOT_FOUND),
        summary="What is recommended for a problem, by what has mended it before",
    )
    async def recommendation(key: Key) -> Response[bytes]:
        return await told(await advice_about(database, key))

    @get(
        "/v1/learning/sources",
        role=Role.VIEWER,
        operation_class=described({200: ("Each source and provider, and each critic.", Records)}),
        summary="How often a model, a template, a playbook and a critic were right, and how sure that is",
    )
    async def sources() -> Response[bytes]:
        return await told(await records_of(database))

    return [summary, recommendation, sources]


def _utc(at: datetime | None, written: str) -> datetime | None:
    """The time in UTC, where it names no zone as well. Raises ProblemFound (400) for one that no clock could show there, or a number."""
    if at is None:
        return None
    try:
        if "-" in written[1:]:
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        pass
    raise ProblemFound(HTTPStatus.BAD_REQUEST, "it is no time such as 2026-01-31T12:00:00Z", field="since")
