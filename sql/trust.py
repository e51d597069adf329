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

from schemas.action import is_observation, pattern_of
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, VerificationFinished
from schemas.words import Outcome, Verdict
from sql.database import Connection, Row
from sql.keys import BEGINNING, Since, Touched, hold_keys, touch
from sql.proof import Proof


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
TABLES: tuple[str, ...] = ("trust_ledger", "trust")
"""The ledger, and its fold."""

_LATER = """
DELETE FROM trust_ledger l USING unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) AS n(about, kind, at, event)
 WHERE l.about = n.about AND l.kind = n.kind AND (l.at, l.event) > (n.at, n.event) RETURNING l.pattern
"""
_KEEP = """
INSERT INTO trust_ledger (event, pattern, at, kind, told_by, about)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
ON CONFLICT DO NOTHING RETURNING pattern, at, event
"""
_KNOWN = "SELECT * FROM trust WHERE pattern = ANY($1)"
_LEDGER = """
SELECT l.*
  FROM unnest($1::text[], $2::timestamptz[], $3::text[]) AS since(pattern, at, event)
  JOIN trust_ledger l ON l.pattern = since.pattern AND (l.at, l.event) > (since.at, since.event)
 ORDER BY l.pattern, l.at, l.event
"""
_EMPTY = "DELETE FROM trust WHERE pattern = ANY($1)"
_OLDER = """
SELECT l.event, l.pattern FROM trust_ledger l JOIN unnest($1::text[], $2::timestamptz[], $3::text[]) AS n(about, at, event)
    ON l.about = n.about AND l.kind IN ('praise', 'blame', 'indifference') AND (l.at, l.event) < (n.at, n.event)
"""
_REPLACE = "DELETE FROM trust_ledger WHERE event = ANY($1) AND kind IN ('praise', 'blame', 'indifference')"
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


async def has_taken(connection: Connection, event: str) -> bool:
    """Whether this event has moved trust."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM trust_ledger WHERE event = $1)", event))


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


async def proven_entries(proof: Proof, events: Sequence[Event]) -> list[LedgerRow]:
    """The ledger rows of those events that move trust and that the store bears out.

    An execution that failed before the action began, such as for want of credentials, says nothing of the action: none either.
    """
    moving = {id(event): entry for event in events if (entry := entry_of(event)) is not None}
    proven = await proof.borne_out([event for event in events if id(event) in moving])
    known = await proof.deeds(event.operation for event in proven if isinstance(event, ExecutionFinished))
    return [moving[id(event)] for event in proven if not isinstance(event, ExecutionFinished) or known[event.operation].begun]


async def keep(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes the events that move trust and that the store bears out into the ledger."""
    return await keep_entries(proof.connection, await proven_entries(proof, events))


async def keep_entries(connection: Connection, entries: Sequence[LedgerRow], rated: Touched | None = None) -> Touched:
    """Takes proven entries into the ledger.

    Of two that say the same about the same the earlier one counts; of the ratings of one person about one incident the newest, whatever
    patterns they are about. `rated` are the places of ratings, also of those that are about no pattern.
    """
    newest = dict(rated or {})
    for one in entries:
        if one.kind in RATINGS:
            newest[one.about] = max(newest.get(one.about, BEGINNING), (one.at, one.event))
    marks = ([at for at, _ in newest.values()], [event for _, event in newest.values()])
    older = await connection.fetch(_OLDER, list(newest), *marks) if newest else []
    if not entries and not older:
        return {}
    await hold_keys(connection, "trust_ledger", {entry.pattern for entry in entries} | {row["pattern"] for row in older})
    ordered = sorted(entries, key=lambda entry: (entry.at, entry.event))
    first = {(one.about, one.kind): one for one in reversed(ordered) if one.kind not in RATINGS}
    kept = [*first.values(), *(one for one in ordered if one.kind in RATINGS and newest[one.about] == (one.at, one.event))]
    touched: Touched = {row["pattern"]: BEGINNING for row in older}
    await connection.execute(_REPLACE, [row["event"] for row in older])
    for row in await connection.fetch(_LATER, *_columns(first.values(), "about", "kind", "at", "event")):
        touch(touched, row["pattern"], BEGINNING)
    for row in await connection.fetch(_KEEP, *_columns(kept, "event", "pattern", "at", "kind", "told_by", "about")):
        touch(touched, row["pattern"], (row["at"], row["event"]))
    return touched


def _columns(entries: Iterable[LedgerRow], *names: str) -> list[list[object]]:
    rows = list(entries)
    return [[getattr(row, name) for row in rows] for name in names]


async def fold_keys(connection: Connection, touched: Touched) -> list[TrustMove]:
    """Folds the ledgers of these patterns, each from its last fold on where all that is new came after it; what moved."""
    known = {row["pattern"]: _trust(row) for row in await connection.fetch(_KNOWN, list(touched))}
    folds = {pattern: _before(known.get(pattern), pattern, since) for pattern, since in touched.items()}
    since = [_place(trust) for trust in folds.values()]
    kinds: dict[str, Move] = {}
    async for row in connection.cursor(_LEDGER, list(folds), [at for at, _ in since], [event for _, event in since], prefetch=1000):
        entry = _entry(row)
        folds[entry.pattern] = step(folds[entry.pattern], entry)
        kinds[entry.pattern] = entry.kind
    await connection.executemany(_STORE, [_values(trust) for trust in folds.values() if trust.last_at])
    await connection.execute(_EMPTY, [pattern for pattern, trust in folds.items() if trust.last_at is None])
    before = {pattern: known[pattern].score if pattern in known else 0 for pattern in kinds}
    return [TrustMove(pattern=pattern, before=before[pattern], after=folds[pattern].score, kind=kind) for pattern, kind in kinds.items()]


def _before(known: TrustRow | None, pattern: str, first: Since) -> TrustRow:
    """The fold to go on from: the one that is known where everything new came after it, else none."""
    return known if known is not None and _place(known) < first else TrustRow(pattern=pattern)


def _place(trust: TrustRow) -> Since:
    return (trust.last_at, trust.last_event) if trust.last_at else BEGINNING


async def take(proof: Proof, events: Sequence[Event]) -> list[TrustMove]:
    """Takes events into the ledger and the fold: any order, any repetition, the same rows. In a transaction; what moved."""
    touched = await keep(proof, events)
    return await fold_keys(proof.connection, touched) if touched else []


async def take_entries(connection: Connection, entries: Sequence[LedgerRow], rated: Touched | None = None) -> list[TrustMove]:
    """Takes proven entries into the ledger and the fold. In a transaction; what moved."""
    touched = await keep_entries(connection, entries, rated)
    return await fold_keys(connection, touched) if touched else []


async def apply(proof: Proof, event: Event) -> TrustMove | None:
    """Takes one event; None when it moves nothing, was taken before, or is not borne out by the store."""
    moves = await take(proof, [event])
    entry = entry_of(event)
    if entry is None:
        return None
    return next((msgspec.structs.replace(move, kind=entry.kind) for move in moves if move.pattern == entry.pattern), None)


def _values(trust: TrustRow) -> Sequence[object]:
    counts = (trust.score, trust.approvals, trust.rejections, trust.successes, trust.failures)
    return (trust.pattern, *counts, trust.last_by, trust.last_at, trust.last_event)


def _trust(row: Row) -> TrustRow:
    return TrustRow(**dict(row.items()))


def _entry(row: Row) -> LedgerRow:
    return LedgerRow(**(dict(row.items()) | {"kind": Move(row["kind"])}))
