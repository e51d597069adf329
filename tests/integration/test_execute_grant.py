"""What changes a host needs the grant of its approval, and that ends soon, whatever the approval's own expiry says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from adapters.errors import Transient
from adapters.ports import Applied, Preflight
from schemas.action import Action, DiagnoseHost, PruneImages, RestartUnit, is_observation
from schemas.events import ExecutionFinished, ExecutionRetryDue
from schemas.evidence import Sensor, Snapshot
from schemas.preflight import BlastRadius
from schemas.target import Kind, Target
from schemas.words import Outcome, Tier
from sql.database import Database
from stages.execute.options import ExecuteOptions
from tests.integration.healing import Healing, Unsteady, executor, healing_scene, only, restart

HOST = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
RESTART = RestartUnit(target=HOST, unit="nginx.service")
PRUNE = PruneImages(target=HOST)
LOOK = DiagnoseHost(target=HOST)


class OneHost:
    """A world of one host, on which everything works. `done` are the actions that were applied."""

    def __init__(self, scene: Healing) -> None:
        self._scene = scene
        self.done: list[Action] = []

    async def owner(self, target: Target) -> Target:
        return target

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        return Snapshot(target=target, at=self._scene.now, sensors=(Sensor(name="ssh", seconds=0.0),), exists=True)

    async def preflight(self, action: Action) -> Preflight:
        uid = "" if is_observation(action) else "the start that was approved"
        return Preflight(target=action.target, uid=uid, checks=(), blast=BlastRadius(score=10, tier=Tier.AUTO))

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        self.done.append(action)
        return Applied(output="done")

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Healing]:
    async with healing_scene(database) as scene:
        scene.world = OneHost(scene)
        yield scene


async def run(scene: Healing, action: Action, *, age: float, grant: float = 600.0) -> tuple[ExecutionFinished, list[Action]]:
    """How the execution of an action ended that was approved `age` seconds ago and expires in an hour, and what was applied."""
    world = OneHost(scene)
    decided = scene.now - timedelta(seconds=age)
    row = await scene.approve(action, decided_at=decided, expires_at=scene.now + timedelta(hours=1))
    stage = executor(scene.database, world, ExecuteOptions(grant=grant))
    return only(await scene.handle(stage, scene.announce(row)), ExecutionFinished), world.done


@pytest.mark.parametrize("action", [RESTART, PRUNE], ids=lambda action: action.scope)
async def test_within_its_grant_a_host_is_changed(scene: Healing, action: Action) -> None:
    finished, done = await run(scene, action, age=590)
    assert (finished.outcome, done) == (Outcome.SUCCEEDED, [action])


@pytest.mark.parametrize("action", [RESTART, PRUNE], ids=lambda action: action.scope)
async def test_after_600_s_a_host_is_not_changed_and_a_new_approval_is_asked_for(scene: Healing, action: Action) -> None:
    finished, done = await run(scene, action, age=601)
    assert (finished.outcome, done) == (Outcome.REFUSED, [])
    assert "the grant to change host web-1 ended 600 s after the approval" in finished.error
    assert "it must be approved again" in finished.error


async def test_how_long_a_grant_lasts_is_a_setting(scene: Healing) -> None:
    finished, done = await run(scene, RESTART, age=40, grant=30.0)
    assert (finished.outcome, done) == (Outcome.REFUSED, [])
    assert "ended 30 s after" in finished.error


async def test_looking_at_a_host_needs_no_grant(scene: Healing) -> None:
    finished, done = await run(scene, LOOK, age=3_000)
    assert (finished.outcome, done) == (Outcome.SUCCEEDED, [LOOK])


async def test_a_retry_after_the_grant_has_ended_changes_nothing(scene: Healing) -> None:
    host = OneHost(scene)
    world = Unsteady(host)
    world.before["apply"] = [Transient("connection refused")]
    row = await scene.approve(RESTART, expires_at=scene.now + timedelta(hours=1))
    stage = executor(scene.database, world)
    retry = only(await scene.handle(stage, scene.announce(row)), ExecutionRetryDue)
    scene.later(700)
    assert only(await scene.handle(stage, retry), ExecutionFinished).outcome is Outcome.REFUSED
    assert host.done == []


async def test_a_cluster_is_changed_without_a_grant_until_the_approval_expires(database: Database) -> None:
    async with healing_scene(database) as scene:
        target = await scene.deploy("api", "sim/web:ok")
        hour = timedelta(hours=1)
        row = await scene.approve(restart(target), decided_at=scene.now - hour, expires_at=scene.now + hour)
        finished = only(await scene.handle(executor(database, scene.world), scene.announce(row)), ExecutionFinished)
        assert finished.outcome is Outcome.SUCCEEDED
