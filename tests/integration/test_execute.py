"""execute on a real Postgres and the sandbox's API: what an approval's row allows happens, once, and nothing else does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from adapters.ports import World
from bus.handler import Reject, Retry
from schemas.action import DeletePod, Investigate, RollBackWorkload, ScaleWorkload, action_hash
from schemas.events import ApprovalExpired, ExecutionFinished, ExecutionRetryDue, ExecutionStarted
from schemas.target import Kind, Target
from schemas.words import ApprovalState, CheckResult, IncidentState, OperationState, Outcome
from sql import approvals
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.evidence import get_snapshot
from sql.incidents import get_incident
from stages.execute.stage import ExecuteStage
from tests.integration.healing import Healing, Unsteady, executor, only, restart


@pytest.fixture
def stage(scene: Healing) -> ExecuteStage:
    return executor(scene.database, scene.world)


async def test_an_approved_restart_happens_and_is_written_down_everywhere(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    generation = await scene.generation(target)
    row = await scene.approve(restart(target), signers=["ann"])
    outputs = await scene.handle(stage, scene.announce(row))

    assert await scene.generation(target) == generation + 1
    started, finished = only(outputs, ExecutionStarted), only(outputs, ExecutionFinished)
    assert (finished.outcome, finished.attempts, finished.automatic) == (Outcome.SUCCEEDED, 1, False)
    assert started.at <= finished.at
    assert started.operation == finished.operation
    operation = await scene.operation(row)
    assert operation is not None
    assert (operation.state, operation.token, operation.id) == (OperationState.SUCCEEDED, started.token, started.operation)
    async with scene.database.connection() as connection:
        before = await get_snapshot(connection, finished.before)
        incident = await get_incident(connection, row.incident)
    assert before is not None
    assert before.workload is not None
    assert before.workload.generation == generation
    assert incident is not None
    assert incident.state is IncidentState.MITIGATING
    (audit,) = await scene.audit(operation.id)
    assert (audit["state"], audit["who"], audit["what"]) == ("success", "ann", "restart")
    assert any("succeeded" in line for line in await scene.told(row.incident))
    assert not await scene.database.fetch("SELECT * FROM leases")


async def test_a_second_delivery_tells_the_same_and_does_nothing(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    event = scene.announce(row)
    first = await scene.handle(stage, event)
    generation = await scene.generation(target)
    assert await scene.handle(stage, event, attempt=2) == first
    assert await scene.generation(target) == generation


async def test_a_second_announcement_of_the_same_approval_moves_nothing(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    await scene.handle(stage, scene.announce(row))
    generation = await scene.generation(target)
    assert await scene.handle(stage, scene.announce(row)) == []
    assert await scene.handle(stage, ExecutionRetryDue(**scene.header(row.incident), approval=row.id, attempt=2)) == []
    assert await scene.generation(target) == generation


async def test_news_of_an_approval_that_does_not_exist_moves_nothing(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    forged = msgspec.structs.replace(scene.announce(row), approval="made-up")
    generation = await scene.generation(target)
    with pytest.raises(Reject, match="not genuine"):
        await scene.handle(stage, forged)
    assert await scene.generation(target) == generation
    (audit,) = await scene.audit(forged.id)
    assert audit["state"] == "refused"


async def test_a_forged_announcement_neither_runs_nor_blocks_what_still_waits(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target), state=ApprovalState.WAITING, decided_at=None)
    generation = await scene.generation(target)
    with pytest.raises(Reject, match="waits for signatures"):
        await scene.handle(stage, scene.announce(row))
    assert await scene.generation(target) == generation
    async with scene.database.transaction() as connection:
        await approvals.settle_approval(connection, row.id, ApprovalState.APPROVED, at=scene.now)
    assert only(await scene.handle(stage, scene.announce(row)), ExecutionFinished).outcome is Outcome.SUCCEEDED


async def test_the_row_decides_and_not_what_the_event_says(scene: Healing, stage: ExecuteStage) -> None:
    target, other = await scene.deploy("api", "sim/web:ok"), await scene.deploy("db", "sim/web:ok")
    row = await scene.approve(restart(target))
    scale = ScaleWorkload(target=other, replicas=0)
    forged = msgspec.structs.replace(scene.announce(row), action=scale, action_hash=action_hash(scale, "x"), automatic=True)
    generations = await scene.generation(target), await scene.generation(other)
    await scene.handle(stage, forged)
    assert (await scene.generation(target), await scene.generation(other)) == (generations[0] + 1, generations[1])


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"state": ApprovalState.REJECTED}, "rejected"),
        ({"state": ApprovalState.WITHDRAWN}, "withdrawn"),
        ({"state": ApprovalState.EXPIRED}, "expired"),
        ({"expires_at": timedelta(seconds=-1)}, "approved again"),
        ({"needed": 1}, "0 of 1 signatures"),
        ({"action_hash": "0" * 64}, "hash"),
    ],
)
async def test_an_approval_that_does_not_allow_it_is_refused(
    scene: Healing, stage: ExecuteStage, fields: dict[str, Any], word: str
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    generation = await scene.generation(target)
    fields = {name: scene.now + value if isinstance(value, timedelta) else value for name, value in fields.items()}
    row = await scene.approve(restart(target), **fields)
    outputs = await scene.handle(stage, scene.announce(row))
    finished = only(outputs, ExecutionFinished)
    assert finished.outcome is Outcome.REFUSED
    assert word in finished.error
    assert len(outputs) == 1
    assert await scene.generation(target) == generation
    assert [audit["state"] for audit in await scene.audit(finished.operation)] == ["refused"]


async def test_a_missing_permission_is_named_before_anything_is_tried(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    generation = await scene.generation(target)
    scene.sandbox.denied.add("patch deployments.apps")
    world = Unsteady(scene.world)
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert "apply" not in world.calls
    assert finished.outcome is Outcome.REFUSED
    assert "patch deployments.apps" in finished.error
    assert await scene.generation(target) == generation


async def test_a_target_that_is_gone_is_blocked_with_the_nearest_names(scene: Healing, stage: ExecuteStage) -> None:
    await scene.deploy("api-1", "sim/web:ok")
    gone = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api-2")
    row = await scene.approve(restart(gone), uid="uid-of-old")
    finished = only(await scene.handle(stage, scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.DRY_RUN_BLOCKED
    assert "api-1" in finished.error


async def test_a_target_that_was_replaced_since_is_refused(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target), uid="uid-of-another")
    generation = await scene.generation(target)
    finished = only(await scene.handle(stage, scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.REFUSED
    assert "UID has changed" in finished.error
    assert await scene.generation(target) == generation


async def test_what_was_checked_at_approval_and_cannot_be_checked_now_waits(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target), checks=(await scene.world.preflight(restart(target))).checks)
    world = _Unchecked(scene.world)
    outputs = await scene.handle(executor(scene.database, world), scene.announce(row))
    assert only(outputs, ExecutionRetryDue).attempt == 2
    assert "apply" not in world.calls


async def test_what_could_not_be_checked_at_approval_either_is_no_news(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    world = _Unchecked(scene.world, "patch deployments.apps in shop")
    checks = (await world.preflight(restart(target))).checks
    assert {check.result for check in checks if check.name == "permission"} == {CheckResult.PASSED, CheckResult.NOT_CHECKED}
    row = await scene.approve(restart(target), checks=checks, signers=["ann"])
    finished = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED


class _Unchecked(Unsteady):
    """The cluster cannot answer what is asked of it: nothing at all, or about one subject."""

    def __init__(self, world: World, subject: str = "") -> None:
        super().__init__(world)
        self.subject = subject

    async def preflight(self, action: Any) -> Any:
        found = await super().preflight(action)
        checks = tuple(
            msgspec.structs.replace(check, result=CheckResult.NOT_CHECKED) if self.subject in ("", check.subject) else check
            for check in found.checks
        )
        return msgspec.structs.replace(found, checks=checks)


async def test_looking_succeeds_and_changes_nothing(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    generation = await scene.generation(target)
    row = await scene.approve(Investigate(target=target, reason="what is it"))
    finished = only(await scene.handle(stage, scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert "pods available" in finished.output
    assert await scene.generation(target) == generation
    async with scene.database.connection() as connection:
        incident = await get_incident(connection, row.incident)
    assert incident is not None
    assert incident.state is IncidentState.INVESTIGATING


async def test_rolling_back_and_scaling_do_what_they_say(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, lambda _, pods: len(pods) > 1)
    await scene.handle(stage, scene.announce(await scene.approve(RollBackWorkload(target=target, to_revision=1))))
    await scene.handle(stage, scene.announce(await scene.approve(ScaleWorkload(target=target, replicas=3))))
    workload = (await scene.world.observe(target)).workload
    assert workload is not None
    assert (workload.images, workload.desired) == (("sim/web:ok",), 3)


async def test_the_snapshot_before_a_pod_is_deleted_is_of_its_workload(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, lambda _, pods: len(pods) == 1)
    pod = (await scene.world.observe(target)).pods[0]
    action = DeletePod(target=msgspec.structs.replace(target, kind=Kind.POD, name=pod.name), uid=pod.uid)
    finished = only(await scene.handle(stage, scene.announce(await scene.approve(action, signers=["ann"]))), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    async with scene.database.connection() as connection:
        before = await get_snapshot(connection, finished.before)
    assert before is not None
    assert before.target == target


async def test_nothing_runs_while_the_store_is_away(scene: Healing, postgres_url: str) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    world = Unsteady(scene.world)
    closed = await Database(postgres_url).open()
    await closed.close()
    with pytest.raises(StoreUnavailable):
        await scene.handle(executor(closed, world), scene.announce(row))
    assert world.calls == []


async def test_other_news_is_not_for_execute(scene: Healing, stage: ExecuteStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    row = await scene.approve(restart(target))
    assert await scene.handle(stage, ApprovalExpired(**scene.header(), approval=row.id, action=row.action)) == []


async def test_one_operation_at_a_time_for_each_target(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    first, second = await scene.approve(restart(target)), await scene.approve(ScaleWorkload(target=target, replicas=2))
    world = Unsteady(scene.world)
    met: list[float] = []

    async def meanwhile() -> None:
        with pytest.raises(Retry) as caught:
            await scene.handle(executor(scene.database, scene.world), scene.announce(second))
        met.append(caught.value.after)

    world.before["apply"] = [meanwhile]
    await scene.handle(executor(scene.database, world), scene.announce(first))
    assert len(met) == 1
    assert 0 < met[0] <= 5
    again = await scene.handle(executor(scene.database, scene.world), scene.announce(second))
    assert only(again, ExecutionFinished).outcome is Outcome.SUCCEEDED
