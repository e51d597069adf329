"""What a command may reach: the settings, and the stores of the settings or of the `mend up` that runs on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from bus.connect import Bus
    from ops.runtime import RunFile
    from ops.settings import Loaded, Settings
    from sql.database import Database

R = TypeVar("R")


class Session:
    """One command's way to the settings and the stores; nothing is read or opened before it is asked for."""

    def __init__(self, config: Path | None) -> None:
        self.config = config

    @cached_property
    def loaded(self) -> Loaded:
        """The settings and where they came from; raises SettingsWrong."""
        from ops.logging import hide_secrets
        from ops.settings import load, secrets_in

        loaded = load(self.config)
        hide_secrets(secrets_in(loaded.settings))
        return loaded

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @cached_property
    def place(self) -> RunFile:
        """Where the stores are: those of the settings, else those of the running `mend up`. Raises NotRunning."""
        import msgspec

        from ops.runtime import RunFile, find_running, running

        given, folder = self.settings, self.settings.data.path
        if not (given.redis.url and given.postgres.url):
            run = find_running(folder)
            return msgspec.structs.replace(run, redis=given.redis.url or run.redis, postgres=given.postgres.url or run.postgres)
        known = running(folder)
        return RunFile(
            pid=known.pid if known else 0,
            redis=given.redis.url,
            postgres=given.postgres.url,
            partitions=given.redis.partitions,
            cluster=given.redis.cluster,
            api=known.api if known else "",
        )

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        """The bus, for as long as the command needs it."""
        from bus.connect import connect

        place = self.place
        bus = await connect(place.redis.reveal(), partitions=place.partitions, cluster=place.cluster, name="mend-cli")
        try:
            yield bus
        finally:
            await bus.close()

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        """The database, for as long as the command needs it."""
        from sql.database import Database

        database = await Database(self.place.postgres.reveal(), name="mend-cli", size=2).open()
        try:
            yield database
        finally:
            await database.close()


def session_of(context: typer.Context) -> Session:
    """The session that the root command made."""
    session = context.find_root().obj
    assert isinstance(session, Session)
    return session


def run_now(work: Coroutine[Any, Any, R]) -> R:
    """Runs a command's coroutine; SIGTERM ends it as Ctrl-C does."""
    import asyncio
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return asyncio.run(work)
