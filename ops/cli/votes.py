"""Casting a vote at the terminal: proven by this process, appended to the stream, and answered by the gate."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

import msgspec

from ops.cli.session import Session
from ops.errors import CommandFailed
from schemas.action import describe
from schemas.events import ActionApproved, ActionRejected, ApprovalSigned, VoteCast, VoteRefused
from schemas.identity import new_id
from schemas.secret import Secret
from schemas.text import clean
from schemas.words import ApprovalState, Choice

if TYPE_CHECKING:
    from bus.connect import Bus
    from ops.settings import Settings
    from schemas.event import Event
    from sql.approvals import ApprovalRow

_PATIENCE = 5.0  # seconds that the gate gets to answer
_RECENT = 200  # decisions that are looked at, so that an answer which came before the look is found


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a vote. `missing` signatures are still wanted, None where that is not known."""

    approval: str
    vote: str
    person: str
    said: str
    refused: bool = False
    approved: bool = False
    missing: int | None = None


async def cast(session: Session, approval: str, choice: Choice, *, person: str, comment: str) -> Answer:
    """Casts the vote of an authenticated person and waits up to 5 s for the gate's answer.

    Raises CommandFailed for an approval that is not there or has no key here to prove votes with.
    """
    from ops.partitions import NAME, refuse_other
    from ops.wiring import now
    from sql import installation
    from sql.approvals import get_approval
    from stages.gate.votes import VoteKeys

    async with session.database() as database, database.connection() as connection:
        row = await get_approval(connection, approval)
        refuse_other(await installation.get(connection, NAME), session.place.partitions)
    if row is None:
        raise CommandFailed(f"there is no approval {approval}: `mend approvals ls` lists those that wait")
    stops = choice is Choice.REJECT and row.state is ApprovalState.APPROVED
    if row.state is not ApprovalState.WAITING and not stops:
        said = f"{describe(row.action)} is {row.state.value} already: it takes no more votes"
        return Answer(approval=row.id, vote="", person=person, said=said, refused=True)
    time = now()
    vote = VoteCast(
        id=new_id(time),
        key=row.place,
        at=time,
        by=f"cli/{platform.node() or 'host'}",
        incident=row.incident,
        cause=row.proposal,
        approval=row.id,
        action_hash=row.action_hash,
        person=person,
        choice=choice,
        origin=f"cli/{platform.node() or 'host'}",
        comment=clean(comment),
    )
    proven = VoteKeys(votes_key_of(session).reveal().encode()).sign(vote)
    async with session.bus() as bus:
        await bus.append([proven])
        answer = await _answer(bus, proven, row)
    return _with_advice(answer, row, session.settings) if choice is Choice.SIGN else answer


def votes_key_of(session: Session) -> Secret:
    """The key that proves votes; a command never makes one, for the gate would not know it."""
    from ops.runtime import votes_key

    folder = session.settings.data.path
    if not session.settings.votes.key and not (folder / "votes.key").exists():
        raise CommandFailed(f"this machine has no votes key: set votes.key to the one of the gate, or run this where {folder}/votes.key is")
    return votes_key(session.settings.votes.key, folder)


async def _answer(bus: Bus, vote: VoteCast, row: ApprovalRow) -> Answer:
    from bus.inspect import tail

    told = Answer(approval=vote.approval, vote=vote.id, person=vote.person, said="the vote is cast; the gate has not answered yet")
    try:
        async with asyncio.timeout(_PATIENCE):
            async for entry in tail(bus, "decisions", last=_RECENT, follow=True):
                if entry.event is None or entry.event.cause != vote.id:
                    continue
                told = _told(told, entry.event, row)
                if told.missing != 0 or told.approved or told.refused:
                    break
    except TimeoutError:
        return told
    return told


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


def _told(answer: Answer, event: Event, row: ApprovalRow) -> Answer:
    """The answer with what one event of the gate says of the vote."""
    replace = msgspec.structs.replace
    what = describe(row.action)
    match event:
        case VoteRefused():
            return replace(answer, said=f"the vote does not count: {event.reason}", refused=True)
        case ApprovalSigned() if event.missing:
            more = "1 more signature is" if event.missing == 1 else f"{event.missing} more signatures are"
            return replace(answer, said=f"signed as {event.person}: {more} needed to {what}", missing=event.missing)
        case ApprovalSigned():
            return replace(answer, said=f"signed as {event.person}", missing=0)
        case ActionApproved():
            return replace(answer, said=f"signed as {answer.person}; approved: it will {what}", approved=True, missing=0)
        case ActionRejected():
            will = "makes no further attempt to" if row.state is ApprovalState.APPROVED else "will not"
            return replace(answer, said=f"rejected as {event.person}: Mendstream {will} {what}", missing=None)
        case _:
            return answer
