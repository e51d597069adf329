"""Where a process finds its stores: those of the settings, those of a `mend up` that runs here, or embedded ones of its own."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ops.errors import AlreadyRunning, DataFolderUnusable, StoppedEarly
from ops.process import AtOnce
from ops.runtime import RunFile, find_running, make_folder, owner_of, write_run_file
from ops.settings import Settings
from schemas.secret import SecretUrl

if TYPE_CHECKING:
    from bus.connect import Bus
    from ops.embedded import EmbeddedPostgres, EmbeddedRedis
    from sql.database import Database

_log = logging.getLogger("mend.stores")
_PATIENCE = 60.0  # seconds; a store of a composition may start later than its stages
R = TypeVar("R")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stores of this process are. `folder` is None when this process is not the owner of the data folder.

    `servers` are those that this process has started itself.
    """

    run: RunFile
    folder: Path | None
    servers: tuple[EmbeddedRedis | EmbeddedPostgres, ...] = ()

    def tell(self, **found: object) -> None:
        """Writes the run file, with what only the running process knows; a process that joined another writes none."""
        if self.folder is not None:
            write_run_file(self.folder, msgspec.structs.replace(self.run, **found))


@asynccontextmanager
async def find_place(settings: Settings, *, whole: bool, embed: bool, at_once: AtOnce) -> AsyncIterator[Place]:
    """The stores for as long as the process runs.

    `whole` says that this is to be the only `mend up` of its data folder; otherwise it may join one that runs. `embed` says
    that missing stores are started. Raises AlreadyRunning, NotRunning, DataFolderUnusable, EmbeddedStoreFailed.
    """
    folder = settings.data.path
    configured = bool(settings.redis.url and settings.postgres.url)
    async with AsyncExitStack() as stack:
        owner: Path | None = None
        if embed:
            try:
                stack.enter_context(owner_of(folder))
                owner = folder
            except AlreadyRunning:
                if whole:
                    raise
            except DataFolderUnusable as error:
                if not configured:
                    raise
                _log.warning("%s; other commands on this machine will need redis.url and postgres.url", error)
        if configured or owner is None:
            yield Place(run=run_file(settings) if configured else _joined(settings), folder=owner)
            return
        servers = await _started(settings, make_folder(owner), stack, at_once)
        urls = {type(server).__name__: SecretUrl(server.url) for server in servers}
        redis, postgres = urls.get("EmbeddedRedis"), urls.get("EmbeddedPostgres")
        yield Place(run=run_file(settings, redis, postgres), folder=owner, servers=servers)


def _joined(settings: Settings) -> RunFile:
    """The stores of the `mend up` that runs on this data folder, save for those that the settings name."""
    run = find_running(settings.data.path)
    return msgspec.structs.replace(run, redis=settings.redis.url or run.redis, postgres=settings.postgres.url or run.postgres)


def run_file(settings: Settings, redis: SecretUrl | None = None, postgres: SecretUrl | None = None) -> RunFile:
    """What this process knows of its stores: those of the settings, save for those given."""
    return RunFile(
        pid=os.getpid(),
        redis=redis or settings.redis.url,
        postgres=postgres or settings.postgres.url,
        partitions=settings.redis.partitions,
        cluster=settings.redis.cluster,
    )


async def _started(
    settings: Settings, folder: Path, stack: AsyncExitStack, at_once: AtOnce
) -> tuple[EmbeddedRedis | EmbeddedPostgres, ...]:
    """Starts the servers that the settings do not name; `stack` and `at_once` end them."""
    from ops.embedded import EmbeddedPostgres, EmbeddedRedis

    servers: list[EmbeddedRedis | EmbeddedPostgres] = []
    if not settings.redis.url:
        servers.append(EmbeddedRedis(folder / "redis"))
    if not settings.postgres.url:
        servers.append(EmbeddedPostgres(folder / "postgres"))
    for server in servers:
        at_once.add(server.end_at_once)
        stack.push_async_callback(server.stop)
        await server.start()
    return tuple(servers)


def require_addresses(settings: Settings) -> None:
    """Lets only URLs pass that a store can be behind. Raises bus.errors.InvalidAddress and sql.errors.InvalidAddress."""
    from bus.connect import require_url as require_redis
    from sql.address import require_url as require_postgres

    if settings.redis.url:
        require_redis(settings.redis.url.reveal())
    if settings.postgres.url:
        require_postgres(settings.postgres.url.reveal())


@asynccontextmanager
async def open_database(run: RunFile, *, size: int, name: str, stop: asyncio.Event) -> AsyncIterator[Database]:
    """The database with every migration applied, waiting up to a minute for it.

    Raises StoreUnavailable, InvalidAddress, MigrationChanged.
    """
    from sql.database import Database
    from sql.errors import StoreUnavailable
    from sql.migrate import migrate

    database = await Database(run.postgres.reveal(), name=f"mend-{name}", size=size).open()
    try:
        for applied in await _patiently(lambda: migrate(database), StoreUnavailable, "Postgres", stop):
            _log.info("applied migration %s", applied)
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_bus(run: RunFile, *, name: str, stop: asyncio.Event) -> AsyncIterator[Bus]:
    """The bus, waiting up to a minute for its server. Raises BusUnavailable, WrongEvictionPolicy, InvalidAddress."""
    from bus.connect import connect
    from bus.errors import BusUnavailable

    async def opened() -> Bus:
        return await connect(run.redis.reveal(), partitions=run.partitions, cluster=run.cluster, name=name)

    bus = await _patiently(opened, BusUnavailable, "Redis", stop)
    try:
        yield bus
    finally:
        await bus.close()


async def _patiently(attempt: Callable[[], Awaitable[R]], away: type[Exception], what: str, stop: asyncio.Event) -> R:
    """Tries until it works, a minute has passed or the process is to stop; then the last error is raised."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    pause = 0.25
    while True:
        try:
            return await attempt()
        except away as error:
            if stop.is_set():
                raise StoppedEarly(f"stopped while waiting for {what}") from error
            if asyncio.get_running_loop().time() + pause > deadline:
                raise
            _log.warning("waiting for %s: %s", what, error)
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            pause = min(pause * 2, 5.0)
