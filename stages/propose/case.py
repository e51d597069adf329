"""What a source of proposals is asked, what it answers, and the two sources that may come before the templates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from schemas.action import Action, describe
from schemas.evidence import Snapshot
from schemas.playbook import NearMiss, Share
from schemas.preflight import Check
from schemas.target import Target
from schemas.words import Debate, Risk, Severity, Source


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One incident with its evidence: all that a source may know. `snapshot.target` is the target as the cluster spells it.

    `title` is what its first alert says of itself, in the words of whoever wrote the rule.
    `labels` are those of its first signal, `alert_labels` those of the first signal of each of its alerts.
    """

    incident: str
    target: Target
    severity: Severity
    alerts: tuple[str, ...]
    labels: dict[str, str]
    opened_at: datetime
    snapshot: Snapshot
    title: str = ""
    alert_labels: tuple[dict[str, str], ...] = ()


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """An action with its reasons, as sentences for a person who was asleep a minute ago.

    `question` is not empty where people are needed besides, or instead, because the action alone cannot heal.
    `confidence` is from 0 to 1; `risk` is set only where the source names one. `otherwise` is what is suggested in its place
    when its preflight fails, such as for lack of room. `objection` is what speaks against it, so that a person must sign, and
    `debate` how a critic answered, where one was asked. `inverse` takes it back, where the preflight knows no way. `repairs` names
    the failed operation that it repairs, where it does. `similarity` says how much the playbook, of that version, fits, and from what.
    """

    action: Action
    reasons: tuple[str, ...]
    confidence: float
    source: Source = Source.TEMPLATE
    provider: str = "templates"
    root_cause: str = ""
    question: str = ""
    risk: Risk | None = None
    cached: bool = False
    playbook: str = ""
    playbook_version: int = 0
    similarity: tuple[Share, ...] = ()
    inverse: Action | None = None
    otherwise: Suggestion | None = None
    objection: str = ""
    repairs: str = ""
    debate: Debate | None = None


def with_reason(suggestion: Suggestion, reason: str) -> Suggestion:
    """The suggestion with one reason more, the second where there is one to say; also what it gives way to."""
    if not reason:
        return suggestion
    otherwise = suggestion.otherwise and with_reason(suggestion.otherwise, reason)
    return msgspec.structs.replace(suggestion, reasons=(*suggestion.reasons[:1], reason, *suggestion.reasons[1:]), otherwise=otherwise)


def instead(first: Suggestion, second: Suggestion, failed: Sequence[Check]) -> Suggestion:
    """The second best, which says why it is not the first."""
    why = "; ".join(check.detail or check.name for check in failed)
    return msgspec.structs.replace(second, reasons=(*second.reasons, f"Better would be to {describe(first.action)}, but: {why}."))


class SuggestionSource(Protocol):
    """A playbook catalogue, or a language model: None when it has nothing that fits, so that the next source is asked.

    It bounds its own time and raises nothing for what is merely slow, over budget or invalid.
    """

    async def suggest(self, case: Case) -> Suggestion | None: ...


class Neighbours(Protocol):
    """What nearly fits a case, for whoever has to decide about it."""

    async def near(self, case: Case) -> tuple[NearMiss, ...]: ...
