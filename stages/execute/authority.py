"""Whether an approval allows its action to run: read from its row and its signatures in Postgres, never from an event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from schemas.action import action_hash, is_observation, needs_grant
from schemas.words import ApprovalState, Choice, Mode
from sql.approvals import ApprovalRow, SignatureRow, fold_name
from sql.incidents import IncidentRow


def refusal(approval: ApprovalRow, signatures: Sequence[SignatureRow], now: datetime, grant: float = 600.0) -> str:
    """Why the action must not run, as a sentence; empty when it may. Everything that is missing counts as no.

    `grant` is how long, in seconds, an approval lets a host be changed.
    """
    if approval.state is not ApprovalState.APPROVED or approval.decided_at is None:
        return f"the approval is {approval.state.value}, not approved"
    if now > approval.expires_at:
        minutes = (now - approval.decided_at).total_seconds() / 60
        return f"the approval was given {minutes:.0f} min ago and its time to begin is over: it must be approved again"
    age = (now - approval.decided_at).total_seconds()
    if needs_grant(approval.action) and age > grant:
        ended = f"the grant to change {approval.target} ended {grant:g} s after the approval"
        return f"{ended}, which was {age:.0f} s ago: it must be approved again"
    if action_hash(approval.action, approval.target_uid) != approval.action_hash:
        return "the action or its target's UID is not what the approval's hash stands for: the row was changed after it was approved"
    if not approval.target_uid and not is_observation(approval.action):
        return "the approval names no UID of the object that would be changed"
    return _missing(approval, signatures)


def is_shadowed(approval: ApprovalRow) -> bool:
    """Whether nothing runs in the mode that the approval was decided in."""
    return approval.mode is Mode.SHADOW


def is_wanted(approval: ApprovalRow, incident: IncidentRow | None) -> bool:
    """Whether it is still to be done: once the incident is over, only what a person proposed, such as taking an action back."""
    return approval.by_person or (incident is not None and incident.is_open)


def _missing(approval: ApprovalRow, signatures: Sequence[SignatureRow]) -> str:
    """Recounts the signatures: by different people, none of them the proposer, and not one against."""
    against = [one.person for one in signatures if one.choice is Choice.REJECT]
    if against:
        return f"{against[0]} rejected it"
    people = {fold_name(one.person) for one in signatures if one.choice is Choice.SIGN} - {fold_name(approval.proposer)}
    if len(people) < approval.needed:
        return f"it has {len(people)} of {approval.needed} signatures"
    return ""
