"""Verified operations with what they were approved on: proven against the stores, many by few queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.action import Action, is_observation
from schemas.event import Event
from schemas.events import VerificationFinished
from schemas.preflight import BlastRadius
from sql.proof import Proof

_action = msgspec.json.Decoder(Action)
_inputs = msgspec.json.Decoder(dict[str, Any])
_blast = msgspec.json.Decoder(BlastRadius)


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


async def judged(proof: Proof, events: Iterable[Event]) -> list[Judged]:
    """Those of the events that are verifications of something that was done, and that the stores bear out, the earliest first.

    Of two about the same operation the earlier one is taken.
    """
    genuine = await proof.without_copies([event for event in events if isinstance(event, VerificationFinished)])
    told = [event for event in genuine if not is_observation(event.action)]
    deeds = await proof.deeds(event.operation for event in told)
    grounds = await proof.grounds(deed.approval for deed in deeds.values())
    found: dict[str, Judged] = {}
    for event in sorted(told, key=lambda one: (one.at, one.id), reverse=True):
        deed = deeds.get(event.operation)
        if deed is None or deed.verdict is None or (deed.incident, deed.verdict) != (event.incident, event.verdict):
            continue
        if _action.decode(deed.action) != event.action or deed.approval not in grounds:
            continue
        approved = grounds[deed.approval]
        blast = _blast.decode(approved.blast) if approved.blast else None
        found[event.operation] = Judged(event=event, inputs=_inputs.decode(approved.inputs), blast=blast)
    return sorted(found.values(), key=lambda one: (one.event.at, one.event.id))
