"""failure_watch as a stage: failed executions, failed verifications and dead letters, each classified and put to people once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import ClassVar

import msgspec

from bus.handler import Context
from schemas.action import Action, is_observation
from schemas.event import Event, Output
from schemas.events import DeadLettered, ExecutionFinished, FailureClassified, PeopleAsked, VerificationFinished
from schemas.text import clean
from schemas.words import FailureClass, Outcome, Risk, Severity, Verdict
from sql.approvals import get_approval
from sql.audit import audit_classify
from sql.database import Connection, Database
from sql.evidence import get_snapshot
from sql.failures import FailureRow, is_known, record_failure
from sql.incidents import add_timeline
from sql.outbox import once
from sql.questions import may_ask
from stages.failure_watch.classify import CONFIDENCE, class_of, risk_of
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.questions import about_dead_letter, about_execution, about_verification, is_unhealed, way_back, with_held_back
from stages.genuine import require_told

_TEXT_LIMIT = 2000  # characters
_ABOUT_LIMIT = 500
_BAD_OUTCOMES = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED)
_BAD_VERDICTS = (Verdict.FAILED, Verdict.DEGRADED, Verdict.TIMEOUT)
_TELLERS: dict[type[Event], str] = {ExecutionFinished: "execute", VerificationFinished: "verify"}
_DONE = (Outcome.SUCCEEDED, Outcome.UNKNOWN)


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A failure in words, before it is told. `about` is what failed, once for all events that speak of it.

    `kind` names the kind of question that is asked once in a while only; empty: people are always asked.
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


class FailureWatch:
    """Classifies and asks. It repairs nothing by itself."""

    name: ClassVar[str] = "failure_watch"
    topics: ClassVar[tuple[str, ...]] = ("executions", "verifications", "dead")

    def __init__(self, database: Database, options: FailureWatchOptions | None = None) -> None:
        self.database = database
        self.options = options or FailureWatchOptions()

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        look = self._failure(event)
        if look is None:
            return []
        return await once(self.database, self.name, event, lambda connection: self._tell(event, look, context, connection))

    def _failure(self, event: Event) -> Callable[[Connection], Awaitable[_Failure]] | None:
        """How to put an event in words, or None for one that tells of no failure."""
        match event:
            case ExecutionFinished() if event.outcome in _BAD_OUTCOMES:
                return lambda _: _of_execution(event)
            case VerificationFinished() if self._is_bad(event) and event.outcome in _DONE and not is_observation(event.action):
                return lambda connection: _of_verification(event, connection, self.options.unhealed)
            case DeadLettered() if event.group != self.name:
                return lambda _: _of_dead_letter(event)
            case _:
                return None

    def _is_bad(self, event: VerificationFinished) -> bool:
        return event.verdict in _BAD_VERDICTS or is_unhealed(event, self.options.unhealed)

    async def _tell(
        self, event: Event, look: Callable[[Connection], Awaitable[_Failure]], context: Context, connection: Connection
    ) -> Sequence[Output]:
        found = await look(connection)
        if await is_known(connection, clean(found.about, _ABOUT_LIMIT)):
            return []
        if (teller := _TELLERS.get(type(event))) is not None:
            await require_told(connection, teller, event)
        reason, question = clean(found.reason, _TEXT_LIMIT), clean(found.question, _TEXT_LIMIT)
        if not await _keep(event, found, reason, context, connection):
            return []
        classified = context.event(
            FailureClassified,
            subject=event.id,
            failure=found.failure,
            risk=found.risk,
            confidence=CONFIDENCE,
            summary=reason,
            operation=found.operation,
        )
        quiet = timedelta(seconds=self.options.quiet)
        held_back = await may_ask(connection, found.kind, at=context.now(), quiet=quiet) if found.kind else 0
        if held_back is None:
            return [classified]
        if found.kind:
            question = clean(with_held_back(question, held_back, self.options.quiet), _TEXT_LIMIT)
        asked = context.event(
            PeopleAsked, subject=event.id, reason=reason, question=question, severity=found.severity, proposed=found.proposed
        )
        return [classified, asked]


async def _of_execution(event: ExecutionFinished) -> _Failure:
    failure = class_of(event.error)
    reason, question = about_execution(event, failure)
    return _Failure(
        about=f"execution/{event.operation}",
        failure=failure,
        risk=risk_of(event.action.verb),
        reason=reason,
        question=question,
        operation=event.operation,
        severity=event.severity,
    )


async def _of_verification(event: VerificationFinished, connection: Connection, limit: float) -> _Failure:
    seen = " ".join(f"{judgement.reason} {judgement.after}" for judgement in event.judgements)
    failure = class_of(event.summary, seen)
    approval = await get_approval(connection, event.approval)
    after = await get_snapshot(connection, event.after) if event.after else None
    back = way_back(event, approval.inverse if approval else None, after, limit)
    reason, question = about_verification(event, failure, back)
    return _Failure(
        about=f"verification/{event.operation}",
        failure=failure,
        risk=risk_of(event.action.verb),
        reason=reason,
        question=question,
        operation=event.operation,
        severity=event.severity,
        proposed=back.action if back else None,
    )


async def _of_dead_letter(event: DeadLettered) -> _Failure:
    reason, question = about_dead_letter(event)
    return _Failure(
        about=f"dead/{event.group}/{event.source_topic}/{event.entry}/{event.subject}",
        failure=class_of(event.error),
        risk=Risk.MEDIUM,
        reason=reason,
        question=question,
        kind=f"dead/{event.group}/{event.reason.value}",
    )


async def _keep(event: Event, found: _Failure, reason: str, context: Context, connection: Connection) -> bool:
    """Keeps the failure, its class in the audit row and a line in the incident's timeline; False when it is known already."""
    row = FailureRow(
        about=clean(found.about, _ABOUT_LIMIT),
        event=event.id,
        incident=event.incident,
        operation=found.operation,
        failure=found.failure,
        risk=found.risk,
        confidence=CONFIDENCE,
        summary=reason,
        at=context.now(),
        proposed=found.proposed,
    )
    if not await record_failure(connection, row):
        return False
    if found.operation:
        await audit_classify(connection, operation=found.operation, failure=found.failure.value)
    if event.incident:
        what = f"{'dead letter' if found.kind else 'people were asked'} ({found.failure.value}): {reason}"
        await add_timeline(connection, incident=event.incident, event=event.id, at=context.now(), by=context.by, what=what)
    return True
