"""Building a projection aside: in temporary tables that have the names of the live ones, so that the same code fills them.

Nobody waits for it, and it waits for nobody. The tables are those of one connection, and go with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from sql.database import Connection, Database
from sql.projections.projection import LONG, Build, Projection

_SESSION = "SET temp_buffers = '64MB'; SET work_mem = '64MB'; SET jit = off"
_LOCK = "SELECT pg_advisory_lock(hashtextextended('projections/' || $1, 0))"
_WHERE = "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)"
_COLUMNS = """
SELECT quote_ident(attname) AS name, attgenerated <> '' OR attidentity <> '' AS made FROM pg_attribute
 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEY = """
SELECT quote_ident(a.attname) AS name FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
 WHERE i.indrelid = to_regclass($1) AND i.indisprimary ORDER BY a.attnum
"""


class Table(msgspec.Struct, frozen=True):
    """A table of a projection: its name, the live one's name with its schema, the columns that are written, and those of its key."""

    name: str
    live: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


class Aside(Build):
    """A projection in temporary tables, on a connection of its own."""

    def __init__(self, projection: Projection, connection: Connection, tables: tuple[Table, ...]) -> None:
        super().__init__(projection, connection)
        self.projection = projection
        self.connection = connection
        self.tables = tables
        self._counted_at = 1

    async def refresh(self) -> None:
        """Tells Postgres how large the tables have grown, each time that they have doubled: it plans by that."""
        if self.events >= 2 * self._counted_at:
            self._counted_at = self.events
            await self.connection.execute("".join(f"ANALYZE pg_temp.{table.name};" for table in self.tables))


@asynccontextmanager
async def aside(database: Database, projection: Projection) -> AsyncIterator[Aside]:
    """An empty projection aside; the second who builds the same one waits for the first. Raises StoreUnavailable."""
    async with database.patient(LONG) as connection:
        await connection.execute(_SESSION)
        await connection.execute(_LOCK, projection.name)
        tables = [await _stand_in(connection, table) for table in projection.tables]
        yield Aside(projection, connection, tuple(tables))


async def _stand_in(connection: Connection, table: str) -> Table:
    """Makes the temporary table. What Postgres computes by itself is not computed there: nobody reads it."""
    schema = await connection.fetchval(_WHERE, table)
    columns = await connection.fetch(_COLUMNS, table)
    key = tuple(row["name"] for row in await connection.fetch(_KEY, table))
    written = tuple(row["name"] for row in columns if not row["made"])
    await connection.execute(f"CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING ALL EXCLUDING GENERATED EXCLUDING IDENTITY)")
    for row in columns:
        if row["made"] and row["name"] not in key:
            await connection.execute(f"ALTER TABLE pg_temp.{table} ALTER COLUMN {row['name']} DROP NOT NULL")
    return Table(table, f"{schema}.{table}", written, key or written)
