"""Everything that the card of an incident is made of, read at once."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.action import Action
from schemas.events import ExecutionFinished, PeopleAsked, VerificationFinished
from schemas.evidence import Snapshot
from schemas.words import ApprovalState, OperationState
from sql.approvals import ApprovalRow, SignatureRow, list_approvals, signatures_of
from sql.attempts import AttemptRow, attempts_of
from sql.database import Connection
from sql.evidence import get_snapshot
from sql.incidents import IncidentRow, get_incident
from sql.operations import get_operation
from sql.past import Past, last_times, recurrence_of
from sql.recurrence import RecurrenceRow
from sql.repairs import Recommendation, recommend, repairs_of

News = ExecutionFinished | VerificationFinished | PeopleAsked
_KINDS: dict[type, str] = {ExecutionFinished: "execution", VerificationFinished: "verification", PeopleAsked: "question"}
_decode = msgspec.json.Decoder(News).decode
_action = msgspec.json.Decoder(Action).decode
_NOTE = """
INSERT INTO card_news (incident, kind, about, event, at, body) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (incident, kind, about) DO UPDATE SET event = excluded.event, at = excluded.at, body = excluded.body
WHERE (card_news.at, card_news.event) < (excluded.at, excluded.event)
"""
_NEWS = "SELECT body FROM card_news WHERE incident = $1 AND about = ANY($2)"
_HELD = "SELECT rule, at, action FROM decisions WHERE incident = $1 AND held ORDER BY at DESC, proposal LIMIT 1"


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """The newest proposal that the gate held: what it would have done, and by which rule it was held."""

    rule: str
    at: datetime
    action: Action


class CardFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One incident, its newest approval with its votes, what became of that, and what happened the last times.

    `running` is whether its action is being run; `question` what people were asked, `held` what the gate held;
    `attempts` everything that was tried in the incident, oldest first; `evidence` the snapshot that
    the approval rests on, `recommended` what has mended this problem before.
    """

    incident: IncidentRow
    approval: ApprovalRow | None = None
    votes: tuple[SignatureRow, ...] = ()
    running: bool = False
    execution: ExecutionFinished | None = None
    verification: VerificationFinished | None = None
    question: PeopleAsked | None = None
    held: HeldRow | None = None
    evidence: Snapshot | None = None
    recommended: Recommendation = Recommendation()
    past: Past = Past()
    recurrence: RecurrenceRow | None = None
    attempts: tuple[AttemptRow, ...] = ()


async def note_news(connection: Connection, event: News) -> None:
    """Keeps the newest news of its kind about an incident: any order, any repetition, the same row."""
    about = "" if isinstance(event, PeopleAsked) else event.approval
    body = msgspec.json.encode(event).decode()
    await connection.execute(_NOTE, event.incident, _KINDS[type(event)], about, event.id, event.at, body)


async def card_facts(connection: Connection, incident: str) -> CardFacts | None:
    """What the card of an incident is made of; None where there is no such incident."""
    row = await get_incident(connection, incident)
    if row is None:
        return None
    approval = await _approval(connection, incident)
    found = [_decode(news["body"]) for news in await connection.fetch(_NEWS, incident, ["", approval.id if approval else ""])]
    operation = await get_operation(connection, approval.id) if approval else None
    held = await connection.fetchrow(_HELD, incident)
    return CardFacts(
        incident=row,
        approval=approval,
        votes=tuple(await signatures_of(connection, approval.id)) if approval else (),
        running=operation is not None and operation.state is OperationState.RUNNING,
        execution=next((news for news in found if isinstance(news, ExecutionFinished)), None),
        verification=next((news for news in found if isinstance(news, VerificationFinished)), None),
        question=next((news for news in found if isinstance(news, PeopleAsked)), None),
        held=HeldRow(rule=held["rule"], at=held["at"], action=_action(held["action"])) if held else None,
        evidence=await get_snapshot(connection, approval.evidence) if approval and approval.evidence else None,
        recommended=recommend(await repairs_of(connection, incident)) if approval else Recommendation(),
        past=await last_times(connection, approval) if approval else Past(),
        recurrence=await recurrence_of(connection, incident),
        attempts=tuple((await attempts_of(connection, incident))[0]),
    )


async def _approval(connection: Connection, incident: str) -> ApprovalRow | None:
    """The one that waits, else the newest one."""
    waiting = await list_approvals(connection, states=[ApprovalState.WAITING], incident=incident, limit=1)
    newest = waiting or await list_approvals(connection, incident=incident, limit=1)
    return newest[0] if newest else None
