"""What whoever is asked to sign must know, in lines of its own: each is there or not, and none is cut away by another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from schemas.action import is_in_repository, is_observation, no_way_back
from schemas.evidence import GitOps
from schemas.preflight import BlastRadius, Check
from schemas.words import CheckResult, Language
from sql.approvals import ApprovalRow
from stages.notify.texts import action_in, say

_REASONS = 3
_CHANGES = 6
_CHECKS = 6


def facts_of(row: ApprovalRow, language: Language = Language.ENGLISH) -> list[str]:
    """The lines about one approval: why, what would take it back, what it touches and changes, its way back, what was not checked.

    Of a proposal that nothing proves, they are what it claims, and are called so.
    """
    reverted = [line] if (line := reverted_by(row, language)) else []
    what = [*_blast(row.blast, language), *_changes(row, language), *_undone(row, language)]
    lines = [*_why(row, language), *reverted, *what, *_unchecked(row, language)]
    if not row.unproven:
        return lines
    return [unproven_in(row, language), *(say(language, "claim", line=line) for line in lines)]


def unproven_in(row: ApprovalRow, language: Language) -> str:
    """What whoever signs must know of a proposal that nobody is proven to have made."""
    return say(language, "unproven", why=row.unproven, target=row.target)


def way_back_of(row: ApprovalRow, language: Language = Language.ENGLISH) -> list[str]:
    """The line about what undoes an action that was done, and how that is put to the gate; none where nothing does."""
    if row.inverse is None:
        return []
    return [say(language, "undo", what=action_in(language, row.inverse), approval=row.id)]


def reasons_of(row: ApprovalRow) -> list[str]:
    """Why it was proposed, in the words of whoever proposed it."""
    return [str(reason) for reason in row.inputs.get("proposal", {}).get("reasons", [])[:_REASONS]]


def _why(row: ApprovalRow, language: Language) -> Iterator[str]:
    if reasons := reasons_of(row):
        yield say(language, "why", reasons="; ".join(reasons))


def reverted_by(row: ApprovalRow, language: Language) -> str:
    """The line about what would take the change back; empty where nothing is known to."""
    situation: Mapping[str, Any] = row.inputs.get("situation", {})
    found = msgspec.convert(situation.get("gitops"), GitOps | None)
    return say(language, "reverted", gitops=found) if found is not None and is_in_repository(row.action) else ""


def _blast(blast: BlastRadius | None, language: Language) -> Iterator[str]:
    if blast is None:
        return
    key = "blast.services" if blast.services else "blast"
    yield say(language, key, score=blast.score, tier=blast.tier.value, pods=blast.pods, services=", ".join(blast.services))


def changes_of(row: ApprovalRow) -> tuple[list[str], int]:
    """The first lines of the change, and how many more there are."""
    lines = [line for line in row.diff.splitlines() if line.strip()]
    return lines[:_CHANGES], max(0, len(lines) - _CHANGES)


def _changes(row: ApprovalRow, language: Language) -> Iterator[str]:
    lines, more = changes_of(row)
    for line in lines:
        yield say(language, "changes", line=line)
    if more:
        yield say(language, "more.changes", count=more, approval=row.id)


def _undone(row: ApprovalRow, language: Language) -> Iterator[str]:
    if way := undone_by(row, language):
        yield say(language, "undone", way=way)


def undone_by(row: ApprovalRow, language: Language) -> str:
    """What takes it back; empty for what changes nothing."""
    if is_observation(row.action):
        return ""
    if row.inverse is None:
        return say(language, "no_way_back", why=no_way_back(row.action))
    return say(language, "way_back", what=action_in(language, row.inverse), approval=row.id)


def _unchecked(row: ApprovalRow, language: Language) -> Iterator[str]:
    if not row.checks:
        yield say(language, "check.none")
        return
    open_checks = [check for check in row.checks if check.result is not CheckResult.PASSED]
    for check in open_checks[:_CHECKS]:
        yield check_in(check, language)
    if (more := len(open_checks) - _CHECKS) > 0:
        yield say(language, "more.checks", count=more, approval=row.id)


def check_in(check: Check, language: Language) -> str:
    """One check that failed, was not run, or passed with a warning."""
    key = "check.warning" if check.result is CheckResult.PASSED else f"check.{check.result}"
    return say(language, key, name=check.name.replace("_", " "), detail=check.detail or check.missing)
