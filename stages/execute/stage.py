"""execute: the only stage that changes the world, and it does so once for each approval.

An event only says where to look. What may run is the approval's row; what has run is the operation's row. Every delivery,
also the second and the one after a crash, does the same: claim, attempt, record. Nothing runs while the store is away.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from adapters.ports import World
from bus.handler import Context, Reject, Retry
from schemas.action import describe, is_observation
from schemas.event import Event, Output
from schemas.events import ActionApproved, ExecutionFinished, ExecutionRetryDue, ExecutionStarted
from schemas.identity import derived_id
from schemas.target import Target
from schemas.text import clean
from schemas.words import ApprovalState, Mode
from sql.approvals import ApprovalRow, get_approval, signatures_of
from sql.audit import audit_close, audit_open
from sql.database import Connection, Database
from sql.incidents import add_timeline, get_incident
from sql.operations import (
    LeaseHeld,
    Operation,
    defer_operation,
    finish_operation,
    get_operation,
    open_operation,
    release_lease,
    take_lease,
)
from sql.outbox import kept, once
from sql.switch import state
from stages.execute.attempt import Attempt, Claim
from stages.execute.ending import Ending
from stages.execute.holding import holding
from stages.execute.options import ExecuteOptions
from stages.genuine import require_due
from stages.reads import READS

_OUTPUT_LIMIT = 2_000  # characters of what an event carries; the audit log keeps more


def _holder() -> str:
    return secrets.token_hex(8)


class ExecuteStage:
    """The consumer group `execute`.

    `mode_of` tells the present mode of a target, which counts for what was approved before as well.
    `holder` gives a new name for each delivery, so that no two of them share a lease.
    """

    name = "execute"
    topics = READS["execute"]

    def __init__(
        self,
        database: Database,
        world: World,
        options: ExecuteOptions | None = None,
        *,
        mode_of: Callable[[Target], Mode],
        holder: Callable[[], str] = _holder,
    ) -> None:
        self._database = database
        self._world = world
        self._options = options or ExecuteOptions()
        self._mode_of = mode_of
        self._holder = holder

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if not isinstance(event, ActionApproved | ExecutionRetryDue):
            return []
        if (outputs := await kept(self._database, self.name, event.id)) is not None:
            return outputs
        claim = await self._claim(event, context)
        if claim is None:
            return []
        attempt = Attempt(claim, database=self._database, world=self._world, options=self._options, clock=context.clock)
        async with holding(self._database, claim.lease, self._options.lease):
            ending = await attempt.run()
            return await once(self._database, self.name, event, lambda connection: self._record(attempt, ending, context, connection))

    async def _claim(self, event: ActionApproved | ExecutionRetryDue, context: Context) -> Claim | None:
        """The right to act on the approval's row, or None when this event is not the one to act on.

        Raises Reject for an event that no approval bears out, and Retry while another executor holds the target.
        """
        async with self._database.transaction() as connection:
            if isinstance(event, ExecutionRetryDue):
                known = await get_operation(connection, event.approval)
                if known is not None and known.ended:
                    return None
                await require_due(connection, self.name, event, context.now())
            approval = await get_approval(connection, event.approval)
            operation = None if approval is None else await self._operation(connection, approval, event, context)
            claim = None
            if approval is not None and operation is not None:
                claim = await self._leased(connection, approval, operation, event, context)
        if approval is None or (operation is None and approval.state is ApprovalState.WAITING):
            await self._refuse_news(event, context, "waits for signatures" if approval else "does not exist")
        return claim

    async def _operation(
        self, connection: Connection, approval: ApprovalRow, event: ActionApproved | ExecutionRetryDue, context: Context
    ) -> Operation | None:
        """The approval's operation, locked, when `event` may drive it; made by the first announcement of a decided approval."""
        if isinstance(event, ExecutionRetryDue) or approval.state is ApprovalState.WAITING:
            operation = await get_operation(connection, approval.id, lock=True)
        else:
            operation = await open_operation(
                connection,
                id=derived_id(approval.id, self.name, 0),
                approval=approval.id,
                incident=approval.incident,
                action=approval.action,
                uid=approval.target_uid,
                awaits=event.id,
                at=context.now(),
            )
        return None if operation is None or operation.ended or operation.awaits != event.id else operation

    async def _leased(
        self,
        connection: Connection,
        approval: ApprovalRow,
        operation: Operation,
        event: ActionApproved | ExecutionRetryDue,
        context: Context,
    ) -> Claim:
        """The claim, with a lease on the target; an observation takes one on itself, for it keeps nobody away."""
        place = f"look/{operation.id}" if is_observation(approval.action) else approval.target.key
        lease = await take_lease(
            connection, target=place, operation=operation.id, holder=f"{context.by}/{self._holder()}", seconds=self._options.lease
        )
        if isinstance(lease, LeaseHeld):
            wait = min(max(lease.seconds, 0.05), self._options.busy_wait)
            raise Retry(wait, f"operation {lease.operation} has {approval.target} for {lease.seconds:.1f} s more at most")
        number = event.attempt if isinstance(event, ExecutionRetryDue) else 1
        await audit_open(
            connection,
            id=f"{operation.id}#{number}",
            at=context.now(),
            who=", ".join(approval.signers) or approval.proposer,
            what=approval.action.verb,
            about=str(approval.target),
            incident=approval.incident,
            input=msgspec.json.encode(approval.action).decode(),
        )
        return Claim(
            approval=approval,
            signatures=await signatures_of(connection, approval.id),
            incident=await get_incident(connection, approval.incident),
            mode=self._mode_of(approval.target),
            stopped=(await state(connection)).ends(approval.decided_at),
            operation=operation,
            lease=lease,
            attempt=number,
            event=event.id,
            by=context.by,
        )

    async def _refuse_news(self, event: ActionApproved | ExecutionRetryDue, context: Context, why: str) -> None:
        """An announcement without authority behind it moves nothing, and is kept where people see it. Raises Reject."""
        reason = f"approval {clean(event.approval, 64)!r} {why}: the event that announces it is not genuine, and nothing was run"
        async with self._database.transaction() as connection:
            await audit_open(
                connection,
                id=event.id,
                at=context.now(),
                who=event.by,
                what=type(event).__name__,
                about=event.approval,
                incident=event.incident,
            )
            await audit_close(connection, event.id, state="refused", error=reason)
        raise Reject(reason)

    async def _record(self, attempt: Attempt, ending: Ending, context: Context, connection: Connection) -> Sequence[Output]:
        """Writes how the attempt ended, everywhere at once, and keeps what is told about it."""
        claim, now = attempt.claim, context.now()
        outputs: list[Output] = []
        if attempt.begun_at is not None:
            started = context.event(
                ExecutionStarted,
                incident=claim.approval.incident,
                operation=claim.operation.id,
                approval=claim.approval.id,
                action=claim.approval.action,
                attempt=claim.attempt,
                token=claim.lease.token,
            )
            outputs.append(msgspec.structs.replace(started, at=attempt.begun_at))
        if ending.outcome is None:
            outputs.append(await self._again(claim, ending, context, connection))
        else:
            outputs.append(await _finish(attempt, ending, context, connection))
        await release_lease(connection, claim.lease)
        begun = attempt.begun_at or now
        await audit_close(
            connection,
            f"{claim.operation.id}#{claim.attempt}",
            state=ending.audit,
            output=ending.output,
            error=ending.error,
            seconds=(now - begun).total_seconds(),
        )
        what = f"{ending.outcome or 'to be tried again'}: {describe(claim.approval.action)}. {ending.error or ending.output}"
        await add_timeline(connection, incident=claim.approval.incident, event=claim.event, at=now, by=context.by, what=what)
        return outputs

    async def _again(self, claim: Claim, ending: Ending, context: Context, connection: Connection) -> Output:
        due = context.event(ExecutionRetryDue, incident=claim.approval.incident, approval=claim.approval.id, attempt=claim.attempt + 1)
        kept_on = await defer_operation(connection, claim.operation.id, claim.lease, state=ending.state, awaits=due.id, error=ending.error)
        _mine(kept_on, claim)
        return context.delay(due, context.now() + timedelta(seconds=self._options.retry_after))


