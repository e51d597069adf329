"""The way back of an approval: what undoes its action, and whether it can be put to the gate. What is shown here is what `undo` runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from schemas.action import Action, describe, is_observation, no_way_back
from schemas.words import ApprovalState, Outcome

if TYPE_CHECKING:
    from sql.approvals import ApprovalRow
    from sql.database import Connection
    from sql.operations import Operation


class Origin(StrEnum):
    """Where a way back comes from."""

    STORED = "stored"  # the inverse, worked out before the action and kept with its approval
    TOLD = "told"  # what people were told of when the action had not healed, and had no inverse
    NONE = "none"


class Now(StrEnum):
    """Whether the way back can be put to the gate."""

    NOT_YET = "not yet done"
    DONE = "done"
    NEVER = "not done"


class WayBack(msgspec.Struct, frozen=True, kw_only=True):
    """What undoes an approved action: `action`, in words `says`; without one, `says` is why there is none.

    `command` puts that very action to the gate; empty where that can never be.
    """

    action: Action | None
    says: str
    origin: Origin
    now: Now
    command: str = ""


async def find_way_back(connection: Connection, row: ApprovalRow) -> WayBack:
    """The way back of an approval: its inverse, else what people were told of when its action had not healed."""
    from sql.failures import way_back_of
    from sql.operations import get_operation

    operation = await get_operation(connection, row.id)
    told = await way_back_of(connection, operation.id) if operation else None
    return _way_back(row, operation, told)


def _way_back(row: ApprovalRow, operation: Operation | None, told: Action | None) -> WayBack:
    now = _now(row, operation)
    action = row.inverse or told
    if action is None:
        return WayBack(action=None, says=no_way_back(row.action), origin=Origin.NONE, now=now)
    origin = Origin.STORED if row.inverse else Origin.TOLD
    command = "" if now is Now.NEVER else f"mend approvals undo {row.id}"
    return WayBack(action=action, says=describe(action), origin=origin, now=now, command=command)


def _now(row: ApprovalRow, operation: Operation | None) -> Now:
    if operation is not None and operation.outcome is not None:
        return Now.DONE if operation.outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN) else Now.NEVER
    ended = row.finished_at is not None or row.state not in (ApprovalState.WAITING, ApprovalState.APPROVED)
    return Now.NEVER if ended or is_observation(row.action) else Now.NOT_YET
