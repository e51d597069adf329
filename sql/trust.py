"""Trust: a ledger with one row for each event that moves it, and its fold in the order of event times.

A verified success and a person's praise count one more; a failed execution, a failed verification, a person's rejection or blame begins
again at 0. Of the ratings of one person about one incident the newest counts, and an older one as if it had never been. What was not
measured, only looked at, refused or failed before it began, or left unknown and then found well moves nothing. Nor does an event that the
approvals, operations, verifications and feedback in the store do not bear out, or a second one about the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.action import Action, is_observation, pattern_of
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, VerificationFinished
from schemas.words import ApprovalState, Outcome, Verdict
from sql.database import Connection, Row


class Move(StrEnum):
    """What one event does to trust: success and praise +1, failure, rejection and blame back to 0, approval is counted only.

    Praise, blame and indifference are the ratings of people; indifference moves nothing but takes the place of an older rating.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    REJECTION = "rejection"
    APPROVAL = "approval"
    PRAISE = "praise"
    BLAME = "blame"
    INDIFFERENCE = "indifference"


RATINGS = frozenset({Move.PRAISE, Move.BLAME, Move.INDIFFERENCE})


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event's move of one pattern's trust; `told_by` is the person, or the stage that told it.

    `about` is the operation that was verified or failed, or the approval that people decided: each moves trust once in each way. Of a
    rating it is the incident and the person: the newest counts.
    """

    event: str
    pattern: str
    at: datetime
    kind: Move
    told_by: str
    about: str = ""


class TrustRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one action pattern; `last_…` are of the newest event by event time, ties by event id."""

    pattern: str
    score: int = 0
    approvals: int = 0
    rejections: int = 0
    successes: int = 0
    failures: int = 0
    last_by: str = ""
    last_at: datetime | None = None
    last_event: str = ""


class TrustMove(msgspec.Struct, frozen=True, kw_only=True):
    """The score of `pattern` before and after one event, and which move it was."""

    pattern: str
    before: int
    after: int
    kind: Move


TYPES: tuple[str, ...] = ("VerificationFinished", "ExecutionFinished", "ActionRejected", "ActionApproved")
"""The event types that `entry_of` can answer."""
COLUMNS: tuple[str, ...] = ("event", "pattern", "at", "kind", "told_by", "about")
"""The columns of the ledger."""
_action = msgspec.json.Decoder(Action)

_KEEP = """
INSERT INTO trust_ledger (event, pattern, at, kind, told_by, about) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING event
"""
_OLDER = """
DELETE FROM trust_ledger WHERE about = $1 AND pattern = $2 AND kind IN ('praise', 'blame', 'indifference') AND (at, event) < ($3, $4)
RETURNING event
"""
_STORE = """
INSERT INTO trust (pattern, score, approvals, rejections, successes, failures, last_by, last_at, last_event)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (pattern) DO UPDATE SET score = $2, approvals = $3, rejections = $4, successes = $5, failures = $6,
    last_by = $7, last_at = $8, last_event = $9
"""
_AGED = """
SELECT coalesce(sum(power(2::float8, -least(greatest(extract(epoch FROM $2::timestamptz - s.at), 0)::float8 / $3::float8, 60))), 0)
FROM trust_ledger s
WHERE s.pattern = $1 AND s.kind IN ('success', 'praise') AND NOT EXISTS (
    SELECT FROM trust_ledger r
    WHERE r.pattern = $1 AND r.kind IN ('failure', 'rejection', 'blame') AND (r.at, r.event) > (s.at, s.event))
"""
_VERIFIED = "SELECT o.action FROM verifications v JOIN operations o ON o.id = v.operation WHERE v.operation = $1 AND v.verdict = $2"
_EXECUTED = "SELECT action FROM operations WHERE id = $1 AND outcome = $2"
_BEGUN = "SELECT started_at IS NOT NULL FROM operations WHERE id = $1"
_DECIDED = "SELECT action FROM approvals WHERE id = $1 AND state = $2 AND (state = 'rejected' OR NOT automatic)"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('trust/' || $1, 0))"


