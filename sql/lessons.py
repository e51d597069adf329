"""Lessons: one entry for every execution, which learn and those who sign look back on; `sql.knowledge` is where it is searched.

An entry is a fold of two events, the execution and its verification: each fills its own part, in any order, any number of
times, with the same row in the end. What neither event says comes from the approval and the incident.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.action import Action, describe, pattern_of
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.text import clean
from schemas.words import Outcome, Verdict
from sql.database import Connection, Row
from sql.keys import Touched, hold_keys
from sql.proof import Grounds, Proof

_CATEGORIES = (
    ("crash", ("crash", "restart", "oom", "backoff")),
    ("error", ("error", "fail", "5xx")),
    ("latency", ("latency", "slow", "timeout")),
    ("resource", ("cpu", "memory", "resource", "disk", "filesystem", "quota")),
)
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
TYPES: tuple[str, ...] = ("ExecutionFinished", "VerificationFinished")
TABLES: tuple[str, ...] = ("lessons",)
_PLAIN = ("id", "incident", "approval", "alert", "category", "target", "pattern", "what", "risk", "path", "playbook")
_PARTS = ("seconds", "error", "executed_at", "summary", "score", "verified_at")
_FACTS = ("incident", "approval", "alert", "category", "target", "services", "pattern", "action", "what", "risk", "path", "playbook")
_ALL = (*_FACTS, "tags", "outcome")
_PLACES = ", ".join(f"${number}" for number in range(2, 2 + len(_ALL)))
# What both events say is taken from the execution, where it is there: so the order in which they come makes no difference.
_EXECUTED = f"""
INSERT INTO lessons AS l (id, {", ".join(_ALL)}, seconds, error, executed_at, execution) VALUES ($1, {_PLACES}, $16, $17, $18, $19)
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _ALL)}, seconds = excluded.seconds,
       error = excluded.error, executed_at = excluded.executed_at, execution = excluded.execution
 WHERE l.execution = '' OR (excluded.executed_at, excluded.execution) < (l.executed_at, l.execution)
"""
_VERIFIED = f"""
INSERT INTO lessons AS l (id, {", ".join(_ALL)}, verdict, summary, score, verified_at, verification)
VALUES ($1, {_PLACES}, $16, $17, $18, $19, $20)
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = CASE l.execution WHEN '' THEN excluded.{name} ELSE l.{name} END" for name in _ALL)},
       verdict = excluded.verdict, summary = excluded.summary, score = excluded.score, verified_at = excluded.verified_at,
       verification = excluded.verification
 WHERE l.verification = '' OR (excluded.verified_at, excluded.verification) < (l.verified_at, l.verification)
"""
_ALERTS = "SELECT DISTINCT ON (incident) incident, alert FROM incident_alerts WHERE incident = ANY($1) ORDER BY incident, place"


class _Blast(msgspec.Struct):
    services: tuple[str, ...] = ()


class _Inputs(msgspec.Struct):
    source: str = ""


class _Approval(msgspec.Struct, frozen=True):
    """What an entry has from its approval."""

    risk: str = ""
    services: tuple[str, ...] = ()
    source: str = ""


_blast = msgspec.json.Decoder(_Blast)
_inputs = msgspec.json.Decoder(_Inputs)


def category_of(alert: str) -> str:
    """The kind of problem that an alert's name speaks of: crash, error, latency, resource or other."""
    low = alert.lower()
    return next((category for category, words in _CATEGORIES if any(word in low for word in words)), "other")


async def keep(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes the executions and verifications that the store bears out into their entries; there is nothing to fold afterwards."""
    told = [event for event in events if isinstance(event, ExecutionFinished | VerificationFinished)]
    proven = await proof.borne_out(told)
    if not proven:
        return {}
    connection = proof.connection
    grounds = await proof.grounds(event.approval for event in proven)
    approvals = {approval: _approval(found) for approval, found in grounds.items()}
    rows = await connection.fetch(_ALERTS, list({event.incident for event in proven}))
    alerts = {row["incident"]: row["alert"] for row in rows}
    await hold_keys(connection, "lessons", {event.operation for event in proven})
    executed, verified = [], []
    for event in proven:
        facts = _facts(event, approvals.get(event.approval, _Approval()), alerts.get(event.incident, ""))
        if isinstance(event, ExecutionFinished):
            executed.append((*facts, event.seconds, clean(event.error, _TEXT_LIMIT), event.at, event.id))
        else:
            verified.append((*facts, event.verdict.value, clean(event.summary, _TEXT_LIMIT), event.score, event.at, event.id))
    await connection.executemany(_EXECUTED, executed)
    await connection.executemany(_VERIFIED, verified)
    return {}


def _approval(found: Grounds) -> _Approval:
    services = _blast.decode(found.blast).services if found.blast else ()
    return _Approval(risk=found.risk, services=services, source=_inputs.decode(found.inputs).source)


async def take(proof: Proof, events: Sequence[Event]) -> None:
    """Takes events into their entries: any order, any repetition, the same rows. In a transaction."""
    await keep(proof, events)


def _facts(event: ExecutionFinished | VerificationFinished, approval: _Approval, alert: str) -> tuple[object, ...]:
    action = event.action
    target = action.target
    category = category_of(alert)
    path = "automatic" if event.automatic else "approved"
    named = (
        action.verb,
        target.kind.lower(),
        target.cluster,
        target.namespace,
        event.severity.value,
        category,
        path,
        approval.source,
        event.playbook,
    )
    tags = tuple(dict.fromkeys(tag for tag in named if tag))
    what = clean(describe(action), 500)
    pattern = pattern_of(action)
    place = (event.operation, event.incident, event.approval, alert, category, target.key, list(approval.services), pattern)
    body = msgspec.json.encode(action).decode()
    return (*place, body, what, approval.risk, path, event.playbook, list(tags), event.outcome.value)


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


def _row(row: Row) -> LessonRow:
    return LessonRow(
        **{name: row[name] for name in (*_PLAIN, *_PARTS)},
        services=tuple(row["services"]),
        tags=tuple(row["tags"]),
        action=_action.decode(row["action"]),
        outcome=Outcome(row["outcome"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
    )
