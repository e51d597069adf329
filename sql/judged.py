"""Verified operations with what they were approved on: proven against the stores, many by one query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.action import Action, is_observation
from schemas.event import Event
from schemas.events import VerificationFinished
from schemas.preflight import BlastRadius
from sql.database import Connection
from sql.told import without_copies

_action = msgspec.json.Decoder(Action)
_inputs = msgspec.json.Decoder(dict[str, Any])
_blast = msgspec.json.Decoder(BlastRadius)
_JUDGED = """
SELECT o.id, o.incident, o.action, v.verdict, a.inputs, a.blast
  FROM operations o JOIN verifications v ON v.operation = o.id JOIN approvals a ON a.id = o.approval
 WHERE o.id = ANY ($1)
"""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A verification that the stores bear out, with the inputs of the gate's decision and the blast radius that was foreseen."""

    event: VerificationFinished
    inputs: dict[str, Any]
    blast: BlastRadius | None

    def said(self, *path: str) -> str:
        """A text among the inputs, or nothing."""
        part: Any = self.inputs
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        return part if isinstance(part, str) else ""

    @property
    def proven(self) -> bool:
        """Whether Mendstream or a person is known to have proposed it; what another proposal says of itself is its own claim."""
        situation = self.inputs.get("situation")
        return isinstance(situation, dict) and bool(situation.get("proven"))


async def judged(connection: Connection, events: Iterable[Event]) -> list[Judged]:
    """Those of the events that are verifications of something that was done, and that the stores bear out, the earliest first.

    Of two about the same operation the earlier one is taken.
    """
    genuine = await without_copies(connection, [event for event in events if isinstance(event, VerificationFinished)])
    told = sorted(genuine, key=lambda one: (one.at, one.id), reverse=True)
    known = {row["id"]: row for row in await connection.fetch(_JUDGED, [event.operation for event in told])} if told else {}
    found: dict[str, Judged] = {}
    for event in told:
        row = known.get(event.operation)
        if row is None or is_observation(event.action) or (row["incident"], row["verdict"]) != (event.incident, event.verdict):
            continue
        if _action.decode(row["action"]) != event.action:
            continue
        blast = _blast.decode(row["blast"]) if row["blast"] else None
        found[event.operation] = Judged(event=event, inputs=_inputs.decode(row["inputs"]), blast=blast)
    return sorted(found.values(), key=lambda one: (one.event.at, one.event.id))