def entry_of(event: Event) -> LedgerRow | None:
    """The ledger row of an event, or None for one that moves nothing."""
    match event:
        case VerificationFinished() if not is_observation(event.action):
            kind = _of_verification(event)
            by = event.by
        case ExecutionFinished(outcome=Outcome.FAILED) if not is_observation(event.action):
            kind, by = Move.FAILURE, event.by
        case ActionRejected():
            kind, by = Move.REJECTION, event.person
        case ActionApproved(automatic=False) if event.signers:
            kind, by = Move.APPROVAL, event.signers[-1]
        case _:
            return None
    if kind is None:
        return None
    about = event.operation if isinstance(event, VerificationFinished | ExecutionFinished) else event.approval
    return LedgerRow(event=event.id, pattern=pattern_of(event.action), at=event.at, kind=kind, told_by=by, about=about)


def _of_verification(event: VerificationFinished) -> Move | None:
    """A success needs an action that is known to have been done; a failure of one that may have been done counts as failure."""
    if not event.measured:
        return None
    if event.verdict is Verdict.SUCCESS and event.outcome is Outcome.SUCCEEDED:
        return Move.SUCCESS
    if event.verdict is Verdict.FAILED and event.outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN):
        return Move.FAILURE
    return None


def step(trust: TrustRow, entry: LedgerRow) -> TrustRow:
    """`trust` after one more entry, which must be the newest by (time, event id)."""
    return TrustRow(
        pattern=trust.pattern,
        score=_score_after(trust.score, entry.kind),
        approvals=trust.approvals + (entry.kind is Move.APPROVAL),
        rejections=trust.rejections + (entry.kind is Move.REJECTION),
        successes=trust.successes + (entry.kind is Move.SUCCESS),
        failures=trust.failures + (entry.kind is Move.FAILURE),
        last_by=entry.told_by,
        last_at=entry.at,
        last_event=entry.event,
    )


def _score_after(score: int, kind: Move) -> int:
    if kind in (Move.FAILURE, Move.REJECTION, Move.BLAME):
        return 0
    return score + 1 if kind in (Move.SUCCESS, Move.PRAISE) else score


def fold(pattern: str, entries: Iterable[LedgerRow]) -> TrustRow:
    """The trust that the entries of one pattern come to, in whatever order and however often they are given."""
    trust = TrustRow(pattern=pattern)
    once = {entry.event: entry for entry in entries}
    for entry in sorted(once.values(), key=lambda item: (item.at, item.event)):
        trust = step(trust, entry)
    return trust


async def score(connection: Connection, pattern: str, *, at: datetime, half_life: float) -> int:
    """The score of a pattern at a time, aged: the sum of `2 ** (-age / half_life)` over its successes since the last setback, rounded.

    A success counts 1 when it is new, a half after `half_life` seconds, a quarter after twice that; one that is told to be of the future
    counts as new. Exponential decay, as in Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay: A Practical Time Decay Model for
    Streaming Systems" (ICDE 2009), section 2. It is read from the ledger, so that it depends on no order and no setting of the fold.
    """
    aged: float = await connection.fetchval(_AGED, pattern, at, half_life)
    return math.floor(aged + 0.5)


async def get_trust(connection: Connection, pattern: str) -> TrustRow | None:
    """All that is known of one pattern, or None."""
    row = await connection.fetchrow("SELECT * FROM trust WHERE pattern = $1", pattern)
    return _trust(row) if row else None


async def list_trust(connection: Connection, *, limit: int = 1000, after: str = "") -> list[TrustRow]:
    """The patterns, highest score first; those after the pattern `after` where it is given."""
    rows = await connection.fetch(
        "SELECT * FROM trust WHERE $2 = '' OR (-score, pattern) > (SELECT -score, pattern FROM trust WHERE pattern = $2)"
        " ORDER BY score DESC, pattern LIMIT $1",
        limit,
        after,
    )
    return [_trust(row) for row in rows]


