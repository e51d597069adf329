"""The number of partitions is decided once: an event waits in the partition that its key had, and would never be found in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.errors import PartitionsChanged
from sql import installation

if TYPE_CHECKING:
    from sql.database import Database

NAME = "redis.partitions"


async def require_partitions(database: Database, partitions: int) -> None:
    """Remembers the number of partitions of a new installation; raises PartitionsChanged where it is another one."""
    async with database.transaction() as connection:
        known = await installation.set_once(connection, NAME, str(partitions))
    refuse_other(known, partitions)


def refuse_other(known: str | None, partitions: int) -> None:
    """Raises PartitionsChanged where the installation has another number of partitions than `partitions`."""
    if known is not None and known != str(partitions):
        raise PartitionsChanged(
            f"redis.partitions is {partitions}, and the events of this installation are spread over {known}: set it back to {known},"
            " or start with an empty Redis and an empty database"
        )
