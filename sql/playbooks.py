"""Playbooks: every version of each, and how much each is trusted.

A version is never changed: what its file says stays, and only its status moves, from draft to approved to deprecated, and back. Of a
playbook the approved version proposes; to approve one, newer or older, deprecates the other. Trust is kept by name, for all versions
together (`sql.playbook_statistics`). Confidence is what people's ratings make of the one that a version began with
(`sql.playbook_confidence`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.playbook import Limits, Playbook
from schemas.words import Mode, Source
from sql.approvals import take_lock
from sql.database import Connection, Row
from sql.playbook_confidence import RATINGS_OF, fold_confidence
from sql.playbook_statistics import START


class PlaybookStatus(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    DEPRECATED = "deprecated"


class PlaybookRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a playbook. `trust` is the weighted mean of its outcomes (0.5 without any); `last_at` the time of the newest one.

    `alert` and `pattern` say what it was learned from, where it was: a second success of the same kind drafts no second one.
    `confidence` is `started`, the one that the version began with, and what people's ratings made of it; `decided_at` is when a person
    last decided about the version.
    """

    name: str
    version: int
    status: PlaybookStatus
    playbook: Playbook
    source: Source
    confidence: float
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str
    alert: str = ""
    pattern: str = ""
    trust: float = START
    successes: int = 0
    failures: int = 0
    last_at: datetime | None = None
    started: float = START
    decided_at: datetime | None = None

    @property
    def owner(self) -> str:
        return self.playbook.owner

    @property
    def mode(self) -> Mode | None:
        return self.playbook.mode

    @property
    def limits(self) -> Limits:
        return self.playbook.limits


_body = msgspec.json.Decoder(Playbook)
_READ = f"""
SELECT p.*, coalesce(t.trust, $1) AS trust, coalesce(t.successes, 0) AS successes, coalesce(t.failures, 0) AS failures, t.last_at,
    ARRAY({RATINGS_OF.format(name="p.name")} ORDER BY f.at, f.event) AS ratings
FROM playbooks p LEFT JOIN playbook_trust t ON t.playbook = p.name
"""
_ADD = """
INSERT INTO playbooks (name, version, status, body, alert, pattern, source, confidence, created_at, created_by, changed_at, changed_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $10) ON CONFLICT DO NOTHING RETURNING name
"""
_NEWEST = "SELECT DISTINCT ON (name) name, version FROM playbooks WHERE status = ANY($2) ORDER BY name, version DESC"
_SET = """
UPDATE playbooks SET status = $3, changed_by = $4, changed_at = $5, decided_at = $5 WHERE name = $1 AND version = $2 RETURNING name
"""
_BY_RULE = """
UPDATE playbooks SET status = $4, changed_by = $5, changed_at = $6 WHERE name = $1 AND version = $2 AND status = $3 RETURNING name
"""
_LEARNED = f"{_READ} WHERE p.alert = $2 AND p.pattern = $3 AND p.version = 1 ORDER BY p.created_at, p.name"
_OTHERS = """
UPDATE playbooks SET status = 'deprecated', changed_by = $3, changed_at = $4, decided_at = $4
 WHERE name = $1 AND version <> $2 AND status = 'approved'
"""
_USED = """
SELECT count(*) FROM approvals
WHERE playbook = $1 AND (place = $2 OR target_key = $3) AND requested_at > $4
  AND automatic AND NOT observation AND state = 'approved'
"""


def learned_name(alert: str, pattern: str) -> str:
    """The name of the playbook that is learned from this action against this alert."""
    return f"learned-{hashlib.md5(f'{alert} {pattern}'.encode(), usedforsecurity=False).hexdigest()[:12]}"


async def draft_playbook(connection: Connection, row: PlaybookRow) -> bool:
    """Keeps what was learned as a first version; False when there is a playbook of that name: it is left as it is."""
    return await _add(connection, row)


async def learned_from(connection: Connection, alert: str, pattern: str) -> list[PlaybookRow]:
    """The first versions of what was learned from this action against this alert, oldest first.

    Whoever is about to learn from the same waits until the transaction ends.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('learned/' || $1 || ' ' || $2, 0))", alert, pattern)
    return [_row(row) for row in await connection.fetch(_LEARNED, START, alert, pattern)]


async def add_version(
    connection: Connection, playbook: Playbook, *, at: datetime, by: str, source: Source = Source.PERSON, confidence: float = START
) -> PlaybookRow | None:
    """Keeps a playbook as a draft, in the version after the newest; None where the newest version says the same."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('playbooks/' || $1, 0))", playbook.name)
    newest = await get_playbook(connection, playbook.name)
    if newest is not None and newest.playbook == playbook:
        return None
    row = PlaybookRow(
        name=playbook.name,
        version=newest.version + 1 if newest else 1,
        status=PlaybookStatus.DRAFT,
        playbook=playbook,
        source=source,
        confidence=confidence,
        created_at=at,
        created_by=by,
        changed_at=at,
        changed_by=by,
    )
    await _add(connection, row)
    return row


