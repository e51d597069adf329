"""What a handler decided is decided once, however often its input is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bus.handler import Context
from schemas.event import Delayed, Output
from schemas.events import IncidentCloseDue, PeopleAsked
from schemas.identity import new_id
from sql.database import Connection, Database
from sql.migrate import migrate, migrations
from sql.outbox import once

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_second_delivery_returns_what_the_first_decided(database: Database) -> None:
    event = IncidentCloseDue(id=new_id(NOW), key="k", at=NOW, by="test")
    calls = 0

    async def decide(_: Connection) -> Sequence[Output]:
        nonlocal calls
        calls += 1
        context = Context(stage="learn", by="learn/test", clock=lambda: NOW, input=event)
        asked = context.event(PeopleAsked, subject=event.id, reason="r", question=f"call {calls}")
        return [asked, context.delay(context.event(IncidentCloseDue), NOW + timedelta(seconds=5))]

    first, second = await asyncio.gather(once(database, "learn", event, decide), once(database, "learn", event, decide))
    assert calls == 1
    assert first == second
    assert isinstance(first[1], Delayed)
    assert first[1].until == NOW + timedelta(seconds=5)


async def test_every_migration_is_applied_once(database: Database) -> None:
    assert await migrate(database) == []
    rows = await database.fetch("SELECT name FROM schema_migrations ORDER BY name")
    assert [row["name"] for row in rows] == [name for name, _ in migrations()]
