"""verify: looks again after an execution and judges what became of the target. It never changes the world.

The first look comes after a time to settle; while the target still progresses, further ones follow until it has converged or
the limit is reached. A success is then held, and told only when another look after the hold-down bears it out. What is judged is
the operation in the ledger, never what an event claims of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from adapters.errors import AdapterError, TargetMissing
from adapters.ports import Metrics, World
from bus.handler import Context, Reject
from schemas.action import RerunJob, describe, is_observation, parts_of, seen_after
from schemas.event import Event, Output
from schemas.events import ExecutionFinished, VerificationDue, VerificationFinished
from schemas.evidence import Sensor, Snapshot
from schemas.judgement import Demand
from schemas.playbook import Playbook, Verification
from schemas.text import clean
from schemas.words import Ground, Outcome, Verdict
from sql.approvals import ApprovalRow, get_approval
from sql.database import Connection, Database
from sql.evidence import get_snapshot, store_snapshot
from sql.incidents import IncidentRow, add_timeline, get_incident
from sql.operations import Operation, get_operation
from sql.outbox import AlreadyDone, kept, once
from sql.playbooks import get_playbook
from sql.verifications import (
    VerificationRow,
    begin_verification,
    continue_verification,
    end_verification,
    get_verification,
    hold_verification,
)
from stages.genuine import require_due, require_told
from stages.reads import READS
from stages.verify.demands import demands_of, look_at_demands, unless_met, unmet
from stages.verify.judge import Assessment, Question, assess
from stages.verify.options import VerifyOptions
from stages.verify.outside import with_outside
from stages.verify.relapse import Held, assess_held
from stages.verify.score import shown
from stages.verify.touched import touched_pods

_VERIFIED = (Outcome.SUCCEEDED, Outcome.UNKNOWN)
_RARER = 6  # intervals between two looks while only an alert or a start is waited for
_LONGEST_START = 1800  # seconds after the warm-up, however long a controller would wait


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before a look: `before` is None when nothing was kept from then, `incident` when it is not known.

    `playbook` is the one that the action is from, `proposed` the evidence that the proposal rested on. `held` is the look that found it
    healed; None also where that one was lost, though it was held (`was_held`).
    """

    operation: Operation
    approval: ApprovalRow
    before: Snapshot | None
    incident: IncidentRow | None
    proposed: Snapshot | None
    held: Held | None
    was_held: bool
    playbook: Playbook | None = None


class _Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look: the snapshots in the question, what they mean, and what of the playbook's demands held."""

    case: _Case
    question: Question
    assessment: Assessment
    demands: tuple[Demand, ...] = ()


