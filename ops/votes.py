"""Casting the vote of an authenticated person, from wherever: proven by this process, appended to the stream, answered by the gate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ops.answers import hear_answers
from ops.errors import NoSuchApproval
from ops.partitions import NAME, refuse_other
from schemas.action import describe
from schemas.events import ActionApproved, ActionRejected, ApprovalSigned, VoteCast, VoteRefused
from schemas.identity import new_id
from schemas.text import clean
from schemas.words import ApprovalState, Choice
from sql import installation
from sql.approvals import get_approval

if TYPE_CHECKING:
    from bus.connect import Bus
    from schemas.event import Event
    from sql.approvals import ApprovalRow
    from sql.database import Database
    from stages.gate.votes import VoteKeys

_PATIENCE = 5.0  # seconds that the gate gets to answer
_COMMENT_LIMIT = 1000  # characters


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a vote. `vote` is empty where none was cast; `counted` once the gate has said so;
    `missing` signatures are still wanted, None where that is not known.
    """

    approval: str
    vote: str
    person: str
    said: str
    refused: bool = False
    approved: bool = False
    missing: int | None = None
    counted: bool = False


class Ballots:
    """Casts votes for people whom the caller has authenticated; the gate alone decides whether they count."""

    def __init__(self, database: Database, bus: Bus, keys: VoteKeys, *, by: str, clock: Callable[[], datetime]) -> None:
        """`by` is the process that casts them, such as `cli/host`."""
        self._database = database
        self._bus = bus
        self._keys = keys
        self._by = by
        self._clock = clock

    async def cast(self, approval: str, choice: Choice, *, person: str, origin: str, comment: str) -> str:
        """As `answered`, in one sentence for the person."""
        return (await self.answered(approval, choice, person=person, origin=origin, comment=comment)).said

    async def answered(self, approval: str, choice: Choice, *, person: str, origin: str, comment: str) -> Answer:
        """Casts the vote of `person`, who came by `origin`, and waits up to 5 s for the gate's answer.

        Raises NoSuchApproval, PartitionsChanged, StoreUnavailable and BusFull, with which nothing was cast, and BusUnavailable, with which
        that is not known.
        """
        row = await self.approval(approval)
        stops = choice is Choice.REJECT and row.state is ApprovalState.APPROVED
        if row.state is not ApprovalState.WAITING and not stops:
            said = f"{describe(row.action)} is {row.state.value} already: it takes no more votes"
            return Answer(approval=row.id, vote="", person=person, said=said, refused=True)
        vote = self._keys.sign(self._vote(row, choice, person=person, origin=origin, comment=comment))
        await self._bus.append([vote])
        return await self._answer(vote, row)

    async def approval(self, approval: str) -> ApprovalRow:
        """The approval as it is now; raises NoSuchApproval, PartitionsChanged, StoreUnavailable."""
        async with self._database.connection() as connection:
            row = await get_approval(connection, approval)
            refuse_other(await installation.get(connection, NAME), self._bus.partitions)
        if row is None:
            raise NoSuchApproval(f"there is no approval {approval}: `mend approvals ls` lists those that wait")
        return row

    def _vote(self, row: ApprovalRow, choice: Choice, *, person: str, origin: str, comment: str) -> VoteCast:
        time = self._clock()
        return VoteCast(
            id=new_id(time),
            key=row.place,
            at=time,
            by=self._by,
            incident=row.incident,
            cause=row.proposal,
            approval=row.id,
            action_hash=row.action_hash,
            person=person,
            choice=choice,
            origin=origin,
            comment=clean(comment, _COMMENT_LIMIT),
        )

    async def _answer(self, vote: VoteCast, row: ApprovalRow) -> Answer:
        told = Answer(approval=vote.approval, vote=vote.id, person=vote.person, said="the vote is cast; the gate has not answered yet")

        def hear(event: Event) -> bool:
            nonlocal told
            told = _told(told, event, row)
            return told.missing != 0 or told.approved or told.refused

        await hear_answers(self._bus, vote.id, "decisions", hear, seconds=_PATIENCE)
        return told


def _told(answer: Answer, event: Event, row: ApprovalRow) -> Answer:
    """The answer with what one event of the gate says of the vote."""
    replace = msgspec.structs.replace
    what = describe(row.action)
    match event:
        case VoteRefused():
            return replace(answer, said=f"the vote does not count: {event.reason}", refused=True)
        case ApprovalSigned() if event.missing:
            more = "1 more signature is" if event.missing == 1 else f"{event.missing} more signatures are"
            return replace(answer, said=f"signed as {event.person}: {more} needed to {what}", missing=event.missing, counted=True)
        case ApprovalSigned():
            return replace(answer, said=f"signed as {event.person}", missing=0, counted=True)
        case ActionApproved():
            return replace(answer, said=f"signed as {answer.person}; approved: it will {what}", approved=True, missing=0, counted=True)
        case ActionRejected():
            will = "makes no further attempt to" if row.state is ApprovalState.APPROVED else "will not"
            return replace(answer, said=f"rejected as {event.person}: Mendstream {will} {what}", counted=True)
        case _:
            return answer
