"""The knowledge base: one entry for every execution, found again by search.

An entry is a fold of two events, the execution and its verification: each fills its own part, in any order, any number of
times, with the same row in the end. What neither event says comes from the approval and the incident.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

import msgspec

from schemas.action import Action, describe, pattern_of
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.text import clean
from schemas.words import Outcome, Verdict
from sql.approvals import ApprovalRow, get_approval
from sql.database import Connection, Row
from sql.incidents import IncidentRow, get_incident

_CATEGORIES = (
    ("crash", ("crash", "restart", "oom", "backoff")),
    ("error", ("error", "fail", "5xx")),
    ("latency", ("latency", "slow", "timeout")),
    ("resource", ("cpu", "memory", "resource", "disk", "filesystem", "quota")),
)
_SPLIT = re.compile(r"[\W_]+")
_TEXT_LIMIT = 2000  # characters


class LessonRow(msgspec.Struct, frozen=True, kw_only=True):
    """What happened when an action was tried on a problem. `id` is the operation's.

    `path` is automatic or approved; `outcome` and `error` tell how it ran, `verdict`, `summary` and `score` how it was judged
    (empty and None until it is).
    """

    id: str
    incident: str
    approval: str
    alert: str
    category: str
    target: str
    services: tuple[str, ...]
    pattern: str
    action: Action
    what: str
    risk: str
    path: str
    playbook: str
    tags: tuple[str, ...]
    outcome: Outcome
    seconds: float | None
    error: str
    executed_at: datetime | None
    verdict: Verdict | None
    summary: str
    score: float | None
    verified_at: datetime | None

    @property
    def result(self) -> str:
        """The verdict where there is one, else how the execution ended."""
        return str(self.verdict or self.outcome)


_action = msgspec.json.Decoder(Action)
COLUMNS: tuple[str, ...] = (
    *("id", "incident", "approval", "alert", "category", "target", "services", "pattern", "action", "what", "risk", "path", "playbook"),
    *("tags", "words", "outcome", "seconds", "error", "executed_at", "execution"),
    *("verdict", "summary", "score", "verified_at", "verification"),
)
"""Every column that is written."""
EXECUTED_COLUMNS: tuple[str, ...] = ("outcome", "seconds", "error", "executed_at", "execution")
"""The part of an entry that its execution fills."""
VERIFIED_COLUMNS: tuple[str, ...] = ("verdict", "summary", "score", "verified_at", "verification")
"""The part of an entry that its verification fills."""
_PLAIN = ("id", "incident", "approval", "alert", "category", "target", "pattern", "what", "risk", "path", "playbook")
_PARTS = ("seconds", "error", "executed_at", "summary", "score", "verified_at")
_OPEN = """
INSERT INTO {table} (
    id, incident, approval, alert, category, target, services, pattern, action, what, risk, path, playbook, tags, words, outcome
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (id) DO NOTHING
"""
_EXECUTED = """
UPDATE {table} SET outcome = $2, seconds = $3, error = $4, executed_at = $5, execution = $6
WHERE id = $1 AND (executed_at IS NULL OR (executed_at, execution) < ($5, $6))
"""
_VERIFIED = """
UPDATE {table} SET verdict = $2, summary = $3, score = $4, verified_at = $5, verification = $6
WHERE id = $1 AND (verified_at IS NULL OR (verified_at, verification) < ($5, $6))
"""


def category_of(alert: str) -> str:
    """The kind of problem that an alert's name speaks of: crash, error, latency, resource or other."""
    low = alert.lower()
    return next((category for category, words in _CATEGORIES if any(word in low for word in words)), "other")


async def apply(connection: Connection, event: ExecutionFinished | VerificationFinished, *, table: str = "lessons") -> None:
    """Takes one event into its entry: any order, any repetition, the same row. `table` is another one during a rebuild."""
    approval = await get_approval(connection, event.approval)
    incident = await get_incident(connection, event.incident)
    await connection.execute(_OPEN.format(table=table), *_facts(event, approval, incident))
    if isinstance(event, ExecutionFinished):
        parts: tuple[object, ...] = (event.outcome.value, event.seconds, clean(event.error, _TEXT_LIMIT), event.at, event.id)
        await connection.execute(_EXECUTED.format(table=table), event.operation, *parts)
    else:
        parts = (event.verdict.value, clean(event.summary, _TEXT_LIMIT), event.score, event.at, event.id)
        await connection.execute(_VERIFIED.format(table=table), event.operation, *parts)


def _facts(
    event: ExecutionFinished | VerificationFinished, approval: ApprovalRow | None, incident: IncidentRow | None
) -> tuple[object, ...]:
    action = event.action
    target = action.target
    alert = incident.alerts[0] if incident and incident.alerts else ""
    category = category_of(alert)
    services = approval.blast.services if approval and approval.blast else ()
    risk = approval.risk.value if approval else ""
    path = "automatic" if event.automatic else "approved"
    source = str(approval.inputs.get("source", "")) if approval else ""
    named = (
        action.verb,
        target.kind.lower(),
        target.cluster,
        target.namespace,
        event.severity.value,
        category,
        path,
        source,
        event.playbook,
    )
    tags = tuple(dict.fromkeys(tag for tag in named if tag))
    what = clean(describe(action), 500)
    words = _words((alert, str(target), pattern_of(action), what, risk, *services, *tags))
    place = (event.operation, event.incident, event.approval, alert, category, target.key, list(services), pattern_of(action))
    return (*place, msgspec.json.encode(action).decode(), what, risk, path, event.playbook, list(tags), words, event.outcome.value)


def _words(texts: Iterable[str]) -> str:
    """The words of some texts, each once: whole, and what is between its punctuation."""
    parts = (part for text in texts for whole in text.split() for part in (whole, *_SPLIT.split(whole)))
    return " ".join(dict.fromkeys(part.lower() for part in parts if part))


async def has_taken(connection: Connection, event: Event) -> bool:
    """Whether this event is in the entry of its operation."""
    if not isinstance(event, ExecutionFinished | VerificationFinished):
        return False
    query = "SELECT EXISTS (SELECT FROM lessons WHERE id = $1 AND $2 IN (execution, verification))"
    return bool(await connection.fetchval(query, event.operation, event.id))


async def get_lesson(connection: Connection, id: str) -> LessonRow | None:  # noqa: A002
    """The entry of one operation, or None."""
    row = await connection.fetchrow("SELECT * FROM lessons WHERE id = $1", id)
    return _row(row) if row else None


async def search_lessons(connection: Connection, text: str, *, limit: int = 50) -> list[LessonRow]:
    """The entries that have all words of `text`, best match first and newest first among equals; all of them when it is empty."""
    rows = await connection.fetch(
        "SELECT * FROM lessons, to_tsquery('simple', $1) query WHERE $1 = '' OR search @@ query"
        " ORDER BY ts_rank(search, query) DESC, coalesce(verified_at, executed_at) DESC, id LIMIT $2",
        " & ".join(f"{word}:*" for word in _words([text]).split() if _SPLIT.fullmatch(word) is None and _SPLIT.search(word) is None),
        limit,
    )
    return [_row(row) for row in rows]


def _row(row: Row) -> LessonRow:
    return LessonRow(
        **{name: row[name] for name in (*_PLAIN, *_PARTS)},
        services=tuple(row["services"]),
        tags=tuple(row["tags"]),
        action=_action.decode(row["action"]),
        outcome=Outcome(row["outcome"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
    )
