"""What whoever is asked to sign must know, in lines of its own: each is there or not, and none is cut away by another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from schemas.action import describe, is_in_repository, is_observation, no_way_back
from schemas.evidence import BlastRadius, GitOps
from schemas.words import CheckResult
from sql.approvals import ApprovalRow

_REASONS = 3
_CHANGES = 6
_CHECKS = 6


def facts_of(row: ApprovalRow) -> list[str]:
    """The lines about one approval: why, what would take it back, what it touches and changes, its way back, what was not checked.

    Of a proposal that nothing proves, they are what it claims, and are called so.
    """
    lines = [*_why(row), *_reverted(row), *_blast(row.blast), *_changes(row), *_undone(row), *_unchecked(row)]
    if not row.unproven:
        return lines
    return [f"NOT PROVEN: {row.unproven}; look at {row.target} yourself before you sign", *(f"it claims: {line}" for line in lines)]


def way_back_of(row: ApprovalRow) -> list[str]:
    """The line about what undoes an action that was done, and how that is put to the gate; none where nothing does."""
    return [f"undone by: {describe(row.inverse)}: mend approvals undo {row.id}"] if row.inverse is not None else []


def _why(row: ApprovalRow) -> Iterator[str]:
    reasons = row.inputs.get("proposal", {}).get("reasons", [])
    if reasons:
        yield f"why: {'; '.join(str(reason) for reason in reasons[:_REASONS])}"


def _reverted(row: ApprovalRow) -> Iterator[str]:
    situation: Mapping[str, Any] = row.inputs.get("situation", {})
    found = msgspec.convert(situation.get("gitops"), GitOps | None)
    if found is not None and is_in_repository(row.action):
        yield f"will be reverted by {found}, unless its repository is changed as well"


def _blast(blast: BlastRadius | None) -> Iterator[str]:
    if blast is None:
        return
    services = f", services {', '.join(blast.services)}" if blast.services else ""
    yield f"blast radius {blast.score} of 100 ({blast.tier.value}): {blast.pods} pods{services}"


def _changes(row: ApprovalRow) -> Iterator[str]:
    yield from _first((f"changes {line}" for line in row.diff.splitlines() if line.strip()), _CHANGES, "lines of the change", row)


def _undone(row: ApprovalRow) -> Iterator[str]:
    if is_observation(row.action):
        return
    if row.inverse is None:
        yield f"undone by: nothing that Mendstream can do: {no_way_back(row.action)}"
    else:
        yield f"undone by: {describe(row.inverse)} (once it was done: mend approvals undo {row.id})"


def _unchecked(row: ApprovalRow) -> Iterator[str]:
    said = {CheckResult.NOT_CHECKED: "not checked", CheckResult.FAILED: "failed"}
    open_checks = [check for check in row.checks if check.result in said]
    lines = [f"{said[check.result]}: {check.name.replace('_', ' ')}: {check.detail or check.missing}" for check in open_checks]
    yield from _first(lines if row.checks else ["not checked: no check was run"], _CHECKS, "such checks", row)


def _first(lines: Iterator[str] | Sequence[str], most: int, what: str, row: ApprovalRow) -> Iterator[str]:
    found = list(lines)
    yield from found[:most]
    if len(found) > most:
        yield f"and {len(found) - most} more {what}: mend approvals show {row.id}"
