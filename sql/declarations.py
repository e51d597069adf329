"""What actions and playbooks declared would be so afterwards, what of it held, and how far they reached, as foreseen and as seen.

A fold of verifications: one row for each operation, the same for the same events in any order, any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.action import describe
from schemas.event import Event
from schemas.events import VerificationFinished
from schemas.judgement import Demand
from schemas.text import clean
from schemas.words import Ground, Outcome, Verdict
from sql.database import Connection, Row
from sql.judged import Judged, judged
from sql.proof import Proof

TYPES: tuple[str, ...] = ("VerificationFinished",)
TABLES: tuple[str, ...] = ("declarations",)
_KEEP = """
INSERT INTO declarations (
    operation, event, incident, at, playbook, verdict, declared, foreseen_pods, foreseen_downtime, foreseen_tier, touched_pods
) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::int[], $9::float8[],
                       $10::text[], $11::int[])
ON CONFLICT (operation) DO UPDATE SET event = excluded.event, incident = excluded.incident, at = excluded.at,
    playbook = excluded.playbook, verdict = excluded.verdict, declared = excluded.declared, foreseen_pods = excluded.foreseen_pods,
    foreseen_downtime = excluded.foreseen_downtime, foreseen_tier = excluded.foreseen_tier, touched_pods = excluded.touched_pods
 WHERE (excluded.at, excluded.event) < (declarations.at, declarations.event)
"""
_REACH = """
SELECT playbook, count(*) AS operations, count(*) FILTER (WHERE touched_pods IS NOT NULL AND foreseen_pods IS NOT NULL) AS measured,
       count(*) FILTER (WHERE touched_pods > foreseen_pods) AS farther
  FROM declarations WHERE playbook = ANY($1) GROUP BY playbook
"""
_declared = msgspec.json.Decoder(tuple[Demand, ...])


class DeclarationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: what was declared of it, the action itself first, and what of that held (None: not known).

    `foreseen_…` is the blast radius that it was approved with, in pods and seconds; `touched_pods` are those that were there before and
    were gone or replaced after. None where it was not measured.
    """

    operation: str
    event: str
    incident: str
    at: datetime
    playbook: str
    verdict: Verdict
    declared: tuple[Demand, ...]
    foreseen_pods: int | None
    foreseen_downtime: float | None
    foreseen_tier: str
    touched_pods: int | None

    @property
    def went_farther(self) -> bool | None:
        """Whether it reached farther than was foreseen; None where one of both is not known."""
        if self.touched_pods is None or self.foreseen_pods is None:
            return None
        return self.touched_pods > self.foreseen_pods


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Of so many operations, how many have both a foreseen and a seen reach, and how many of these went farther."""

    operations: int
    measured: int
    farther: int


def declared_in(event: VerificationFinished) -> tuple[Demand, ...]:
    """What was declared, with what of it held: that the action's own change is there, and what its playbook asks for."""
    held: bool | None = None
    if event.ground is Ground.CHANGED_SINCE:
        held = False
    elif event.outcome is Outcome.SUCCEEDED and event.measured:
        held = True
    return (Demand(said=clean(describe(event.action), 300), held=held), *(event.demands or ()))


async def take(proof: Proof, events: Sequence[Event]) -> None:
    """Takes verifications that the stores bear out; others tell nothing."""
    rows = [_values(one) for one in await judged(proof, events)]
    if rows:
        await proof.connection.execute(_KEEP, *(list(column) for column in zip(*rows, strict=True)))


async def declarations_of(connection: Connection, incident: str) -> list[DeclarationRow]:
    """What was declared of the operations of an incident, oldest first."""
    return [_row(row) for row in await connection.fetch("SELECT * FROM declarations WHERE incident = $1 ORDER BY at, event", incident)]


async def reach_of(connection: Connection, playbooks: Sequence[str]) -> dict[str, Reach]:
    """How far the operations of each of these playbooks reached, beside what was foreseen; an empty name is those without a playbook."""
    none = Reach(operations=0, measured=0, farther=0)
    rows = await connection.fetch(_REACH, list(playbooks))
    found = {row["playbook"]: Reach(operations=row["operations"], measured=row["measured"], farther=row["farther"]) for row in rows}
    return {name: found.get(name, none) for name in playbooks}


def _values(one: Judged) -> tuple[object, ...]:
    event, blast = one.event, one.blast
    foreseen = (blast.pods, blast.downtime, blast.tier.value) if blast is not None else (None, None, "")
    declared = msgspec.json.encode(declared_in(event)).decode()
    touched = event.touched if isinstance(event.touched, int) else None
    return (event.operation, event.id, event.incident, event.at, event.playbook, event.verdict.value, declared, *foreseen, touched)


def _row(row: Row) -> DeclarationRow:
    return DeclarationRow(**dict(row.items()) | {"verdict": Verdict(row["verdict"]), "declared": _declared.decode(row["declared"])})