class VerifyStage:
    """The consumer group `verify`. Without `metrics` only the state of the target is judged, and what was told of the alert."""

    name = "verify"
    topics = READS["verify"]

    def __init__(self, database: Database, world: World, options: VerifyOptions | None = None, *, metrics: Metrics | None = None) -> None:
        self._database = database
        self._world = world
        self._options = options or VerifyOptions()
        self._metrics = metrics

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if isinstance(event, ExecutionFinished) and event.outcome in _VERIFIED:
            return await once(self._database, self.name, event, lambda connection: self._begin(event, context, connection))
        if isinstance(event, VerificationDue):
            return await self._continue(event, context)
        return []

    async def _begin(self, event: ExecutionFinished, context: Context, connection: Connection) -> Sequence[Output]:
        """The first look is due after the time to settle. Raises Reject when execute told of no such end."""
        if await get_verification(connection, event.operation) is not None:
            raise AlreadyDone
        await require_told(connection, "execute", event)
        now = context.now()
        due = context.event(VerificationDue, finished=event, look=1, until=now + timedelta(seconds=self._options.limit))
        if not await begin_verification(connection, event.operation, awaits=due.id):
            return []
        return [context.delay(due, now + timedelta(seconds=self._options.settle))]

    async def _continue(self, event: VerificationDue, context: Context) -> Sequence[Output]:
        if (outputs := await kept(self._database, self.name, event.id)) is not None:
            return outputs
        async with self._database.connection() as connection:
            row = await get_verification(connection, event.finished.operation)
            if row is not None and row.has_ended:
                return []
            await require_due(connection, self.name, event, context.now())
            if row is None or row.awaits != event.id:
                return []
            case = await _case(connection, row, event, context)
        look = await self._look(event, case, context)
        return await once(self._database, self.name, event, lambda connection: self._decide(event, look, context, connection))

    async def _look(self, event: VerificationDue, case: _Case, context: Context) -> _Look:
        """The state now, and what is known from outside where this look may be the last."""
        operation, incident = case.operation, case.incident
        after, timed_out = await self._observe(operation, case.before, context)
        assert operation.outcome is not None
        question = Question(
            action=operation.action,
            outcome=operation.outcome,
            before=case.before,
            after=after,
            alerts=incident.alerts if incident else (),
            firing=incident.firing if incident else None,
            timed_out=timed_out,
            room=self._options.room,
        )
        assessment, now = self._assess(question, case), context.now()
        last = assessment.settled or now >= event.until
        if last and self._metrics is not None and incident is not None and not is_observation(operation.action):
            limit, ended_at = self._options.observe_limit, operation.finished_at
            question = await with_outside(question, self._metrics, incident, at=now, ended_at=ended_at, limit=limit, proposed=case.proposed)
            assessment = self._assess(question, case)
        wanted = case.playbook.verification if case.playbook is not None else Verification()
        demands = demands_of(wanted)
        if assessment.verdict is Verdict.SUCCESS and demands:
            labels, limit = incident.labels if incident else {}, self._options.observe_limit
            demands = await look_at_demands(wanted, question.after, labels, self._metrics, at=now, limit=limit)
            assessment = unless_met(assessment, unmet(demands))
        return _Look(case=case, question=question, assessment=assessment, demands=demands)

    def _assess(self, question: Question, case: _Case) -> Assessment:
        weights = self._options.weights
        return assess(question, weights) if case.held is None else assess_held(question, case.held, weights)

    async def _observe(self, operation: Operation, before: Snapshot | None, context: Context) -> tuple[Snapshot, bool]:
        """The state now, and whether the look ran out of time.

        The target is that of the snapshot from before, for it may be an owner; of a Job that was run again, the new one.
        """
        target = seen_after(operation.action, before.target if before is not None else operation.action.target, operation.id)
        try:
            async with asyncio.timeout(self._options.observe_limit):
                return await self._world.observe(target, parts=parts_of(operation.action)), False
        except TimeoutError:
            error, exists, timed_out = f"no answer within {self._options.observe_limit:g} s", None, True
        except TargetMissing as missing:
            error, exists, timed_out = str(missing), False, False
        except AdapterError as failure:
            error, exists, timed_out = str(failure), None, False
        sensor = Sensor(name="world", seconds=0.0, error=clean(error, 300))
        return Snapshot(target=target, at=context.now(), sensors=(sensor,), exists=exists), timed_out

    async def _decide(self, event: VerificationDue, look: _Look, context: Context, connection: Connection) -> Sequence[Output]:
        now = context.now()
        last = self._last(event, look)
        if look.assessment.settled or now >= last:
            if look.assessment.verdict is Verdict.SUCCESS and not look.case.was_held and self._hold_down(look) > 0:
                return await self._hold(event, look, context, connection)
            return await _finish(event, look, context, connection)
        due = context.event(VerificationDue, finished=event.finished, look=event.look + 1, until=event.until)
        if not await continue_verification(connection, look.case.operation.id, event=event.id, awaits=due.id):
            return []
        return [context.delay(due, min(now + timedelta(seconds=self._pause(event, now)), last))]

    def _last(self, event: VerificationDue, look: _Look) -> datetime:
        """When the last look is due: later where only the alert's own rule still holds, for rules look back.

        Later, too, where new pods are only being started: their controller says when that has taken too long.
        """
        ended_at, workload = look.case.operation.finished_at, look.question.after.workload
        if look.assessment.ground is Ground.STILL_FIRING and ended_at is not None:
            return max(event.until, ended_at + timedelta(seconds=self._options.alert_limit))
        if look.assessment.ground is Ground.STARTING and workload is not None:
            return event.until + timedelta(seconds=min(workload.progress_deadline or 0, _LONGEST_START))
        return event.until

    def _pause(self, event: VerificationDue, now: datetime) -> float:
        """Seconds to the next look; after the warm-up, when only an alert or a start is waited for, they come less often."""
        return self._options.interval * (_RARER if now >= event.until else 1)

    def _hold_down(self, look: _Look) -> float:
        """How long a success is held, in seconds. A Job that has completed stays so, and may be deleted before another look."""
        if isinstance(look.case.operation.action, RerunJob):
            return 0.0
        playbook = look.case.playbook
        own = playbook.verification.hold_down if playbook is not None else None
        return self._options.hold_down_of(look.case.approval.playbook, own)

    async def _hold(self, event: VerificationDue, look: _Look, context: Context, connection: Connection) -> Sequence[Output]:
        """A success is not told yet: the next look is due after the hold-down."""
        now, operation = context.now(), look.case.operation
        until = now + timedelta(seconds=self._hold_down(look))
        last = until + timedelta(seconds=self._options.limit)
        due = context.event(VerificationDue, finished=event.finished, look=event.look + 1, until=last)
        seen, gone = context.new_id(), look.question.gone
        if not await hold_verification(connection, operation.id, event=event.id, awaits=due.id, held=seen, at=now, gone=gone):
            return []
        await store_snapshot(connection, id=seen, incident=operation.incident, phase="after", snapshot=look.question.after)
        what = f"healthy so far, held until {until:%H:%M:%S} UTC for another look: {look.assessment.summary}"
        await add_timeline(connection, incident=operation.incident, event=due.id, at=now, by=context.by, what=what)
        return [context.delay(due, until)]


