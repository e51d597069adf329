"""Whether the stores bear an event out: the approvals, operations and verifications in Postgres are authority, and events only news.

Many events are proven by few queries, whatever they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from schemas.action import Action
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, VerificationFinished
from schemas.words import ApprovalState
from sql.database import Connection
from sql.told import Told, tellings, told_of

E = TypeVar("E", bound=Event)
F = TypeVar("F", bound=msgspec.Struct)


class Deed(msgspec.Struct, frozen=True):
    """What the ledger of operations says of one: its action as JSON, how it ended and was judged, and if it was begun."""

    incident: str
    approval: str
    action: str
    outcome: str
    verdict: str | None
    begun: bool


class Decision(msgspec.Struct, frozen=True):
    """What an approval's row says: its action as JSON, its state, and whether it needed no person."""

    action: str
    state: str
    automatic: bool


class Grounds(msgspec.Struct, frozen=True):
    """What an action was approved on: its risk, and as JSON what the gate had before it and the blast radius that was foreseen."""

    risk: str
    inputs: str
    blast: str | None


_action = msgspec.json.Decoder(Action)
_encode = msgspec.json.Encoder().encode
_DEEDS = """
SELECT o.id, o.incident, o.approval, o.action, o.outcome, v.verdict, o.started_at IS NOT NULL AS begun
  FROM operations o LEFT JOIN verifications v ON v.operation = o.id WHERE o.id = ANY($1)
"""
_DECISIONS = "SELECT id, action, state, automatic FROM approvals WHERE id = ANY($1)"
_GROUNDS = "SELECT id, risk, inputs, blast FROM approvals WHERE id = ANY($1)"


class Proof:
    """What the stores say of events, within one transaction: each fact is asked for once, by however many projections."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._told: dict[Told, str] = {}
        self._deeds: dict[str, Deed | None] = {}
        self._decisions: dict[str, Decision | None] = {}
        self._grounds: dict[str, Grounds | None] = {}

    async def without_copies(self, events: Sequence[E]) -> list[E]:
        """These events without those in whose place a stage has told another. Of what was told before ids were kept, all stay.

        What is about an id with a NUL is about nothing: none of ours has one.
        """
        keys = {id(event): told_of(event) for event in events}
        missing = {key for key in keys.values() if key is not None and key not in self._told and "\0" not in key[1]}
        if missing:
            self._told |= dict.fromkeys(missing, "") | await tellings(self.connection, missing)
        genuine = []
        for event in events:
            key = keys[id(event)]
            if key is None or ("\0" not in key[1] and self._told[key] in ("", event.id)):
                genuine.append(event)
        return genuine

    async def deeds(self, operations: Iterable[str]) -> dict[str, Deed]:
        """What is known of these operations, by their ids; those that there are not are left out."""
        return await self._asked(self._deeds, Deed, _DEEDS, operations)

    async def grounds(self, approvals: Iterable[str]) -> dict[str, Grounds]:
        """What these approvals rest on, by their ids; those that there are not are left out."""
        return await self._asked(self._grounds, Grounds, _GROUNDS, approvals)

    async def borne_out(self, events: Sequence[E]) -> list[E]:
        """Of these events the ones that the stores bear out: this very action was verified so, ended so, or was decided so by people.

        An event of another type is never among them, nor a copy of one that a stage is known to have told.
        """
        events = await self.without_copies(events)
        done = await self.deeds(event.operation for event in events if isinstance(event, VerificationFinished | ExecutionFinished))
        decided = (event.approval for event in events if isinstance(event, ActionRejected | ActionApproved))
        decisions = await self._asked(self._decisions, Decision, _DECISIONS, decided)
        return [event for event in events if _is_borne_out(event, done, decisions)]

    async def _asked(self, known: dict[str, F | None], kind: type[F], query: str, ids: Iterable[str]) -> dict[str, F]:
        """The facts of these ids, asked for where they are not known yet. Postgres has no id with a NUL."""
        ids = [one for one in dict.fromkeys(ids) if "\0" not in one]
        missing = [one for one in ids if one not in known]
        if missing:
            rows = await self.connection.fetch(query, missing)
            known |= dict.fromkeys(missing) | {row["id"]: kind(*list(row.values())[1:]) for row in rows}
        return {one: found for one in ids if (found := known[one]) is not None}


def _is_borne_out(event: Event, done: dict[str, Deed], decisions: dict[str, Decision]) -> bool:
    match event:
        case VerificationFinished() | ExecutionFinished():
            deed = done.get(event.operation)
            if deed is None or deed.incident != event.incident:
                return False
            judged = not isinstance(event, VerificationFinished) or deed.verdict == event.verdict
            return judged and deed.outcome == event.outcome and _same(deed.action, event.action)
        case ActionRejected():
            found = decisions.get(event.approval)
            return found is not None and found.state == ApprovalState.REJECTED and _same(found.action, event.action)
        case ActionApproved():
            # What people approved may be rejected by one of them later: it was approved all the same.
            found = decisions.get(event.approval)
            agreed = found is not None and found.state in (ApprovalState.APPROVED, ApprovalState.REJECTED) and not found.automatic
            return agreed and found is not None and _same(found.action, event.action)
        case _:
            return False


def _same(kept: str, action: Action) -> bool:
    """Whether the row has this very action; one that another version wrote may be spelled otherwise."""
    return kept.encode() == _encode(action) or bool(_action.decode(kept) == action)
