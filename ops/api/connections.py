"""A connection to the API and how long it may take: whoever says nothing, or only a byte now and then, keeps nobody else out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, cast

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from ops.api.problems import RETRY_AFTER, Problem

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

Phase = Literal["head", "served", "idle", "stream"]
LIMITS: dict[Phase, float] = {"head": 10.0, "served": 60.0, "idle": 75.0, "stream": 15.0}
"""Seconds: until the head of a request is there, for the whole request with its body and its answer, and between two requests. What is
served as a stream may last, as long as its reader takes what is sent: at two looks in a row, this far apart, he must not lag behind."""
STREAMS = "/v1/events"
CONNECTIONS = 500  # open at once; a process may often have no more than 1024 files, and the stores need some of them


class BoundedConnection(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with a limit to each phase. Beyond CONNECTIONS, the one that waits longest without being served
    gives its place away; where all are served, a new one is told to try again."""

    since = 0.0  # when the phase began, in the loop's seconds
    _phase: Phase | None = None
    _limit: asyncio.TimerHandle | None = None
    _lagging = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._make_room()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._limit is not None:
            self._limit.cancel()

    @property
    def is_served(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Begins the limit of a phase when it is entered; what arrives within the phase does not begin it anew."""
        phase = self._now()
        if phase == self._phase:
            return
        self._phase, self.since = phase, self.loop.time()
        if self._limit is not None:
            self._limit.cancel()
        self._lagging = False
        self._limit = self.loop.call_later(LIMITS[phase], self._over)

    def _over(self) -> None:
        """The end of a phase's time. A close would wait for as long as the other side does not read what was written."""
        lags = self.flow.write_paused
        if self._phase != "stream" or (lags and self._lagging):
            self.transport.abort()
            return
        self._lagging = lags
        self._limit = self.loop.call_later(LIMITS["stream"], self._over)

    def _now(self) -> Phase:
        if self.is_served:
            return "stream" if self.scope["path"] == STREAMS else "served"
        rests = self.cycle is not None and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        return "idle" if rests else "head"

    def _make_room(self) -> None:
        others = cast("set[BoundedConnection]", self.connections) - {self}
        open_ = [one for one in others if not one.transport.is_closing()]
        waiting = [one for one in open_ if not one.is_served]
        if waiting and len(open_) >= CONNECTIONS:
            min(waiting, key=lambda one: one.since).transport.abort()
        elif len(open_) >= CONNECTIONS:
            self.app = _try_again


async def _try_again(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    detail = f"{CONNECTIONS} connections are open, and a request is under way on each"
    body = msgspec.json.encode(Problem(title=status.phrase, status=status, detail=detail))
    headers = {"content-type": "application/problem+json", "content-length": str(len(body)), "retry-after": str(RETRY_AFTER)}
    told = [(name.encode(), value.encode()) for name, value in {**headers, "connection": "close"}.items()]
    await send({"type": "http.response.start", "status": status, "headers": told, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
