"""What a person says of how an incident was handled: kept for good, and what follows from its rating."""

from __future__ import annotations

from collections.abc import Sequence

from bus.handler import Context, Reject
from schemas.event import Output
from schemas.events import TrustChanged
from schemas.learning import FeedbackGiven, FeedbackKept, PlaybookChanged
from schemas.text import clean
from sql import feedback, incidents, knowledge, playbooks, trust
from sql.approvals import fold_name, take_lock
from sql.database import Connection
from sql.playbook_confidence import rated_playbooks
from sql.proof import Proof
from stages.learn.standing import judge_playbooks
from stages.learn.telling import note, trust_moved
from stages.proofs import ProofKeys


async def take_feedback(event: FeedbackGiven, context: Context, connection: Connection, *, keys: ProofKeys | None) -> Sequence[Output]:
    """The moves of trust, and what was kept. Raises Reject for what no process proved, or for an incident that nobody knows."""
    if keys is None or not keys.is_proven(event):
        raise Reject("nothing proves that this person said so: the feedback is not genuine")
    await take_lock(connection, f"rating/{event.incident}/{fold_name(event.person)}")
    if await incidents.get_incident(connection, event.incident) is None:
        raise Reject(f"there is no incident {clean(event.incident, 64)!r} to say something of")
    if not await feedback.keep(connection, event):
        return []  # kept, and so long ago that nobody remembers what it moved
    known = await feedback.feedback_of(connection, event.incident)
    counts = any(row.event == event.id and row.counts for row in known)
    await note(_line(event, counts), context, connection)
    outputs: list[Output] = []
    entries, rated = await feedback.trust_entries(connection, [event]), await feedback.rated(connection, [event])
    for move in await trust.take_entries(connection, entries, rated):
        outputs += await trust_moved(move, f"{event.person} rated it {event.rating} of 5", context, connection)
    await knowledge.take(Proof(connection), [event])
    if counts:
        outputs += await _rate_playbooks(event, context, connection)
    effects = tuple(said for one in outputs if (said := _effect(one)))
    person = clean(event.person, 128)
    kept = context.event(FeedbackKept, feedback=event.id, person=person, rating=event.rating, counts=counts, effects=effects)
    return [*outputs, kept]


async def _rate_playbooks(event: FeedbackGiven, context: Context, connection: Connection) -> list[Output]:
    """What the rating moves of the playbooks that were used, or that were learned from what it is about."""
    names = await rated_playbooks(connection, event.operations)
    if not names:
        return []
    outputs = await judge_playbooks(names, context, connection)
    await playbooks.rated_anew(connection)
    return outputs


def _effect(output: Output) -> str:
    match output:
        case TrustChanged():
            return f"trust of {output.pattern} {output.before} → {output.after}"
        case PlaybookChanged():
            return f"playbook {output.playbook} version {output.playbook_version} is {output.after}"
        case _:
            return ""


def _line(event: FeedbackGiven, counts: bool) -> str:
    note = f": {event.note}" if event.note else ""
    instead = f"; done instead: {event.instead}" if event.instead else ""
    replaced = "" if counts else " (a newer rating of the same person counts)"
    return f"{event.person} rated it {event.rating} of 5{note}{instead}{replaced}"
