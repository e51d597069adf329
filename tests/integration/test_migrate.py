"""What guards the migrations: the checksum of each, the version that knows them, and the lock between two that start at once."""

from __future__ import annotations

import asyncio

import pytest

from sql.database import Database
from sql.errors import MigrationChanged
from sql.migrate import _LOCK, migrate, migrations
from tests.integration.scene import crowded

NAMES = [name for name, _ in migrations()]


async def _tables(database: Database) -> set[str]:
    return {row["tablename"] for row in await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


async def _empty(database: Database) -> None:
    await database.fetch("DROP SCHEMA public CASCADE")
    await database.fetch("CREATE SCHEMA public")


async def test_each_is_applied_once_and_in_order(database: Database) -> None:
    assert await migrate(database) == []
    await _empty(database)
    assert await migrate(database) == NAMES == sorted(NAMES)
    assert await migrate(database) == []


async def test_one_that_changed_after_it_was_applied_stops_everything(database: Database) -> None:
    changed, missing = NAMES[-2:]
    await database.fetch("DELETE FROM schema_migrations WHERE name = $1", missing)
    await database.fetch("UPDATE schema_migrations SET checksum = 'of another file' WHERE name = $1", changed)
    before = await _tables(database)
    with pytest.raises(MigrationChanged, match=rf"the migration {changed} has changed since it was applied: restore the file"):
        await migrate(database)
    assert await _tables(database) == before
    assert not await database.fetch("SELECT 1 FROM schema_migrations WHERE name = $1", missing)


async def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    await _empty(database)
    await migrate(database)
    await database.fetch("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_later.sql', 'x')")
    await database.fetch("DELETE FROM schema_migrations WHERE name = $1", NAMES[-1])
    with pytest.raises(MigrationChanged, match=r"9999_later\.sql, which this version does not know: upgrade Mendstream"):
        await migrate(database)
    assert not await database.fetch("SELECT 1 FROM schema_migrations WHERE name = $1", NAMES[-1])


async def test_of_two_that_start_at_once_one_applies_and_the_other_waits_for_it(database: Database, postgres_url: str) -> None:
    await _empty(database)
    async with crowded(postgres_url, lock=f"SELECT pg_advisory_xact_lock({_LOCK})") as crowd:
        both = asyncio.gather(migrate(database), migrate(database))
        await crowd.wait_for(2)
        assert await _tables(database) == set()
    assert sorted(await both) == [[], NAMES]
    assert [row["name"] for row in await database.fetch("SELECT name FROM schema_migrations ORDER BY applied_at, name")] == NAMES
