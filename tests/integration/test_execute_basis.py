"""What an approval rests on: when somebody changed what the action changes since, it does not run; other changes are no matter."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.kubernetes.resources import BY_KIND
from ops.sandbox.kubectl import settled
from schemas.action import Action, RestartWorkload, RollBackWorkload, ScaleWorkload
from schemas.events import ExecutionFinished
from schemas.target import Kind, Target
from schemas.words import Outcome
from tests.integration.healing import Healing, executor, only

_CHANGES: dict[str, dict[str, Any]] = {
    "image": {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "sim/web:other"}]}}}},
    "replicas": {"spec": {"replicas": 5}},
    "label": {"metadata": {"labels": {"team": "blue"}}},
}


def action_of(verb: str, target: Target) -> Action:
    actions: dict[str, Action] = {
        "restart": RestartWorkload(target=target),
        "roll back": RollBackWorkload(target=target, to_revision=1),
        "scale": ScaleWorkload(target=target, replicas=3),
    }
    return actions[verb]


@pytest.mark.parametrize(
    ("verb", "change", "outcome"),
    [
        ("restart", "image", Outcome.REFUSED),
        ("restart", "replicas", Outcome.SUCCEEDED),
        ("restart", "label", Outcome.SUCCEEDED),
        ("roll back", "image", Outcome.REFUSED),
        ("roll back", "label", Outcome.SUCCEEDED),
        ("scale", "replicas", Outcome.REFUSED),
        ("scale", "image", Outcome.SUCCEEDED),
    ],
)
async def test_only_a_change_of_what_it_changes_stops_it(scene: Healing, verb: str, change: str, outcome: Outcome) -> None:
    target = await scene.deploy("api", "sim/web:ok", replicas=2)
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, "sim/web:second")
    await scene.kubectl.until(target, settled)
    row = await scene.approve(action_of(verb, target), signers=["ann"])
    await scene.kubectl.patch(BY_KIND[Kind.DEPLOYMENT], target.namespace, target.name, _CHANGES[change])
    await scene.kubectl.until(target, settled)
    generation = await scene.generation(target)

    finished = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is outcome, finished.error
    assert await scene.generation(target) == generation + (outcome is Outcome.SUCCEEDED)
    if outcome is Outcome.REFUSED:
        assert "changed since it was proposed" in finished.error


async def test_an_approval_that_does_not_say_what_it_rests_on_allows_nothing(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    generation = await scene.generation(target)
    row = await scene.approve(RestartWorkload(target=target), basis="")
    finished = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
    assert finished.outcome is Outcome.REFUSED
    assert await scene.generation(target) == generation
