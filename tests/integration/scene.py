"""A scene for the stages around an approval: a clock that a test moves, an open incident, and the events that come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from bus.handler import Context, Stage
from schemas.action import Action, RestartWorkload
from schemas.codec import encode, topic_of
from schemas.event import Event, Output
from schemas.events import (
    ActionApproved,
    ActionProposed,
    ActionRejected,
    ApprovalDue,
    ApprovalRequested,
    ExecutionFinished,
    ExecutionRetryDue,
    IncidentCloseDue,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    PeopleAsked,
    VerificationDue,
    VerificationFinished,
    VoteCast,
)
from schemas.identity import new_id, time_of
from schemas.judgement import Judgement
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.words import ApprovalState, CheckResult, Choice, Disposition, Health, Mode, Outcome, Risk, Severity, Source, Tier, Verdict
from sql import approvals, event_log, signals
from sql.approvals import ApprovalRow
from sql.database import Connection, Database
from sql.outbox import due_of, once
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.gate.votes import VoteKeys

E = TypeVar("E", bound=Event)
AUTO = GateOptions(mode=Mode.AUTO)
KEYS = VoteKeys(b"a key of this test, long enough")
TARGET = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
RESTART = RestartWorkload(target=TARGET)


def deployment(name: str) -> Target:
    return msgspec.structs.replace(TARGET, name=name)


_OPERATION = """
INSERT INTO operations (id, approval, incident, target, action, uid, state, awaits, opened_at, started_at, outcome)
VALUES ($1, $2, $3, $4, $5, 'uid-1', $6, '', $7, $7, $8) ON CONFLICT DO NOTHING
"""
_VERIFICATION = "INSERT INTO verifications (operation, awaits, verdict) VALUES ($1, '', $2) ON CONFLICT DO NOTHING"
_TELLERS: dict[type[Event], str] = {
    ActionProposed: "propose",
    ActionApproved: "gate",
    ActionRejected: "gate",
    ApprovalDue: "gate",
    IncidentOpened: "ingest",
    IncidentUpdated: "ingest",
    IncidentResolved: "ingest",
    ExecutionFinished: "execute",
    VerificationFinished: "verify",
}


_TIMERS: dict[type[Event], str] = {VerificationDue: "verify", ExecutionRetryDue: "execute"}


async def _only(event: Event) -> Sequence[Output]:
    return [event]


class Crowd:
    """Holds a lock that decisions need, so that those made at the same time really meet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def wait_for(self, count: int) -> None:
        """Returns when `count` transactions wait for a lock; fails after five seconds."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        for _ in range(500):
            await self._connection.execute("SELECT pg_stat_clear_snapshot()")
            if await self._connection.fetchval(query) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{count} transactions should wait by now")


@asynccontextmanager
async def crowded(url: str, lock: str = "LOCK TABLE approvals IN SHARE MODE") -> AsyncIterator[Crowd]:
    """Takes the lock until the block ends. The default one holds back every insert into `approvals`, and no reader."""
    database = await Database(url, size=1).open()
    async with database.transaction() as connection:
        await connection.execute(lock)
        yield Crowd(connection)
    await database.close()


class _Archived:
    """An event as the archive hands it to the log."""

    partition = 0
    entry = "0-1"

    def __init__(self, event: Event) -> None:
        self.id, self.at, self.by, self.incident, self.cause = event.id, event.at, event.by, event.incident, event.cause
        self.born, self.type, self.topic, self.body = time_of(event.id), type(event).__name__, topic_of(event), encode(event)


class Scene:
    """One test's world: `now` moves only when the test moves it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def header(self, incident: str = "", **fields: Any) -> dict[str, Any]:
        return {
            "id": new_id(self.now),
            "key": TARGET.key,
            "at": self.now,
            "by": "test",
            "incident": incident,
            "cause": new_id(self.now),
        } | fields

    async def back(self, event: Event) -> None:
        """Puts behind an event what the stage that tells it leaves in the store; without it the event is a forged one."""
        teller = event.by.partition("/")[0] if isinstance(event, PeopleAsked) else _TELLERS.get(type(event))
        if teller is not None:
            await once(self.database, teller, self.cause_of(event), lambda _: _only(event))
        if isinstance(event, ExecutionFinished | VerificationFinished):
            await self._operate(event)
        if isinstance(event, VerificationFinished):
            await self.database.fetch(_VERIFICATION, event.operation, event.verdict.value)
        if isinstance(event, ActionRejected):
            await self._decide(event, ApprovalState.REJECTED, automatic=False)
        if isinstance(event, ActionApproved) and event.signers:
            await self._decide(event, ApprovalState.APPROVED, automatic=event.automatic)

    async def _operate(self, event: ExecutionFinished | VerificationFinished) -> None:
        """The ended operation in the ledger; of its approval, where an execution names one."""
        done = event.outcome if event.outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN) else "failed"
        named = isinstance(event, ExecutionFinished) and event.approval != "none"
        approval = event.approval if named else event.operation
        place = (event.operation, approval, event.incident, event.action.target.key, msgspec.json.encode(event.action).decode())
        await self.database.fetch(_OPERATION, *place, str(done), self.now, event.outcome.value)

    async def allow(self, event: ExecutionFinished) -> None:
        """The row of the approval by which an operation was run without a person."""
        agreed: dict[str, Any] = {"action_hash": "h", "risk": Risk.LOW, "automatic": True}
        approved = ActionApproved(**self.header(event.incident), approval=event.operation, action=event.action, **agreed)
        await self._decide(approved, ApprovalState.APPROVED, automatic=True)

    async def _decide(self, event: ActionApproved | ActionRejected, state: ApprovalState, *, automatic: bool) -> None:
        """The row of an approval that was decided, where there is none."""
        plain: dict[str, Any] = {"proposer": "propose", "rule": "risk", "mode": Mode.AUTO, "trust_score": 0, "evidence": ""}
        plain["inputs"] = {"source": "template", "situation": {"proven": True}}
        about: dict[str, Any] = {"incident": event.incident, "action": event.action, "target": event.action.target, "place": ""}
        times = {"requested_at": self.now, "expires_at": self.now, "decided_at": self.now}
        risks: dict[str, Any] = {"severity": Severity.P2, "risk": "medium", "needed": 0}
        bound = {"action_hash": "h", "target_uid": "uid-1", "automatic": automatic}
        row = msgspec.convert(
            {"id": event.approval, "proposal": event.approval, "state": state, **plain, **about, **times, **risks, **bound}, ApprovalRow
        )
        async with self.database.transaction() as connection:
            if await approvals.get_approval(connection, row.id) is None:
                await approvals.create_approval(connection, row)

    async def _until_due(self, event: Event) -> None:
        """Time passes until a timer of a stage is due."""
        stage = _TIMERS.get(type(event))
        if stage is None:
            return
        async with self.database.connection() as connection:
            due = await due_of(connection, stage, event)
        if due is not None and due > self.now:
            self.later((due - self.now).total_seconds())

    def cause_of(self, event: Event) -> Event:
        """An event that `event` answers."""
        return IncidentCloseDue(**self.header(event.incident, id=event.cause))

    async def handle(self, stage: Stage, event: Event, attempt: int = 1, *, backed: bool = True) -> Sequence[Output]:
        if backed:
            await self.back(event)
            await self._until_due(event)
        context = Context(stage=stage.name, by=f"{stage.name}/test", clock=lambda: self.now, input=event, attempt=attempt)
        return await stage.handle(event, context)

    async def incident(
        self,
        target: Target = TARGET,
        severity: Severity = Severity.P3,
        alert: str = "KubePodCrashLooping",
        labels: dict[str, str] | None = None,
    ) -> str:
        """The id of a new open incident with one firing signal."""
        labels = {"alertname": alert} | (labels or {})
        async with self.database.transaction() as connection:
            joined = await signals.join_or_open(
                connection,
                id=new_id(self.now),
                target=target,
                severity=severity,
                title=f"{alert} on {target}",
                labels=labels,
                services=("checkout",),
                at=self.now,
            )
            await self.join(connection, joined.id, target, labels)
        return joined.id

    async def join(self, connection: Connection, incident: str, target: Target, labels: dict[str, str]) -> None:
        """The alert with these labels is one of the incident's."""
        alert = labels["alertname"]
        await signals.count_alert(connection, incident, alert=alert, anomaly=f"{alert} {target.key}", labels=labels)

    async def resolve(self, incident: str) -> None:
        async with self.database.transaction() as connection:
            await signals.resolve(connection, incident, disposition=Disposition.SELF_RESOLVED, at=self.now)

    async def archive(self, *events: Event) -> None:
        """Puts the events into the event log, as the archive would."""
        await event_log.store(self.database, [_Archived(event) for event in events])

    def proposal(self, incident: str, action: Action = RESTART, **fields: Any) -> ActionProposed:
        plain: dict[str, Any] = {
            "action": action,
            "target_uid": "uid-1",
            "severity": Severity.P3,
            "source": Source.TEMPLATE,
            "provider": "templates",
            "proposer": "propose/test",
            "confidence": 0.7,
            "reasons": ("its pods crash",),
            "evidence": new_id(self.now),
            "checks": (Check(name="permission", result=CheckResult.PASSED),),
            "blast": BlastRadius(score=5, tier=Tier.AUTO, services=("checkout",)),
        }
        return ActionProposed(**self.header(incident), **(plain | fields))

    def vote(self, row: ApprovalRow, person: str, choice: Choice = Choice.SIGN, **fields: Any) -> VoteCast:
        """A proven vote; `fields` are changed before the proof is made."""
        plain: dict[str, Any] = {"approval": row.id, "action_hash": row.action_hash, "origin": "cli/127.0.0.1", "comment": ""}
        return KEYS.sign(VoteCast(**self.header(row.incident), person=person, choice=choice, **(plain | fields)))

    def finished(self, row: ApprovalRow | None = None, outcome: Outcome = Outcome.SUCCEEDED, **fields: Any) -> ExecutionFinished:
        plain: dict[str, Any] = {
            "operation": new_id(self.now),
            "approval": row.id if row else "none",
            "action": row.action if row else RESTART,
            "automatic": row.automatic if row else True,
            "attempts": 1,
            "started_at": self.now,
            "seconds": 1.5,
            "severity": Severity.P2,
        }
        header = self.header(fields.pop("incident", row.incident if row else ""))
        return ExecutionFinished(**header, outcome=outcome, **(plain | fields))

    def verified(self, finished: ExecutionFinished, verdict: Verdict = Verdict.SUCCESS, **fields: Any) -> VerificationFinished:
        """The judgement of an execution."""
        judgement = Judgement(about=str(finished.action.target), health=Health.HEALTHY, reason="all replicas are available")
        plain: dict[str, Any] = {
            "operation": finished.operation,
            "approval": finished.approval,
            "action": finished.action,
            "outcome": finished.outcome,
            "measured": True,
            "summary": "all replicas are available",
            "judgements": (judgement,),
            "before": "",
            "after": "",
            "score": 1.0,
            "automatic": finished.automatic,
            "severity": finished.severity,
            "cleared": True,
        }
        return VerificationFinished(**self.header(finished.incident), verdict=verdict, **(plain | fields))


