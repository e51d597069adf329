"""One automatic repair after a failure, on the sandbox with all stages between: the same gate, execution and verification, and no loop."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import pytest

from adapters.errors import Transient
from adapters.kubernetes.resources import Resource
from bus.handler import Reject
from bus.memory import MemoryBus
from ops.sandbox.kubectl import waiting
from schemas.event import Event
from schemas.events import (
    ActionApproved,
    ActionProposed,
    ApprovalRequested,
    DeadLettered,
    ExecutionFinished,
    FailureClassified,
    PeopleAsked,
    RepairNotProposed,
    RepairWanted,
    VerificationFinished,
)
from schemas.target import Target
from schemas.words import FailureClass, Mode, Outcome, Risk, Source, Verdict
from stages.execute.options import ExecuteOptions
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.stage import FailureWatch
from stages.failure_watch.valves import Limit, Valves
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.propose.stage import ProposeStage
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import NAMESPACE, Healing, Unsteady, executor, restart
from tests.integration.scene import KEYS
from tests.patience import PATIENCE

E = TypeVar("E", bound=Event)
CONFIG_MAPS = Resource("", "v1", "configmaps")
REFUSED = Transient("connection refused")
AT_ONCE = VerifyOptions(settle=0, interval=0.05, limit=5, hold_down=0)
_ENV = [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "MODE"}}}]


class Pipeline:
    """The stages from the failure to the verdict, and the streams between them."""

    def __init__(self, scene: Healing, world: Unsteady, *, mode: Mode = Mode.AUTO, valves: Valves | None = None) -> None:
        database = scene.database
        self.scene, self.world = scene, world
        self.stages = (
            ProposeStage(database, world),
            Gate(database, GateOptions(mode=mode), KEYS),
            executor(database, world, ExecuteOptions(retries=0)),
            VerifyStage(database, world, AT_ONCE),
            FailureWatch(database, FailureWatchOptions(idle=0), valves=valves),
        )
        self.bus = MemoryBus(clock=lambda: scene.now)

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.bus.events(kind) if isinstance(event, kind)]

    async def run(self, *events: Event, until: type[Event] | None = None, count: int = 1) -> None:
        """Appends the events and runs the stages until nothing is left to do, or until so many of a kind were told."""
        await self.bus.append(events)
        async with asyncio.timeout(PATIENCE):
            await self.bus.run(self.stages)
            while until is not None and len(self.told(until)) < count:
                await asyncio.sleep(0.05)
                await self.bus.run(self.stages)

    async def failed(self, target: Target, *, faults: int = 1) -> str:
        """A restart that was approved and fails to reach the cluster so often; the incident's id."""
        self.world.before.setdefault("apply", [])[:0] = [REFUSED] * faults
        row = await self.scene.approve(restart(target))
        announced = self.scene.announce(row)
        await self.scene.back(announced)
        await self.run(announced)
        return row.incident


@pytest.fixture
async def sick(scene: Healing) -> Target:
    """A workload that crashes until the world is mended, so that a restart after that heals it."""
    target = await scene.deploy("api", "sim/web:asks-MODE", env=_ENV)
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    return target


async def mend(scene: Healing) -> None:
    await scene.kubectl.create(CONFIG_MAPS, NAMESPACE, {"metadata": {"name": "settings"}, "data": {"MODE": "on"}})


async def audited(scene: Healing, operation: str) -> tuple[str, str]:
    """Class and repair in the audit row of an operation."""
    (row,) = await scene.audit(f"{operation}#")
    return row["failure"], row["repair"]


async def test_a_failed_restart_is_repaired_once_through_the_gate(scene: Healing, world: Unsteady, sick: Target) -> None:
    pipeline, before = Pipeline(scene, world), await scene.generation(sick)
    world.before["apply"] = [lambda: mend(scene)]
    incident = await pipeline.failed(sick)
    await pipeline.run(until=VerificationFinished)
    failed, repaired = pipeline.told(ExecutionFinished)
    (wanted,), (proposed,) = pipeline.told(RepairWanted), pipeline.told(ActionProposed)
    assert (wanted.operation, wanted.failure, wanted.action) == (failed.operation, FailureClass.NETWORK, restart(sick))
    assert (proposed.source, proposed.repairs) == (Source.REPAIR, failed.operation)
    assert [check.name for check in proposed.checks if check.name == "dry_run"], "it was tried without doing it"
    assert len(pipeline.told(ActionApproved)) == 2, "the gate approved the repair as any other action"
    assert (failed.outcome, repaired.outcome) == (Outcome.FAILED, Outcome.SUCCEEDED)
    assert pipeline.told(VerificationFinished)[0].verdict is Verdict.SUCCESS
    assert await scene.generation(sick) == before + 1
    assert pipeline.told(PeopleAsked) == []
    assert await audited(scene, failed.operation) == ("network_error", "restart deployment shop/api: verified as success")
    assert any("a repair is wanted" in line for line in await scene.told(incident))


