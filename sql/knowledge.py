"""The knowledge base: what every execution has taught, good or bad, automatic or approved.

A ledger has one row for each event that says something: that an action was executed, how that was judged, what a person noted. An
entry is the fold of the rows about one operation: of each kind the earliest by (event time, event id) counts, so that a later copy
changes nothing, and of notes all. What no event says comes from the approval and the incident. So the same events in any order, any
number of times, taken by any number of writers at once, leave the same rows. How entries are found again: `sql.knowledge_search`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from schemas.action import Action, describe, is_observation, pattern_of
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.learning import NOTE_LIMIT, FeedbackGiven
from schemas.preflight import BlastRadius
from schemas.text import clean
from schemas.words import Outcome, Severity, Verdict
from sql.database import Connection, Row
from sql.lessons import category_of
from sql.proof import Deed, Proof
from sql.segments import indexed

TYPES: tuple[str, ...] = ("ExecutionFinished", "VerificationFinished", "FeedbackGiven")
"""The event types that say something of an execution."""
TABLES: tuple[str, ...] = ("knowledge_folds", "knowledge_ledger", "knowledge")
"""The tables that are written here, and nowhere else."""
_TEXT_LIMIT = 2000  # characters
_NOTE_LIMIT = 2 * NOTE_LIMIT + 100  # a note, and what was done instead
_NAME_LIMIT = 200
_NOTES = 20  # the newest ones of an entry
_JUDGED = (Verdict.SUCCESS, Verdict.FAILED, Verdict.DEGRADED)

Touched = dict[str, tuple[datetime, str]]
"""What new rows of the ledger are about, each with the place of its earliest new row in the order of events."""


class Kind(StrEnum):
    EXECUTION = "execution"
    VERIFICATION = "verification"
    NOTE = "note"


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one event says of an operation; a note says its `text` only.

    `counts` is whether it tells how well the action does: that it failed once it had begun, or how it was judged by what was seen.
    """

    action: Action | None = None
    approval: str = ""
    automatic: bool = False
    severity: Severity = Severity.P3
    playbook: str = ""
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    seconds: float | None = None
    score: float | None = None
    counts: bool = False
    text: str = ""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event about an operation. `about` is what is folded together: the incident, or the operation where there is none.

    A note is about an incident, and says something of each operation of it: its `operation` is empty.
    """

    event: str
    about: str
    operation: str
    kind: Kind
    at: datetime
    said: Said


_said = msgspec.json.Decoder(Said)
_blast = msgspec.json.Decoder(BlastRadius)
_NOTED = "SELECT event, incident, note, instead, at FROM feedback WHERE event = ANY($1) AND (note <> '' OR instead <> '')"
_OPEN = "INSERT INTO knowledge_folds (about) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_HOLD = 'SELECT FROM knowledge_folds WHERE about = ANY($1) ORDER BY about COLLATE "C" FOR UPDATE'
_KEEP = """
INSERT INTO knowledge_ledger (event, about, operation, kind, at, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
ON CONFLICT DO NOTHING RETURNING event, about, at
"""
_LEDGER = "SELECT event, about, operation, kind, at, body FROM knowledge_ledger WHERE about = ANY($1) ORDER BY at, event"
_INCIDENTS = """
SELECT DISTINCT ON (i.id) i.id, i.key, coalesce(a.alert, '') AS alert, coalesce(a.anomaly, '') AS anomaly
FROM incidents i LEFT JOIN incident_alerts a ON a.incident = i.id WHERE i.id = ANY($1) ORDER BY i.id, a.place
"""
_APPROVALS = "SELECT id, risk, inputs::json ->> 'source' AS source, blast FROM approvals WHERE id = ANY($1)"
_COLUMNS = {
    **dict.fromkeys(("id", "incident", "approval", "alert", "anomaly", "place", "category", "target", "pattern", "verb", "action"), "text"),
    **dict.fromkeys(("what", "risk", "path", "playbook", "result", "outcome", "error", "execution", "verdict", "summary"), "text"),
    **dict.fromkeys(("services", "tags", "notes"), "text[]"),
    **dict.fromkeys(("seconds", "score"), "double precision"),
    **dict.fromkeys(("executed_at", "verified_at", "at"), "timestamptz"),
    "verification": "text",
    "counts": "boolean",
}
_WORDS = {"search_a": "A", "search_b": "B", "search_c": "C", "search_d": "D"}
_SEARCH = " || ".join(f"setweight(to_tsvector('knowledge_words', {text}), '{weight}')" for text, weight in _WORDS.items())
_STORE = f"""
INSERT INTO knowledge ({", ".join(_COLUMNS)}, search)
SELECT {", ".join(_COLUMNS)}, {_SEARCH} FROM json_to_recordset($1::json)
AS r ({", ".join(f"{name} {kind}" for name, kind in (_COLUMNS | dict.fromkeys(_WORDS, "text")).items())})
ON CONFLICT (id) DO UPDATE SET ({", ".join(_COLUMNS)}, search) = ROW ({", ".join(f"excluded.{name}" for name in _COLUMNS)}, excluded.search)
"""


async def take(proof: Proof, events: Sequence[Event]) -> None:
    """Takes events into the ledger and the entries: any order, any repetition, the same rows. In a transaction."""
    await fold_keys(proof.connection, await keep(proof, events))


async def keep(proof: Proof, events: Sequence[Event]) -> Touched:
    """Takes events that the stores bear out into the ledger; returns what there is something new of."""
    told = [event for event in events if isinstance(event, ExecutionFinished | VerificationFinished)]
    given = [event.id for event in events if isinstance(event, FeedbackGiven)]
    rows = await _borne_out(proof, told)
    noted = await proof.connection.fetch(_NOTED, given) if given else []
    rows += [note_row(row["event"], incident=row["incident"], at=row["at"], text=_note(row["note"], row["instead"])) for row in noted]
    return await keep_rows(proof.connection, rows)


async def keep_rows(connection: Connection, rows: Sequence[LedgerRow]) -> Touched:
    """Keeps proven rows in the ledger, each once; returns what there is something new of, with the place of the earliest of it.

    Who keeps rows about the same waits until the transaction ends: what two write at once, the second one sees.
    """
    about = sorted({row.about for row in rows})
    if not about:
        return {}
    await connection.execute(_OPEN, about)
    await connection.execute(_HOLD, about)
    values = [(row.event, row.about, row.operation, row.kind.value, row.at, msgspec.json.encode(row.said).decode()) for row in rows]
    touched: Touched = {}
    for row in await connection.fetch(_KEEP, *(list(column) for column in zip(*values, strict=True))):
        place = (row["at"], row["event"])
        touched[row["about"]] = min(touched.get(row["about"], place), place)
    return touched


async def _borne_out(proof: Proof, told: Sequence[ExecutionFinished | VerificationFinished]) -> list[LedgerRow]:
    """The ledger rows of those events whose operation has ended, or was verified, with this action and in this way."""
    proven = await proof.borne_out(told)
    known = await proof.deeds(event.operation for event in proven)
    return [_row(event, known[event.operation]) for event in proven]


def _row(event: ExecutionFinished | VerificationFinished, deed: Deed) -> LedgerRow:
    said = Said(
        action=event.action,
        approval=deed.approval,
        automatic=event.automatic,
        severity=event.severity,
        playbook=clean(event.playbook, _NAME_LIMIT),
        outcome=event.outcome,
    )
    if isinstance(event, VerificationFinished):
        kind, text, counts = Kind.VERIFICATION, event.summary, event.measured and event.verdict in _JUDGED
        said = msgspec.structs.replace(said, verdict=event.verdict, score=event.score)
    else:
        kind, text, counts = Kind.EXECUTION, event.error, event.outcome is Outcome.FAILED and deed.begun
        said = msgspec.structs.replace(said, seconds=event.seconds)
    said = msgspec.structs.replace(said, text=clean(text, _TEXT_LIMIT), counts=counts and not is_observation(event.action))
    about = event.incident or event.operation
    return LedgerRow(event=event.id, about=about, operation=event.operation, kind=kind, at=event.at, said=said)


def _note(note: str, instead: str) -> str:
    return "; ".join(part for part in (note, f"done instead: {instead}" if instead else "") if part)


def note_row(event: str, *, incident: str, at: datetime, text: str) -> LedgerRow:
    """The ledger row of what a person has noted about an incident: it is found with every entry of that incident."""
    said = Said(text=clean(text, _NOTE_LIMIT))
    return LedgerRow(event=event, about=incident, operation="", kind=Kind.NOTE, at=at, said=said)


async def fold_keys(connection: Connection, touched: Touched) -> None:
    """Writes the entries of these incidents and operations, from all that the ledger has of them."""
    about = list(touched)
    rows = [_read(row) for row in (await connection.fetch(_LEDGER, about) if about else [])]
    facts = await _facts(connection, about, sorted({row.said.approval for row in rows}))
    by_operation: dict[tuple[str, str], list[LedgerRow]] = defaultdict(list)
    for row in rows:
        by_operation[row.about, row.operation].append(row)
    entries = [
        _entry(place, operation, said, by_operation.get((place, ""), ()), facts)
        for (place, operation), said in sorted(by_operation.items())
        if operation
    ]
    if entries:
        await connection.execute(_STORE, msgspec.json.encode(entries).decode())


def _read(row: Row) -> LedgerRow:
    plain = {name: row[name] for name in ("event", "about", "operation", "at")}
    return LedgerRow(**plain, kind=Kind(row["kind"]), said=_said.decode(row["body"]))


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the stores know of incidents and of approvals, by id."""

    incidents: dict[str, Row]
    approvals: dict[str, Row]

    def of_incident(self, incident: str, column: str) -> str:
        return str(self.incidents[incident][column]) if incident in self.incidents else ""

    def of_approval(self, approval: str, column: str) -> str:
        return str(self.approvals[approval][column] or "") if approval in self.approvals else ""

    def services(self, approval: str) -> tuple[str, ...]:
        """The services that the action was found to reach."""
        blast = self.of_approval(approval, "blast")
        return _blast.decode(blast).services if blast else ()


async def _facts(connection: Connection, incidents: Sequence[str], approvals: Sequence[str]) -> _Facts:
    return _Facts(
        incidents={row["id"]: row for row in await connection.fetch(_INCIDENTS, incidents)},
        approvals={row["id"]: row for row in await connection.fetch(_APPROVALS, approvals)},
    )


def _entry(about: str, operation: str, rows: Sequence[LedgerRow], notes: Sequence[LedgerRow], facts: _Facts) -> dict[str, object]:
    """The entry of one operation, and its words by weight. `rows` and `notes` are in the order of event time and event id."""
    first = {row.kind: row for row in reversed(rows)}
    ran, judged = first.get(Kind.EXECUTION), first.get(Kind.VERIFICATION)
    base = (ran or judged or rows[-1]).said
    action = base.action
    assert action is not None
    incident = "" if about == operation else about
    alert = facts.of_incident(incident, "alert")
    risk, services = facts.of_approval(base.approval, "risk"), facts.services(base.approval)
    path = "automatic" if base.automatic else "approved"
    outcome, verdict = str(base.outcome or ""), str(judged.said.verdict or "") if judged else ""
    entry = {
        "id": operation,
        "incident": incident,
        "approval": base.approval,
        "alert": alert,
        "anomaly": facts.of_incident(incident, "anomaly"),
        "place": facts.of_incident(incident, "key") or action.target.key,
        "category": category_of(alert),
        "target": action.target.key,
        "services": services,
        "pattern": pattern_of(action),
        "verb": action.verb,
        "counts": any(row.said.counts for row in (ran, judged) if row is not None),
        "action": msgspec.json.encode(action).decode(),
        "what": clean(describe(action), _TEXT_LIMIT),
        "risk": risk,
        "path": path,
        "playbook": base.playbook,
        "tags": _tags(action, alert, (str(base.severity), path, facts.of_approval(base.approval, "source"), base.playbook)),
        "notes": [note.said.text for note in notes[-_NOTES:]],
        "result": verdict or outcome,
        "outcome": outcome,
        "verdict": verdict,
        "at": max(row.at for row in (ran, judged) if row is not None),
        **_part(ran, "execution", "executed_at", "error", "seconds"),
        **_part(judged, "verification", "verified_at", "summary", "score"),
    }
    return entry | _words(entry)


def _part(row: LedgerRow | None, event: str, at: str, text: str, number: str) -> dict[str, object]:
    """The columns that one kind of event fills."""
    if row is None:
        return {event: "", at: None, text: "", number: None}
    return {event: row.event, at: row.at, text: row.said.text, number: row.said.seconds if row.kind is Kind.EXECUTION else row.said.score}


def _tags(action: Action, alert: str, more: Iterable[str]) -> list[str]:
    target = action.target
    named = (action.verb, target.kind.lower(), target.cluster, target.namespace, category_of(alert), *more)
    return list(dict.fromkeys(tag for tag in named if tag))


def _words(entry: Mapping[str, Any]) -> dict[str, str]:
    """The words of an entry by their weight: what it is about, what was done, what came of it, and the error."""
    return {
        "search_a": indexed((entry["alert"], entry["target"])),
        "search_b": indexed((entry["what"], entry["risk"], entry["result"], *entry["services"], *entry["tags"])),
        "search_c": indexed((entry["summary"], *entry["notes"])),
        "search_d": indexed((entry["error"],)),
    }
