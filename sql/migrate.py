"""Migrations: plain SQL files, applied in order under an advisory lock, each remembered with its checksum."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from sql.database import Database
from sql.errors import MigrationChanged

_LOCK = 0x6D656E64  # "mend"
_LONG = 3600.0  # seconds: a migration may have years of rows to go through
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrations() -> list[tuple[str, str]]:
    """Name and text of every migration of this version, in order."""
    folder = files("sql") / "migrations"
    return sorted((item.name, item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".sql"))


async def migrate(database: Database) -> list[str]:
    """Applies what is missing, in one transaction; returns the names applied.

    Two processes at once: one waits for the other. Raises MigrationChanged when an applied file has changed since, or is
    newer than this version knows, and StoreUnavailable.
    """
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_TABLE)
        known = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT name, checksum FROM schema_migrations")}
        ours = migrations()
        unknown = sorted(set(known) - {name for name, _ in ours})
        if unknown:
            raise MigrationChanged(f"the database has the migration {unknown[-1]}, which this version does not know: upgrade Mendstream")
        applied = []
        for name, text in ours:
            checksum = hashlib.sha256(text.encode()).hexdigest()
            if known.get(name, checksum) != checksum:
                raise MigrationChanged(f"the migration {name} has changed since it was applied: restore the file, or start a new database")
            if name not in known:
                await connection.execute(text, timeout=_LONG)
                await connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", name, checksum)
                applied.append(name)
        return applied
