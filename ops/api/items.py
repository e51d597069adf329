"""What a list tells of each of its items; the rest is told of one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import msgspec

from schemas.action import Action
from schemas.target import Target
from schemas.words import ApprovalState, Disposition, IncidentState, Mode, Risk, Severity

S = TypeVar("S", bound=msgspec.Struct)


class IncidentItem(msgspec.Struct, frozen=True, kw_only=True):
    """One incident of a list, without its labels and notes."""

    id: str
    state: IncidentState
    severity: Severity
    target: Target
    title: str
    alerts: tuple[str, ...]
    services: tuple[str, ...]
    firing: int
    signals: int
    opened_at: datetime
    resolved_at: datetime | None
    closed_at: datetime | None
    disposition: Disposition | None
    succeeded: bool | None


class ApprovalItem(msgspec.Struct, frozen=True, kw_only=True):
    """One approval of a list, without what it rests on, what it would change and how far it reaches."""

    id: str
    incident: str
    action: Action
    target: Target
    severity: Severity
    risk: Risk
    state: ApprovalState
    needed: int
    roles: tuple[str, ...]
    signers: tuple[str, ...]
    automatic: bool
    proposer: str
    playbook: str
    rule: str
    mode: Mode
    unproven: str
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    finished_at: datetime | None


def items_of(rows: Iterable[object], kind: type[S]) -> list[S]:
    """The rows of the store as items of a list: the fields of `kind`, which the rows have by the same names."""
    return [kind(**{name: getattr(row, name) for name in kind.__struct_fields__}) for row in rows]
