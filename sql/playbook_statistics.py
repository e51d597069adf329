"""How much each playbook is trusted: an exponentially weighted mean of its outcomes, 0 to 1, in which a failure weighs twice.

It is the fold of a ledger with one row for each verification, in the order of event times: the same verifications in any order, any
number of times, give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from schemas.event import Event
from schemas.events import VerificationFinished
from schemas.words import Verdict
from sql.database import Connection
from sql.keys import BEGINNING, Touched, hold_keys, touch
from sql.proof import borne_out

START = 0.5
WEIGHT = 0.2  # of one outcome in the mean; a failure counts as two outcomes
TYPES: tuple[str, ...] = ("VerificationFinished",)
TABLES: tuple[str, ...] = ("playbook_ledger", "playbook_trust")


class PlaybookTrust(msgspec.Struct, frozen=True):
    """The fold of a playbook's ledger."""

    trust: float = START
    successes: int = 0
    failures: int = 0
    last_at: datetime | None = None


_LATER = """
DELETE FROM playbook_ledger l USING unnest($1::text[], $2::timestamptz[], $3::text[]) AS n(about, at, event)
 WHERE l.about = n.about AND (l.at, l.event) > (n.at, n.event) RETURNING l.playbook
"""
_KEEP = """
INSERT INTO playbook_ledger (event, playbook, at, success, about)
SELECT n.* FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::boolean[], $5::text[]) AS n(event, playbook, at, success, about)
 WHERE NOT EXISTS (SELECT FROM playbook_ledger l WHERE l.about = n.about)
ON CONFLICT DO NOTHING RETURNING playbook, at, event
"""
_KNOWN = "SELECT playbook, trust, successes, failures, last_at FROM playbook_trust WHERE playbook = ANY($1)"
_LEDGER = """
SELECT l.playbook, l.at, l.success
  FROM unnest($1::text[], $2::timestamptz[]) AS since(playbook, at)
  JOIN playbook_ledger l ON l.playbook = since.playbook AND l.at > since.at
 ORDER BY l.playbook, l.at, l.event
"""
_STORE = """
INSERT INTO playbook_trust (playbook, trust, successes, failures, last_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (playbook) DO UPDATE SET trust = $2, successes = $3, failures = $4, last_at = $5
"""
_EMPTY = "DELETE FROM playbook_trust WHERE playbook = ANY($1)"


def outcome_of(event: VerificationFinished) -> bool | None:
    """What a verification says of its playbook: success, failure, or None when it says nothing."""
    if not event.playbook or not event.measured:
        return None
    return {Verdict.SUCCESS: True, Verdict.FAILED: False}.get(event.verdict)


def step(trust: PlaybookTrust, at: datetime, success: bool) -> PlaybookTrust:
    """`trust` after one more outcome, the newest: trust += 0.2 * (outcome - trust), twice for a failure."""
    mean = trust.trust
    for _ in range(1 if success else 2):
        mean += WEIGHT * (float(success) - mean)
    return PlaybookTrust(trust=mean, successes=trust.successes + success, failures=trust.failures + (not success), last_at=at)


def fold(outcomes: Iterable[tuple[datetime, bool]]) -> PlaybookTrust:
    """0.5, then one step for each outcome, oldest first."""
    trust = PlaybookTrust()
    for at, success in outcomes:
        trust = step(trust, at, success)
    return trust


async def keep(connection: Connection, events: Sequence[Event]) -> Touched:
    """Takes the verifications that the store bears out into the ledger; of two about one operation the earlier one counts."""
    judged = [event for event in events if isinstance(event, VerificationFinished) and outcome_of(event) is not None]
    proven = sorted(await borne_out(connection, judged), key=lambda event: (event.at, event.id)) if judged else []
    first = {event.operation: event for event in reversed(proven)}
    if not first:
        return {}
    kept = list(first.values())
    await hold_keys(connection, "playbook_ledger", {event.playbook for event in kept})
    ids, about, at = [event.id for event in kept], list(first), [event.at for event in kept]
    touched: Touched = {}
    for row in await connection.fetch(_LATER, about, at, ids):
        touch(touched, row["playbook"], BEGINNING)
    names, outcomes = [event.playbook for event in kept], [outcome_of(event) for event in kept]
    for row in await connection.fetch(_KEEP, ids, names, at, outcomes, about):
        touch(touched, row["playbook"], (row["at"], row["event"]))
    return touched


async def fold_keys(connection: Connection, touched: Touched) -> None:
    """Folds the ledgers of these playbooks, each from its last fold on where all that is new came after it."""
    known = {row["playbook"]: PlaybookTrust(*list(row.values())[1:]) for row in await connection.fetch(_KNOWN, list(touched))}
    folds = {name: _before(known.get(name), since[0]) for name, since in touched.items()}
    since = [trust.last_at or BEGINNING[0] for trust in folds.values()]
    async for row in connection.cursor(_LEDGER, list(folds), since, prefetch=1000):
        folds[row["playbook"]] = step(folds[row["playbook"]], row["at"], row["success"])
    values = [(name, trust.trust, trust.successes, trust.failures, trust.last_at) for name, trust in folds.items() if trust.last_at]
    await connection.executemany(_STORE, values)
    await connection.execute(_EMPTY, [name for name, trust in folds.items() if trust.last_at is None])


def _before(known: PlaybookTrust | None, first: datetime) -> PlaybookTrust:
    """The fold to go on from: the one that is known where everything new is later, else none."""
    return known if known is not None and known.last_at is not None and known.last_at < first else PlaybookTrust()


async def take(connection: Connection, events: Sequence[Event]) -> None:
    """Takes events into the ledger and the trust of their playbooks: any order, any repetition, the same rows. In a transaction."""
    touched = await keep(connection, events)
    if touched:
        await fold_keys(connection, touched)


async def apply(connection: Connection, event: VerificationFinished) -> None:
    """Takes one verification."""
    await take(connection, [event])