class Running(Scene):
    """A scene whose clock runs, moved on by `later`."""

    _offset = timedelta()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset

    @now.setter
    def now(self, _: datetime) -> None:
        """The clock runs by itself."""

    def later(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)


class Kept:
    """A channel that keeps what it is given."""

    name = "kept"

    def __init__(self) -> None:
        self.messages: list[str] = []

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        self.messages.append(lines[0])

    async def close(self) -> None:
        """There is nothing to close."""


def gate(scene: Scene, options: GateOptions = AUTO) -> Gate:
    return Gate(scene.database, options, KEYS)


def only(outputs: Sequence[Output], kind: type[E]) -> E:
    """The one event of a kind among the outputs."""
    found = [output for output in outputs if isinstance(output, kind)]
    assert len(found) == 1, outputs
    return found[0]


async def row(scene: Scene, approval: str) -> ApprovalRow:
    async with scene.database.connection() as connection:
        found = await approvals.get_approval(connection, approval)
    assert found is not None
    return found


async def requested(scene: Scene, *, options: GateOptions = AUTO, severity: Severity = Severity.P0) -> ApprovalRow:
    """An approval that waits: two signatures for P0, one for P2."""
    incident = await scene.incident()
    outputs = await scene.handle(gate(scene, options), scene.proposal(incident, severity=severity))
    return await row(scene, only(outputs, ApprovalRequested).approval)
