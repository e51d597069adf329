"""One attempt at an approved action: the named steps from the ledger's state to an ending.

ledger     what is done
pending    authority, snapshot, preflight, `running` is committed, side effect
running    somebody began and did not tell, so the side effect is looked for first:
             it is there            succeeded
             it is surely not there as pending
             nobody can tell        unknown, said out loud
an end     nothing: it was told when it ended

A crash before `running` was committed leaves `pending`: nothing was changed. A crash after it leaves `running`, whether
before, in or after the side effect. So a side effect is never begun without a row that says so, and never repeated unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

import msgspec

from adapters.errors import AdapterError, OutcomeUnknown, Refused, TargetMissing
from adapters.ports import Preflight, World
from bus.handler import Clock, Retry
from schemas.action import EvictPod, describe, is_observation, parts_of
from schemas.evidence import Snapshot
from schemas.identity import derived_id
from schemas.preflight import Check
from schemas.target import Kind
from schemas.text import clean
from schemas.words import CheckResult, Mode, OperationState, Outcome
from sql.approvals import ApprovalRow, SignatureRow, lock_approval, signatures_of
from sql.database import Connection, Database
from sql.evidence import store_snapshot
from sql.incidents import IncidentRow, add_timeline, hold_open, mark_mitigating
from sql.operations import Lease, Operation, start_operation
from sql.switch import hold
from stages.execute.authority import is_wanted, outgrown, refusal, rejected_by
from stages.execute.classify import is_transient
from stages.execute.ending import Ending, ended, later
from stages.execute.options import ExecuteOptions

_UNTOUCHED = (Outcome.REFUSED, Outcome.FAILED, Outcome.DRY_RUN_BLOCKED, Outcome.SHADOWED, Outcome.WITHDRAWN)
"""Endings that say that nothing was changed."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The right to make one attempt: the approval with its signatures and its incident, the operation as it was found, and the lease.

    `mode` is the present one of the target; `stopped` says that everything was stopped since it was approved, or is empty.
    """

    approval: ApprovalRow
    signatures: Sequence[SignatureRow]
    incident: IncidentRow | None
    mode: Mode
    stopped: str
    operation: Operation
    lease: Lease
    attempt: int
    event: str
    by: str

    @property
    def before(self) -> str:
        """The id of the snapshot from before the operation."""
        return self.operation.before or derived_id(self.operation.id, "execute", 1)

    @property
    def first_token(self) -> int:
        """The fencing token under which the side effect was first begun, at this attempt if at none before."""
        return self.operation.first_token or self.lease.token


class Attempt:
    """Runs one claim to its ending.

    `begun_at` is when this attempt began the side effect, in this process or in one that was cut off; `has_before` whether
    the snapshot from before the operation is stored.
    """

    def __init__(self, claim: Claim, *, database: Database, world: World, options: ExecuteOptions, clock: Clock) -> None:
        self.claim = claim
        self._doubtful = claim.operation.state is OperationState.RUNNING
        cut_off = self._doubtful and claim.operation.attempts == claim.attempt
        self.begun_at: datetime | None = claim.operation.started_at if cut_off else None
        self.has_before = bool(claim.operation.before)
        self._action = claim.approval.action
        self._database = database
        self._world = world
        self._options = options
        self._clock = clock

    async def run(self) -> Ending:
        """The ending; raises Retry when another executor came first, and what the store raises."""
        ending = await self._attempted()
        if not self._doubtful or is_observation(self._action) or ending.outcome not in _UNTOUCHED:
            return ending
        # What was in doubt may have landed after the first look, and be the very reason why this attempt could not go on.
        return await self._look_for(f"an earlier attempt was cut off, and this one ended so: {ending.error or ending.output}") or ending

    async def _attempted(self) -> Ending:
        """The ending of this attempt by itself, whatever an earlier one did meanwhile."""
        try:
            return await self._recover() or self._authorize() or await self._act()
        except TargetMissing as error:
            near = f"; the nearest names: {', '.join(error.nearest[:5])}" if error.nearest else ""
            return ended(Outcome.DRY_RUN_BLOCKED, error=f"{error}{near}")
        except Refused as error:
            return ended(Outcome.REFUSED, error=str(error))
        except AdapterError as error:
            if not is_transient(error, self._action.target):
                return ended(Outcome.FAILED, error=str(error))
            return self._later(error, touched=False) or ended(Outcome.FAILED, error=self._exhausted(error))

    async def _recover(self) -> Ending | None:
        """What became of a side effect that was begun before; None when it did not happen, or was never begun."""
        if not self._doubtful or is_observation(self._action):
            return None
        return await self._look_for("an earlier attempt was cut off")

    async def _look_for(self, doubt: str) -> Ending | None:
        """Whether the side effect is there; None when it surely is not."""
        try:
            found = await self._world.find(
                self._action, operation=self.claim.operation.id, uid=self.claim.approval.target_uid, token=self.claim.first_token
            )
        except AdapterError as error:
            doubt = f"{doubt}, and it cannot be looked for: {error}"
            return self._later(doubt, touched=True) or ended(Outcome.UNKNOWN, error=doubt)
        if found:
            return ended(Outcome.SUCCEEDED, output=f"{describe(self._action)}: found done ({doubt})")
        return ended(Outcome.UNKNOWN, error=f"{doubt}: whether it happened cannot be told") if found is None else None

    def _authorize(self) -> Ending | None:
        claim = self.claim
        if claim.stopped:
            return self._stopped(claim.stopped)
        if reason := refusal(claim.approval, claim.signatures, self._clock(), claim.mode, self._options.grant):
            return ended(Outcome.WITHDRAWN if rejected_by(claim.signatures) else Outcome.REFUSED, error=reason)
        if claim.mode is Mode.SHADOW:
            return ended(Outcome.SHADOWED, output=f"the mode is shadow now, in which nothing runs; not run: {describe(self._action)}")
        return None if is_wanted(claim.approval, claim.incident) else self._withdrawn()

    def _stopped(self, why: str) -> Ending:
        return ended(Outcome.WITHDRAWN, error=f"{why}; not run: {describe(self._action)}")

    def _withdrawn(self) -> Ending:
        return ended(Outcome.WITHDRAWN, error=f"its incident is over, and nothing is done any more: {describe(self._action)}")

    async def _act(self) -> Ending:
        before = None if self.has_before else await self._observe()
        if not is_observation(self._action) and (blocked := self._blocked(await self._world.preflight(self._action))):
            return blocked
        return await self._start(before) or await self._apply()

    async def _observe(self) -> Snapshot | None:
        """The state before: of the workload, where the action is about one of its pods, for that is what must be well afterwards."""
        target = self._action.target
        try:
            async with asyncio.timeout(self._options.observe_limit):
                if target.kind is Kind.POD:
                    target = await self._world.owner(target)
                return await self._world.observe(target, parts=parts_of(self._action))
        except TimeoutError:
            return None

    def _blocked(self, preflight: Preflight) -> Ending | None:
        """What speaks against it now, though it was approved."""
        failed = [check for check in preflight.checks if check.result is CheckResult.FAILED]
        if not preflight.uid and any(check.name.startswith("target") for check in failed):
            return ended(Outcome.DRY_RUN_BLOCKED, error=_said(failed))
        if failed and self._awaits_budget(failed):
            return self._later(_said(failed), touched=False) or ended(Outcome.REFUSED, error=self._exhausted(_said(failed)))
        if failed:
            return ended(Outcome.REFUSED, error=_said(failed))
        passed = {(check.name, check.subject) for check in self.claim.approval.checks if check.result is CheckResult.PASSED}
        unsure = [check for check in preflight.checks if check.result is CheckResult.NOT_CHECKED and (check.name, check.subject) in passed]
        if unsure:
            error = f"what was checked when it was approved cannot be checked now: {_said(unsure)}"
            return self._later(error, touched=False) or ended(Outcome.REFUSED, error=error)
        if preflight.uid != self.claim.approval.target_uid:
            target = self._action.target
            return ended(Outcome.REFUSED, error=f"{target} is not the one that was approved: its UID has changed since")
        if preflight.basis != self.claim.approval.basis:
            error = f"what this would change of {self._action.target} was changed since it was proposed: look again, and approve it anew"
            return ended(Outcome.REFUSED, error=error)
        if reason := outgrown(self.claim.approval, preflight.blast):
            return ended(Outcome.REFUSED, error=reason)
        return None

    def _awaits_budget(self, failed: Sequence[Check]) -> bool:
        """Whether only a disruption budget is in the way of an eviction: it may open; it is never gone around by a delete."""
        names = {check.name for check in failed}
        return isinstance(self._action, EvictPod) and "disruption_budget" in names and names <= {"disruption_budget", "dry_run"}

    async def _start(self, before: Snapshot | None) -> Ending | None:
        """Commits `running`, before the world is touched; the ending when a person rejected it, everything was stopped or the incident
        is over or more severe by now.

        The approval's lock keeps a rejection from coming between, and that of the switch a stop. Raises Retry when the lease was lost.
        """
        claim, at = self.claim, self._clock()
        async with self._database.transaction() as connection:
            if why := (await hold(connection)).ends(claim.approval.decided_at):
                return self._stopped(why)
            await lock_approval(connection, claim.approval.id)
            if person := rejected_by(await signatures_of(connection, claim.approval.id)):
                return ended(Outcome.WITHDRAWN, error=f"{person} rejected it")
            if not is_observation(self._action):
                severity = await hold_open(connection, claim.approval.incident)
                if severity is not None and (why := claim.approval.outranked(severity)):
                    return ended(Outcome.REFUSED, error=f"{why}: it must be proposed and approved anew")
                is_open = await mark_mitigating(connection, claim.approval.incident, claim.approval.automatic)
                if not is_open and not claim.approval.by_person:
                    return self._withdrawn()
            if before is not None:
                await self._keep_before(connection, before)
            begun = await start_operation(
                connection, claim.operation.id, claim.lease, attempt=claim.attempt, at=at, before=claim.before if self.has_before else ""
            )
            if not begun:
                raise Retry(1.0, f"another executor took over operation {claim.operation.id}")
            what = f"attempt {claim.attempt} begins: {describe(self._action)}"
            await add_timeline(connection, incident=claim.approval.incident, event=claim.event, at=at, by=claim.by, what=what)
        self.begun_at = at
        return None

    async def _keep_before(self, connection: Connection, snapshot: Snapshot) -> None:
        await store_snapshot(connection, id=self.claim.before, incident=self.claim.approval.incident, phase="before", snapshot=snapshot)
        self.has_before = True

    async def _apply(self) -> Ending:
        """The side effect. What raises anything but the world's errors stays `running`, so that the next delivery looks first."""
        claim = self.claim
        try:
            async with asyncio.timeout(self._options.apply_limit):
                applied = await self._world.apply(
                    self._action, operation=claim.operation.id, token=claim.lease.token, uid=claim.approval.target_uid
                )
        except (OutcomeUnknown, TimeoutError) as error:
            doubt = str(error) or f"no answer within {self._options.apply_limit:g} s"
            if is_observation(self._action):
                return self._later(doubt, touched=False) or ended(Outcome.FAILED, error=self._exhausted(doubt))
            found = await self._look_for(doubt)
            return found or self._later(doubt, touched=True) or ended(Outcome.UNKNOWN, error=self._exhausted(doubt))
        return ended(Outcome.SUCCEEDED, output=applied.output)

    def _later(self, error: object, *, touched: bool) -> Ending | None:
        """A later attempt, where one is left. What was once in doubt is looked for before every further attempt."""
        return later(error, touched=touched or self._doubtful) if self.claim.attempt <= self._options.retries else None

    def _exhausted(self, error: object) -> str:
        return f"{error} (attempt {self.claim.attempt} of {self._options.retries + 1})"


def _said(checks: Sequence[Check]) -> str:
    return clean("; ".join(f"{check.name}: {check.detail or check.missing or 'failed'}" for check in checks), 1500)
