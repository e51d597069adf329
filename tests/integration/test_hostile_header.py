"""A header longer than any honest one ends as one dead letter; what Postgres refuses is kept once and never appended again and again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio

from bus.connect import Bus, connect
from bus.handler import Context
from ops.archive import Archive
from ops.settings.model import ArchiveSettings
from schemas.codec import encode
from schemas.event import KEY_LIMIT, Event, Output
from schemas.events import DeadLettered, IncidentCloseDue, PeopleAsked, VoteCast
from schemas.identity import new_id
from schemas.words import Choice, DeadReason
from sql.database import Connection, Database
from sql.errors import StoreUnavailable
from sql.outbox import once
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.gate.votes import VoteKeys
from tests.integration.bus.ground import QUICK, RedisGround, running, until

NOW = datetime.now(UTC)
LONG = secrets.token_hex(6000)  # no compression makes this fit an index


@pytest_asyncio.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    connected = await connect(redis_url, name="test")
    yield connected
    await connected.close()


async def archived(database: Database, entries: int) -> bool:
    """Whether the archive has stored so many entries, as events or as bytes."""
    ((stored,),) = await database.fetch("SELECT (SELECT count(*) FROM event_log) + (SELECT count(*) FROM unreadable)")
    return bool(stored == entries)


@asynccontextmanager
async def archiving(bus: Bus, database: Database) -> AsyncIterator[Archive]:
    """The archive at work; its sweeper sweeps when it is told to, and finds every kept output overdue."""
    stop = asyncio.Event()
    archive = Archive(bus, database, {}, ArchiveSettings(), QUICK, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    task = asyncio.create_task(archive.loop.run(stop))
    try:
        await until(lambda: archive.loop.status.ready)
        yield archive
    finally:
        stop.set()
        await task


def forged(**header: str) -> VoteCast:
    told = {"id": new_id(NOW), "key": "k", "by": "x", "incident": "i", "cause": "", **header}
    return VoteCast(**told, at=NOW, approval="a", action_hash="h", person="p", choice=Choice.SIGN, origin="o")  # type: ignore[arg-type]


async def decided(database: Database) -> PeopleAsked:
    """A kept output that nobody appended yet."""
    event = IncidentCloseDue(id=new_id(NOW), key="k", at=NOW, by="test")
    asked = Context(stage="learn", by="learn/test", clock=lambda: NOW, input=event).event(
        PeopleAsked, subject="s", reason="r", question="q"
    )

    async def decide(_: Connection) -> Sequence[Output]:
        return [asked]

    await once(database, "learn", event, decide)
    return asked


@pytest.mark.parametrize("field", ["id", "key", "by", "incident", "cause"])
async def test_a_forged_header_becomes_one_dead_letter_and_nothing_comes_of_it(bus: Bus, database: Database, field: str) -> None:
    ground, vote = RedisGround(bus), forged(**{field: LONG})
    gate = Gate(database, GateOptions(), VoteKeys(b"a key of this test, long enough"))
    async with archiving(bus, database) as archive, running(bus, gate, transient=(StoreUnavailable,)):
        await ground.put("votes", encode(vote))
        await until(lambda: ground.entries("dead"))
        await until(lambda: archived(database, 2))
        assert await archive.sweeper.sweep() == 0
        (letter,) = [entry.event for entry in await ground.entries("dead")]
        assert await ground.entries("decisions") == []
    assert isinstance(letter, DeadLettered)
    assert letter.reason is DeadReason.UNDECODABLE
    assert f"$.{field}" in letter.error
    assert letter.original == encode(vote)
    assert await database.fetch("SELECT 1 FROM outbox") == []


async def test_the_longest_honest_header_is_taken(bus: Bus, database: Database) -> None:
    ground, vote = RedisGround(bus), forged(key="k" * KEY_LIMIT, by="b" * 512, incident="i" * 128, cause="c" * 128)
    gate = Gate(database, GateOptions(), VoteKeys(b"a key of this test, long enough"))
    async with archiving(bus, database), running(bus, gate, transient=(StoreUnavailable,)):
        await bus.append([vote])
        await until(lambda: ground.entries("decisions"))
        await until(lambda: archived(database, 2))
    assert await ground.entries("dead") == []
    assert {row["type"] for row in await database.fetch("SELECT type FROM event_log")} == {"VoteCast", "VoteRefused"}
    assert await database.fetch("SELECT 1 FROM unreadable") == []


async def test_what_postgres_refuses_is_kept_as_bytes_and_counts_as_seen(bus: Bus, database: Database) -> None:
    """Whatever the reason: the archive has read it, so it is not lost."""
    await database.fetch("ALTER TABLE event_log ADD CHECK (type <> 'PeopleAsked')")
    asked, ground = await decided(database), RedisGround(bus)
    async with archiving(bus, database) as archive:
        assert await archive.sweeper.sweep() == 1, "nobody had appended it"
        await until(lambda: archived(database, 1))
        assert [row["id"] for row in await database.fetch("SELECT id FROM unreadable")] == [asked.id]
        await database.fetch("UPDATE outbox SET check_at = now()")
        assert await archive.sweeper.sweep() == 0
    assert [entry.event for entry in await ground.entries("failures")] == [asked]
    assert [row["settled"] for row in await database.fetch("SELECT settled FROM outbox")] == [True]


async def test_kept_outputs_that_cannot_be_read_keep_no_others_waiting(
    bus: Bus, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, asked = await decided(database), await decided(database)
    grown: Event = msgspec.structs.replace(unreadable, incident=LONG)
    outputs = msgspec.json.encode([{"event": grown}]).decode()
    await database.fetch("UPDATE outbox SET outputs = $1, check_at = now() - interval '1 day' WHERE input = $2", outputs, unreadable.cause)
    async with archiving(bus, database) as archive:
        assert await archive.sweeper.sweep() == 1
    assert [entry.event for entry in await RedisGround(bus).entries("failures")] == [asked]
    assert "$[0].event.incident" in caplog.text
    assert [row["input"] for row in await database.fetch("SELECT input FROM outbox WHERE NOT settled ORDER BY input")] == sorted(
        [unreadable.cause, asked.cause]
    )
