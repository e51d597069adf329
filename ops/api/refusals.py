"""Votes that never reached the gate are not forgotten: each refusal is a row of the audit log, with its reason."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ops.api.callers import Caller, address_of
from ops.api.problems import ProblemFound
from schemas.identity import new_id
from schemas.text import clean
from sql.audit import audit_close, audit_open
from sql.errors import StoreError

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection

    from sql.database import Database

_log = logging.getLogger("mend.api")
_NOT_THE_VOTES_FAULT = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Refusals:
    """Writes refused votes to the audit log. Those refused for their number leave no row: a flood fills no table."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    @asynccontextmanager
    async def audited(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AsyncIterator[None]:
        """Keeps the problem that the block raises, and raises it again."""
        try:
            yield
        except ProblemFound as problem:
            if problem.status not in _NOT_THE_VOTES_FAULT:
                await self._keep(connection, problem)
            raise

    async def _keep(self, connection: ASGIConnection[Any, Any, Any, Any], problem: ProblemFound) -> None:
        caller: Caller | None = getattr(connection.state, "caller", None)
        who = f"person/{caller.person}" if caller else "nobody known"
        about = f"approval {clean(str(connection.path_params.get('approval', '')), 128)}"
        choice = connection.scope["path"].rpartition("/")[2]
        time = self._clock()
        id_ = new_id(time)
        try:
            async with self._database.transaction() as rows:
                what, origin = f"vote refused: {choice}", f"api/{address_of(connection)}"
                await audit_open(rows, id=id_, at=time, who=who, what=what, about=about, input=origin)
                await audit_close(rows, id_, state="refused", error=problem.detail)
        except StoreError as error:
            _log.warning("a refused vote of %s about %s could not be audited: %s", who, about, error)
