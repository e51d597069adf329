"""A problem that comes again, by its key: an anomaly key (one alert on one target), or an incident key (a target, whatever its alert)."""

from __future__ import annotations

import msgspec

from schemas.target import Kind
from sql.database import Connection
from sql.repairs import Repair

_FIND = """
SELECT * FROM (
    (SELECT 1 AS place, key, kind FROM incidents WHERE key = $1 LIMIT 1)
    UNION ALL (SELECT 2, a.anomaly, i.kind FROM incident_alerts a JOIN incidents i ON i.id = a.incident WHERE a.anomaly = $1 LIMIT 1)
    UNION ALL (SELECT 3, key, kind FROM incidents WHERE id = $1)
) AS found ORDER BY place LIMIT 1
"""
_REPAIRS = """
SELECT verb, count(*) AS samples, count(*) FILTER (WHERE verdict = 'success') AS successes, avg(seconds) AS seconds
FROM knowledge WHERE (anomaly = $1 OR place = $1) AND counts
GROUP BY verb ORDER BY verb
"""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A key that incidents were about, and the kind of their target."""

    key: str
    kind: Kind


def usual_repairs(kind: Kind) -> tuple[str, ...]:
    """What is tried as a rule where nothing is known, by its verb: a restart, then the deletion of a pod; nothing of what has no pods."""
    return ("restart", "delete") if kind.is_workload or kind is Kind.POD else ()


async def find_problem(connection: Connection, key: str) -> Problem | None:
    """The problem with this anomaly key or incident key, or that of the incident with this id; None where nothing ever had it."""
    row = await connection.fetchrow(_FIND, key)
    return None if row is None else Problem(key=row["key"], kind=Kind(row["kind"]))


async def repairs_about(connection: Connection, key: str) -> list[Repair]:
    """How each kind of action has ended for the problem with this key, by the entries of the knowledge base.

    Of an action counts what was verified as success, failed or degraded, or failed once it had begun; what nobody could tell, and what
    only looked, does not.
    """
    return [Repair(**dict(row)) for row in await connection.fetch(_REPAIRS, key)]
