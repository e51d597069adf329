"""`GET /v1/events`: what happens, as server-sent events, for as long as the reader reads."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, get
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.response import Stream

from bus.errors import BusError
from ops.api.description import described
from ops.api.feed import Feed, position_of
from ops.api.problems import ProblemFound, away
from ops.facts.cleaning import cleaned
from ops.tokens import Role
from schemas.codec import peek
from schemas.events import EVENT_TYPES, TOPICS
from schemas.text import clean
from sql.errors import StoreError

if TYPE_CHECKING:
    from bus.connect import Bus
    from bus.inspect import EntryRow
    from ops.api.callers import Caller
    from sql.database import Database

_log = logging.getLogger("mend.api")
_AT_ONCE = 64  # readers of this process; each has a connection to each partition of Redis
_EACH = 8  # readers with one token
_HEARTBEAT = 15.0  # seconds
_AGAIN = 2000  # milliseconds after which a reader that was cut off comes again
_STREAM = (
    "Server-sent events: `event` is the type, `data` has topic, entered and the event. The header Last-Event-ID, with the `id` of the last"
    " event that came, goes on after it, and nothing is left out. A heartbeat comes every 15 s."
)
# The proof of a vote is for the gate alone; no mask finds anything in the bytes of a dead letter, which are base64 here.
_UNTOLD = ("proof", "original")


class Readers:
    """Who reads events now: few enough that connections and memory suffice."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        *,
        clock: Callable[[], datetime],
        stop: asyncio.Event,
        identify: Callable[[Request[Any, Any, Any]], Awaitable[Caller]],
    ) -> None:
        self._bus = bus
        self._database = database
        self._clock = clock
        self._stop = stop
        self._identify = identify
        self._reading: Counter[str] = Counter()

    async def open(self, request: Request[Any, Any, Any], topics: tuple[str, ...], kind: str, incident: str) -> Stream:
        """The stream for one reader. Raises ProblemFound (400, 410, 503)."""
        last = request.headers.get("last-event-id", "")
        position = position_of(last, topics=topics, partitions=self._bus.partitions, now=self._clock()) if last else None
        token = request.state.caller.token
        if self._reading.total() >= _AT_ONCE or self._reading[token] >= _EACH:
            raise away(f"{_AT_ONCE} readers of events at once, {_EACH} with one token, are the most")
        feed = Feed(self._bus, self._database, topics)
        self._reading[token] += 1
        try:
            await feed.begin(position)
        except BaseException:
            await self._end(feed, token)
            raise
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Stream(self._told(request, feed, token, kind, incident), media_type="text/event-stream", headers=headers)

    async def _told(self, request: Request[Any, Any, Any], feed: Feed, token: str, kind: str, incident: str) -> AsyncIterator[bytes]:
        """The events as text; ends when the process does, when the token is revoked, and when a store is away: the reader comes again."""
        beaten = asyncio.get_running_loop().time()
        try:
            yield f"retry: {_AGAIN}\n\n".encode()
            async for row in feed.rows():
                if self._stop.is_set():
                    return
                if row is not None and _fits(row, kind, incident):
                    yield _event(row, feed.position)
                if asyncio.get_running_loop().time() - beaten > _HEARTBEAT:
                    await self._identify(request)
                    beaten = asyncio.get_running_loop().time()
                    yield f": still here\nid: {feed.position}\n\n".encode()
        except (BusError, StoreError) as error:
            _log.warning("a reader of events was cut off and will come again: %s", error)
        except (ProblemFound, HTTPException) as problem:
            _log.info("a reader of events was cut off: %s", problem)
        finally:
            await asyncio.shield(self._end(feed, token))

    async def _end(self, feed: Feed, token: str) -> None:
        self._reading[token] -= 1
        self._reading += Counter()  # leaves out those with none
        await feed.close()


def events_route(readers: Readers) -> HTTPRouteHandler:
    """The route, with its filters."""

    @get(
        "/v1/events",
        role=Role.VIEWER,
        operation_class=described({200: (_STREAM, str)}, problems=(HTTPStatus.GONE,), media="text/event-stream"),
        summary="What happens, as server-sent events",
    )
    async def events(
        request: Request[Any, Any, Any],
        topic: Annotated[list[str] | None, QueryParameter(description="Only of this topic; may be given again.")] = None,
        type_: Annotated[str, QueryParameter(name="type", description="Only of this type.")] = "",
        incident: Annotated[str, QueryParameter(max_length=128, description="Only of this incident.")] = "",
    ) -> Stream:
        topics = tuple(_known(one, TOPICS, "topic") for one in dict.fromkeys(topic or TOPICS))
        return await readers.open(request, topics, _known(type_, tuple(EVENT_TYPES), "type") if type_ else "", incident)

    return events


def _known(word: str, words: tuple[str, ...], what: str) -> str:
    if word in words:
        return word
    raise ProblemFound(HTTPStatus.BAD_REQUEST, f"that is no {what}: expected one of {', '.join(words)}", field=what)


def _fits(row: EntryRow, kind: str, incident: str) -> bool:
    """Whether it is an event, of this type and incident where given."""
    name, _, of = peek(row.body)
    return bool(name) and (not kind or kind == name) and (not incident or incident == of)


def _event(row: EntryRow, position: str) -> bytes:
    """One event as text: what it says with its secrets masked, and where it stands."""
    body = cleaned(msgspec.json.decode(row.body))
    for name in _UNTOLD:
        body.pop(name, None)
    data = msgspec.json.encode({"topic": row.topic, "entered": row.at, "event": body})
    name = clean(peek(row.body)[0], 64)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (position.encode(), "".join(name.split()).encode(), data)
