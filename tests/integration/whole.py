"""All stages and the archive on real stores, about a world that writes down each effect, and all that they decide, do and learn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from adapters.errors import Transient
from adapters.ports import Applied, Preflight
from bus.connect import Bus
from bus.dead import letters
from bus.handler import Stage
from bus.inspect import delayed, streams
from ops.archive import Archive
from ops.replay import Progress, Replay, chosen
from ops.settings.model import ArchiveSettings
from schemas.action import Action
from schemas.events import SignalReceived
from schemas.evidence import Snapshot
from schemas.identity import new_id
from schemas.preflight import Check
from schemas.target import Target
from schemas.words import ApprovalState, CheckResult, Mode, SignalStatus
from sql.approvals import ApprovalRow, list_approvals
from sql.database import Database
from stages.execute.options import ExecuteOptions
from stages.execute.stage import ExecuteStage
from stages.failure_watch.stage import FailureWatch
from stages.failure_watch.valves import Limit, Valves
from stages.gate.options import Cooldown, GateOptions
from stages.ingest.stage import Ingest
from stages.learn.stage import Learn
from stages.notify.stage import Notify
from stages.propose.stage import ProposeStage
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.chaos.storm.effects import Effects, RecordingWorld
from tests.integration.bus.ground import QUICK, running
from tests.integration.healing import eventually
from tests.integration.scene import KEYS, Kept, Running, gate

STATE = (
    *(
        "approvals",
        "approval_signatures",
        "decisions",
        "operations",
        "verifications",
        "proposals",
        "signals",
        "incidents",
        "incident_alerts",
    ),
    *("incident_timeline", "recurrences", "trust_ledger", "trust", "lessons", "playbooks", "playbook_ledger", "playbook_trust", "failures"),
    *("questions", "evidence", "recurrence_ledger", "repair_ledger", "repairs", "knowledge_ledger", "knowledge", "diagnoses"),
    *("declarations", "playbook_sources", "feedback", "repair_attempts", "failure_causes", "failure_cause_incidents", "group_outages"),
)
"""All that stages have decided, done and learned."""
SIGNED, REJECTED, LATE = "api-signed", "api-rejected", "api-late"
AWAY, BARRED = "api-away", "api-barred"
DROPPED, LEFT = "api-cursed-dropped", "api-cursed-left"
TARGETS = (
    *("api-1", "api-2", "slow-1", "blind-1", "lost-1", "refused-1", "hopeless-1"),
    *(SIGNED, REJECTED, LATE, AWAY, BARRED, DROPPED, LEFT),
)
OPERATIONS = 11
"""What is done: of those without a signature, of the one that was signed, and of the one that is repaired twice."""
_RETRIES = 1
_CALM = msgspec.structs.replace(QUICK, claim_period=1.0, measure_period=1.0, delay_period=0.1)
"""Nobody is lost here, so what others left is looked for seldom: nine groups on two partitions would do little else."""
_OFTEN = 100  # automatic actions in a while; more than these targets need


class Troubled(RecordingWorld):
    """A world with targets that nobody answers for at first, one of which lets nobody in after that, and with some that nobody can look
    at without a bug until it is `mended`.
    """

    def __init__(self, effects: Effects, clock: Callable[[], datetime], *, silent: int) -> None:
        super().__init__(effects, clock)
        self.mended = False
        self._silent = {AWAY: silent, BARRED: silent}

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        if target.name in (DROPPED, LEFT) and not self.mended:
            raise RuntimeError("this one cannot be looked at")
        return await super().observe(target, parts=parts)

    async def preflight(self, action: Action) -> Preflight:
        found = await super().preflight(action)
        if action.target.name == BARRED and not self._silent[BARRED]:
            barred = Check(name="permission", result=CheckResult.FAILED, detail="nobody may restart it any more")
            return msgspec.structs.replace(found, checks=(barred,))
        return found

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        if self._silent.get(action.target.name, 0):
            self._silent[action.target.name] -= 1
            raise Transient("connection refused")
        return await super().apply(action, operation=operation, token=token, uid=uid)


class Whole(Running):
    """Every stage and the archive, on real stores, about a world that writes down each effect."""

    def __init__(self, database: Database, bus: Bus, folder: Path) -> None:
        super().__init__(database)
        self.began = self.now
        self.bus = bus
        self.effects = Effects(folder)
        self.world = Troubled(self.effects, lambda: self.now, silent=1 + _RETRIES)
        self.kept = Kept()

    def stages(self) -> list[Stage]:
        database, world = self.database, self.world
        execute = ExecuteStage(database, world, ExecuteOptions(retries=_RETRIES, retry_after=0.1), mode_of=lambda _: Mode.AUTO)
        verify = VerifyStage(database, world, VerifyOptions(settle=0, interval=0.1, limit=1, hold_down=0))
        watch = FailureWatch(database, valves=Valves(anywhere=Limit(actions=_OFTEN, seconds=600.0)))
        decides = gate(self, GateOptions(mode=Mode.AUTO, cooldown=Cooldown(actions=_OFTEN, seconds=600.0)))
        judges: list[Stage] = [execute, verify, Learn(database, KEYS), watch, Notify(database, [self.kept])]
        return [Ingest(database, world), ProposeStage(database, world), decides, *judges]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        archive = Archive(self.bus, self.database, {}, ArchiveSettings(), _CALM, clock=lambda: self.now).loop
        stop = asyncio.Event()
        storing = asyncio.create_task(archive.run(stop))
        async with running(self.bus, *self.stages(), options=_CALM, clock=lambda: self.now):
            yield
        stop.set()
        await storing

    async def tell(self, status: SignalStatus, *names: str) -> None:
        """Alerts about Deployments; those that people sign are severe."""
        told: list[SignalReceived] = []
        for name in names:
            severity = "critical" if name in (SIGNED, REJECTED, LATE) else "info"
            pod = f"{name}-7d9c5b6f8-00001"
            labels = {"alertname": "KubePodCrashLooping", "severity": severity, "namespace": "shop", "pod": pod}
            header: dict[str, Any] = {"id": new_id(self.now), "key": name, "at": self.now, "by": "ingest/test"}
            ends = self.now if status is SignalStatus.RESOLVED else None
            began = self.began - timedelta(minutes=1)
            signal = SignalReceived(**header, fingerprint=name, status=status, starts_at=began, ends_at=ends, labels=labels, source="test")
            told.append(signal)
        await self.bus.append(told)

    async def quiet(self) -> None:
        """Returns when every group has settled everything and no timer is due."""

        async def holds() -> bool:
            soonest = [row.soonest for row in await delayed(self.bus) if row.soonest is not None]
            groups = [group for row in await streams(self.bus) for group in row.groups]
            return not any(group.lag or group.pending for group in groups) and all(time > self.now for time in soonest)

        await eventually(holds)

    async def waiting(self) -> dict[str, ApprovalRow]:
        """What waits for signatures, by the name of its target."""
        async with self.database.connection() as connection:
            return {row.target.name: row for row in await list_approvals(connection, states=[ApprovalState.WAITING])}

    async def state(self) -> dict[str, list[str]]:
        """Every row of every table of STATE, the event log, the dead letters that are left, the effects, and what people were told."""
        tables = {table: sorted(row[0] for row in await self.database.fetch(f"SELECT to_jsonb(t)::text FROM {table} t")) for table in STATE}
        log = sorted(f"{row['type']} {row['id']}" for row in await self.database.fetch("SELECT type, id FROM event_log"))
        effects = [str(effect) for effect in self.effects.everything()]
        dead = [f"{row.partition}/{row.entry} {row.letter.id}" async for row in letters(self.bus)]
        return {**tables, "event_log": log, "dead": dead, "effects": effects, "messages": list(self.kept.messages)}

    async def replay(self, group: str, **which: Any) -> Progress:
        past = chosen(group, until=self.now, forgotten=self.now - timedelta(days=60), **which)
        replay = Replay(self.bus, self.database, group, past, who="person/test", clock=lambda: self.now)
        return await replay.run()
