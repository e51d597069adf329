"""What waits for signatures is withdrawn when its target is not any more what it was: nobody signs what would not be run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from adapters.errors import Transient
from adapters.kubernetes.resources import BY_KIND
from bus.handler import Reject
from ops.sandbox.kubectl import settled, waiting
from schemas.events import ActionProposed, ApprovalRequested, ApprovalWithdrawn, IncidentOpened, ProposalOutdated
from schemas.target import Target
from schemas.words import ApprovalState, Severity
from stages.gate.options import GateOptions
from stages.propose.stage import ProposeStage
from tests.integration.healing import Healing, Unsteady, only
from tests.integration.scene import gate
from tests.integration.scene import row as row_of
from tests.integration.test_propose import opened, risen

ASSIST = GateOptions()


async def asked(scene: Healing, world: Unsteady) -> tuple[Target, IncidentOpened, str]:
    """A bad rollout, and the rollback that waits for a signature."""
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    event = await opened(scene, target)
    proposal = only(await scene.handle(ProposeStage(scene.database, world), event), ActionProposed)
    requested = only(await scene.handle(gate(scene, ASSIST), proposal), ApprovalRequested)
    return target, event, requested.approval


async def changed(scene: Healing, target: Target) -> None:
    await scene.kubectl.set_image(target, "sim/web:pull")


async def made_anew(scene: Healing, target: Target) -> None:
    await scene.kubectl.delete(BY_KIND[target.kind], target.namespace, target.name)
    await scene.deploy("api", "sim/web:crash")


async def gone(scene: Healing, target: Target) -> None:
    await scene.kubectl.delete(BY_KIND[target.kind], target.namespace, target.name)


@pytest.mark.parametrize(
    ("change", "said"), [(changed, "was changed since it was proposed"), (made_anew, "its UID has changed"), (gone, "is gone")]
)
async def test_a_target_that_was_changed_takes_the_request_back(
    scene: Healing, world: Unsteady, change: Callable[[Healing, Target], Awaitable[None]], said: str
) -> None:
    target, event, approval = await asked(scene, world)
    await change(scene, target)
    scene.later(61)
    outdated = only(await scene.handle(ProposeStage(scene.database, world), await risen(scene, event, Severity.P2)), ProposalOutdated)
    assert said in outdated.reason
    withdrawn = only(await scene.handle(gate(scene, ASSIST), outdated), ApprovalWithdrawn)
    assert (withdrawn.approval, withdrawn.reason) == (approval, outdated.reason)
    assert (await row_of(scene, approval)).state is ApprovalState.WITHDRAWN
    assert await scene.handle(gate(scene, ASSIST), outdated, attempt=2) == [withdrawn]
    assert any("no longer proposed: roll back" in line for line in await scene.told(event.incident))


async def test_after_that_it_is_looked_at_anew(scene: Healing, world: Unsteady) -> None:
    target, event, _ = await asked(scene, world)
    await changed(scene, target)
    scene.later(61)
    stage = ProposeStage(scene.database, world)
    outdated = only(await scene.handle(stage, await risen(scene, event, Severity.P2)), ProposalOutdated)
    await scene.handle(gate(scene, ASSIST), outdated)
    scene.later(61)
    only(await scene.handle(stage, await risen(scene, event, Severity.P1)), ActionProposed)


async def test_a_target_that_is_as_it_was_or_cannot_be_looked_at_takes_nothing_back(scene: Healing, world: Unsteady) -> None:
    target, event, approval = await asked(scene, world)
    stage = ProposeStage(scene.database, world)
    scene.later(61)
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == []
    await changed(scene, target)
    looks = world.calls.count("preflight")
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == []  # within a minute of the last look
    assert world.calls.count("preflight") == looks
    scene.later(61)
    world.before["preflight"] = [Transient("connection refused")]
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == []
    assert (await row_of(scene, approval)).state is ApprovalState.WAITING


async def test_a_forged_word_of_it_takes_nothing_back(scene: Healing, world: Unsteady) -> None:
    _, event, approval = await asked(scene, world)
    row = await row_of(scene, approval)
    forged = ProposalOutdated(**scene.header(event.incident), proposal=row.proposal, action=row.action, reason="x")
    with pytest.raises(Reject, match="never told"):
        await scene.handle(gate(scene, ASSIST), forged)
    assert (await row_of(scene, approval)).state is ApprovalState.WAITING