async def ledger(connection: Connection, pattern: str) -> list[LedgerRow]:
    """Every event that moved one pattern, in event-time order."""
    rows = await connection.fetch("SELECT * FROM trust_ledger WHERE pattern = $1 ORDER BY at, event", pattern)
    return [_entry(row) for row in rows]


async def is_borne_out(connection: Connection, event: Event) -> bool:
    """Whether the store bears out what moves trust: this very action was verified so, failed so, or was decided so by people."""
    match event:
        case VerificationFinished():
            action = await connection.fetchval(_VERIFIED, event.operation, event.verdict.value)
        case ExecutionFinished():
            action = await connection.fetchval(_EXECUTED, event.operation, event.outcome.value)
        case ActionRejected():
            action = await connection.fetchval(_DECIDED, event.approval, ApprovalState.REJECTED.value)
        case ActionApproved():
            action = await connection.fetchval(_DECIDED, event.approval, ApprovalState.APPROVED.value)
        case _:
            return False
    return action is not None and bool(_action.decode(action) == event.action)


async def proven_entry(connection: Connection, event: Event) -> LedgerRow | None:
    """The ledger row of an event that moves trust and that the store bears out, else None.

    An execution that failed before the action began, such as for want of credentials, says nothing of the action: none either.
    """
    entry = entry_of(event)
    if entry is None or not await is_borne_out(connection, event):
        return None
    if isinstance(event, ExecutionFinished) and not await connection.fetchval(_BEGUN, event.operation):
        return None
    return entry


async def apply(connection: Connection, event: Event) -> TrustMove | None:
    """Takes one event into the ledger and the fold: any order, any repetition, the same rows.

    None when the event moves nothing, was taken before, or is not borne out by the store.
    """
    entry = await proven_entry(connection, event)
    return await keep(connection, entry) if entry is not None else None


async def keep(connection: Connection, entry: LedgerRow) -> TrustMove | None:
    """Takes one entry that is proven into the ledger and the fold; None when it was taken before, or a newer rating is there."""
    await connection.execute(_LOCK, entry.pattern)
    replaced = False
    if entry.kind in RATINGS:
        older = await connection.fetchval(_OLDER, entry.about, entry.pattern, entry.at, entry.event)
        replaced = older is not None
    if await connection.fetchval(_KEEP, *entry_values(entry)) is None:
        return None
    known = await get_trust(connection, entry.pattern) or TrustRow(pattern=entry.pattern)
    newest = known.last_at is None or (entry.at, entry.event) > (known.last_at, known.last_event)
    now = step(known, entry) if newest and not replaced else fold(entry.pattern, await ledger(connection, entry.pattern))
    await connection.execute(_STORE, *_values(now))
    return TrustMove(pattern=entry.pattern, before=known.score, after=now.score, kind=entry.kind)


async def fold_all(connection: Connection) -> int:
    """Fills the empty table `trust` from the whole ledger; returns how many patterns there are."""
    patterns = [row["pattern"] for row in await connection.fetch("SELECT DISTINCT pattern FROM trust_ledger ORDER BY pattern")]
    for pattern in patterns:
        await connection.execute(_STORE, *_values(fold(pattern, await ledger(connection, pattern))))
    return len(patterns)


def entry_values(entry: LedgerRow) -> tuple[object, ...]:
    """The values of a ledger row in the order of COLUMNS."""
    return entry.event, entry.pattern, entry.at, entry.kind.value, entry.told_by, entry.about


def _values(trust: TrustRow) -> Sequence[object]:
    counts = (trust.score, trust.approvals, trust.rejections, trust.successes, trust.failures)
    return (trust.pattern, *counts, trust.last_by, trust.last_at, trust.last_event)


def _trust(row: Row) -> TrustRow:
    return TrustRow(**dict(row.items()))


def _entry(row: Row) -> LedgerRow:
    return LedgerRow(**(dict(row.items()) | {"kind": Move(row["kind"])}))
