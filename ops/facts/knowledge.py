"""One entry of the knowledge base, for people."""

from __future__ import annotations

from ops.errors import NoSuchEntry
from sql.database import Database
from sql.knowledge_search import Entry, get_entry


async def entry_of(database: Database, id: str) -> Entry:  # noqa: A002
    """The entry of one operation. Raises NoSuchEntry, StoreUnavailable."""
    async with database.connection() as connection:
        entry = await get_entry(connection, id) if id.isprintable() else None
    if entry is None:
        raise NoSuchEntry("the knowledge base has no such entry: `mend knowledge search` lists what there is")
    return entry
