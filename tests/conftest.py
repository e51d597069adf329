"""Real stores for every test: one Redis and one Postgres for the session, a clean database of either for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from ops.embedded import EmbeddedPostgres, EmbeddedRedis
from sql.database import Database
from sql.migrate import migrate

_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30  # bytes; several processes of tests share it, and a container may have very little
_numbers = itertools.count(1)
for _ignored in (signal.SIGINT, signal.SIGHUP):  # by nohup, or in the background; the processes of the tests would inherit it
    if signal.getsignal(_ignored) is signal.SIG_IGN:
        signal.signal(_ignored, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side, tests that share something still run in one process, one after another: see `tests.together`."""
    from tests.together import Together

    return Together(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where everything is installed, as in CI, a skipped test is a failed one: nothing may go untested unseen.

    What no package can give, such as a capability, is a limit of the machine: its reason begins with `this machine`.
    """
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("MEND_TEST_EVERYTHING"):
        return
    if "Skipped: this machine " not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped although MEND_TEST_EVERYTHING is set: {report.longrepr}"


@pytest_asyncio.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedRedis]:
    """A Redis for the session. A test that stops or fills it starts its own."""
    server = await EmbeddedRedis(tmp_path_factory.mktemp("redis"), durable=False).start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of an empty Redis."""
    from redis.asyncio import Redis

    async with Redis.from_url(redis_server.url) as client:
        await client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """A folder that is no part of pytest's own: every session that root starts closes those of all others to other users.

    Postgres never runs as root, so one that lived there would lose its files in the middle of a session. It lies in memory where there
    is room: a database for each test is a few hundred files, made and removed, which takes most disks a second.
    """
    folder = Path(tempfile.mkdtemp(prefix="mend-postgres-", dir=_MEMORY if _has_room(_MEMORY) else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > _ROOM


@pytest_asyncio.fixture(scope="session")
async def postgres_server(postgres_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres for the session, with a migrated database `template_mend` that each test's database is copied from."""
    server = await EmbeddedPostgres(postgres_folder / "data").start()
    admin = await asyncpg.connect(server.url)
    for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '128MB'"):  # no test needs it to outlive the machine
        await admin.execute(f"ALTER SYSTEM SET {setting}")
    await admin.execute("SELECT pg_reload_conf()")
    await admin.execute("CREATE DATABASE template_mend")
    database = await Database(_named(server.url, "template_mend")).open()
    await migrate(database)
    await database.close()
    await admin.close()
    yield server
    await server.stop()


def _named(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")


@pytest_asyncio.fixture
async def postgres_url(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a database of the test's own, with all migrations applied."""
    name = f"test_{next(_numbers)}"
    admin = await asyncpg.connect(postgres_server.url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE template_mend STRATEGY file_copy")
    yield _named(postgres_server.url, name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """An open pool to the test's own database."""
    pool = await Database(postgres_url, name="test").open()
    yield pool
    await pool.close()
