"""How sure one may be of a playbook by what people said of it: the fold of its starting confidence and their ratings, in order.

A rating of 4 or 5 adds 0.1, up to 1; one of 1 or 2 takes 0.15, down to 0; one of 3 moves nothing. A rating is about the playbooks of
the operations that had been begun in its incident, and about what was learned from these. Of one person the newest rating of an incident
counts. Nothing of it is kept: it is folded whenever it is asked for, so that it cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sql.database import Connection
from sql.feedback import BAD, GOOD

_UP, _DOWN, _WHOLE = 10, 15, 100  # hundredths
RATINGS_OF = """
SELECT f.rating FROM feedback f
 WHERE f.operations && ARRAY(
           SELECT s.operation FROM playbook_sources s WHERE s.playbook = {name}
           UNION SELECT o.id FROM approvals a JOIN operations o ON o.approval = a.id WHERE a.playbook = {name})
   AND NOT EXISTS (SELECT FROM feedback n WHERE n.incident = f.incident AND n.rater = f.rater AND (n.at, n.event) > (f.at, f.event))
"""
"""The ratings that count for the playbook `{name}`; `ORDER BY f.at, f.event` brings them in their order."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)
_ABOUT = """
SELECT DISTINCT playbook FROM (
    SELECT s.playbook FROM playbook_sources s WHERE s.operation = ANY ($1)
    UNION SELECT a.playbook FROM operations o JOIN approvals a ON a.id = o.approval WHERE o.id = ANY ($1) AND a.playbook <> ''
) AS meant ORDER BY playbook
"""


def fold_confidence(start: float, ratings: Iterable[int]) -> float:
    """The confidence, 0 to 1, after these ratings, oldest first."""
    confidence = round(start * _WHOLE)
    for rating in ratings:
        if rating >= GOOD:
            confidence = min(_WHOLE, confidence + _UP)
        elif rating <= BAD:
            confidence = max(0, confidence - _DOWN)
    return confidence / _WHOLE


async def ratings_of(connection: Connection, playbook: str, *, after: datetime | None = None) -> list[int]:
    """The ratings that count for a playbook, oldest first; only those that were given after a time, where one is named."""
    query = f"{RATINGS_OF.format(name='$1')} AND f.at > $2 ORDER BY f.at, f.event"
    return [row["rating"] for row in await connection.fetch(query, playbook, after or _BEGINNING)]


async def rated_playbooks(connection: Connection, operations: Iterable[str]) -> list[str]:
    """The playbooks that a rating of these operations is about, by name."""
    return [row["playbook"] for row in await connection.fetch(_ABOUT, list(operations))]
