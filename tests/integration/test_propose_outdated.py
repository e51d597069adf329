"""What waits for signatures is withdrawn when its target is not any more what it was: nobody signs what would not be run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from adapters.errors import Transient
from adapters.kubernetes.resources import BY_KIND
from bus.handler import Reject
from ops.sandbox.kubectl import settled, waiting
from schemas.event import Event, Output
from schemas.events import (
    ActionProposed,
    ActionRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    IncidentOpened,
    PeopleAsked,
    ProposalOutdated,
    VoteRefused,
)
from schemas.target import Target
from schemas.words import ApprovalState, Choice, Severity
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


async def test_people_are_asked_where_the_target_of_what_was_withdrawn_stays_gone(scene: Healing, world: Unsteady) -> None:
    target, event, _ = await asked(scene, world)
    await gone(scene, target)
    stage = ProposeStage(scene.database, world)
    scene.later(61)
    only(await scene.handle(stage, await risen(scene, event, Severity.P2)), ProposalOutdated)
    scene.later(61)
    assert "was not found" in only(await scene.handle(stage, await risen(scene, event, Severity.P2)), PeopleAsked).reason
    scene.later(61)
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == [], "once"


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


@pytest.mark.parametrize("first", [ProposalOutdated, ActionProposed])
async def test_an_incident_that_becomes_more_severe_is_ruled_on_anew(scene: Healing, world: Unsteady, first: type[Event]) -> None:
    _, event, approval = await asked(scene, world)
    assert (await row_of(scene, approval)).needed == 1
    outputs = await scene.handle(ProposeStage(scene.database, world), await risen(scene, event, Severity.P0))
    assert only(outputs, ProposalOutdated).reason.startswith("its incident is P0 now, and was P2")
    stage = gate(scene, ASSIST)
    events = [one for one in outputs if isinstance(one, Event)]
    told: list[Output] = []
    for one in sorted(events, key=lambda one: not isinstance(one, first)):
        told += await scene.handle(stage, one)
    assert only(told, ApprovalWithdrawn).approval == approval
    assert only(told, ApprovalRequested).signatures == 2
    assert (await row_of(scene, approval)).state is ApprovalState.WITHDRAWN
    again = await scene.handle(ProposeStage(scene.database, world), await risen(scene, event, Severity.P0))
    assert again == [], "what waits is of this severity"


async def test_what_has_become_more_severe_and_cannot_be_looked_at_is_withdrawn_and_people_are_asked(
    scene: Healing, world: Unsteady
) -> None:
    target, event, _ = await asked(scene, world)
    await gone(scene, target)
    outputs = await scene.handle(ProposeStage(scene.database, world), await risen(scene, event, Severity.P0))
    assert "P0 now" in only(outputs, ProposalOutdated).reason
    assert "was not found" in only(outputs, PeopleAsked).reason


async def test_nobody_signs_what_was_ruled_on_at_a_lower_severity(scene: Healing, world: Unsteady) -> None:
    _, event, approval = await asked(scene, world)
    await risen(scene, event, Severity.P0)
    row = await row_of(scene, approval)
    refused = only(await scene.handle(gate(scene, ASSIST), scene.vote(row, "ann")), VoteRefused)
    assert "its incident is P0 now, and was P2" in refused.reason
    only(await scene.handle(gate(scene, ASSIST), scene.vote(row, "ann", Choice.REJECT)), ActionRejected)
