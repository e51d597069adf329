"""failure_watch as a stage: what went wrong gets its class and its risk, is repaired once where that is safe, and else reaches people.

It touches nothing itself: a repair that it wants is put forward by propose and decided by the gate, as every other action.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import ClassVar

import msgspec

from bus.handler import Context
from schemas.action import describe, is_observation
from schemas.event import Event, Output
from schemas.events import (
    DeadLettered,
    ExecutionFinished,
    FailureClassified,
    GroupOutage,
    IncidentIdleDue,
    IncidentOpened,
    PeopleAsked,
    RepairNotProposed,
    VerificationFinished,
)
from schemas.text import clean
from schemas.words import Outcome, Verdict
from sql.audit import audit_classify
from sql.causes import Repeated, count_cause
from sql.database import Connection, Database
from sql.failures import FailureRow, is_known, judge_failure, record_failure
from sql.incidents import add_timeline
from sql.outbox import AlreadyDone, kept, once
from sql.questions import may_ask
from stages.failure_watch import idle, repairing
from stages.failure_watch.analysis import Analyst
from stages.failure_watch.found import Failure, class_of_event, of_dead_letter, of_execution, of_verification
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.outages import tell_outage
from stages.failure_watch.playbooks import deprecated_for_failures
from stages.failure_watch.questions import about_many, asked_how, is_unhealed, with_held_back, with_suspicion, with_why_not
from stages.failure_watch.repairing import TEXT_LIMIT, Decided, Ruling
from stages.failure_watch.tried import with_tried
from stages.failure_watch.valves import Valves
from stages.genuine import require_told
from stages.reads import READS

_ABOUT_LIMIT = 500
_BAD_OUTCOMES = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED)
_BAD_VERDICTS = (Verdict.FAILED, Verdict.DEGRADED, Verdict.TIMEOUT)
_TELLERS: dict[type[Event], str] = {ExecutionFinished: "execute", VerificationFinished: "verify"}
_DONE = (Outcome.SUCCEEDED, Outcome.UNKNOWN)
_Look = Callable[[Connection], Awaitable[Failure]]


class FailureWatch:
    """Classifies, wants one repair at most, and asks people."""

    name: ClassVar[str] = "failure_watch"
    topics: ClassVar[tuple[str, ...]] = READS["failure_watch"]

    def __init__(
        self,
        database: Database,
        options: FailureWatchOptions | None = None,
        *,
        valves: Valves | None = None,
        analyst: Analyst | None = None,
    ) -> None:
        """`valves` are the cooldowns of the gate; without an `analyst` no language model is asked."""
        self.database = database
        self.options = options or FailureWatchOptions()
        self.valves = valves or Valves()
        self.analyst = analyst

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if (look := self._failure(event)) is not None:
            look = await self._analysed(event, look)
            return await once(self.database, self.name, event, lambda connection: self._tell(event, look, context, connection))
        if isinstance(event, ExecutionFinished | VerificationFinished):
            return await self._repair_went(event, context)
        if isinstance(event, Decided):
            return await self._decided(event, context)
        answer = self._answer(event, context)
        return [] if answer is None else await once(self.database, self.name, event, answer)

    def _answer(self, event: Event, context: Context) -> Callable[[Connection], Awaitable[Sequence[Output]]] | None:
        """What to do about an event that tells of no failed action, or None for one that concerns nobody here."""
        match event:
            case RepairNotProposed():
                return lambda connection: repairing.not_proposed(event, context, connection)
            case IncidentOpened() if self.options.idle > 0:
                return lambda connection: idle.begin(event, context, connection, self.options)
            case IncidentIdleDue() if self.options.idle > 0:
                return lambda connection: idle.look(event, context, connection, self.options)
            case GroupOutage():
                return lambda connection: tell_outage(event, context, connection)
            case _:
                return None

    async def _analysed(self, event: Event, look: _Look) -> _Look:
        """The same, with what a language model suspects, where one is asked: of what is new and proven, outside of any transaction."""
        if self.analyst is None or not isinstance(event, ExecutionFinished | VerificationFinished):
            return look
        if await kept(self.database, self.name, event.id) is not None:
            return look
        async with self.database.connection() as connection:
            if await _is_known(connection, await look(connection)):
                return look
            await require_told(connection, _TELLERS[type(event)], event)
        analysis = await self.analyst.analyse(event, class_of_event(event))

        async def analysed(connection: Connection) -> Failure:
            found = await look(connection)
            if analysis is None:
                return found
            return msgspec.structs.replace(found, confidence=analysis.confidence, root_cause=analysis.root_cause)

        return analysed

    def _failure(self, event: Event) -> _Look | None:
        """How to put an event in words, or None for one that tells of no failure."""
        match event:
            case ExecutionFinished() if event.outcome in _BAD_OUTCOMES:
                return lambda connection: of_execution(event, connection)
            case VerificationFinished() if self._is_bad(event) and event.outcome in _DONE and not is_observation(event.action):
                return lambda connection: of_verification(event, connection, self.options.unhealed)
            case DeadLettered() if not (event.group == self.name and event.source_topic == "dead"):  # one's own would never end
                return lambda _: of_dead_letter(event)
            case _:
                return None

    def _is_bad(self, event: VerificationFinished) -> bool:
        return event.verdict in _BAD_VERDICTS or is_unhealed(event, self.options.unhealed)

    async def _tell(self, event: Event, look: _Look, context: Context, connection: Connection) -> Sequence[Output]:
        found = await look(connection)
        if await _is_known(connection, found):
            raise AlreadyDone
        if (teller := _TELLERS.get(type(event))) is not None:
            await require_told(connection, teller, event)
        if not await _keep(event, found, context, connection):
            return []
        if found.mends is not None and isinstance(event, ExecutionFinished | VerificationFinished):
            await repairing.note_end(event, found.mends, context.now(), connection)
        repeated = await self._count(event, found, context, connection)
        options, valves = self.options, self.valves
        ruling = await repairing.rule(event, found, repeated, context, connection, options=options, valves=valves)
        classified = context.event(
            FailureClassified,
            subject=event.id,
            failure=found.failure,
            risk=ruling.risk,
            confidence=found.confidence,
            summary=clean(found.reason, TEXT_LIMIT),
            operation=found.operation,
            root_cause=found.root_cause or msgspec.UNSET,
        )
        await _note(event, found, ruling, context, connection, repeated=repeated)
        deprecated = await deprecated_for_failures(event, context, connection, self.options.playbook_failures)
        if ruling.wanted is not None:
            return [classified, ruling.wanted, *deprecated]
        if repeated is not None and repeated.told == "quiet":
            return [classified, *deprecated]
        words = found.reason, with_suspicion(with_why_not(found.question, ruling.why_not), found.root_cause)
        if repeated is not None and repeated.told == "group":
            words = about_many(repeated, found.cause, *words, self.options.same_cause_window)
        asked = await self._question(found, words, context, connection)
        return [classified, *([asked] if asked is not None else []), *deprecated]

    async def _count(self, event: Event, found: Failure, context: Context, connection: Connection) -> Repeated | None:
        """How often incidents failed of this cause of late; None for what belongs to no incident.

        What may have happened is not counted: people are asked about each, whatever it has in common with others.
        """
        unknown = isinstance(event, ExecutionFinished | VerificationFinished) and event.outcome is Outcome.UNKNOWN
        if unknown or not event.incident or not found.cause:
            return None
        window = timedelta(seconds=self.options.same_cause_window)
        first = self.options.same_cause
        return await count_cause(connection, found.cause, event.incident, at=context.now(), window=window, first=first)

    async def _question(self, found: Failure, words: tuple[str, str], context: Context, connection: Connection) -> PeopleAsked | None:
        """What people are asked in these words, or None where they were asked the like within the time to be quiet."""
        event, (reason, question) = context.input, words
        if found.kind:
            quiet = timedelta(seconds=self.options.quiet)
            held_back = await may_ask(connection, found.kind, at=context.now(), quiet=quiet)
            if held_back is None:
                return None
            question = with_held_back(question, held_back, self.options.quiet)
        return context.event(
            PeopleAsked,
            subject=event.id,
            reason=clean(reason, TEXT_LIMIT),
            question=await with_tried(connection, event.incident, question, TEXT_LIMIT),
            severity=found.severity,
            proposed=found.proposed,
        )

    async def _repair_went(self, event: ExecutionFinished | VerificationFinished, context: Context) -> Sequence[Output]:
        """What went well is nobody's concern, unless it was a repair: then its result is written down."""
        async with self.database.connection() as connection:
            row = await repairing.went(event, connection)
        if row is None:
            return []

        async def note(connection: Connection) -> Sequence[Output]:
            await require_told(connection, _TELLERS[type(event)], event)
            await repairing.note_end(event, row, context.now(), connection)
            return []

        return await once(self.database, self.name, event, note)

    async def _decided(self, event: Decided, context: Context) -> Sequence[Output]:
        """What the gate does not let run concerns failure_watch only where it is a repair."""
        async with self.database.connection() as connection:
            row = await repairing.repair_decided(event, connection)
        if row is None:
            return []
        return await once(self.database, self.name, event, lambda connection: repairing.decided_against(event, row, context, connection))


