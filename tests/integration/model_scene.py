"""A language model in the pipeline: propose and the gate on real stores, a server that answers as told, a world that permits all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.model.client import ModelClient
from adapters.model.options import ModelOptions
from adapters.ports import Applied, Preflight
from schemas.action import Action, DeletePod, EvictPod, is_observation
from schemas.event import Output
from schemas.events import ActionApproved, ActionHeld, ActionProposed, ApprovalRequested, IncidentOpened, IncidentResolved
from schemas.evidence import Snapshot
from schemas.preflight import BlastRadius, Check
from schemas.secret import Secret, SecretUrl
from schemas.target import Target
from schemas.words import CheckResult, Disposition, Severity, Tier
from sql.database import Database
from sql.decisions import DecisionRow, get_decision
from stages.gate.options import GateOptions
from stages.propose.model.source import ModelSource
from stages.propose.stage import ProposeStage
from tests.integration.scene import AUTO, Scene, gate, only
from tests.model_endpoint import KEY, Endpoint
from tests.unit.snapshots import pod, revision, snapshot

BROKEN = snapshot(
    pod("api-1-abc", "crash"),
    pod("api-1-def", "crash"),
    revisions=(revision(7, "api:2", current=True, minutes=9000), revision(6, "api:1", minutes=99000)),
)
"""A workload of two pods that crash, long after its last rollout: a template restarts it."""


class Permitting:
    """A world that looks as it is told to, and in which every check of every action passes: nothing but the rules holds anything back."""

    def __init__(self, seen: Snapshot = BROKEN) -> None:
        self.seen = seen

    async def owner(self, target: Target) -> Target:
        return target

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        return self.seen

    async def preflight(self, action: Action) -> Preflight:
        passed = tuple(Check(name=name, result=CheckResult.PASSED) for name in ("permission", "target", "dry run"))
        uid = action.uid if isinstance(action, DeletePod | EvictPod) else "uid-api"
        return Preflight(target=action.target, uid=uid, checks=passed, blast=BlastRadius(score=5, tier=Tier.AUTO))

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        raise AssertionError("propose applies nothing")

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        raise AssertionError("propose applies nothing")

    async def close(self) -> None: ...


class Decided(msgspec.Struct, frozen=True):
    """What became of one incident: what was proposed, what else propose told, and what the gate decided about it."""

    proposal: ActionProposed
    told: tuple[Output, ...]
    decision: DecisionRow
    outputs: tuple[Output, ...]

    @property
    def runs_alone(self) -> bool:
        """Whether the gate lets a change run without anybody's signature."""
        return not is_observation(self.proposal.action) and any(isinstance(one, ActionApproved) for one in self.outputs)

    @property
    def signatures(self) -> int:
        return next((one.signatures for one in self.outputs if isinstance(one, ApprovalRequested)), 0)

    @property
    def held(self) -> bool:
        return any(isinstance(one, ActionHeld) for one in self.outputs)


class ModelScene(Scene):
    """A scene with a model's endpoint; `permitting` is what is seen."""

    def __init__(self, database: Database, server: Endpoint) -> None:
        super().__init__(database)
        self.server = server
        self.permitting = Permitting()
        self.clients: list[ModelClient] = []

    def client(self, **fields: Any) -> ModelClient:
        """A client of its own, as of another process."""
        known: dict[str, Any] = {"url": SecretUrl(self.server.url), "name": "small-1", "key": Secret(KEY), "retries": 0}
        made = ModelClient(ModelOptions(**(known | fields)), clock=lambda: self.now)
        self.clients.append(made)
        return made

    def source(self, client: ModelClient | None = None, **fields: Any) -> ModelSource:
        return ModelSource(self.database, client or self.client(**fields), clock=lambda: self.now)

    async def decided(
        self, source: ModelSource, *, severity: Severity = Severity.P2, options: GateOptions = AUTO, title: str = "", **labels: str
    ) -> Decided:
        """One incident from its opening to the gate's decision; it is over afterwards, so that the next one finds the target free."""
        target = self.permitting.seen.target
        incident = await self.incident(target, severity, labels=labels)
        if title:
            await self.database.fetch("UPDATE incidents SET title = $2 WHERE id = $1 RETURNING id", incident, title)
        about: dict[str, Any] = {"target": target, "severity": severity, "title": title, "alert": "KubePodCrashLooping", "anomaly": "x"}
        stage = ProposeStage(self.database, self.permitting, sources=(source,))
        told = await self.handle(stage, IncidentOpened(**self.header(incident), **about))
        proposal = only(told, ActionProposed)
        outputs = await self.handle(gate(self, options), proposal, backed=False)
        async with self.database.connection() as connection:
            decision = await get_decision(connection, proposal.id)
        assert decision is not None
        await self.resolve(incident)
        over = IncidentResolved(**self.header(incident), target=target, disposition=Disposition.SELF_RESOLVED, seconds=1.0)
        await self.handle(gate(self), over)
        return Decided(proposal, tuple(told), decision, tuple(outputs))

    async def close(self) -> None:
        for client in self.clients:
            await client.close()
