"""verify on a real host: what came back is seen to have come back, by its own unit, and what could not be seen is not called well."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from adapters.worlds import Worlds
from schemas.action import Action, RestartUnit
from schemas.events import ExecutionFinished, TrustChanged, VerificationFinished
from schemas.words import Ground, Health, Outcome, Verdict
from sql.database import Database
from sql.evidence import get_snapshot
from stages.learn.stage import Learn
from stages.verify.stage import VerifyStage
from tests.e2e.ssh_scene import CONTAINER, IMAGES, RELOAD, RENEW, SERVICE, TARGET, UNIT, furnish, needs_nginx, world_of
from tests.e2e.sshd import SSHD, TestHost, running_host, until
from tests.integration.healing import Healing, healing_scene
from tests.integration.test_verify import AT_ONCE, delayed, executed, verified

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
    async with healing_scene(database) as scene:
        scene.world = Worlds(clusters={}, groups={"hosts": world_of(host)})
        yield scene
        await scene.world.close()


@pytest.fixture
def stage(scene: Healing) -> VerifyStage:
    return VerifyStage(scene.database, scene.world, AT_ONCE)


async def done(scene: Healing, action: Action) -> ExecutionFinished:
    finished = await executed(scene, action, signers=["ann", "bob"])
    assert finished.outcome is Outcome.SUCCEEDED, finished.error
    return finished


async def test_a_unit_that_was_really_down_and_came_back_is_healed(scene: Healing, host: TestHost, stage: VerifyStage) -> None:
    assert not await host.answers()
    result = await verified(scene, stage, await done(scene, UNIT))
    assert await host.answers()
    assert (result.verdict, result.ground, result.measured) == (Verdict.SUCCESS, Ground.HEALED, True), result.summary
    assert (result.judgements[0].before, result.judgements[0].after) == ("inactive (dead)", "active (running)")
    learned = await scene.handle(Learn(scene.database), result, backed=False)
    assert [(event.before, event.after) for event in learned if isinstance(event, TrustChanged)] == [(0, 1)]


def oneshot(host: TestHost, program: str, **fields: Any) -> RestartUnit:
    """A unit on the host that runs a Python program to its end, and failed when it did so last."""
    command = [sys.executable, "-c", program]
    host.write_unit("backup.service", **{"command": command, "type": "oneshot", "status": 1, "invocation": "d" * 32, **fields})
    return RestartUnit(target=TARGET, unit="backup.service")


@pytest.mark.parametrize(("stays", "state"), [(False, "inactive (dead), its last run ended well"), (True, "active (exited)")])
async def test_a_oneshot_whose_run_ended_well_is_healed(
    scene: Healing, host: TestHost, stage: VerifyStage, stays: bool, state: str
) -> None:
    ran = host.folder / "ran"
    backup = oneshot(host, f"open({str(ran)!r}, 'a').write('x')", stays=stays)
    result = await verified(scene, stage, await done(scene, backup))
    assert ran.read_text() == "x"
    assert (result.verdict, result.ground) == (Verdict.SUCCESS, Ground.HEALED), result.summary
    failed = "failed (failed), its last run ended with exit-code (status 1)"
    assert (result.judgements[0].before, result.judgements[0].after) == (failed, state)


async def test_a_oneshot_whose_run_failed_again_is_not_healed(scene: Healing, host: TestHost, stage: VerifyStage) -> None:
    result = await verified(scene, stage, await done(scene, oneshot(host, "raise SystemExit(3)")))
    assert result.verdict is Verdict.FAILED, result.summary
    assert "exit-code (status 3)" in result.judgements[0].after


async def test_a_success_on_a_host_is_held_and_a_unit_that_died_meanwhile_is_a_relapse(scene: Healing, host: TestHost) -> None:
    stage = VerifyStage(scene.database, scene.world)
    due, _ = delayed(await scene.handle(stage, await done(scene, UNIT)))
    again, _ = delayed(await scene.handle(stage, due))
    host.kill_unit()
    await until(lambda: _is_dead(host), "the unit is dead")
    (result,) = await scene.handle(stage, again)
    assert isinstance(result, VerificationFinished)
    assert (result.verdict, result.relapse) == (Verdict.FAILED, True), result.summary


def _is_dead(host: TestHost) -> bool:
    try:
        return Path(f"/proc/{host.unit()['pid']}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def test_a_restart_that_does_not_bring_the_unit_up_has_failed_whatever_else_recovers(
    scene: Healing, host: TestHost, stage: VerifyStage
) -> None:
    host.write_unit("other.service", invocation="b" * 32)
    (host.state / "broken").touch()
    finished = await done(scene, UNIT)
    host.write_unit("other.service", pid=host.server_pid, invocation="c" * 32)
    result = await verified(scene, stage, finished)
    assert result.verdict is Verdict.FAILED, result.summary


@pytest.mark.parametrize("action", [UNIT, CONTAINER, SERVICE], ids=lambda action: action.verb)
async def test_when_its_tool_does_not_answer_any_more_nobody_knows(
    scene: Healing, host: TestHost, stage: VerifyStage, action: Action
) -> None:
    finished = await done(scene, action)
    (host.folder / "bin" / ("systemctl" if action is UNIT else "docker")).unlink()
    result = await verified(scene, stage, finished, limit=True)
    assert (result.verdict, result.ground, result.measured) == (Verdict.DEGRADED, Ground.UNMEASURED, False), result.summary
    assert "not seen: " in result.summary


async def test_a_container_that_runs_and_fails_its_health_check_is_not_healed(scene: Healing, host: TestHost, stage: VerifyStage) -> None:
    host.write_container(health="unhealthy")
    result = await verified(scene, stage, await done(scene, CONTAINER))
    assert result.verdict is Verdict.FAILED, result.summary
    assert result.judgements[0].reason == "running (unhealthy)"


async def test_a_prune_is_judged_by_the_room_that_there_really_is(scene: Healing, host: TestHost, stage: VerifyStage) -> None:
    host.write_unit("other.service", invocation="b" * 32)
    finished = await done(scene, IMAGES)
    host.write_unit("other.service", pid=host.server_pid, invocation="c" * 32)
    result = await verified(scene, stage, finished)
    real = os.statvfs(host.docker_root)
    share = min(real.f_bavail / real.f_blocks, real.f_ffree / real.f_files if real.f_files else 1.0)
    assert float(result.judgements[0].reason.partition("%")[0]) / 100 == pytest.approx(share, abs=0.02)
    assert result.verdict is not Verdict.SUCCESS, "the stand-in frees nothing, and what else recovered is not its doing"


FULL_DISK = """
import sys
from pathlib import Path
print("Mounted on")
size = (1000, 40 if Path("@STATE@/images").read_text() else 300, 100, 90)
print(*size if "--local" in sys.argv else (), "/")
"""
"""Stands in for df: the one file system is nearly full until the images without a name are gone."""


@pytest.mark.parametrize("frees", [True, False])
async def test_a_prune_that_frees_a_full_disk_is_healed_and_one_that_does_not_has_failed(
    scene: Healing, host: TestHost, stage: VerifyStage, *, frees: bool
) -> None:
    host.install("df", FULL_DISK)
    finished = await done(scene, IMAGES)
    if not frees:
        (host.state / "images").write_text("another")
    result = await verified(scene, stage, finished)
    assert result.verdict is (Verdict.SUCCESS if frees else Verdict.FAILED), result.summary
    assert (result.judgements[0].before, result.judgements[0].after) == ("4% of / is free", f"{30 if frees else 4}% of / is free")


async def test_how_much_room_a_prune_must_leave_is_a_setting(scene: Healing, host: TestHost) -> None:
    host.install("df", FULL_DISK)
    result = await verified(scene, VerifyStage(scene.database, scene.world, structs.replace(AT_ONCE, room=0.4)), await done(scene, IMAGES))
    assert (result.verdict, result.ground) == (Verdict.DEGRADED, Ground.BETTER), result.summary


@pytest.mark.parametrize(("action", "words"), [(RENEW, "certificates"), (RELOAD, "was not seen")], ids=["renew", "reload"])
async def test_what_nothing_here_tells_of_is_not_called_well(scene: Healing, stage: VerifyStage, action: Action, words: str) -> None:
    result = await verified(scene, stage, await done(scene, action), limit=action is RELOAD)
    assert (result.verdict, result.ground, result.measured) == (Verdict.DEGRADED, Ground.UNMEASURED, False)
    assert words in result.summary


async def test_a_reload_that_nginx_itself_did_not_take_is_not_called_healed(scene: Healing, host: TestHost, stage: VerifyStage) -> None:
    """It finds no fault in the configuration and says yes to the reload; that a port is taken it finds when it reads it."""
    host.write_unit("nginx.service", pid=host.nginx.pid, invocation="a" * 32)
    host.nginx.configure(f'listen 127.0.0.1:{host.port}; return 200 "new";')
    finished = await done(scene, RELOAD)
    await until(host.nginx.has_refused, "nginx goes on as it was")
    result = await verified(scene, stage, finished)
    assert (result.verdict, result.ground) == (Verdict.DEGRADED, Ground.HEALED_NOTHING), result.summary
    assert host.nginx.answer() == "old"


async def test_a_reload_is_judged_by_nginx(scene: Healing, host: TestHost, stage: VerifyStage) -> None:
    host.write_unit("nginx.service", pid=host.nginx.pid, invocation="a" * 32)
    finished = await done(scene, RELOAD)
    host.nginx.stop()
    result = await verified(scene, stage, finished)
    assert (result.verdict, result.judgements[0].health) == (Verdict.FAILED, Health.UNHEALTHY), result.summary
    async with scene.database.connection() as connection:
        after = await get_snapshot(connection, result.after)
    assert after is not None
    assert after.target == TARGET
