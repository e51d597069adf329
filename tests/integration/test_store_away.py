"""Postgres stops while alerts arrive: they are taken and wait; when it is back, all of them are handled."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bus.connect import connect
from ops.embedded import EmbeddedPostgres
from schemas.events import SignalReceived
from schemas.identity import new_id
from schemas.words import SignalStatus
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.migrate import migrate
from stages.ingest.stage import Ingest
from tests.integration.bus.ground import QUICK, RedisGround, running, until

OPTIONS = msgspec.structs.replace(QUICK, attempts=2)
ALERTS = 30


def signal(name: str) -> SignalReceived:
    now = datetime.now(UTC)
    labels = {"alertname": "Down", "namespace": "shop", "deployment": name}
    told: dict[str, Any] = {"id": new_id(now), "key": "k", "at": now, "by": "test", "source": "test"}
    return SignalReceived(**told, fingerprint=name, status=SignalStatus.FIRING, starts_at=now, labels=labels)


async def test_while_postgres_is_away_alerts_wait_and_none_is_lost_or_dead(redis_url: str, postgres_folder: Path) -> None:
    server = await EmbeddedPostgres(postgres_folder / "away").start()
    database = await Database(server.url, wait=1.0).open()
    await migrate(database)
    bus = await connect(redis_url, name="test")
    ground = RedisGround(bus)
    async with running(bus, Ingest(database), options=OPTIONS, transient=(StoreUnavailable,)) as (loop,):
        await bus.append([signal("before")])
        await until(lambda: loop.meter.topics["signals"].handled == 1)
        await server.stop()
        await bus.append([signal(f"api{number}") for number in range(ALERTS)])
        await until(lambda: loop.meter.topics["signals"].retried > 10 * ALERTS)
        assert (loop.meter.topics["signals"].dead, loop.meter.topics["signals"].failed) == (0, 0)
        assert (len(await ground.entries("incidents")), await ground.entries("dead")) == (1, [])
        server = await EmbeddedPostgres(postgres_folder / "away").start()
        await until(lambda: loop.meter.topics["signals"].handled == ALERTS + 1)
    opened = await database.fetch("SELECT name FROM incidents ORDER BY name")
    assert {row["name"] for row in opened} == {"before", *(f"api{number}" for number in range(ALERTS))}
    assert await ground.entries("dead") == []
    await database.close()
    await bus.close()
    await server.stop()
