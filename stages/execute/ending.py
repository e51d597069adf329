"""How one attempt ended: what is known of the side effect, and what is to be told."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.words import OperationState, Outcome
from sql.audit import AuditState

_AUDIT: dict[Outcome, AuditState] = {
    Outcome.SUCCEEDED: "success",
    Outcome.FAILED: "failed",
    Outcome.UNKNOWN: "unknown",
    Outcome.REFUSED: "refused",
    Outcome.DRY_RUN_BLOCKED: "dry_run",
    Outcome.SHADOWED: "shadowed",
    Outcome.WITHDRAWN: "withdrawn",
}
_LEDGER = {Outcome.SUCCEEDED: OperationState.SUCCEEDED, Outcome.UNKNOWN: OperationState.UNKNOWN}


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one attempt. Without an `outcome` the operation goes on later, in `state`."""

    outcome: Outcome | None
    state: OperationState
    output: str = ""
    error: str = ""

    @property
    def audit(self) -> AuditState:
        return _AUDIT[self.outcome] if self.outcome else "retried"


def ended(outcome: Outcome, *, output: str = "", error: str = "") -> Ending:
    """The end of the operation."""
    return Ending(outcome=outcome, state=_LEDGER.get(outcome, OperationState.FAILED), output=output, error=error)


def later(error: Any, *, touched: bool) -> Ending:
    """The operation is tried again; `touched` says that the side effect may have happened, so that it is looked for first."""
    return Ending(outcome=None, state=OperationState.RUNNING if touched else OperationState.PENDING, error=str(error))
