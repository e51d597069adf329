"""Votes at the terminal: cast by `ops.votes`, with what somebody at a terminal does next."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import msgspec

from ops.cli.session import Session
from ops.errors import CommandFailed
from ops.votes import Answer, Ballots
from schemas.secret import Secret
from schemas.words import Choice

if TYPE_CHECKING:
    from ops.settings import Settings
    from sql.approvals import ApprovalRow


async def cast(session: Session, approval: str, choice: Choice, *, person: str, comment: str) -> Answer:
    """Casts the vote of an authenticated person and waits up to 5 s for the gate's answer.

    Raises CommandFailed where there is no key here to prove votes with, and what Ballots raises.
    """
    from ops.clock import now
    from stages.gate.votes import VoteKeys

    keys = VoteKeys(votes_key_of(session).reveal().encode())
    origin = f"cli/{platform.node() or 'host'}"
    async with session.database() as database, session.bus() as bus:
        ballots = Ballots(database, bus, keys, by=origin, clock=now)
        row = await ballots.approval(approval)
        answer = await ballots.answered(approval, choice, person=person, origin=origin, comment=comment)
    return _with_advice(answer, row, session.settings) if choice is Choice.SIGN and answer.vote else answer


def votes_key_of(session: Session) -> Secret:
    """The key that proves votes; a command never makes one, for the gate would not know it."""
    from ops.runtime import votes_key

    folder = session.settings.data.path
    if not session.settings.votes.key and not (folder / "votes.key").exists():
        raise CommandFailed(f"this machine has no votes key: set votes.key to the one of the gate, or run this where {folder}/votes.key is")
    return votes_key(session.settings.votes.key, folder)


def _with_advice(answer: Answer, row: ApprovalRow, settings: Settings) -> Answer:
    """The answer with how somebody else signs, where that is what is wanted."""
    from ops.cli.people import how_another_signs
    from sql.approvals import fold_name

    had_their_say = (*row.signers, row.proposer)
    another = answer.refused and fold_name(answer.person) in map(fold_name, had_their_say)
    if not (another or answer.missing):
        return answer
    how = how_another_signs(settings, row.id, signed=(*had_their_say, answer.person))
    return msgspec.structs.replace(answer, said=f"{answer.said}; {how}")
