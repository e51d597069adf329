"""A failure in words, before it is told: what failed, of which class and risk, and what might repair it."""

from __future__ import annotations

import msgspec

from schemas.action import Action
from schemas.events import DeadLettered, ExecutionFinished, VerificationFinished
from schemas.words import FailureClass, Outcome, Risk, Severity
from sql.approvals import ApprovalRow, get_approval
from sql.database import Connection
from sql.evidence import get_snapshot
from sql.repair_attempts import RepairRow, repair_of_approval
from stages.failure_watch.causes import cause_of
from stages.failure_watch.classify import CONFIDENCE, class_of, risk_of
from stages.failure_watch.questions import about_dead_letter, about_execution, about_verification, way_back
from stages.failure_watch.repairs import repair_of_execution, repair_of_verification


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """`about` is what failed, once for all events that speak of it.

    `kind` names the kind of question that is asked once in a while only; empty: people are always asked. `action` is what failed,
    `repair` what might repair it, `mends` the repair that it was itself; `cause` is shared by all that fails for the same reason.
    `root_cause` is what a language model suspects, with its `confidence`; without one, that is of the words alone.
    """

    about: str
    failure: FailureClass
    risk: Risk
    reason: str
    question: str
    operation: str = ""
    severity: Severity = Severity.P2
    kind: str = ""
    proposed: Action | None = None
    action: Action | None = None
    approval: ApprovalRow | None = None
    repair: Action | None = None
    mends: RepairRow | None = None
    cause: str = ""
    error: str = ""
    confidence: float = CONFIDENCE
    root_cause: str = ""


def seen_in(event: VerificationFinished) -> str:
    return " ".join(f"{judgement.reason} {judgement.after}" for judgement in event.judgements)


def class_of_event(event: ExecutionFinished | VerificationFinished) -> FailureClass:
    """The class of a failed action by its words."""
    return class_of(event.error) if isinstance(event, ExecutionFinished) else class_of(event.summary, seen_in(event))


async def of_execution(event: ExecutionFinished, connection: Connection) -> Failure:
    failure = class_of_event(event)
    reason, question = about_execution(event, failure)
    return Failure(
        about=f"execution/{event.operation}",
        failure=failure,
        risk=risk_of(event.action.verb),
        reason=reason,
        question=question,
        operation=event.operation,
        severity=event.severity,
        action=event.action,
        approval=await get_approval(connection, event.approval),
        repair=repair_of_execution(event, failure),
        mends=await repair_of_approval(connection, event.approval),
        cause=cause_of(failure, event.action, f"{'' if event.outcome is Outcome.FAILED else event.outcome.value} {event.error}"),
        error=event.error,
    )


async def of_verification(event: VerificationFinished, connection: Connection, limit: float) -> Failure:
    """`limit` is the self-healing score under which a way back is put to people."""
    failure, seen = class_of_event(event), seen_in(event)
    approval = await get_approval(connection, event.approval)
    after = await get_snapshot(connection, event.after) if event.after else None
    back = way_back(event, approval.inverse if approval else None, after, limit)
    reason, question = about_verification(event, failure, back)
    return Failure(
        about=f"verification/{event.operation}",
        failure=failure,
        risk=risk_of(event.action.verb),
        reason=reason,
        question=question,
        operation=event.operation,
        severity=event.severity,
        proposed=back.action if back else None,
        action=event.action,
        approval=approval,
        repair=repair_of_verification(event, after),
        mends=await repair_of_approval(connection, event.approval),
        cause=cause_of(failure, event.action, f"{event.verdict.value} {event.summary}"),
        error=f"{event.summary} {seen}",
    )


async def of_dead_letter(event: DeadLettered) -> Failure:
    reason, question = about_dead_letter(event)
    return Failure(
        about=f"dead/{event.group}/{event.source_topic}/{event.entry}/{event.subject}",
        failure=class_of(event.error),
        risk=Risk.MEDIUM,
        reason=reason,
        question=question,
        kind=f"dead/{event.group}/{event.reason.value}",
        error=event.error,
    )
