"""learn as a stage: verifications, executions and people's decisions into trust, lessons, playbooks and the incident's outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar

from bus.handler import Context, Reject
from schemas.action import is_observation, pattern_of
from schemas.codec import encode, holds_nul
from schemas.event import Event, Output
from schemas.events import (
    ActionApproved,
    ActionRejected,
    ExecutionFinished,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    LessonLearned,
    VerificationFinished,
)
from schemas.learning import FeedbackGiven
from schemas.text import clean
from schemas.words import Outcome, Verdict
from sql import declarations, diagnoses, incidents, knowledge, lessons, playbook_statistics, recurrence, repairs, trust
from sql.database import Connection, Database
from sql.outbox import AlreadyDone, once
from sql.proof import Proof
from stages.genuine import require_told
from stages.learn.drafting import draft_playbook
from stages.learn.feedback import take_feedback
from stages.learn.joined import Joined
from stages.learn.outcome import effectiveness_of, notes_of
from stages.learn.standing import judge_playbooks
from stages.learn.telling import TEXT_LIMIT, trust_moved
from stages.proofs import ProofKeys
from stages.reads import READS

_TELLERS: dict[type[Event], str] = {
    VerificationFinished: "verify",
    ExecutionFinished: "execute",
    ActionRejected: "gate",
    ActionApproved: "gate",
    IncidentOpened: "ingest",
    IncidentUpdated: "ingest",
    IncidentResolved: "ingest",
}
"""Which stage tells what is learned from: its kept outputs prove an event."""

Learning = Callable[[Proof], Awaitable[Sequence[Output]]]


class Learn:
    """Trust moves by verified results, failed executions, rejections and ratings. A refusal, a dry run that blocked, shadow, and a failure
    before the action began move nothing: it was not tried, so nothing was seen of what it does. Without `keys` no feedback is proven."""

    name: ClassVar[str] = "learn"
    topics: ClassVar[tuple[str, ...]] = READS["learn"]

    def __init__(self, database: Database, keys: ProofKeys | None = None) -> None:
        self.database = database
        self.keys = keys
        self._joined = Joined()

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if holds_nul(encode(event)):
            raise Reject("a text of it holds the character NUL, which no stage tells and no store keeps: the event is not genuine")
        if isinstance(event, FeedbackGiven):
            return await once(self.database, self.name, event, partial(take_feedback, event, context, keys=self.keys))
        if isinstance(event, IncidentUpdated) and self._joined.teaches_nothing(event):
            return []
        learn = self._lesson(event, context)
        outputs = [] if learn is None else await once(self.database, self.name, event, partial(_from_genuine, event, learn))
        self._joined.add(event)
        return outputs

    def _lesson(self, event: Event, context: Context) -> Learning | None:
        """What an event teaches, or None for one that teaches nothing."""
        match event:
            case VerificationFinished():
                return lambda proof: _from_verification(event, context, proof)
            case ExecutionFinished():
                return lambda proof: _from_execution(event, context, proof)
            case ActionRejected():
                return lambda proof: _move_trust(event, f"{event.person} rejected it", context, proof)
            case ActionApproved(automatic=False):
                return lambda proof: _move_trust(event, "signed", context, proof)
            case IncidentOpened() | IncidentUpdated() | IncidentResolved():
                return lambda proof: _from_incident(event, proof)
            case _:
                return None


async def _from_genuine(event: Event, learn: Learning, connection: Connection) -> Sequence[Output]:
    """What an event teaches that the stage really told. Raises Reject for any other: nothing is learned from it."""
    proof = Proof(connection)
    try:
        await require_told(connection, _TELLERS[type(event)], event)
    except Reject:
        if await _has_learned(event, proof):
            raise AlreadyDone from None  # learned, and so long ago that nothing proves it any more
        raise
    return await learn(proof)


async def _has_learned(event: Event, proof: Proof) -> bool:
    connection = proof.connection
    taken = (trust.has_taken(connection, event.id), lessons.has_taken(connection, event), recurrence.has_taken(proof, event))
    return any([await one for one in taken])


async def _from_incident(event: Event, proof: Proof) -> Sequence[Output]:
    """What came, and how it ended, is counted for its problem."""
    await recurrence.take(proof, [event])
    return []


async def _take(event: ExecutionFinished | VerificationFinished, proof: Proof) -> None:
    """Into every projection but trust, which comes before, and the statistics of playbooks, which come after: their moves are told.

    All who learn take the locks in this order, and feedback, too, which takes those of trust, of knowledge and of playbooks.
    """
    for projection in (lessons, knowledge, repairs, recurrence):
        await projection.take(proof, [event])


async def _from_verification(event: VerificationFinished, context: Context, proof: Proof) -> Sequence[Output]:
    outputs = await _move_trust(event, f"verified as {event.verdict.value}", context, proof)
    await _take(event, proof)
    if is_observation(event.action):
        return [*outputs, _lesson(event, context, event.verdict, event.summary)]
    await diagnoses.take(proof, [event])
    await declarations.take(proof, [event])
    effectiveness = effectiveness_of(event)
    if effectiveness is not None:
        succeeded = event.verdict is Verdict.SUCCESS
        notes = notes_of(event)
        await incidents.record_outcome(proof.connection, event.incident, succeeded=succeeded, effectiveness=effectiveness, notes=notes)
    outputs += await _tell_playbook(event, context, proof)
    outputs += await draft_playbook(event, effectiveness, context, proof.connection)
    return [*outputs, _lesson(event, context, event.verdict, event.summary)]


async def _from_execution(event: ExecutionFinished, context: Context, proof: Proof) -> Sequence[Output]:
    """Every execution leaves an entry; the verdict on a failed one is known at once."""
    failed = event.outcome is Outcome.FAILED and not is_observation(event.action)
    outputs = await _move_trust(event, "its execution failed", context, proof) if failed else []
    await _take(event, proof)
    if not failed:
        return []
    notes = f"failed: {event.error}"
    await incidents.record_outcome(proof.connection, event.incident, succeeded=False, effectiveness=1, notes=notes)
    outputs += await _tell_playbook(event, context, proof)
    return [*outputs, _lesson(event, context, Verdict.FAILED, event.error)]


async def _move_trust(event: Event, reason: str, context: Context, proof: Proof) -> list[Output]:
    """The change of trust as an event, where the score changed."""
    move = await trust.apply(proof, event)
    return [] if move is None else await trust_moved(move, reason, context, proof.connection)


async def _tell_playbook(event: ExecutionFinished | VerificationFinished, context: Context, proof: Proof) -> list[Output]:
    """What an event says of its playbook, and what the rules make of that; also of what a rebuild has taken before."""
    await playbook_statistics.take(proof, [event])
    return await judge_playbooks([event.playbook], context, proof.connection) if event.playbook else []


def _lesson(event: ExecutionFinished | VerificationFinished, context: Context, verdict: Verdict, summary: str) -> Output:
    return context.event(
        LessonLearned,
        lesson=event.operation,
        pattern=pattern_of(event.action),
        action=event.action,
        verdict=verdict,
        summary=clean(summary, TEXT_LIMIT),
    )
