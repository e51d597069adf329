"""An executor killed by SIGKILL around a restart on a host behind a real sshd, and in its midst: the service is restarted once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from adapters.worlds import Worlds
from bus.handler import Retry
from schemas.event import Event, Output
from schemas.events import ExecutionFinished
from schemas.words import OperationState, Outcome
from sql.database import Database
from stages.execute.options import ExecuteOptions
from tests.chaos.execute_process import LEASE
from tests.chaos.killing import begun, killed
from tests.e2e.ssh_scene import UNIT, furnish, world_of
from tests.e2e.sshd import SSHD, TestHost, running_host, until
from tests.integration.healing import Healing, executor, healing_scene, only
from tests.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")]


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[TestHost]:
    async with running_host(tmp_path) as running:
        furnish(running)
        yield running


@pytest_asyncio.fixture
async def scene(database: Database, host: TestHost) -> AsyncIterator[Healing]:
    """Stores with a world of one real host."""
    async with healing_scene(database) as scene:
        scene.world = Worlds(clusters={}, groups={"hosts": world_of(host)})
        yield scene
        await scene.world.close()


def options(host: TestHost) -> str:
    return msgspec.json.encode(host.options()).decode()


async def redelivered(scene: Healing, event: Event) -> Sequence[Output]:
    """The event as the bus brings it again, to another executor, until it is handled."""
    stage = executor(scene.database, scene.world, ExecuteOptions(lease=LEASE))
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await scene.handle(stage, event, attempt=2)
            except Retry as retry:
                await asyncio.sleep(min(retry.after, 0.1))


async def restarted_once(scene: Healing, host: TestHost, event: Event) -> None:
    """The next executor ends it, and says what is so."""
    outputs = await redelivered(scene, event)
    assert only(outputs, ExecutionFinished).outcome is Outcome.SUCCEEDED
    assert await redelivered(scene, event) == outputs
    assert host.restarts() == 1
    assert await host.answers()


@pytest.mark.parametrize(
    ("state", "point", "done"),
    [
        (OperationState.PENDING, "commit-1-after", 0),
        (OperationState.RUNNING, "apply-before", 0),
        (OperationState.RUNNING, "apply-after", 1),
        (OperationState.SUCCEEDED, "commit-3-after", 1),
    ],
)
async def test_the_next_executor_continues_and_the_service_is_restarted_once(
    scene: Healing, host: TestHost, postgres_url: str, state: OperationState, point: str, done: int
) -> None:
    row = await scene.approve(UNIT)
    event = scene.announce(row)
    await killed("execute", postgres_url, options(host), event, point)
    left = await scene.operation(row)
    assert left is not None
    assert (left.state, host.restarts()) == (state, done)
    await restarted_once(scene, host, event)


async def test_a_restart_that_goes_on_without_its_executor_is_found(scene: Healing, host: TestHost, postgres_url: str) -> None:
    row = await scene.approve(UNIT)
    event = scene.announce(row)
    (host.state / "hold").touch()
    process = await begun("execute", postgres_url, options(host), event, "nowhere")
    await until((host.state / "entered").exists, "the restart is under way")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    left = await scene.operation(row)
    assert left is not None
    assert (left.state, host.restarts()) == (OperationState.RUNNING, 0)
    (host.state / "hold").unlink()
    await until(lambda: host.restarts() == 1, "the restart has ended by itself")
    await restarted_once(scene, host, event)
