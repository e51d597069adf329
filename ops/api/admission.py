"""The way in for each request: not too often, by somebody who is known, with a role that permits it."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ops.api.callers import Caller, Callers, address_of
from ops.api.problems import ProblemFound
from ops.api.rates import Rates, network_of
from ops.tokens import Role, permits

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler

    from ops.api.refusals import Refusals
    from ops.settings.model import ApiSettings


class Admission:
    """Lets a request pass or raises ProblemFound. A route says in `opt["role"]` which role it needs; without one it needs no token."""

    def __init__(self, callers: Callers, settings: ApiSettings, refusals: Refusals) -> None:
        self._callers = callers
        self._refusals = refusals
        self._addresses = Rates(settings.address_rate)
        self._tokens = Rates(settings.rate)

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        _require(self._addresses.take(network_of(address_of(connection))), "from this address")
        needed: Role | None = handler.opt.get("role")
        if needed is None:
            return
        if handler.opt.get("vote"):
            async with self._refusals.audited(connection):
                await self._admit(connection, needed)
        else:
            await self._admit(connection, needed)

    async def _admit(self, connection: ASGIConnection[Any, Any, Any, Any], needed: Role) -> None:
        caller = await self.identify(connection)
        connection.state.caller = caller
        _require(self._tokens.take(caller.token), "with this token")
        if not permits(caller.roles, needed):
            given = ", ".join(caller.roles) or "no role"
            raise ProblemFound(HTTPStatus.FORBIDDEN, f"{caller.person} has {given}, and this needs the role {needed.value}")

    async def identify(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Who asks. Raises ProblemFound (401) and StoreUnavailable."""
        return await self._callers.identify(dict(connection.scope["headers"]).get(b"authorization", b""))


def _require(seconds: float, whose: str) -> None:
    if seconds:
        wait = str(max(math.ceil(seconds), 1))
        detail = f"too many requests {whose}: try again after {wait} s"
        raise ProblemFound(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": wait})
