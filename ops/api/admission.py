"""The way in for each request: not too often, by somebody who is known, with a role that permits it.

Many people come from one address where a proxy stands between: what one of them does there must not keep the others out. So only what
carries no valid token is counted for its address, for each route that needs none by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
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


_MOST_KNOWN = 1_000  # tokens; of more, the one that came first is forgotten, and is counted for its address when it comes again


class Admission:
    """Lets a request pass or raises ProblemFound. A route says in `opt["role"]` which role it needs; without one it needs no token."""

    def __init__(self, callers: Callers, settings: ApiSettings, refusals: Refusals) -> None:
        self._callers = callers
        self._refusals = refusals
        self._addresses = Rates(settings.address_rate)
        self._tokens = Rates(settings.rate)
        self._known: OrderedDict[bytes, str] = OrderedDict()  # the names of the tokens that were valid when they came last, by their digest

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        needed: Role | None = handler.opt.get("role")
        if needed is None:
            self._count(connection, connection.scope["path_template"])
        elif handler.opt.get("vote"):
            async with self._refusals.audited(connection):
                await self._admit(connection, needed)
        else:
            await self._admit(connection, needed)

    async def _admit(self, connection: ASGIConnection[Any, Any, Any, Any], needed: Role) -> None:
        caller = await self._counted(connection)
        connection.state.caller = caller
        if not permits(caller.roles, needed):
            given = ", ".join(caller.roles) or "no role"
            raise ProblemFound(HTTPStatus.FORBIDDEN, f"{caller.person} has {given}, and this needs the role {needed.value}")

    async def _counted(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Who asks; counted for the token where it is valid, else for the address.

        A token that was valid when it came last is not counted for the address at all: a flood of wrong ones shuts out nobody who was in.
        """
        digest = hashlib.sha256(_authorization(connection)).digest()
        if digest in self._known:
            _require(self._tokens.take(self._known[digest]), "with this token")
            return await self._still_valid(connection, digest)
        bucket = self._count(connection, "")
        caller = await self.identify(connection)
        self._addresses.give_back(bucket)
        self._known[digest] = caller.token
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        _require(self._tokens.take(caller.token), "with this token")
        return caller

    async def _still_valid(self, connection: ASGIConnection[Any, Any, Any, Any], digest: bytes) -> Caller:
        try:
            return await self.identify(connection)
        except ProblemFound:
            self._known.pop(digest, None)
            raise

    def _count(self, connection: ASGIConnection[Any, Any, Any, Any], route: str) -> str:
        """Takes one from the bucket of the address for this route, whose key is returned. Raises ProblemFound (429)."""
        bucket = f"{network_of(address_of(connection))} {route}"
        _require(self._addresses.take(bucket), "from this address")
        return bucket

    async def identify(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Who asks. Raises ProblemFound (401) and StoreUnavailable."""
        return await self._callers.identify(_authorization(connection))


def _authorization(connection: ASGIConnection[Any, Any, Any, Any]) -> bytes:
    given: bytes = dict(connection.scope["headers"]).get(b"authorization", b"")
    return given


def _require(seconds: float, whose: str) -> None:
    if seconds:
        wait = str(max(math.ceil(seconds), 1))
        detail = f"too many requests {whose}: try again after {wait} s"
        raise ProblemFound(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": wait})