async def _is_known(connection: Connection, found: Failure) -> bool:
    return await is_known(connection, clean(found.about, _ABOUT_LIMIT))


async def _keep(event: Event, found: Failure, context: Context, connection: Connection) -> bool:
    """Keeps the failure; False when it is known already."""
    row = FailureRow(
        about=clean(found.about, _ABOUT_LIMIT),
        event=event.id,
        incident=event.incident,
        operation=found.operation,
        failure=found.failure,
        risk=found.risk,
        confidence=found.confidence,
        summary=clean(found.reason, TEXT_LIMIT),
        at=context.now(),
        proposed=found.proposed,
    )
    return await record_failure(connection, row)


async def _note(
    event: Event, found: Failure, ruling: Ruling, context: Context, connection: Connection, *, repeated: Repeated | None
) -> None:
    """Writes the class, the risk and what comes of it to the failure, to the audit row and to the incident's timeline."""
    if ruling.risk is not found.risk:
        await judge_failure(connection, clean(found.about, _ABOUT_LIMIT), risk=ruling.risk)
    repair = f"wanted: {describe(ruling.wanted.action)}" if ruling.wanted else f"none: {ruling.why_not}" if ruling.why_not else ""
    if found.operation:
        await audit_classify(connection, operation=found.operation, failure=found.failure.value, repair=repair)
    if event.incident:
        did = "dead letter" if found.kind else f"a repair is {repair}" if ruling.wanted else asked_how(repeated)
        what = f"{did} ({found.failure.value}): {clean(found.reason, TEXT_LIMIT)}"
        await add_timeline(connection, incident=event.incident, event=event.id, at=context.now(), by=context.by, what=what)
