"""An eviction that a disruption budget forbids: it waits for the budget, then people are asked, and nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.kubernetes.resources import budgets
from ops.sandbox.kubectl import settled
from schemas.action import EvictPod
from schemas.event import Output
from schemas.events import ExecutionFinished, ExecutionRetryDue, PeopleAsked
from schemas.target import Kind, Target
from schemas.words import Outcome
from sql.approvals import ApprovalRow
from stages.execute.options import ExecuteOptions
from stages.failure_watch.stage import FailureWatch
from tests.integration.healing import NAMESPACE, Healing, eventually, executor, only

BUDGETS = budgets("v1")


async def approved(scene: Healing) -> tuple[Target, ApprovalRow]:
    """The approved eviction of one of two pods, and a budget that came later and allows none."""
    target = await scene.deploy("api", "sim/web:ok", replicas=2)
    await scene.kubectl.until(target, settled)
    pod = (await scene.kubectl.pods(target))[0]["metadata"]
    action = EvictPod(target=Target(cluster=target.cluster, kind=Kind.POD, name=pod["name"], namespace=NAMESPACE), uid=pod["uid"])
    row = await scene.approve(action, signers=["ann"])
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "api"}}}
    await scene.kubectl.create(BUDGETS, NAMESPACE, {"metadata": {"name": "api"}, "spec": spec})
    await scene.kubectl.wait(lambda item: item.get("status", {}).get("expectedPods") == 2, BUDGETS, NAMESPACE, "api")
    return target, row


async def uids(scene: Healing, target: Target) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await scene.kubectl.pods(target)}


async def test_it_is_tried_again_later_and_then_put_to_people(scene: Healing) -> None:
    target, row = await approved(scene)
    before = await uids(scene, target)
    stage = executor(scene.database, scene.world)
    outputs: Sequence[Output] = await scene.handle(stage, scene.announce(row))
    for attempt in (2, 3):
        due = only(outputs, ExecutionRetryDue)
        assert due.attempt == attempt
        outputs = await scene.handle(stage, due)
    finished = only(outputs, ExecutionFinished)
    assert (finished.outcome, finished.attempts) == (Outcome.REFUSED, 3)
    assert "disruption budget" in finished.error
    assert await uids(scene, target) == before
    assert [line["state"] for line in await scene.audit()] == ["retried", "retried", "refused"]
    asked = only(await scene.handle(FailureWatch(scene.database), finished), PeopleAsked)
    assert "disruption budget" in asked.reason


async def test_it_is_done_once_the_budget_has_room(scene: Healing) -> None:
    target, row = await approved(scene)
    stage = executor(scene.database, scene.world, ExecuteOptions(retries=1))
    due = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    await scene.kubectl.delete(BUDGETS, NAMESPACE, "api")
    finished = only(await scene.handle(stage, due), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED

    async def replaced() -> bool:
        return row.target_uid not in await uids(scene, target)

    await eventually(replaced)
