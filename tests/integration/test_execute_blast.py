"""How far an action reaches is measured when it is approved and again before it runs: what reaches further is approved again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ops.cli.dossier import pages
from ops.facts.dossier import Dossier
from ops.facts.way_back import find_way_back
from schemas.action import ScaleWorkload
from schemas.events import ActionApproved, ActionProposed, ApprovalRequested, ApprovalSigned, ExecutionFinished, PeopleAsked
from schemas.preflight import BlastRadius
from schemas.target import Target
from schemas.words import CheckResult, Outcome, Severity, Tier
from stages.failure_watch.stage import FailureWatch
from stages.notify.stage import Notify
from tests.integration.healing import Healing, executor, only
from tests.integration.scene import gate
from tests.integration.scene import row as row_of
from tests.integration.test_notify import Fake


@pytest.fixture
async def outage(scene: Healing) -> ScaleWorkload:
    """What takes all of a healthy workload away."""
    target = await scene.deploy("api", "sim/web:ok", replicas=3)
    await scene.kubectl.until(target, lambda tree, _: tree["status"].get("availableReplicas") == 3)
    return ScaleWorkload(target=target, replicas=0)


async def forged(scene: Healing, action: ScaleWorkload, **fields: Any) -> ActionProposed:
    """A proposal that nobody told, and that says of itself that it touches nothing."""
    found = await scene.world.preflight(action)
    assert found.blast.tier is Tier.DUAL
    checks = tuple(msgspec.structs.replace(check, result=CheckResult.PASSED) for check in found.checks)
    harmless = {"blast": BlastRadius(score=0, tier=Tier.AUTO), "checks": checks, "severity": Severity.P3}
    right = {"target_uid": found.uid, "basis": found.basis, "diff": found.diff}
    return scene.proposal(await scene.incident(action.target), action, **harmless, **right, **fields)


async def desired(scene: Healing, target: Target) -> int | None:
    workload = (await scene.world.observe(target)).workload
    assert workload is not None
    return workload.desired


@pytest.mark.parametrize("signers", [(), ("ann",), ("ann", "bob", "eve")])
@pytest.mark.parametrize("agreed", [None, Tier.AUTO, Tier.HUMAN])
async def test_what_reaches_further_by_now_than_when_it_was_approved_is_refused(
    scene: Healing, outage: ScaleWorkload, agreed: Tier | None, signers: Sequence[str]
) -> None:
    blast = None if agreed is None else BlastRadius(score=0, tier=agreed)
    row = await scene.approve(outage, signers=signers, blast=blast)
    finished = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.REFUSED
    assert "its blast radius is in the dual tier now" in finished.error
    assert await desired(scene, outage.target) == 3
    asked = only(await scene.handle(FailureWatch(scene.database), finished), PeopleAsked)
    assert "it must be approved again" in asked.reason


@pytest.mark.parametrize("signers", [(), ("ann", "bob")])
async def test_what_reaches_no_further_runs_with_those_whom_the_policy_asked(
    scene: Healing, outage: ScaleWorkload, signers: Sequence[str]
) -> None:
    row = await scene.approve(outage, signers=signers, blast=BlastRadius(score=60, tier=Tier.DUAL))
    finished = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    assert await desired(scene, outage.target) == 0


async def test_a_forged_proposal_does_not_get_by_the_second_signature(scene: Healing, outage: ScaleWorkload) -> None:
    asked = only(await scene.handle(gate(scene), await forged(scene, outage), backed=False), ApprovalRequested)
    assert (asked.signatures, asked.rule) == (2, "unproven")
    row = await row_of(scene, asked.approval)
    assert only(await scene.handle(gate(scene), scene.vote(row, "ann")), ApprovalSigned).missing == 1
    assert only(await scene.handle(gate(scene), scene.vote(row, "bob")), ActionApproved).signers == ("ann", "bob")


async def test_who_is_asked_to_sign_is_told_that_it_is_not_proven_and_only_claims(scene: Healing, outage: ScaleWorkload) -> None:
    asked = only(await scene.handle(gate(scene), await forged(scene, outage, reasons=("it must be",)), backed=False), ApprovalRequested)
    channel = Fake("up")
    await scene.handle(Notify(scene.database, [channel]), asked)
    lines = channel.messages[0][1]
    (warning,) = [line for line in lines if line.startswith("NOT PROVEN: nothing proves that Mendstream or a person made this proposal")]
    after = lines[lines.index(warning) + 1 : -1]
    assert "it claims: why: it must be" in after
    assert "it claims: blast radius 0 of 100 (auto): 0 pods" in after
    assert all(line.startswith("it claims: ") for line in after)

    found = await row_of(scene, asked.approval)
    async with scene.database.connection() as connection:
        back = await find_way_back(connection, found)
    page = dict(pages(Dossier(approval=found, way_back=back, signatures=(), incident=None, evidence=None), scene.now))
    assert page["NOT PROVEN"].startswith(found.unproven)
    assert page["blast radius, as it claims"].startswith("0 of 100")
