"""How often each problem came, and how each time ended: a problem is one alert on one target, by its anomaly key.

The fold of a ledger. An incident came once for each of its problems, and has ended in one way: as was known when it resolved, or as a
repair, where the last that was judged of what was done for it is a success, however late that is told. It is a person's repair where a
person signed any of what was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from schemas.action import is_observation
from schemas.event import Event
from schemas.events import ExecutionFinished, IncidentOpened, IncidentResolved, IncidentUpdated, VerificationFinished
from schemas.words import UNKNOWN_GROUNDS, Disposition, Outcome, SignalStatus, Verdict
from sql.database import Connection
from sql.keys import BEGINNING, Touched, hold_keys
from sql.proof import Proof

TYPES: tuple[str, ...] = ("IncidentOpened", "IncidentUpdated", "IncidentResolved", "ExecutionFinished", "VerificationFinished")
TABLES: tuple[str, ...] = ("recurrence_ledger", "recurrences")


class RecurrenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """How often one problem came, and how often each disposition ended it; `last_at` is when the newest incident about it was opened."""

    anomaly: str
    count: int
    dispositions: dict[Disposition, int]
    last_at: datetime


class _Entry(msgspec.Struct, frozen=True):
    """One row of the ledger: that an incident `came` for a problem, `ended`, or that something was `done` for it and `judged`."""

    incident: str
    kind: str
    about: str
    at: datetime
    event: str
    word: str
    automatic: bool | None


_REPAIRS = (Disposition.AUTO_REPAIRED, Disposition.HUMAN_APPROVED)
_KINDS: dict[type[Event], str] = {ExecutionFinished: "done", VerificationFinished: "judged"}
_CAME = """
SELECT DISTINCT a.incident, a.anomaly, i.opened_at FROM unnest($1::text[], $2::text[]) AS told(incident, alert)
  JOIN incident_alerts a ON a.incident = told.incident AND a.alert = told.alert JOIN incidents i ON i.id = a.incident
"""
_ENDED = "SELECT id, disposition FROM incidents WHERE id = ANY($1) AND disposition IS NOT NULL"
# The problems of what was changed: as they were before the statement, and as they are told by it.
_KEEP = """
WITH kept AS (
    INSERT INTO recurrence_ledger AS l (incident, kind, about, at, event, word, automatic)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::boolean[])
    ON CONFLICT (incident, kind, about) DO UPDATE
       SET at = excluded.at, event = excluded.event, word = excluded.word, automatic = excluded.automatic
     WHERE (excluded.at, excluded.event) < (l.at, l.event)
    RETURNING incident, kind, about
)
SELECT about FROM kept WHERE kind = 'came'
 UNION SELECT about FROM recurrence_ledger WHERE kind = 'came' AND incident IN (SELECT incident FROM kept)
"""
_KNOWN = "SELECT EXISTS (SELECT FROM recurrence_ledger WHERE incident = $1 AND kind = $2 AND about = $3)"
_FOLD = """
WITH ends AS (
    SELECT e.incident, CASE
           WHEN e.word IN ('auto_repaired', 'human_approved') OR done.last IS DISTINCT FROM 'healed' THEN e.word
           WHEN done.automatic THEN 'auto_repaired' ELSE 'human_approved' END AS word
      FROM recurrence_ledger e CROSS JOIN LATERAL (
           SELECT (array_agg(d.word ORDER BY d.at DESC, d.event DESC) FILTER (WHERE d.word <> ''))[1] AS last,
                  bool_and(d.automatic) AS automatic
             FROM recurrence_ledger d WHERE d.incident = e.incident AND d.kind IN ('done', 'judged')) AS done
     WHERE e.kind = 'ended' AND e.incident IN (SELECT incident FROM recurrence_ledger WHERE kind = 'came' AND about = ANY($1))
), emptied AS (
    DELETE FROM recurrences WHERE anomaly = ANY($1)
       AND NOT EXISTS (SELECT FROM recurrence_ledger l WHERE l.kind = 'came' AND l.about = anomaly)
)
INSERT INTO recurrences (anomaly, count, auto_repaired, human_approved, rejected, self_resolved, last_at)
SELECT c.about, count(*), count(*) FILTER (WHERE ends.word = 'auto_repaired'), count(*) FILTER (WHERE ends.word = 'human_approved'),
       count(*) FILTER (WHERE ends.word = 'rejected'), count(*) FILTER (WHERE ends.word = 'self_resolved'), max(c.at)
  FROM recurrence_ledger c LEFT JOIN ends USING (incident) WHERE c.kind = 'came' AND c.about = ANY($1) GROUP BY c.about
