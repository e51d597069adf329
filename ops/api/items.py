"""What a list tells of each of its items; the rest is told of one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from ops.facts.learning import Farther, farther_of
from ops.facts.rates import rate_in
from schemas.action import Action
from schemas.intervals import Interval
from schemas.target import Target
from schemas.words import ApprovalState, Disposition, IncidentState, Mode, Result, Risk, Severity
from sql.declarations import Reach
from sql.knowledge_search import Found
from sql.playbooks import PlaybookRow
from sql.trust import TrustRow

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


class KnowledgeItem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a list of the knowledge base; `excerpt` is the part of it that fits best, what was searched for in « and »."""

    id: str
    at: datetime
    incident: str
    approval: str
    alert: str
    category: str
    target: str
    services: tuple[str, ...]
    pattern: str
    what: str
    result: Result
    risk: str
    path: str
    playbook: str
    tags: tuple[str, ...]
    excerpt: str


class TrustItem(TrustRow, frozen=True, kw_only=True):
    """How far one kind of action is trusted; `rate` is how often it succeeded, None without any, `interval` (95 %) how sure that is."""

    rate: float | None
    interval: Interval


class PlaybookItem(PlaybookRow, frozen=True, kw_only=True):
    """One playbook; `rate` is how often what it proposed succeeded, None without any, `interval` (95 %) how sure that is.

    `reach` says how often what it did reached farther than foreseen, of all of its versions.
    """

    rate: float | None
    interval: Interval
    reach: Farther


def knowledge_items(found: Iterable[Found]) -> list[KnowledgeItem]:
    """What was found, as items of a list."""
    names = [name for name in KnowledgeItem.__struct_fields__ if name != "excerpt"]
    return [KnowledgeItem(**{name: getattr(one.entry, name) for name in names}, excerpt=one.excerpt) for one in found]


def trust_items(rows: Iterable[TrustRow]) -> list[TrustItem]:
    """The rows as items of a list, with the rate of each."""
    return [TrustItem(**_fields(row), **rate_in(row.successes, row.failures, as_text=False)) for row in rows]


def playbook_items(rows: Iterable[PlaybookRow], reaches: Mapping[str, Reach]) -> list[PlaybookItem]:
    """The rows as items of a list, with the rate and the reach of each, by name."""
    return [
        PlaybookItem(**_fields(row), **rate_in(row.successes, row.failures, as_text=False), reach=farther_of(reaches[row.name]))
        for row in rows
    ]


def _fields(row: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def items_of(rows: Iterable[object], kind: type[S]) -> list[S]:
    """The rows of the store as items of a list: the fields of `kind`, which the rows have by the same names."""
    return [kind(**{name: getattr(row, name) for name in kind.__struct_fields__}) for row in rows]
