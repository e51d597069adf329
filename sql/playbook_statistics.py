"""How much each playbook is trusted: an exponentially weighted mean of its outcomes, 0 to 1, in which a failure weighs twice.

It is the fold of a ledger with one row for each operation (`sql.playbook_signals`), in the order of event times: the same events in any
order, any number of times, give the same rows. Of one operation a verification counts before an exit code, and of two alike the earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.words import Debate
from sql.database import Connection
from sql.keys import BEGINNING, Touched, hold_keys, touch
from sql.playbook_signals import TYPES, Kind, Signal, kind_of, weight_of
from sql.proof import Proof

__all__ = ["START", "TABLES", "TYPES", "PlaybookTrust", "count_outcomes", "fold", "fold_keys", "keep", "outcomes", "take"]

START = 0.5
WEIGHT = 0.2  # of one outcome in the mean
TABLES: tuple[str, ...] = ("playbook_ledger", "playbook_trust")


class PlaybookTrust(msgspec.Struct, frozen=True):
    """The fold of a playbook's ledger."""

    trust: float = START
    successes: int = 0
    failures: int = 0
    last_at: datetime | None = None


_LATER = """
DELETE FROM playbook_ledger l USING unnest($1::text[], $2::boolean[], $3::timestamptz[], $4::text[]) AS n(about, executed, at, event)
 WHERE l.about = n.about AND (l.kind = 'executed', l.at, l.event) > (n.executed, n.at, n.event) RETURNING l.playbook
"""
_KEEP = """
INSERT INTO playbook_ledger (event, playbook, at, success, kind, weight, about)
SELECT n.* FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::boolean[], $5::text[], $6::int[], $7::text[])
    AS n(event, playbook, at, success, kind, weight, about)
 WHERE NOT EXISTS (SELECT FROM playbook_ledger l WHERE l.about = n.about)
ON CONFLICT DO NOTHING RETURNING playbook, at, event
"""
_OBJECTED = "SELECT id FROM approvals WHERE id = ANY($1) AND inputs::jsonb ->> 'debate' = $2"
_KNOWN = "SELECT playbook, trust, successes, failures, last_at FROM playbook_trust WHERE playbook = ANY($1)"
_LEDGER = """
SELECT l.playbook, l.at, l.success, l.weight
  FROM unnest($1::text[], $2::timestamptz[]) AS since(playbook, at)
  JOIN playbook_ledger l ON l.playbook = since.playbook AND l.at > since.at
 ORDER BY l.playbook, l.at, l.event
"""
_OUTCOMES = """
SELECT event, playbook, at, success, kind, weight, about FROM playbook_ledger WHERE playbook = $1 AND at > $2 ORDER BY at, event
"""
_COUNT = """
SELECT count(*) AS outcomes, count(*) FILTER (WHERE NOT success) AS failures FROM playbook_ledger WHERE playbook = $1 AND at > $2
"""
_STORE = """
INSERT INTO playbook_trust (playbook, trust, successes, failures, last_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (playbook) DO UPDATE SET trust = $2, successes = $3, failures = $4, last_at = $5
"""
_EMPTY = "DELETE FROM playbook_trust WHERE playbook = ANY($1)"


def step(trust: PlaybookTrust, at: datetime, success: bool, weight: int) -> PlaybookTrust:
    """`trust` after one more outcome, the newest: trust += 0.2 * (outcome - trust), as often as it weighs.

    The exponentially weighted moving average of Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1(3),
    1959: `z' = r x + (1 - r) z`, with r = 0.2. A failure is taken as two outcomes in a row, so that it weighs twice.
    """
    mean = trust.trust
    for _ in range(weight):
        mean += WEIGHT * (float(success) - mean)
    return PlaybookTrust(trust=mean, successes=trust.successes + success, failures=trust.failures + (not success), last_at=at)


def fold(signals: Sequence[Signal]) -> PlaybookTrust:
    """0.5, then one step for each outcome that counts, oldest first."""
    trust = PlaybookTrust()
    for one in sorted(_first(signals), key=lambda one: (one.at, one.event)):
        trust = step(trust, one.at, one.success, one.weight)
    return trust


def _first(signals: Sequence[Signal]) -> list[Signal]:
    """The one signal of each operation that counts."""
    ranked = sorted(signals, key=lambda one: (one.kind is Kind.EXECUTED, one.at, one.event), reverse=True)
    return list({one.about: one for one in ranked}.values())


