"""How each projection stands: its rows, the newest event that it took, what the log has, and when it was last looked after."""

from __future__ import annotations

from datetime import datetime

import msgspec

from sql.database import Connection
from sql.projections import ALL
from sql.projections.projection import LONG

_IN_LOG = "SELECT type, count(*) AS events, min(at) AS oldest, max(at) AS newest FROM event_log GROUP BY type"
_BUILDS = "SELECT * FROM projection_builds"
_NEWEST = "SELECT event, at FROM ({newest}) AS taken (event, at) WHERE event <> '' ORDER BY at DESC, event DESC LIMIT 1"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One projection. `rows` are those of each of its tables, `events` those of its types in the log, `newest` the time of the newest.

    `lag` is how many seconds of event time the newest event that it took is behind that, or the oldest in the log where it
    took none: also where those after it changed nothing.
    """

    name: str
    types: tuple[str, ...]
    rows: dict[str, int]
    events: int
    newest: datetime | None
    taken: str
    taken_at: datetime | None
    lag: float | None
    rebuilt_at: datetime | None
    verified_at: datetime | None
    differing: int | None


async def standings(connection: Connection) -> list[Standing]:
    """Every projection as it stands."""
    in_log = {row["type"]: row for row in await connection.fetch(_IN_LOG, timeout=LONG)}
    builds = {row["name"]: row for row in await connection.fetch(_BUILDS)}
    found = []
    for projection in ALL:
        known = [in_log[name] for name in projection.types if name in in_log]
        taken = await connection.fetchrow(_NEWEST.format(newest=projection.newest), timeout=LONG) if projection.newest else None
        newest = max((row["newest"] for row in known), default=None)
        since = taken["at"] if taken else min((row["oldest"] for row in known), default=None)
        build = builds.get(projection.name)
        found.append(
            Standing(
                name=projection.name,
                types=projection.types,
                rows={table: await _count(connection, table) for table in projection.tables},
                events=sum(row["events"] for row in known),
                newest=newest,
                taken=taken["event"] if taken else "",
                taken_at=taken["at"] if taken else None,
                lag=max(0.0, (newest - since).total_seconds()) if newest and since else None,
                rebuilt_at=build["rebuilt_at"] if build else None,
                verified_at=build["verified_at"] if build else None,
                differing=build["differing"] if build else None,
            )
        )
    return found


async def sizes(connection: Connection) -> dict[str, dict[str, int]]:
    """The rows of each table of every projection; the event log is not looked at."""
    return {one.name: {table: await _count(connection, table) for table in one.tables} for one in ALL}


async def _count(connection: Connection, table: str) -> int:
    count: int = await connection.fetchval(f"SELECT count(*) FROM {table}", timeout=LONG)
    return count