async def _add(connection: Connection, row: PlaybookRow) -> bool:
    body = msgspec.json.encode(row.playbook).decode()
    values = (row.name, row.version, row.status.value, body, row.alert, row.pattern, row.source.value, row.confidence)
    if await connection.fetchval(_ADD, *values, row.created_at, row.created_by) is None:
        return False
    await _changed(connection)
    return True


async def get_playbook(connection: Connection, name: str, version: int | msgspec.UnsetType = 0) -> PlaybookRow | None:
    """That version of a playbook, or None; without a version the newest, whatever its status."""
    wanted = version or 0
    row = await connection.fetchrow(
        f"{_READ} WHERE p.name = $2 AND ($3 = 0 OR p.version = $3) ORDER BY p.version DESC LIMIT 1", START, name, wanted
    )
    return _row(row) if row else None


async def versions_of(connection: Connection, name: str) -> list[PlaybookRow]:
    """Every version of a playbook, newest first."""
    return [_row(row) for row in await connection.fetch(f"{_READ} WHERE p.name = $2 ORDER BY p.version DESC", START, name)]


async def list_playbooks(
    connection: Connection, *, statuses: Sequence[PlaybookStatus] = (), limit: int = 100, after: str = ""
) -> list[PlaybookRow]:
    """The newest version in these states (all when empty) of each playbook, most trusted first; those after the one named `after`."""
    named = [status.value for status in statuses or PlaybookStatus]
    query = f"""
        SELECT * FROM ({_READ} JOIN ({_NEWEST}) newest USING (name, version)) AS p
        WHERE $4 = '' OR (-p.trust, p.name) > (-coalesce((SELECT trust FROM playbook_trust WHERE playbook = $4), $1), $4)
        ORDER BY p.trust DESC, p.name LIMIT $3
    """
    return [_row(row) for row in await connection.fetch(query, START, named, limit, after)]


async def set_status(connection: Connection, name: str, version: int, status: PlaybookStatus, *, by: str, at: datetime) -> bool:
    """A person approves or deprecates a version; False when there is none. Approved, it takes the place of any other."""
    await take_lock(connection, f"playbook/{name}")
    if await connection.fetchval(_SET, name, version, status.value, by, at) is None:
        return False
    if status is PlaybookStatus.APPROVED:
        await connection.execute(_OTHERS, name, version, by, at)
    await _changed(connection)
    return True


async def set_by_rule(
    connection: Connection, name: str, version: int, before: PlaybookStatus, after: PlaybookStatus, *, by: str, at: datetime
) -> bool:
    """A rule moves a version that is `before`; False when it is that no more. What people decided about it stays known."""
    if await connection.fetchval(_BY_RULE, name, version, before.value, after.value, by, at) is None:
        return False
    await _changed(connection)
    return True


async def rated_anew(connection: Connection) -> None:
    """Ratings have moved confidences: whoever holds playbooks in memory reads them again."""
    await _changed(connection)


async def used_alone(connection: Connection, name: str, *, place: str, target: str, since: datetime) -> int:
    """How often an action of this playbook was approved without a signature after `since`, on the incident's target or on the action's,
    such as one of its pods.
    """
    return int(await connection.fetchval(_USED, name, place, target, since) or 0)


async def changes(connection: Connection) -> int:
    """How often any playbook has changed: while it stays the same, so do all of them."""
    return int(await connection.fetchval("SELECT changes FROM playbook_changes") or 0)


async def _changed(connection: Connection) -> None:
    await connection.execute("UPDATE playbook_changes SET changes = changes + 1")


def _row(row: Row) -> PlaybookRow:
    plain = ("name", "version", "created_at", "created_by", "changed_at", "changed_by", "alert", "pattern", "decided_at")
    trust = ("trust", "successes", "failures", "last_at")
    return PlaybookRow(
        **{name: row[name] for name in (*plain, *trust)},
        status=PlaybookStatus(row["status"]),
        playbook=_body.decode(row["body"]),
        source=Source(row["source"]),
        started=row["confidence"],
        confidence=fold_confidence(row["confidence"], row["ratings"]),
    )