async def keep(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes what the events say of their playbooks into the ledger, where the store bears them out."""
    kept = _first(await _signals(proof, events))
    if not kept:
        return {}
    connection = proof.connection
    await hold_keys(connection, "playbook_ledger", {one.playbook for one in kept})
    ids, about, at = [one.event for one in kept], [one.about for one in kept], [one.at for one in kept]
    touched: Touched = {}
    for row in await connection.fetch(_LATER, about, [one.kind is Kind.EXECUTED for one in kept], at, ids):
        touch(touched, row["playbook"], BEGINNING)
    names, outcomes = [one.playbook for one in kept], [one.success for one in kept]
    kinds, weights = [one.kind.value for one in kept], [one.weight for one in kept]
    for row in await connection.fetch(_KEEP, ids, names, at, outcomes, kinds, weights, about):
        touch(touched, row["playbook"], (row["at"], row["event"]))
    return touched


async def _signals(proof: Proof, events: Sequence[Event]) -> list[Signal]:
    """What those events say that the store bears out; an execution that never began says nothing."""
    telling = [event for event in events if isinstance(event, VerificationFinished | ExecutionFinished) and kind_of(event) is not None]
    proven = await proof.borne_out(telling)
    if not proven:
        return []
    known = await proof.deeds(event.operation for event in proven if isinstance(event, ExecutionFinished))
    rows = await proof.connection.fetch(_OBJECTED, list({event.approval for event in proven}), Debate.OBJECTED.value)
    objected = {row["id"] for row in rows}
    signals = []
    for event in proven:
        said = kind_of(event)
        if said is None or (isinstance(event, ExecutionFinished) and not known[event.operation].begun):
            continue
        kind, success = said
        named = {"event": event.id, "playbook": event.playbook, "about": event.operation}
        weight = weight_of(success, objected=event.approval in objected)
        signals.append(Signal(**named, at=event.at, success=success, kind=kind, weight=weight))
    return signals


async def fold_keys(connection: Connection, touched: Touched) -> None:
    """Folds the ledgers of these playbooks, each from its last fold on where all that is new came after it."""
    known = {row["playbook"]: PlaybookTrust(*list(row.values())[1:]) for row in await connection.fetch(_KNOWN, list(touched))}
    folds = {name: _before(known.get(name), since[0]) for name, since in touched.items()}
    since = [trust.last_at or BEGINNING[0] for trust in folds.values()]
    async for row in connection.cursor(_LEDGER, list(folds), since, prefetch=1000):
        folds[row["playbook"]] = step(folds[row["playbook"]], row["at"], row["success"], row["weight"])
    values = [(name, trust.trust, trust.successes, trust.failures, trust.last_at) for name, trust in folds.items() if trust.last_at]
    await connection.executemany(_STORE, values)
    await connection.execute(_EMPTY, [name for name, trust in folds.items() if trust.last_at is None])


def _before(known: PlaybookTrust | None, first: datetime) -> PlaybookTrust:
    """The fold to go on from: the one that is known where everything new is later, else none."""
    return known if known is not None and known.last_at is not None and known.last_at < first else PlaybookTrust()


async def take(proof: Proof, events: Sequence[Event]) -> bool:
    """Takes events into the ledger and the trust of their playbooks: any order, any repetition, the same rows. In a transaction.

    False where they say nothing new.
    """
    touched = await keep(proof, events)
    if touched:
        await fold_keys(proof.connection, touched)
    return bool(touched)


async def count_outcomes(connection: Connection, playbook: str, *, after: datetime | None = None) -> tuple[int, int]:
    """How many rows a playbook's ledger has, and how many of them are failures; only those told after a time where one is named."""
    row = await connection.fetchrow(_COUNT, playbook, after or BEGINNING[0])
    assert row is not None
    return row["outcomes"], row["failures"]


async def outcomes(connection: Connection, playbook: str, *, after: datetime | None = None) -> list[Signal]:
    """The rows of a playbook's ledger, oldest first; only those told after a time where one is named."""
    rows = await connection.fetch(_OUTCOMES, playbook, after or BEGINNING[0])
    return [Signal(**dict(row.items()) | {"kind": Kind(row["kind"])}) for row in rows]