async def _finish(attempt: Attempt, ending: Ending, context: Context, connection: Connection) -> Output:
    claim, now = attempt.claim, context.now()
    assert ending.outcome is not None
    finished = await finish_operation(
        connection,
        claim.operation.id,
        claim.lease,
        state=ending.state,
        outcome=ending.outcome,
        at=now,
        output=ending.output,
        error=ending.error,
    )
    _mine(finished, claim)
    begun = claim.operation.started_at or attempt.begun_at or claim.operation.opened_at
    return context.event(
        ExecutionFinished,
        incident=claim.approval.incident,
        operation=claim.operation.id,
        approval=claim.approval.id,
        action=claim.approval.action,
        outcome=ending.outcome,
        automatic=claim.approval.automatic,
        attempts=claim.attempt,
        started_at=begun,
        seconds=max((now - begun).total_seconds(), 0.0),
        severity=claim.approval.severity,
        before=claim.before if attempt.has_before else "",
        output=clean(ending.output, _OUTPUT_LIMIT),
        error=clean(ending.error, _OUTPUT_LIMIT),
        playbook=claim.approval.playbook,
    )


def _mine(written: bool, claim: Claim) -> None:
    """Raises Retry when another executor has written since: its word stands, and is returned at the next delivery."""
    if not written:
        raise Retry(1.0, f"another executor has taken over operation {claim.operation.id}")
