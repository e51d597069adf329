"""The way to Postgres: a small pool whose connection failures have one name, `StoreUnavailable`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import asyncpg.pool

from sql.address import FORM, require_url
from sql.errors import InvalidAddress, StoreUnavailable

if TYPE_CHECKING:
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.pool.PoolConnectionProxy
Row = asyncpg.Record

# By whole classes of SQLSTATE: no connection (08), no right to connect (28), no such database (3D), a standby (25), a deadlock (40),
# a lock not to be had (55P03), disk, memory or connections used up (53), a shutdown or a cancel (57), a failing disk (58). None of
# them is the event's fault, and none is known to have changed anything: the event waits.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    OSError,
    TimeoutError,
)


async def _leave(_: object) -> None:
    """Nothing in a session outlives its transaction here (locks, settings), so the round trip that would reset it is saved."""


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """Errors of asyncpg that say that Postgres is away, or its URL of no use, as those of this package."""
    try:
        yield
    except asyncpg.ClientConfigurationError as error:
        raise InvalidAddress(f"the URL of Postgres cannot be used: {error}; {FORM}") from None
    except _AWAY as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {error or type(error).__name__}") from error


class Database:
    """A pool of connections to one Postgres database. `wait` is the time in seconds to get one or to connect."""

    def __init__(self, url: str, *, name: str = "mend", size: int = 4, wait: float = 5.0) -> None:
        """Nothing is asked yet. Raises InvalidAddress."""
        require_url(url)
        self._url, self._name, self._wait = url, name, wait
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=wait,
            command_timeout=30,
            reset=_leave,
            server_settings={"application_name": name},
        )
        self._open = False

    async def open(self) -> Database:
        """Connects; raises StoreUnavailable."""
        try:
            await self._pool
        except _AWAY as error:
            raise StoreUnavailable(f"Postgres cannot be reached: {error or type(error).__name__}") from error
        self._open = True
        return self

    async def close(self) -> None:
        if self._open:
            self._open = False
            await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit; raises StoreUnavailable, InvalidAddress."""
        with _told_as_ours():
            async with self._pool.acquire(timeout=self._wait) as connection:
                try:
                    yield connection
                except asyncpg.InternalClientError:  # it was told of the server's end, and has not seen its line end yet
                    connection.terminate()
                    raise

    @asynccontextmanager
    async def patient(self, seconds: float) -> AsyncIterator[Connection]:
        """A connection beside the pool, of which every statement may take so many seconds; raises StoreUnavailable, InvalidAddress."""
        with _told_as_ours():
            settings = {"application_name": self._name}
            connection = await asyncpg.connect(self._url, timeout=self._wait, command_timeout=seconds, server_settings=settings)
            try:
                yield cast("Connection", connection)  # a proxy of the pool has the same methods
            finally:
                await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction, committed at the end; raises StoreUnavailable."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def ping(self) -> None:
        """Asks for a sign of life; raises StoreUnavailable."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def fetch(self, query: str, *values: Any) -> list[Row]:
        """The rows of one query; raises StoreUnavailable."""
        async with self.connection() as connection:
            rows: list[Row] = await connection.fetch(query, *values)
            return rows
