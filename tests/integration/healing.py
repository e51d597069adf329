"""A simulated cluster with its real adapter, beside real stores: what propose, execute and verify are tried on.

`Unsteady` is that same cluster behind a bad line: each fault happens once, at a named call, and what it does to the cluster
really happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from adapters.kubernetes import connect
from adapters.ports import Applied, Preflight, World
from adapters.worlds import Worlds
from ops.sandbox import Kubectl, Sandbox
from schemas.action import Action, RestartWorkload, action_hash, is_observation
from schemas.event import Delayed, Event, Output
from schemas.events import ActionApproved
from schemas.evidence import Snapshot
from schemas.identity import new_id
from schemas.target import Target
from schemas.words import ApprovalState, Choice, Mode, Risk, Severity
from sql import approvals, incidents
from sql.approvals import ApprovalRow, SignatureRow
from sql.database import Database
from sql.operations import Operation, get_operation
from stages.execute.options import ExecuteOptions
from stages.execute.stage import ExecuteStage
from tests.integration.scene import Running
from tests.patience import PATIENCE

E = TypeVar("E", bound=Event)
CLUSTER, NAMESPACE = "prod", "shop"


class Healing(Running):
    """A running scene about a simulated cluster."""

    def __init__(self, database: Database, sandbox: Sandbox, kubectl: Kubectl, world: World) -> None:
        super().__init__(database)
        self.sandbox = sandbox
        self.kubectl = kubectl
        self.world = world

    async def deploy(self, name: str, image: str, **fields: Any) -> Target:
        """A workload as the incident's target names it."""
        return msgspec.structs.replace(await self.kubectl.deploy(NAMESPACE, name, image, **fields), cluster=CLUSTER)

    async def generation(self, target: Target) -> int:
        """How often the specification of a workload was changed: the count of side effects on it."""
        workload = (await self.world.observe(target)).workload
        assert workload is not None
        return workload.generation

    async def approve(self, action: Action, *, uid: str | None = None, signers: Sequence[str] = (), **fields: Any) -> ApprovalRow:
        """The row of an approved action, with an incident of its own, as the gate leaves it."""
        if not is_observation(action) and (uid is None or "basis" not in fields):
            found = await self.world.preflight(action)
            uid, fields = found.uid if uid is None else uid, {"basis": found.basis, "blast": found.blast} | fields
        uid = uid or ""
        incident = fields.pop("incident", None) or await self.incident(action.target)
        plain: dict[str, Any] = {
            "id": new_id(self.now),
            "proposal": new_id(self.now),
            "incident": incident,
            "place": action.target.key,
            "action": action,
            "action_hash": action_hash(action, uid),
            "target": action.target,
            "target_uid": uid,
            "severity": Severity.P2,
            "risk": Risk.MEDIUM,
            "needed": len(signers),
            "state": ApprovalState.APPROVED,
            "requested_at": self.now,
            "decided_at": self.now,
            "expires_at": self.now + timedelta(seconds=600),
            "automatic": not signers,
            "proposer": "mendstream",
            "rule": "risk",
            "mode": Mode.AUTO,
            "trust_score": 0,
            "inputs": {},
            "evidence": "",
        }
        row = ApprovalRow(**(plain | fields))
        async with self.database.transaction() as connection:
            await approvals.create_approval(connection, row)
            for person in signers:
                vote: dict[str, Any] = {"vote": new_id(self.now), "at": self.now, "origin": "cli", "comment": "", "told_by": "api"}
                await approvals.add_signature(connection, SignatureRow(approval=row.id, person=person, choice=Choice.SIGN, **vote))
        return row

    def announce(self, row: ApprovalRow) -> ActionApproved:
        """The news of an approval."""
        named: dict[str, Any] = {"approval": row.id, "action": row.action, "action_hash": row.action_hash, "risk": row.risk}
        return ActionApproved(**self.header(row.incident), automatic=row.automatic, **named)

    async def operation(self, row: ApprovalRow) -> Operation | None:
        async with self.database.connection() as connection:
            return await get_operation(connection, row.id)

    async def audit(self, about: str = "") -> list[dict[str, Any]]:
        """The rows of the audit log, oldest first."""
        rows = await self.database.fetch("SELECT * FROM audit_log WHERE $1 = '' OR id LIKE $1 || '%' ORDER BY at, id", about)
        return [dict(row) for row in rows]

    async def told(self, incident: str) -> list[str]:
        """The lines of an incident's timeline."""
        async with self.database.connection() as connection:
            return [row.what for row in await incidents.timeline(connection, incident)]


@asynccontextmanager
async def healing_scene(database: Database, *, speed: float = 20) -> AsyncIterator[Healing]:
    """The scene with an empty namespace `shop`, in a cluster named `prod`."""
    async with Sandbox(speed=speed, seed=1) as sandbox:
        kubectl = await Kubectl.at(server=sandbox.url)
        await kubectl.namespace(NAMESPACE)
        worlds = Worlds(clusters={CLUSTER: await connect(server=sandbox.url)}, groups={})
        try:
            yield Healing(database, sandbox, kubectl, worlds)
        finally:
            await worlds.close()
            await kubectl.close()


class Unsteady:
    """The world behind a bad line. `before[call]` and `after[call]` are faults in the order in which they strike.

    A fault is an exception to raise, or something to await. Calls: owner, observe, preflight, apply, find.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.before: dict[str, list[Exception | Callable[[], Awaitable[Any]]]] = {}
        self.after: dict[str, list[Exception | Callable[[], Awaitable[Any]]]] = {}
        self.calls: list[str] = []

    async def _strike(self, faults: dict[str, list[Exception | Callable[[], Awaitable[Any]]]], call: str) -> None:
        if not faults.get(call):
            return
        fault = faults[call].pop(0)
        if isinstance(fault, Exception):
            raise fault
        await fault()

    async def _through(self, call: str, work: Callable[[], Awaitable[Any]]) -> Any:
        self.calls.append(call)
        await self._strike(self.before, call)
        result = await work()
        await self._strike(self.after, call)
        return result

    async def owner(self, target: Target) -> Target:
        found: Target = await self._through("owner", lambda: self.world.owner(target))
        return found

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        found: Snapshot = await self._through("observe", lambda: self.world.observe(target, parts=parts))
        return found

    async def preflight(self, action: Action) -> Preflight:
        found: Preflight = await self._through("preflight", lambda: self.world.preflight(action))
        return found

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        done: Applied = await self._through("apply", lambda: self.world.apply(action, operation=operation, token=token, uid=uid))
        return done

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        found: bool | None = await self._through("find", lambda: self.world.find(action, operation=operation, uid=uid, token=token))
        return found

    async def close(self) -> None:
        await self.world.close()


def only(outputs: Sequence[Output], kind: type[E]) -> E:
    """The one event of a kind among the outputs, delayed or not."""
    events = [output.event if isinstance(output, Delayed) else output for output in outputs]
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, outputs
    return found[0]


def executor(database: Database, world: World, options: ExecuteOptions | None = None) -> ExecuteStage:
    """What executes approved actions where the mode of every target is auto."""
    return ExecuteStage(database, world, options, mode_of=lambda _: Mode.AUTO)


def restart(target: Target) -> RestartWorkload:
    return RestartWorkload(target=target)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE) -> None:
    """Waits until it holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)
