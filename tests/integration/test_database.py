"""What Postgres refuses for its own reasons is an outage, so that the event waits; what it refuses for the event's is a fault."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from sql.database import Connection, Database
from sql.errors import StoreUnavailable
from tests.patience import PATIENCE

_SIGNAL = "DO $$ BEGIN RAISE EXCEPTION 'as the server would' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("08006", id="the connection is lost"),
        pytest.param("25006", id="it became a standby"),
        pytest.param("28P01", id="the password was changed"),
        pytest.param("3D000", id="the database is gone"),
        pytest.param("40001", id="transactions got in each other's way"),
        pytest.param("53100", id="the disk is full"),
        pytest.param("53200", id="no memory is left"),
        pytest.param("53300", id="no connection is left"),
        pytest.param("55P03", id="a lock is not to be had"),
        pytest.param("57014", id="an operator cancelled it"),
        pytest.param("57P01", id="it is shutting down"),
        pytest.param("57P03", id="it is starting"),
        pytest.param("58030", id="the disk fails"),
    ],
)
async def test_what_is_the_servers_trouble_is_an_outage(database: Database, state: str) -> None:
    with pytest.raises(StoreUnavailable, match="as the server would"):
        async with database.transaction() as connection:
            await connection.execute(_SIGNAL.format(state))


@pytest.mark.parametrize("query", ["SELECT 1 / 0", "INSERT INTO nothing VALUES (1)", "SELECT repeat('x', 2)::int", "SELEC"])
async def test_what_is_the_events_or_our_own_fault_is_none(database: Database, query: str) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await database.fetch(query)


async def test_of_two_that_deadlock_one_is_told_to_come_back(database: Database) -> None:
    await database.fetch("CREATE TABLE places AS SELECT number FROM generate_series(1, 2) AS number")
    both = asyncio.Barrier(2)

    async def hold(connection: Connection, number: int) -> None:
        await connection.execute("UPDATE places SET number = number WHERE number = $1", number)

    async def meet(first: int, second: int) -> None:
        async with database.transaction() as connection:
            await connection.execute("SET LOCAL deadlock_timeout = '50ms'")
            await hold(connection, first)
            await both.wait()
            await hold(connection, second)

    ends = await asyncio.gather(meet(1, 2), meet(2, 1), return_exceptions=True)
    assert [type(end) for end in ends if end is not None] == [StoreUnavailable]
    await database.fetch("DROP TABLE places")


async def test_a_server_that_says_that_it_ends_before_its_line_does_is_an_outage(
    postgres_url: str, database: Database, tmp_path: Path
) -> None:
    """As when a neighbour was killed: every connection is told of it, and its end comes a moment later."""
    place, _, folder = postgres_url.rpartition("?host=")
    ended = asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The end of the first line does not come through."""
        answers, requests = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        asking = asyncio.create_task(carry(reader, requests))
        await carry(answers, writer)
        if ended.is_set():
            writer.close()
        ended.set()
        await asking
        for end in (writer, requests):
            end.close()

    async with await asyncio.start_unix_server(serve, tmp_path / ".s.PGSQL.5432"):
        behind = await Database(f"{place}?host={tmp_path}", size=1).open()
        ((backend,),) = await behind.fetch("SELECT pg_backend_pid()")
        await database.fetch("SELECT pg_terminate_backend($1)", backend)
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        for _ in range(100):
            await asyncio.sleep(0)  # what was told is heard
        with pytest.raises(StoreUnavailable):
            await behind.fetch("SELECT 1")
        assert [tuple(row) for row in await behind.fetch("SELECT 1")] == [(1,)]
        await behind.close()
