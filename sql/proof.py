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
from sql.told import without_copies

E = TypeVar("E", bound=Event)


class Deed(msgspec.Struct, frozen=True):
    """What the ledger of operations says of one: its action as JSON, how it ended and was judged, and if it was begun."""

    incident: str
    action: str
    outcome: str
    verdict: str | None
    begun: bool


class Decision(msgspec.Struct, frozen=True):
    """What an approval's row says: its action as JSON, its state, and whether it needed no person."""

    action: str
    state: str
    automatic: bool


_action = msgspec.json.Decoder(Action)
_encode = msgspec.json.Encoder().encode
_DEEDS = """
SELECT o.id, o.incident, o.action, o.outcome, v.verdict, o.started_at IS NOT NULL AS begun
  FROM operations o LEFT JOIN verifications v ON v.operation = o.id WHERE o.id = ANY($1)
"""
_DECISIONS = "SELECT id, action, state, automatic FROM approvals WHERE id = ANY($1)"


async def deeds(connection: Connection, operations: Iterable[str]) -> dict[str, Deed]:
    """What is known of these operations, by their ids; those that there are not are left out."""
    rows = await connection.fetch(_DEEDS, _known_form(operations))
    return {row["id"]: Deed(row["incident"], row["action"], row["outcome"], row["verdict"], row["begun"]) for row in rows}


async def borne_out(connection: Connection, events: Sequence[E]) -> list[E]:
    """Of these events the ones that the stores bear out: this very action was verified so, ended so, or was decided so by people.

    An event of another type is never among them, nor a copy of one that a stage is known to have told.
    """
    events = await without_copies(connection, events)
    told = [event.operation for event in events if isinstance(event, VerificationFinished | ExecutionFinished)]
    decided = [event.approval for event in events if isinstance(event, ActionRejected | ActionApproved)]
    done = await deeds(connection, told) if told else {}
    decisions: dict[str, Decision] = {}
    for row in await connection.fetch(_DECISIONS, _known_form(decided)) if decided else []:
        decisions[row["id"]] = Decision(row["action"], row["state"], row["automatic"])
    return [event for event in events if _is_borne_out(event, done, decisions)]


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


def _known_form(ids: Iterable[str]) -> list[str]:
    """Those ids that Postgres can hold: none of its own has a NUL."""
    return [one for one in dict.fromkeys(ids) if "\0" not in one]