async def _case(connection: Connection, row: VerificationRow, event: VerificationDue, context: Context) -> _Case:
    """What is to be looked at. Raises Reject when the ledger does not bear the event out."""
    operation = await _ledger(connection, event.finished)
    approval = await get_approval(connection, operation.approval)
    if approval is None:
        raise Reject(f"the store has no approval {clean(operation.approval, 64)!r} of this operation")
    playbook = await get_playbook(connection, approval.playbook, approval.playbook_version) if approval.playbook else None
    return _Case(
        operation=operation,
        approval=approval,
        before=await get_snapshot(connection, operation.before) if operation.before else None,
        incident=await get_incident(connection, operation.incident),
        proposed=await get_snapshot(connection, approval.evidence) if approval.evidence else None,
        held=await _held(connection, row, context),
        was_held=bool(row.held),
        playbook=playbook.playbook if playbook is not None else None,
    )


async def _held(connection: Connection, row: VerificationRow, context: Context) -> Held | None:
    """The look that found it healed, where the success is held."""
    seen = await get_snapshot(connection, row.held) if row.held else None
    if seen is None or row.held_at is None:
        return None
    return Held(after=seen, gone=row.held_gone, seconds=(context.now() - row.held_at).total_seconds())


async def _ledger(connection: Connection, event: ExecutionFinished) -> Operation:
    """The operation that the event tells of. Raises Reject when the ledger does not bear the event out."""
    operation = await get_operation(connection, event.approval)
    if operation is None or operation.id != event.operation or operation.outcome is not event.outcome:
        raise Reject(f"the ledger has no operation {clean(event.operation, 64)!r} that ended as {event.outcome}: the event is not genuine")
    return operation


async def _finish(event: VerificationDue, look: _Look, context: Context, connection: Connection) -> Sequence[Output]:
    """The judgement, told once."""
    operation, approval, assessment, now = look.case.operation, look.case.approval, look.assessment, context.now()
    assert operation.outcome is not None
    ended = await end_verification(connection, operation.id, event=event.id, verdict=assessment.verdict, score=assessment.score, at=now)
    if not ended:
        return []
    after_id = context.new_id()
    await store_snapshot(connection, id=after_id, incident=operation.incident, phase="after", snapshot=look.question.after)
    before_id = await _before(look, context, connection)
    held, touched = look.case.held, touched_pods(look.question.before, look.question.after)
    result = context.event(
        VerificationFinished,
        incident=operation.incident,
        operation=operation.id,
        approval=operation.approval,
        action=operation.action,
        outcome=operation.outcome,
        verdict=assessment.verdict,
        measured=assessment.measured,
        summary=assessment.summary,
        judgements=assessment.judgements,
        before=before_id,
        after=after_id,
        score=assessment.score,
        automatic=approval.automatic,
        severity=approval.severity,
        cleared=assessment.cleared,
        regressions=assessment.regressions,
        playbook=approval.playbook,
        relapse=assessment.relapse,
        ground=assessment.ground,
        parts=assessment.parts,
        held=round(held.seconds, 1) if held else 0.0,
        demands=look.demands or msgspec.UNSET,
        touched=msgspec.UNSET if touched is None else touched,
    )
    score = f" (score {assessment.score:g}: {shown(assessment.parts)})" if assessment.parts else ""
    what = f"verified as {assessment.verdict}: {describe(operation.action)}. {assessment.summary}{score}"
    await add_timeline(connection, incident=operation.incident, event=result.id, at=now, by=context.by, what=what)
    return [result]


async def _before(look: _Look, context: Context, connection: Connection) -> str:
    """The id of the snapshot from before: the one that was kept, or that one with its metrics, or one of now that says so."""
    case, seen = look.case, look.question.before
    if case.before is not None and seen == case.before:
        return case.operation.before
    snapshot = seen or msgspec.structs.replace(look.question.after, late=True)
    before_id = context.new_id()
    await store_snapshot(connection, id=before_id, incident=case.operation.incident, phase="before", snapshot=snapshot)
    return before_id
