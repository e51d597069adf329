"""Playbooks: known remedies, drafted from what worked, and how much each is trusted.

A playbook's trust is an exponentially weighted mean of its outcomes, 0 to 1, in which a failure weighs twice. It is the fold of
a ledger with one row for each verification, in the order of event times. The playbooks themselves are people's to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.action import Action
from schemas.events import VerificationFinished
from schemas.words import Severity, Source, Verdict
from sql.database import Connection, Row

START = 0.5
WEIGHT = 0.2  # of one outcome in the mean; a failure counts as two outcomes


class PlaybookStatus(StrEnum):
    DRAFT = "draft"
    APPROVED = "approved"
    DEPRECATED = "deprecated"


class Symptoms(msgspec.Struct, frozen=True, kw_only=True):
    """What a playbook fits: alert names, affected services, and severities."""

    alerts: tuple[str, ...]
    services: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()


class PlaybookRow(msgspec.Struct, frozen=True, kw_only=True):
    """One remedy. `trust` is the weighted mean of its outcomes (0.5 without any); `last_at` the time of the newest one."""

    id: str
    title: str
    status: PlaybookStatus
    alert: str
    pattern: str
    symptoms: Symptoms
    steps: tuple[Action, ...]
    source: Source
    confidence: float
    created_at: datetime
    changed_by: str
    trust: float = START
    successes: int = 0
    failures: int = 0
    last_at: datetime | None = None


class PlaybookTrust(msgspec.Struct, frozen=True, kw_only=True):
    """The fold of a playbook's ledger."""

    trust: float = START
    successes: int = 0
    failures: int = 0
    last_at: datetime | None = None


_symptoms = msgspec.json.Decoder(Symptoms)
_steps = msgspec.json.Decoder(tuple[Action, ...])
_READ = """
SELECT p.*, coalesce(t.trust, $1) AS trust, coalesce(t.successes, 0) AS successes, coalesce(t.failures, 0) AS failures, t.last_at
FROM playbooks p LEFT JOIN playbook_trust t ON t.playbook = p.id
"""
_DRAFT = """
INSERT INTO playbooks (id, title, status, alert, pattern, symptoms, steps, source, confidence, created_at, changed_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (alert, pattern) DO NOTHING RETURNING id
"""
_STORE = """
INSERT INTO playbook_trust (playbook, trust, successes, failures, last_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (playbook) DO UPDATE SET trust = $2, successes = $3, failures = $4, last_at = $5
"""


def outcome_of(event: VerificationFinished) -> bool | None:
    """What a verification says of its playbook: success, failure, or None when it says nothing."""
    if not event.playbook or not event.measured:
        return None
    return {Verdict.SUCCESS: True, Verdict.FAILED: False}.get(event.verdict)


def fold(outcomes: Iterable[tuple[datetime, bool]]) -> PlaybookTrust:
    """trust = 0.5, then for each outcome, oldest first: trust += 0.2 * (outcome - trust), twice for a failure."""
    trust, successes, failures, last = START, 0, 0, None
    for at, success in outcomes:
        for _ in range(1 if success else 2):
            trust += WEIGHT * (float(success) - trust)
        successes, failures, last = successes + success, failures + (not success), at
    return PlaybookTrust(trust=trust, successes=successes, failures=failures, last_at=last)


async def apply(connection: Connection, event: VerificationFinished) -> None:
    """Takes a verification into its playbook's ledger and trust: any order, any repetition, the same rows."""
    success = outcome_of(event)
    if success is None:
        return
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('playbook/' || $1, 0))", event.playbook)
    ledger = "INSERT INTO playbook_ledger (event, playbook, at, success) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
    await connection.execute(ledger, event.id, event.playbook, event.at, success)
    await _fold_one(connection, event.playbook)


async def fold_all(connection: Connection) -> int:
    """Fills the empty table `playbook_trust` from the whole ledger; returns how many playbooks have outcomes."""
    rows = await connection.fetch("SELECT DISTINCT playbook FROM playbook_ledger ORDER BY playbook")
    for row in rows:
        await _fold_one(connection, row["playbook"])
    return len(rows)


async def _fold_one(connection: Connection, playbook: str) -> None:
    rows = await connection.fetch("SELECT at, success FROM playbook_ledger WHERE playbook = $1 ORDER BY at, event", playbook)
    trust = fold((row["at"], row["success"]) for row in rows)
    await connection.execute(_STORE, playbook, trust.trust, trust.successes, trust.failures, trust.last_at)


async def draft_playbook(connection: Connection, playbook: PlaybookRow) -> bool:
    """Keeps a new playbook; False when one for the same alert and action pattern is there already: it is left as it is."""
    texts = (playbook.id, playbook.title, playbook.status.value, playbook.alert, playbook.pattern)
    bodies = (msgspec.json.encode(playbook.symptoms).decode(), msgspec.json.encode(playbook.steps).decode())
    rest = (playbook.source.value, playbook.confidence, playbook.created_at, playbook.changed_by)
    return await connection.fetchval(_DRAFT, *texts, *bodies, *rest) is not None


async def get_playbook(connection: Connection, id: str) -> PlaybookRow | None:  # noqa: A002
    """The playbook, or None."""
    row = await connection.fetchrow(f"{_READ} WHERE p.id = $2", START, id)
    return _row(row) if row else None


async def list_playbooks(connection: Connection, *, statuses: Sequence[PlaybookStatus] = (), limit: int = 100) -> list[PlaybookRow]:
    """The playbooks in these states (all when empty), most trusted first."""
    named = [status.value for status in statuses]
    order = "WHERE cardinality($2::text[]) = 0 OR p.status = ANY($2) ORDER BY trust DESC, p.id LIMIT $3"
    return [_row(row) for row in await connection.fetch(f"{_READ} {order}", START, named, limit)]


async def set_status(connection: Connection, id: str, status: PlaybookStatus, *, by: str) -> bool:  # noqa: A002
    """A person approves or deprecates a playbook; False when there is none."""
    query = "UPDATE playbooks SET status = $2, changed_by = $3 WHERE id = $1 RETURNING id"
    return await connection.fetchval(query, id, status.value, by) is not None


def _row(row: Row) -> PlaybookRow:
    plain = ("id", "title", "alert", "pattern", "confidence", "created_at", "changed_by", "trust", "successes", "failures", "last_at")
    return PlaybookRow(
        **{name: row[name] for name in plain},
        status=PlaybookStatus(row["status"]),
        symptoms=_symptoms.decode(row["symptoms"]),
        steps=_steps.decode(row["steps"]),
        source=Source(row["source"]),
    )
