"""The API for people on real stores, asked without a network: tokens, approvals that wait, and a gate that counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from bus.connect import Bus
from ops.api.problems import Problem
from ops.api.rest import build_rest
from ops.settings import Settings
from ops.settings.model import PersonSettings
from ops.tokens import Role, new_token
from schemas.secret import Token
from sql.audit import AuditRow, audit_rows
from sql.database import Database
from sql.people import add_token
from tests.integration.polling_place import PollingPlace, polling_place
from tests.integration.scene import KEYS

IN_SETTINGS = "a-token-of-the-settings"


class Desk(PollingPlace):
    """The API of one installation. `tokens` are people's, by name; `stop` ends its streams."""

    def __init__(self, database: Database, bus: Bus, settings: Settings | None = None) -> None:
        super().__init__(database, bus)
        self.stop = asyncio.Event()
        self.tokens: dict[str, str] = {}
        self.application = self.built(settings or Settings())

    def built(self, settings: Settings) -> Any:
        return build_rest(self.bus, self.database, settings, keys=KEYS, by="api/test", clock=lambda: self.scene.now, stop=self.stop)

    async def let_in(self, person: str, *roles: Role) -> str:
        """A new token of this person."""
        token, row = new_token(person, roles, at=self.scene.now, by="root")
        async with self.database.transaction() as connection:
            await add_token(connection, row)
        self.tokens[person] = token.reveal()
        return token.reveal()

    @asynccontextmanager
    async def client(self, token: str = "", *, address: str = "10.0.0.1", application: Any = None) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(application or self.application, client=(address, 5000))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://desk", headers=headers) as client:
            yield client

    async def get(self, path: str, person: str = "", **headers: str) -> httpx.Response:
        async with self.client(self.tokens.get(person, "")) as client:
            return await client.get(path, headers=headers)

    async def post(self, path: str, person: str = "", **words: Any) -> httpx.Response:
        async with self.client(self.tokens.get(person, "")) as client:
            return await client.post(path, **words)

    async def audited(self) -> list[AuditRow]:
        """What the audit log says of votes that were refused, oldest first."""
        async with self.database.connection() as connection:
            return [row for row in reversed(await audit_rows(connection)) if row.what.startswith("vote refused")]


def problem(answer: httpx.Response, status: int) -> Problem:
    """The problem that an answer with this status tells."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = msgspec.json.decode(answer.content, type=Problem)
    assert found.status == status
    assert found.detail
    return found


def listing(*people: str, roles: tuple[str, ...] = ()) -> Settings:
    """Settings that list these people; the first has a token there, and all have these roles."""
    token = Token(IN_SETTINGS)
    return Settings(
        people={name: PersonSettings(token=token if not place else Token(""), roles=roles) for place, name in enumerate(people)}
    )


@asynccontextmanager
async def desk(redis_url: str, database: Database) -> AsyncIterator[Desk]:
    async with polling_place(redis_url, database) as place:
        yield Desk(database, place.bus)
