"""verify on a real Postgres and the sandbox's API: what really became of the target, judged once, from the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from adapters.errors import Transient
from adapters.kubernetes.resources import BY_KIND
from bus.handler import Reject
from ops.sandbox.kubectl import settled, unready, waiting
from schemas.action import Action, DeletePod, Investigate, RollBackWorkload, SetMemoryLimit
from schemas.event import Delayed, Event, Output
from schemas.events import ExecutionFinished, VerificationDue, VerificationFinished
from schemas.target import Kind, Target
from schemas.words import Ground, Health, Outcome, Severity, Verdict
from sql.evidence import get_snapshot
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import Healing, Unsteady, executor, only, restart
from tests.patience import PATIENCE

AT_ONCE = VerifyOptions(hold_down=0)


@pytest.fixture
def stage(scene: Healing) -> VerifyStage:
    return VerifyStage(scene.database, scene.world, AT_ONCE)


async def executed(scene: Healing, action: Action, **fields: Any) -> ExecutionFinished:
    row = await scene.approve(action, **fields)
    return only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)


def delayed(outputs: Sequence[Output]) -> tuple[VerificationDue, float]:
    """The next look, and in how many seconds from when it was decided it is due."""
    (output,) = outputs
    assert isinstance(output, Delayed)
    assert isinstance(output.event, VerificationDue)
    return output.event, (output.until - output.event.at).total_seconds()


async def verified(scene: Healing, stage: VerifyStage, finished: ExecutionFinished, *, limit: bool = False) -> VerificationFinished:
    """Looks until it is judged, letting the time between two looks pass quickly; with `limit`, the first look is the last."""
    due, _ = delayed(await scene.handle(stage, finished))
    if limit:
        scene.later(VerifyOptions().limit + 1)
    async with asyncio.timeout(PATIENCE):
        while True:
            outputs = await scene.handle(stage, due)
            if isinstance(outputs[0], VerificationFinished):
                return outputs[0]
            due, _ = delayed(outputs)
            await asyncio.sleep(0.05)


async def broken_by_rollout(scene: Healing, image: str = "sim/web:crash") -> Target:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, image)
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    return target


async def test_a_rollback_that_heals_is_a_success(scene: Healing, stage: VerifyStage) -> None:
    target = await broken_by_rollout(scene)
    finished = await executed(scene, RollBackWorkload(target=target, to_revision=1))
    result = await verified(scene, stage, finished)
    assert (result.verdict, result.measured) == (Verdict.SUCCESS, True)
    assert result.judgements[0].health is Health.HEALTHY
    assert result.score >= 0.9
    assert result.cleared is False
    assert (result.operation, result.before) == (finished.operation, finished.before)
    async with scene.database.connection() as connection:
        after = await get_snapshot(connection, result.after)
    assert after is not None
    assert after.workload is not None
    assert after.workload.images == ("sim/web:ok",)
    assert any(line.startswith("verified as success") for line in await scene.told(result.incident))


async def test_a_restart_that_does_not_heal_has_failed(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:oom-200Mi", resources={"limits": {"memory": "100Mi"}})
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    result = await verified(scene, stage, await executed(scene, restart(target)))
    assert (result.verdict, result.measured) == (Verdict.FAILED, True)
    assert result.score < 0.5
    assert "same way" in result.summary


async def test_a_wedge_is_healed_by_a_restart(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:wedge-30s")
    await scene.kubectl.until(target, settled)
    await scene.kubectl.until(target, unready)
    result = await verified(scene, stage, await executed(scene, restart(target)))
    assert result.verdict is Verdict.SUCCESS


async def test_a_rollout_that_breaks_what_was_healthy_has_failed(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    await scene.kubectl.set_image(target, "sim/web:ok")
    await scene.kubectl.until(target, settled)
    result = await verified(scene, stage, await executed(scene, RollBackWorkload(target=target, to_revision=1)))
    assert result.verdict is Verdict.FAILED
    assert result.regressions


async def test_what_is_not_there_in_time_is_a_timeout(scene: Healing, stage: VerifyStage) -> None:
    target = await broken_by_rollout(scene)
    finished = await executed(scene, restart(target))
    await scene.kubectl.set_image(target, "sim/web:slow-99999s")
    result = await verified(scene, stage, finished, limit=True)
    assert result.verdict is Verdict.TIMEOUT
    assert result.measured


async def test_what_somebody_took_back_is_no_success_and_no_failure_of_the_action(scene: Healing, stage: VerifyStage) -> None:
    target = await broken_by_rollout(scene)
    finished = await executed(scene, RollBackWorkload(target=target, to_revision=1))
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    result = await verified(scene, stage, finished, limit=True)
    assert (result.verdict, result.ground, result.measured) == (Verdict.DEGRADED, Ground.CHANGED_SINCE, True)
    assert "somebody changed its images to sim/web:crash" in result.summary


async def test_a_rollback_that_is_taken_back_only_in_its_environment_is_seen(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, "sim/web:crash", env=[{"name": "COLOUR", "value": "red"}])
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    finished = await executed(scene, RollBackWorkload(target=target, to_revision=1))
    await scene.kubectl.set_image(target, "sim/web:ok", env=[{"name": "COLOUR", "value": "red"}])
    await scene.kubectl.until(target, settled)
    result = await verified(scene, stage, finished, limit=True)
    assert (result.verdict, result.ground, result.measured) == (Verdict.DEGRADED, Ground.CHANGED_SINCE, True)
    assert "somebody changed how its pods are specified, though not their images" in result.summary


async def test_what_was_scaled_to_nothing_meanwhile_is_not_healed(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    finished = await executed(scene, restart(target))
    await scene.kubectl.patch(BY_KIND[target.kind], target.namespace, target.name, {"spec": {"replicas": 0}})
    await scene.kubectl.until(target, lambda _, pods: not pods)
    result = await verified(scene, stage, finished, limit=True)
    assert (result.verdict, result.ground) == (Verdict.DEGRADED, Ground.CHANGED_SINCE)


@pytest.mark.parametrize(("memory", "verdict"), [("300Mi", Verdict.SUCCESS), ("150Mi", Verdict.DEGRADED)])
async def test_a_memory_limit_heals_as_long_as_nobody_sets_another(
    scene: Healing, stage: VerifyStage, memory: str, verdict: Verdict
) -> None:
    target = await scene.deploy("api", "sim/web:oom-200Mi", resources={"limits": {"memory": "100Mi"}})
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    finished = await executed(scene, SetMemoryLimit(target=target, container="web", memory="300Mi"))
    await scene.kubectl.set_image(target, "sim/web:oom-200Mi", resources={"limits": {"memory": memory}})
    assert (await verified(scene, stage, finished, limit=verdict is not Verdict.SUCCESS)).verdict is verdict


async def test_what_is_told_of_the_approval_is_what_its_row_says(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    finished = await executed(scene, restart(target))
    assert (finished.automatic, finished.severity, finished.playbook) == (True, Severity.P2, "")
    changed = "UPDATE approvals SET automatic = false, severity = 'P0', playbook = 'restarts' WHERE id = $1 RETURNING id"
    await scene.database.fetch(changed, finished.approval)
    result = await verified(scene, stage, finished)
    assert (result.automatic, result.severity, result.playbook) == (False, Severity.P0, "restarts")


async def test_it_settles_first_and_looks_again_until_it_has_converged(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, "sim/web:slow-100s")
    finished = await executed(scene, restart(target))
    due, seconds = delayed(await scene.handle(stage, finished))
    assert seconds == pytest.approx(10, abs=0.5)
    assert due.look == 1
    assert (due.until - due.at).total_seconds() == pytest.approx(120, abs=0.5)
    again, seconds = delayed(await scene.handle(stage, due))
    assert (again.look, again.until) == (2, due.until)
    assert seconds == pytest.approx(5, abs=0.5)
    await scene.kubectl.until(target, settled)
    (result,) = await scene.handle(stage, again)
    assert isinstance(result, VerificationFinished)
    assert result.verdict is Verdict.SUCCESS


async def test_the_last_look_is_at_the_limit_and_not_after_it(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:slow-99999s")
    stage = VerifyStage(scene.database, scene.world, VerifyOptions(settle=0, limit=3, hold_down=0))
    due, _ = delayed(await scene.handle(stage, await executed(scene, restart(target))))
    again, seconds = delayed(await scene.handle(stage, due))
    assert seconds <= 3
    scene.later(3)
    (result,) = await scene.handle(stage, again)
    assert isinstance(result, VerificationFinished)


async def test_a_deleted_pod_is_judged_by_its_workload(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:wedge-30s")
    await scene.kubectl.until(target, unready)
    pod = (await scene.world.observe(target)).pods[0]
    action = DeletePod(target=msgspec.structs.replace(target, kind=Kind.POD, name=pod.name), uid=pod.uid)
    result = await verified(scene, stage, await executed(scene, action))
    assert result.verdict is Verdict.SUCCESS
    assert result.judgements[0].about == str(target)


async def test_looking_heals_nothing(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    result = await verified(scene, stage, await executed(scene, Investigate(target=target)))
    assert result.verdict is Verdict.DEGRADED


async def test_a_missing_snapshot_from_before_is_replaced_by_one_that_says_so(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    finished = await executed(scene, restart(target))
    await scene.database.fetch("DELETE FROM evidence WHERE id = $1 RETURNING id", finished.before)
    result = await verified(scene, stage, finished)
    assert result.verdict is Verdict.DEGRADED
    async with scene.database.connection() as connection:
        before = await get_snapshot(connection, result.before)
    assert before is not None
    assert before.late


@pytest.mark.parametrize("error", [Transient("connection refused"), TimeoutError()])
async def test_a_cluster_that_is_away_is_looked_at_again_and_then_not_measured(scene: Healing, error: Exception) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    finished = await executed(scene, restart(target))
    world = Unsteady(scene.world)
    world.before["observe"] = [error, error]
    stage = VerifyStage(scene.database, world, AT_ONCE)
    due, _ = delayed(await scene.handle(stage, finished))
    again, _ = delayed(await scene.handle(stage, due))
    scene.later(VerifyOptions().limit)
    (result,) = await scene.handle(stage, again)
    assert isinstance(result, VerificationFinished)
    assert not result.measured
    assert result.verdict is (Verdict.TIMEOUT if isinstance(error, TimeoutError) else Verdict.DEGRADED)
    assert result.score == 0


async def test_a_workload_that_was_deleted_after_the_action_has_failed(scene: Healing, stage: VerifyStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    finished = await executed(scene, restart(target))
    await scene.kubectl.delete(BY_KIND[target.kind], target.namespace, target.name)
    assert (await verified(scene, stage, finished)).verdict is Verdict.FAILED


async def test_the_alert_that_has_resolved_is_cleared(scene: Healing, stage: VerifyStage) -> None:
    target = await broken_by_rollout(scene)
    finished = await executed(scene, RollBackWorkload(target=target, to_revision=1))
    await scene.resolve(finished.incident)
    await scene.database.fetch("UPDATE incidents SET firing = 0 WHERE id = $1 RETURNING id", finished.incident)
    assert (await verified(scene, stage, finished)).cleared is True


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED, Outcome.SHADOWED])
async def test_what_did_not_run_is_not_verified(scene: Healing, stage: VerifyStage, outcome: Outcome) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    finished = await executed(scene, restart(target))
    assert await scene.handle(stage, msgspec.structs.replace(finished, outcome=outcome)) == []


@pytest.mark.parametrize("fields", [{"approval": "made-up"}, {"operation": "made-up"}, {"outcome": Outcome.UNKNOWN}])
async def test_an_execution_that_the_ledger_does_not_know_is_rejected(scene: Healing, stage: VerifyStage, fields: dict[str, Any]) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    finished = await executed(scene, restart(target))
    with pytest.raises(Reject, match="not genuine"):
        await scene.handle(stage, msgspec.structs.replace(finished, **fields))


async def test_one_operation_is_judged_once_however_often_it_is_announced(scene: Healing) -> None:
    world = Unsteady(scene.world)
    stage = VerifyStage(scene.database, world, AT_ONCE)
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    finished = await executed(scene, restart(target))
    first = await scene.handle(stage, finished)
    assert await scene.handle(stage, finished, attempt=2) == first
    forged = msgspec.structs.replace(finished, **scene.header(finished.incident))
    assert await scene.handle(stage, forged) == []
    due, _ = delayed(first)
    stray: Event = msgspec.structs.replace(due, **scene.header(finished.incident))
    for not_ours in (stray, msgspec.structs.replace(due, look=99)):
        with pytest.raises(Reject, match="verify never set this timer"):
            await scene.handle(stage, not_ours)
    assert world.calls == []
    await scene.kubectl.until(target, settled)
    judged = await scene.handle(stage, due)
    assert only(judged, VerificationFinished)
    assert await scene.handle(stage, due, attempt=2) == judged
    rows = await scene.database.fetch("SELECT verdict, awaits FROM verifications")
    assert [tuple(row) for row in rows] == [("success", "")]
