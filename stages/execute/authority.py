"""Whether an approval allows its action to run: read from its row and its signatures in Postgres, never from an event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from schemas.action import action_hash, is_observation, needs_grant
from schemas.preflight import BlastRadius
from schemas.words import ApprovalState, Choice, Mode, Tier
from sql.approvals import ApprovalRow, SignatureRow, fold_name
from sql.incidents import IncidentRow

_TIERS = tuple(Tier)  # the worst one last


def refusal(approval: ApprovalRow, signatures: Sequence[SignatureRow], now: datetime, mode: Mode = Mode.AUTO, grant: float = 600.0) -> str:
    """Why the action must not run, as a sentence; empty when it may. Everything that is missing counts as no.

    `mode` is the present one, whatever it was when the gate decided; `grant` how long, in seconds, an approval lets a host be changed.
    """
    if person := rejected_by(signatures):
        return f"{person} rejected it"
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
    people = _people(approval, signatures)
    if len(people) < approval.needed:
        return f"it has {len(people)} of {approval.needed} signatures"
    had = {role for one in signatures if one.choice is Choice.SIGN for role in one.roles}
    if lacking := [role for role in approval.roles if role not in had]:
        return f"nobody who signed it is {' or '.join(lacking)}, as it wants"
    if mode is Mode.ASSIST and not people and not is_observation(approval.action):
        return "the mode is assist now, in which a person signs every change, and nobody has signed this one"
    return ""


def outgrown(approval: ApprovalRow, blast: BlastRadius) -> str:
    """Why the blast radius as it is now is not the one that was agreed to; empty when its tier is no worse.

    Who must agree to a worse one is for the gate's policy to say, so it is approved again, however many have signed. What was not
    measured when it was approved was agreed to as nothing.
    """
    agreed, measured = approval.blast.tier if approval.blast else Tier.AUTO, f"its blast radius is in the {blast.tier.value} tier now"
    measured = f"{measured} (score {blast.score} of 100)"
    if blast.tier is Tier.BLOCKED:
        return f"{measured}: nobody can approve it"
    worse = _TIERS.index(blast.tier) > _TIERS.index(agreed)
    return f"{measured}, and was in the {agreed.value} tier when it was approved: it must be approved again" if worse else ""


def rejected_by(signatures: Sequence[SignatureRow]) -> str:
    """Who said no to it, also after it was approved; empty when nobody did."""
    return next((one.person for one in signatures if one.choice is Choice.REJECT), "")


def is_wanted(approval: ApprovalRow, incident: IncidentRow | None) -> bool:
    """Whether it is still to be done: once the incident is over, only what a person proposed, such as taking an action back."""
    return approval.by_person or (incident is not None and incident.is_open)


def _people(approval: ApprovalRow, signatures: Sequence[SignatureRow]) -> set[str]:
    """Recounts who signed: different people, and never the proposer."""
    return {fold_name(one.person) for one in signatures if one.choice is Choice.SIGN} - {fold_name(approval.proposer)}