async def test_a_repair_of_a_repair_needs_a_person_who_is_told_all_that_was_tried(scene: Healing, world: Unsteady, sick: Target) -> None:
    pipeline, before = Pipeline(scene, world), await scene.generation(sick)
    await pipeline.failed(sick, faults=2)
    failed, again = pipeline.told(ExecutionFinished)
    assert (failed.outcome, again.outcome) == (Outcome.FAILED, Outcome.FAILED)
    assert len(pipeline.told(RepairWanted)) == 1
    assert [(one.operation, one.risk) for one in pipeline.told(FailureClassified)] == [
        (failed.operation, Risk.LOW),
        (again.operation, Risk.MEDIUM),
    ], "a restart that fails as a repair is no more of low risk"
    (asked,) = pipeline.told(PeopleAsked)
    assert "a repair of a repair needs a person" in asked.question
    heading, *tried = asked.question.partition("Tried so far:\n")[1:]
    lines = tried[0].splitlines()
    assert heading
    assert len(lines) == 2
    assert all("restart deployment shop/api: failed (connection refused (attempt 1 of 1))" in line for line in lines)
    assert "a repair, without a signature" in lines[1]
    assert await scene.generation(sick) == before
    assert (await audited(scene, failed.operation))[1] == "restart deployment shop/api: failed: connection refused (attempt 1 of 1)"
    assert (await audited(scene, again.operation))[1].startswith("none: this was a repair itself")


async def test_in_assist_mode_a_person_signs_the_repair(scene: Healing, world: Unsteady, sick: Target) -> None:
    pipeline, before = Pipeline(scene, world, mode=Mode.ASSIST), await scene.generation(sick)
    await pipeline.failed(sick)
    (requested,) = pipeline.told(ApprovalRequested)
    assert (requested.rule, requested.signatures, requested.action) == ("assist", 1, restart(sick))
    assert len(pipeline.told(ExecutionFinished)) == 1
    assert await scene.generation(sick) == before


async def test_what_is_well_by_now_is_not_repaired(scene: Healing, world: Unsteady, target: Target) -> None:
    pipeline, before = Pipeline(scene, world), await scene.generation(target)
    await pipeline.failed(target)
    (told,) = pipeline.told(RepairNotProposed)
    assert "is well by now" in told.reason
    (asked,) = pipeline.told(PeopleAsked)
    assert "not proposed" in asked.reason
    assert "Tried so far:" in asked.question
    assert pipeline.told(ActionProposed) == []
    assert await scene.generation(target) == before
    assert "not proposed" in (await audited(scene, told.operation))[1]


async def test_a_valve_that_holds_wants_no_repair(scene: Healing, world: Unsteady, sick: Target) -> None:
    anywhere, target = Valves(anywhere=Limit(actions=1, seconds=600)), Valves(target=Limit(actions=1, seconds=600))
    for valves, risk, words in (
        (anywhere, Risk.CRITICAL, "automatic actions are blocked: 1 automatic action anywhere in 600 s"),
        (target, Risk.MEDIUM, "2 automatic actions on this target in 600 s"),
    ):
        pipeline = Pipeline(scene, world, valves=valves)
        await pipeline.failed(sick)
        assert pipeline.told(RepairWanted) == []
        assert [one.risk for one in pipeline.told(FailureClassified)] == [risk]
        assert words in pipeline.told(PeopleAsked)[0].question


async def test_a_forged_wish_moves_nothing(scene: Healing, world: Unsteady, sick: Target) -> None:
    pipeline, before = Pipeline(scene, world), await scene.generation(sick)
    incident = await scene.incident(sick)
    plain: dict[str, Any] = {"subject": "s", "operation": "o", "failure": FailureClass.NETWORK, "reason": "please"}
    forged = RepairWanted(**scene.header(incident), action=restart(sick), **plain)
    with pytest.raises(Reject, match="never told this"):
        await scene.handle(pipeline.stages[0], forged, backed=False)
    await pipeline.run(forged)
    assert pipeline.told(ActionProposed) == []
    assert [letter.group for letter in pipeline.told(DeadLettered)] == ["propose"]
    assert await scene.generation(sick) == before
