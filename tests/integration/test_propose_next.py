"""The next step of an incident: only an eviction that was done, measured and did no harm is followed by another look."""

from __future__ import annotations

from typing import Any

import pytest

from ops.sandbox.kubectl import settled
from schemas.action import Action, EvictPod, RestartWorkload
from schemas.events import VerificationFinished
from schemas.target import Kind, Target
from schemas.words import Outcome, Severity, Verdict
from stages.propose.stage import ProposeStage
from tests.integration.healing import Healing, Unsteady
from tests.integration.test_propose import opened


def judged(scene: Healing, incident: str, action: Action, **fields: Any) -> VerificationFinished:
    plain: dict[str, Any] = {"outcome": Outcome.SUCCEEDED, "verdict": Verdict.TIMEOUT, "measured": True, "severity": Severity.P2}
    plain |= dict.fromkeys(("operation", "approval", "summary", "before", "after"), "x")
    plain |= {"judgements": (), "score": 0.5, "automatic": False}
    return VerificationFinished(**scene.header(incident), action=action, **(plain | fields))


def evict(target: Target) -> EvictPod:
    return EvictPod(target=Target(cluster=target.cluster, kind=Kind.POD, name=f"{target.name}-x", namespace=target.namespace), uid="u")


@pytest.mark.parametrize(
    ("restarts", "fields", "looks"),
    [
        (False, {}, True),
        (False, {"verdict": Verdict.SUCCESS}, True),
        (False, {"verdict": Verdict.FAILED}, False),
        (False, {"measured": False}, False),
        (False, {"outcome": Outcome.UNKNOWN}, False),
        (True, {}, False),
    ],
    ids=["better", "success", "failed", "not measured", "nobody knows", "a restart"],
)
async def test_after_which_judgements_it_looks_again(scene: Healing, restarts: bool, fields: dict[str, Any], looks: bool) -> None:
    target = await scene.deploy("api", "sim/web:ok", replicas=2)
    await scene.kubectl.until(target, settled)
    event = await opened(scene, target)
    world = Unsteady(scene.world)
    stage = ProposeStage(scene.database, world)
    assert await scene.handle(stage, event)
    world.calls.clear()
    action = RestartWorkload(target=target) if restarts else evict(target)
    # All of its pods are well: whatever was looked at, nothing further is put forward.
    assert await scene.handle(stage, judged(scene, event.incident, action, **fields)) == []
    assert bool(world.calls) is looks


async def test_an_incident_that_is_over_is_not_looked_at(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok", replicas=2)
    event = await opened(scene, target)
    world = Unsteady(scene.world)
    stage = ProposeStage(scene.database, world)
    assert await scene.handle(stage, event)
    await scene.resolve(event.incident)
    world.calls.clear()
    assert await scene.handle(stage, judged(scene, event.incident, evict(target))) == []
    assert world.calls == []
