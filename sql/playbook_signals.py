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

from datetime import datetime
from enum import StrEnum

import msgspec

from schemas.action import is_observation
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.words import Ground, Outcome, Verdict

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
