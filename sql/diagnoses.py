"""Diagnoses and debates: what was taken to be wrong, by whom, what a critic said of it, and whether what followed bears it out.

A fold of verifications: one row for each operation, the same for the same events in any order, any number of times. A diagnosis is
borne out by a verified success. It is wrong where what was done is known to have been done and the fault is there as before, in another
way or again, and where nothing was wrong to begin with. A critic who objected was right where the action failed or the diagnosis was
wrong, and one who agreed was right where it is borne out. All else is unknown: harm, an improvement, a slow start, what nobody measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.event import Event
from schemas.events import VerificationFinished
from schemas.text import clean
from schemas.words import Bearing, Debate, Ground, Outcome, Verdict
from sql.database import Connection, Row
from sql.judged import Judged, judged
from sql.proof import Proof

TYPES: tuple[str, ...] = ("VerificationFinished",)
TABLES: tuple[str, ...] = ("diagnoses",)

_STILL_THERE = frozenset({Ground.SAME_FAULT, Ground.OTHER_FAULT, Ground.RELAPSED})
_TEXT_LIMIT = 600  # characters
_KEEP = """
INSERT INTO diagnoses (operation, event, incident, at, source, provider, playbook, root_cause, bearing, critic, objection, critic_bearing)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::text[], $12::text[])
ON CONFLICT (operation) DO UPDATE SET event = excluded.event, incident = excluded.incident, at = excluded.at, source = excluded.source,
    provider = excluded.provider, playbook = excluded.playbook, root_cause = excluded.root_cause, bearing = excluded.bearing,
    critic = excluded.critic, objection = excluded.objection, critic_bearing = excluded.critic_bearing
 WHERE (excluded.at, excluded.event) < (diagnoses.at, diagnoses.event)
"""
_COUNTS = ", ".join(f"count(*) FILTER (WHERE {{0}} = '{word}') AS {word}" for word in Bearing)
_RECORD = f"SELECT source, provider, {_COUNTS.format('bearing')} FROM diagnoses GROUP BY source, provider ORDER BY source, provider"
_DEBATES = f"""
SELECT provider, critic, {_COUNTS.format("critic_bearing")} FROM diagnoses WHERE critic IN ('agreed', 'objected')
 GROUP BY provider, critic ORDER BY provider, critic
"""


class DiagnosisRow(msgspec.Struct, frozen=True, kw_only=True):
    """One diagnosis: `root_cause` as its source put it, empty where it only took something to be wrong. `critic` is None where none was
    asked, and `critic_bearing` then too.
    """

    operation: str
    event: str
    incident: str
    at: datetime
    source: str
    provider: str
    playbook: str
    root_cause: str
    bearing: Bearing
    critic: Debate | None
    objection: str
    critic_bearing: Bearing | None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """How often a source's diagnoses were right, wrong, and neither is known."""

    source: str
    provider: str
    right: int
    wrong: int
    unknown: int


class DebateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How often a critic of a provider's suggestions was right and wrong, apart for where it agreed and where it objected."""

    provider: str
    critic: Debate
    right: int
    wrong: int
    unknown: int


def bearing_of(event: VerificationFinished) -> Bearing:
    """Whether what was verified bears out what was taken to be wrong."""
    if not event.measured or event.outcome is not Outcome.SUCCEEDED:
        return Bearing.UNKNOWN
    if event.verdict is Verdict.SUCCESS and event.ground is not Ground.STAYED_WELL:
        return Bearing.RIGHT
    missed = event.verdict is Verdict.DEGRADED and event.ground is Ground.HEALED_NOTHING
    return Bearing.WRONG if missed or (event.verdict is Verdict.FAILED and event.ground in _STILL_THERE) else Bearing.UNKNOWN


def critic_bearing(critic: Debate | None, event: VerificationFinished) -> Bearing | None:
    """Whether what was verified bears out the critic; None where none was asked, or heard."""
    if critic is None or critic is Debate.UNHEARD:
        return None
    diagnosis = bearing_of(event)
    bad = diagnosis is Bearing.WRONG or (event.measured and event.verdict is Verdict.FAILED)
    if not bad and diagnosis is Bearing.UNKNOWN:
        return Bearing.UNKNOWN
    return Bearing.RIGHT if bad == (critic is Debate.OBJECTED) else Bearing.WRONG


async def take(proof: Proof, events: Sequence[Event]) -> None:
    """Takes verifications that the stores bear out, of actions that Mendstream or a person proposed; others tell nothing."""
    rows = [_values(one) for one in await judged(proof, events) if one.proven]
    if rows:
        await proof.connection.execute(_KEEP, *(list(column) for column in zip(*rows, strict=True)))


async def diagnoses_of(connection: Connection, incident: str) -> list[DiagnosisRow]:
    """The diagnoses of an incident, oldest first."""
    return [_row(row) for row in await connection.fetch("SELECT * FROM diagnoses WHERE incident = $1 ORDER BY at, event", incident)]


async def record_of_sources(connection: Connection) -> list[Record]:
    """How each source, and each provider of it, has done so far."""
    return [Record(**dict(row.items())) for row in await connection.fetch(_RECORD)]


async def record_of_critics(connection: Connection) -> list[DebateRecord]:
    """How the critic of each provider has done so far."""
    return [DebateRecord(**dict(row.items()) | {"critic": Debate(row["critic"])}) for row in await connection.fetch(_DEBATES)]


def _values(one: Judged) -> tuple[object, ...]:
    event, named = one.event, one.said("debate")
    critic = Debate(named) if named in set(Debate) else None
    borne = critic_bearing(critic, event)
    told = (event.operation, event.id, event.incident, event.at)
    said = (one.said("source"), clean(one.said("provider"), 128), event.playbook, clean(one.said("proposal", "root_cause"), _TEXT_LIMIT))
    objection = clean(one.said("situation", "objection"), _TEXT_LIMIT)
    return (*told, *said, bearing_of(event).value, critic.value if critic else "", objection, borne.value if borne else "")


def _row(row: Row) -> DiagnosisRow:
    critic, borne = row["critic"], row["critic_bearing"]
    read = {"bearing": Bearing(row["bearing"]), "critic": Debate(critic) if critic else None}
    return DiagnosisRow(**dict(row.items()) | read | {"critic_bearing": Bearing(borne) if borne else None})