ON CONFLICT (anomaly) DO UPDATE
   SET count = excluded.count, auto_repaired = excluded.auto_repaired, human_approved = excluded.human_approved,
       rejected = excluded.rejected, self_resolved = excluded.self_resolved, last_at = excluded.last_at
"""


async def keep(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes what the stores bear out of these events into the ledger; of two that say the same, the earlier one counts."""
    connection, entries = proof.connection, await _said(proof, events)
    first = {(one.incident, one.kind, one.about): one for one in sorted(entries, key=lambda entry: (entry.at, entry.event), reverse=True)}
    if not first:
        return {}
    await hold_keys(connection, "recurrence_ledger", {entry.incident for entry in first.values()})
    columns = zip(*(msgspec.structs.astuple(entry) for entry in first.values()), strict=True)
    return {row["about"]: BEGINNING for row in await connection.fetch(_KEEP, *(list(column) for column in columns))}


async def _said(proof: Proof, events: Sequence[Event]) -> list[_Entry]:
    return [*await _came(proof.connection, events), *await _ended(proof, events), *await _done(proof, events)]


async def _came(connection: Connection, events: Iterable[Event]) -> list[_Entry]:
    """The problems of incidents, as far as ingest noted them; which of the events about one tells it makes no difference."""
    told = {
        (event.incident, event.alert)
        for event in events
        if isinstance(event, IncidentOpened) or (isinstance(event, IncidentUpdated) and event.status is SignalStatus.FIRING)
        if "\0" not in event.incident + event.alert
    }
    rows = await connection.fetch(_CAME, [incident for incident, _ in told], [alert for _, alert in told]) if told else []
    return [_Entry(row["incident"], "came", row["anomaly"], row["opened_at"], "", "", None) for row in rows]


async def _ended(proof: Proof, events: Iterable[Event]) -> list[_Entry]:
    """How incidents ended, as was known then: a repair that is known by now was not known yet, or the row says just that."""
    told = await proof.without_copies([event for event in events if isinstance(event, IncidentResolved)])
    rows = await proof.connection.fetch(_ENDED, [event.incident for event in told]) if told else []
    known = {row["id"]: row["disposition"] for row in rows}
    return [
        _Entry(event.incident, "ended", "", event.at, event.id, event.disposition.value, None)
        for event in told
        if known.get(event.incident) in (event.disposition, *_REPAIRS)
    ]


async def _done(proof: Proof, events: Iterable[Event]) -> list[_Entry]:
    """What was done for incidents, once it had begun, and how it was judged; looking is not doing."""
    told = [one for one in events if isinstance(one, ExecutionFinished | VerificationFinished) and not is_observation(one.action)]
    proven = await proof.borne_out(told)
    known = await proof.deeds(event.operation for event in proven)
    return [
        _Entry(event.incident, _KINDS[type(event)], event.operation, event.at, event.id, _word(event), event.automatic)
        for event in proven
        if known[event.operation].begun
    ]


def _word(event: ExecutionFinished | VerificationFinished) -> str:
    """healed or failed, or nothing where the event says neither."""
    if isinstance(event, ExecutionFinished):
        return "failed" if event.outcome is Outcome.FAILED else ""
    if not event.measured or event.ground in UNKNOWN_GROUNDS:
        return ""
    if event.verdict is Verdict.SUCCESS:
        return "healed" if event.outcome is Outcome.SUCCEEDED else ""
    return "failed" if event.verdict in (Verdict.FAILED, Verdict.DEGRADED) else ""


async def fold_keys(connection: Connection, touched: Touched) -> None:
    """Folds the ledgers of these problems; where nothing is left of one, it has no row."""
    await hold_keys(connection, "recurrences", touched)
    await connection.execute(_FOLD, list(touched))


async def has_taken(proof: Proof, event: Event) -> bool:
    """Whether the ledger says already what this event says, and the stores bear it out."""
    said = await _said(proof, [event])
    known = [await proof.connection.fetchval(_KNOWN, one.incident, one.kind, one.about) for one in said]
    return bool(known) and all(known)


async def take(proof: Proof, events: Sequence[Event]) -> None:
    """Takes events into the ledger and the counts: any order, any repetition, the same rows. In a transaction."""
    touched = await keep(proof, events)
    if touched:
        await fold_keys(proof.connection, touched)


async def get_recurrence(connection: Connection, anomaly: str) -> RecurrenceRow | None:
    """How often the problem of this anomaly key came, or None when it never did."""
    row = await connection.fetchrow("SELECT * FROM recurrences WHERE anomaly = $1", anomaly)
    if row is None:
        return None
    dispositions = {disposition: row[disposition.value] for disposition in Disposition}
    return RecurrenceRow(anomaly=anomaly, count=row["count"], dispositions=dispositions, last_at=row["last_at"])
