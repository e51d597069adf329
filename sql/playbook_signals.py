"""What an event says of the playbook that an action came from, and as how many outcomes it counts in the playbook's mean.

| what was told                                                              | outcome | counts as |
|----------------------------------------------------------------------------|---------|----------:|
| verified as a success                                                      | success |         1 |
| verified as failed                                                         | failure |         2 |
| verified, and nothing of what it was taken for was wrong: a wrong diagnosis | failure |         2 |
| the execution failed after it began, and nobody verified it                | failure |         2 |
| any of these failures, where a critic had objected to the action           | failure |         3 |

A verification goes before an exit code: of one operation the execution counts only as long as there is no verification of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.action import is_observation
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.words import Debate, Ground, Outcome, Verdict
from sql.database import Connection

FAILURE_WEIGHT = 2
OBJECTED_WEIGHT = 3
TYPES: tuple[str, ...] = ("VerificationFinished", "ExecutionFinished")


class Kind(StrEnum):
    """What a row of a playbook's ledger rests on."""

    VERIFIED = "verified"
    MISDIAGNOSED = "misdiagnosed"
    EXECUTED = "executed"


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a playbook's ledger: what the operation `about` came to, as `weight` outcomes of the mean."""

    event: str
    playbook: str
    at: datetime
    success: bool
    kind: Kind
    weight: int
    about: str


_DEBATE = "SELECT inputs::jsonb ->> 'debate' FROM approvals WHERE id = $1"
_BEGUN = "SELECT started_at IS NOT NULL FROM operations WHERE id = $1"


def kind_of(event: Event) -> tuple[Kind, bool] | None:
    """What an event says of its playbook, and whether that is a success; None when it says nothing."""
    match event:
        case VerificationFinished() if event.playbook and event.measured and not is_observation(event.action):
            if event.verdict is Verdict.DEGRADED and event.outcome is Outcome.SUCCEEDED and event.ground is Ground.HEALED_NOTHING:
                return Kind.MISDIAGNOSED, False
            success = {Verdict.SUCCESS: True, Verdict.FAILED: False}.get(event.verdict)
            return None if success is None else (Kind.VERIFIED, success)
        case ExecutionFinished(outcome=Outcome.FAILED) if event.playbook and not is_observation(event.action):
            return Kind.EXECUTED, False
        case _:
            return None


def weight_of(success: bool, *, objected: bool) -> int:
    """As how many outcomes it counts."""
    if success:
        return 1
    return OBJECTED_WEIGHT if objected else FAILURE_WEIGHT


async def signal_of(connection: Connection, event: Event) -> Signal | None:
    """The row of an event that says something of its playbook; the event is taken as proven. An execution that never began says nothing."""
    said = kind_of(event)
    if said is None or not isinstance(event, VerificationFinished | ExecutionFinished):
        return None
    kind, success = said
    if kind is Kind.EXECUTED and not await connection.fetchval(_BEGUN, event.operation):
        return None
    objected = await connection.fetchval(_DEBATE, event.approval) == Debate.OBJECTED
    named = {"event": event.id, "playbook": event.playbook, "about": event.operation}
    return Signal(**named, at=event.at, success=success, kind=kind, weight=weight_of(success, objected=objected))


def counted(signals: Sequence[Signal]) -> list[Signal]:
    """The signals of one playbook that count, in the order of event times: no execution of an operation that was verified."""
    verified = {one.about for one in signals if one.kind is not Kind.EXECUTED}
    kept = (one for one in signals if one.kind is not Kind.EXECUTED or one.about not in verified)
    return sorted(kept, key=lambda one: (one.at, one.event))
