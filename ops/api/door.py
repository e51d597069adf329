"""The door for alerts: a payload is read, validated and appended whole, or the sender is told what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from adapters.alertmanager.webhook import InvalidPayload, parse
from bus.errors import BusError
from ops.api.problems import ProblemFound, away
from schemas.event import Event
from schemas.events import SignalReceived
from stages.ingest.accept import signals_of
from stages.ingest.options import IngestOptions

if TYPE_CHECKING:
    from litestar import Request

_AT_ONCE = 8  # payloads in memory
_READ_TIMEOUT = 15.0  # seconds that a sender may take for its payload
_APPEND_TIMEOUT = 10.0  # seconds
_QUEUE_TIMEOUT = 10.0  # seconds that a request waits for its turn


class Appender(Protocol):
    """As much of the bus as the API needs."""

    async def append(self, events: Sequence[Event]) -> object:
        """Puts the events on their streams; raises BusUnavailable or BusFull."""
        ...


class Accepted(msgspec.Struct, frozen=True):
    """How many alerts are in the stream now."""

    accepted: int


class Door:
    """Takes payloads in: few at once, so that memory is bounded however many senders there are."""

    def __init__(
        self, bus: Appender, *, clock: Callable[[], datetime], by: str, default_cluster: str, options: IngestOptions, max_body: int
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._by = by
        self._default_cluster = default_cluster
        self._options = options
        self._max_body = max_body
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._reading = asyncio.Lock()  # reading a payload is all work and no waiting: of two at once, both would only end later

    async def take(self, request: Request[Any, Any, Any]) -> Accepted:
        """Reads, validates and appends one payload; raises ProblemFound."""
        _check_headers(request)
        try:
            async with asyncio.timeout(_QUEUE_TIMEOUT):
                await self._turns.acquire()
        except TimeoutError as error:
            raise away("too many payloads at once") from error
        try:
            return await self._append(await self._body(request))
        finally:
            self._turns.release()

    async def _body(self, request: Request[Any, Any, Any]) -> bytes:
        from litestar.exceptions.http_exceptions import RequestEntityTooLarge

        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                return await request.body()
        except RequestEntityTooLarge as error:
            detail = f"the payload has more than {self._max_body} bytes: set max_alerts in the receiver, or group by more labels"
            raise ProblemFound(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail) from error
        except TimeoutError as error:
            raise away(f"the payload did not arrive within {_READ_TIMEOUT:g} s") from error  # 408 would not be tried again

    async def _append(self, body: bytes) -> Accepted:
        try:
            async with self._reading:
                signals = await self._signals(body)
        except InvalidPayload as error:
            raise ProblemFound(HTTPStatus.BAD_REQUEST, error.reason, field=error.field) from error
        if signals:
            try:
                async with asyncio.timeout(_APPEND_TIMEOUT):
                    await self._bus.append(signals)
            except (BusError, TimeoutError) as error:
                raise away(f"nothing was taken: {error or 'Redis did not answer in time'}") from error
        return Accepted(len(signals))

    async def _signals(self, body: bytes) -> list[SignalReceived]:
        alerts = parse(body)
        await asyncio.sleep(0)  # a turn for the other tasks, as signals_of gives them
        return await signals_of(alerts, now=self._clock(), by=self._by, default_cluster=self._default_cluster, options=self._options)


def _check_headers(request: Request[Any, Any, Any]) -> None:
    """Only plain JSON is read. A browser cannot send that type to another site without asking first."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemFound(HTTPStatus.BAD_REQUEST, "the header Content-Type must be application/json", field="Content-Type")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise ProblemFound(HTTPStatus.BAD_REQUEST, "the body must not be compressed", field="Content-Encoding")
