"""The stage execute on a real host: what was approved happens there once, and the ledger tells the truth about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from adapters.errors import OutcomeUnknown
from adapters.worlds import Worlds
from schemas.action import Action, DiagnoseHost
from schemas.events import ExecutionFinished
from schemas.words import OperationState, Outcome
from sql.database import Database
from stages.execute.options import ExecuteOptions
from tests.e2e.ssh_scene import CONTAINER, IMAGES, RELOAD, RENEW, SERVICE, TARGET, UNIT, VOLUMES, furnish, needs_nginx, world_of
from tests.e2e.sshd import SSHD, TestHost, running_host
from tests.integration.healing import Healing, Unsteady, executor, healing_scene, only

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server"),
    needs_nginx,
]


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


@pytest.fixture
def world(scene: Healing) -> Unsteady:
    return Unsteady(scene.world)


async def finished(scene: Healing, action: Action, world: Unsteady | None = None) -> ExecutionFinished:
    """How the execution of an approved action ended."""
    row = await scene.approve(action, signers=["ann", "bob"])
    return only(await scene.handle(executor(scene.database, world or scene.world), scene.announce(row)), ExecutionFinished)


async def test_a_service_that_is_really_down_comes_back(scene: Healing, host: TestHost) -> None:
    assert not await host.answers()
    told = await finished(scene, UNIT)
    assert (told.outcome, told.before != "") == (Outcome.SUCCEEDED, True)
    assert "it is active running" in told.output
    assert await host.answers()


@pytest.mark.parametrize("action", [CONTAINER, SERVICE, IMAGES, RENEW, RELOAD], ids=lambda action: action.verb)
async def test_every_other_tool_succeeds(scene: Healing, action: Action) -> None:
    assert (await finished(scene, action)).outcome is Outcome.SUCCEEDED


async def test_a_diagnosis_is_told_with_its_output(scene: Healing) -> None:
    told = await finished(scene, DiagnoseHost(target=TARGET))
    assert told.outcome is Outcome.SUCCEEDED
    assert "load average" in (await scene.audit(told.operation))[0]["output"]


@pytest.mark.parametrize(
    ("action", "outcome", "words"),
    [
        (msgspec.structs.replace(UNIT, unit="dmo"), Outcome.DRY_RUN_BLOCKED, "nearest: demo.service"),
        (msgspec.structs.replace(CONTAINER, container="wbe"), Outcome.DRY_RUN_BLOCKED, "nearest: web"),
        (msgspec.structs.replace(SERVICE, service="apo"), Outcome.DRY_RUN_BLOCKED, "nearest: api"),
        (msgspec.structs.replace(UNIT, unit="demo; reboot"), Outcome.REFUSED, "may be sent to a host"),
        (VOLUMES, Outcome.REFUSED, "`delete_data` is not set"),
    ],
)
async def test_what_is_not_there_or_not_allowed_is_not_done(
    scene: Healing, host: TestHost, action: Action, outcome: Outcome, words: str
) -> None:
    row = await scene.approve(action, uid="approved all the same")
    told = only(await scene.handle(executor(scene.database, scene.world), scene.announce(row)), ExecutionFinished)
    assert told.outcome is outcome
    assert words in told.error
    assert not host.marks.exists()


@pytest.mark.parametrize("action", [UNIT, IMAGES], ids=lambda action: action.verb)
async def test_a_lost_answer_is_looked_for_on_the_host_and_found(scene: Healing, host: TestHost, world: Unsteady, action: Action) -> None:
    world.after["apply"] = [OutcomeUnknown("the connection broke after the request was sent")]
    told = await finished(scene, action, world)
    assert told.outcome is Outcome.SUCCEEDED
    assert "found done" in told.output
    assert world.calls.count("apply") == 1
    assert host.restarts() == (1 if action is UNIT else 0)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("action", [UNIT, IMAGES], ids=lambda action: action.verb)
async def test_an_executor_that_was_cut_off_is_continued_and_the_host_changed_once(
    scene: Healing, host: TestHost, world: Unsteady, action: Action, where: str
) -> None:
    reached = asyncio.Event()

    async def stuck() -> None:
        reached.set()
        await asyncio.Event().wait()

    getattr(world, where)["apply"] = [stuck]
    row = await scene.approve(action, signers=["ann", "bob"])
    event = scene.announce(row)
    cut_off = asyncio.ensure_future(scene.handle(executor(scene.database, world, ExecuteOptions(lease=60)), event))
    await reached.wait()
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)
    await scene.database.fetch("UPDATE leases SET expires_at = now() - interval '1 second' RETURNING target")
    told = only(await scene.handle(executor(scene.database, scene.world), event, attempt=2), ExecutionFinished)
    assert told.outcome is Outcome.SUCCEEDED
    assert ("found done" in told.output) is (where == "after")
    assert host.restarts() == (1 if action is UNIT else 0)
    assert not host.lines("images") or action is UNIT


async def test_a_chore_that_was_begun_and_never_told_is_unknown_and_not_repeated(scene: Healing, host: TestHost, world: Unsteady) -> None:
    row = await scene.approve(IMAGES, signers=["ann", "bob"])

    async def begun() -> None:
        operation = await scene.operation(row)
        assert operation is not None
        host.mark(operation.id, 1, str(operation.token))
        raise OutcomeUnknown("the host vanished")

    world.before["apply"] = [begun]
    told = only(await scene.handle(executor(scene.database, world), scene.announce(row)), ExecutionFinished)
    assert told.outcome is Outcome.UNKNOWN
    operation = await scene.operation(row)
    assert operation is not None
    assert operation.state is OperationState.UNKNOWN
    assert len(host.lines("images")) == 2
