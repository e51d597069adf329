"""Hosts over a real sshd: what is down comes back, once, and what is not sure is said to be so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.errors import OutcomeUnknown, Refused, TargetMissing, Transient
from adapters.ssh.connections import Connections
from adapters.ssh.marks import End, Marks
from adapters.ssh.probes import CONTAINERS_KEPT, UNITS_KEPT
from adapters.ssh.remote import Remote
from adapters.ssh.world import HostsWorld
from schemas.action import Investigate, RestartContainer, RestartUnit
from schemas.evidence import UnitView
from schemas.preflight import Check
from schemas.target import Kind, Target
from schemas.words import CheckResult, Tier
from tests.e2e.sshd import SSHD, Proxy, TestHost, running_host, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")]

TARGET = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
RESTART = RestartUnit(target=TARGET, unit="demo.service")
RESTART_WEB = RestartContainer(target=TARGET, container="web")
OPERATION = "018f0000-0000-7000-8000-000000000001"


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[TestHost]:
    async with running_host(tmp_path) as running:
        yield running


def world_of(host: TestHost, **changed: Any) -> HostsWorld:
    return HostsWorld({"web-1": host.options(**changed)}, clock=lambda: datetime.now(UTC))


@pytest_asyncio.fixture
async def world(host: TestHost) -> AsyncIterator[HostsWorld]:
    made = world_of(host)
    yield made
    await made.close()


def named(checks: tuple[Check, ...], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def unit_named(units: tuple[UnitView, ...], name: str) -> UnitView:
    return next(unit for unit in units if unit.name == name)


# restarts -----------------------------------------------------------------------------------------------------------


async def test_a_service_that_is_down_comes_back(host: TestHost, world: HostsWorld) -> None:
    assert not await host.answers()
    preflight = await world.preflight(RESTART)
    applied = await world.apply(RESTART, operation=OPERATION, token=1, uid=preflight.uid)
    assert await host.answers()
    assert not applied.repeated
    assert "restarted systemd unit demo.service on web-1; it is active running" in applied.output


async def test_a_service_that_crashed_later_comes_back_by_another_operation(host: TestHost, world: HostsWorld) -> None:
    await world.apply(RESTART, operation=OPERATION, token=1, uid=(await world.preflight(RESTART)).uid)
    host.kill_unit()
    await until(lambda: not Path(f"/proc/{host.unit()['pid']}/cmdline").exists() or not _command(host.unit()["pid"]), "it is dead")
    assert unit_named((await world.observe(TARGET)).units, "demo.service").active == "failed"
    await world.apply(RESTART, operation="another", token=2, uid=(await world.preflight(RESTART)).uid)
    assert await host.answers()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


async def test_a_container_is_restarted_once(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART_WEB)).uid
    assert uid == "c0ffee@2024-01-01T00:00:00Z"
    first = await world.apply(RESTART_WEB, operation=OPERATION, token=1, uid=uid)
    assert "it is running" in first.output
    assert await world.find(RESTART_WEB, operation=OPERATION, uid=uid) is True


async def test_the_same_operation_restarts_once_only(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART)).uid
    await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)
    again = await world.apply(RESTART, operation=OPERATION, token=2, uid=uid)
    assert again.repeated
    assert host.restarts() == 1


async def test_what_was_restarted_since_the_approval_is_refused(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART)).uid
    await world.apply(RESTART, operation="somebody-else", token=1, uid=uid)
    with pytest.raises(Refused, match="restarted since this was approved"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)
    assert host.restarts() == 1
    assert await world.find(RESTART, operation=OPERATION, uid=uid) is False


async def test_an_older_attempt_is_refused_by_the_mark_of_a_newer_one(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART)).uid
    host.mark(OPERATION, 1, "7")
    with pytest.raises(Refused, match="newer attempt"):
        await world.apply(RESTART, operation=OPERATION, token=6, uid=uid)
    assert host.restarts() == 0


async def test_two_executors_racing_restart_once_or_say_that_they_do_not_know(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART)).uid
    (host.state / "hold").touch()
    first = asyncio.create_task(world.apply(RESTART, operation=OPERATION, token=2, uid=uid))
    await until((host.state / "entered").exists, "the first restart is under way")
    with pytest.raises(Refused, match="newer attempt"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)
    (host.state / "hold").unlink()
    assert "active" in (await first).output
    assert host.restarts() == 1


async def test_a_mark_is_made_once(host: TestHost) -> None:
    options = host.options()
    connections = Connections({"web-1": options}, limit=1)
    marks = Marks(Remote("web-1", options, connections), OPERATION)
    assert await marks.leave(3, ()) == 1
    with pytest.raises(OutcomeUnknown, match="another process began this operation"):
        await marks.leave(4, ())
    (mark,) = await marks.read()
    assert (mark.number, mark.token, mark.end) == (1, 3, None)
    assert await marks.leave(4, [mark]) == 2
    assert not await marks.end(2, End.NOT_DONE)
    assert [(one.number, one.token, one.end) for one in await marks.read()] == [(1, 3, None), (2, 4, End.NOT_DONE)]
    await connections.close()


async def test_without_a_folder_for_its_mark_nothing_is_restarted(host: TestHost) -> None:
    world = world_of(host, marks="/proc/marks")
    uid = (await world.preflight(RESTART)).uid
    with pytest.raises(Refused, match="leave its mark in /proc/marks, so nothing was done"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)
    assert host.restarts() == 0
    await world.close()


async def test_a_unit_that_is_not_there_is_named_with_the_nearest(host: TestHost, world: HostsWorld) -> None:
    action = RestartUnit(target=TARGET, unit="dmo.service")
    with pytest.raises(TargetMissing) as caught:
        await world.apply(action, operation=OPERATION, token=1, uid="x")
    assert caught.value.nearest == ("demo.service",)
    check = named((await world.preflight(action)).checks, "target exists")
    assert check.result is CheckResult.FAILED
    assert "nearest: demo.service" in check.detail


async def test_a_restart_that_the_host_denies_changed_nothing_and_is_refused(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART)).uid
    (host.state / "denied").touch()
    with pytest.raises(Refused, match=r"was not restarted: systemctl exited with 1: .*Interactive authentication required"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)


async def test_a_restart_after_which_the_unit_does_not_come_up_says_so(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RESTART)).uid
    (host.state / "broken").touch()
    applied = await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)
    assert "did not come up: it is failed" in applied.output
    assert "control process exited" in applied.output


# what is not known --------------------------------------------------------------------------------------------------


async def test_a_connection_cut_during_the_restart_is_unknown_and_found_later(host: TestHost) -> None:
    async with Proxy(host.port) as proxy:
        world = world_of(host, port=proxy.port, known_hosts=host.known_hosts(port=proxy.port), restart_timeout=20.0)
        uid = (await world.preflight(RESTART)).uid
        (host.state / "hold").touch()
        running = asyncio.create_task(world.apply(RESTART, operation=OPERATION, token=1, uid=uid))
        await until((host.state / "entered").exists, "the restart is under way")
        proxy.cut()
        with pytest.raises(OutcomeUnknown, match="it may have run"):
            await running
        assert await world.find(RESTART, operation=OPERATION, uid=uid) is None
        (host.state / "hold").unlink()
        await until(lambda: host.restarts() == 1, "the restart went on without us")
        assert await world.find(RESTART, operation=OPERATION, uid=uid) is True
        again = await world.apply(RESTART, operation=OPERATION, token=2, uid=uid)
        assert again.repeated
        assert host.restarts() == 1
        await world.close()


async def test_a_restart_that_takes_too_long_is_unknown(host: TestHost) -> None:
    world = world_of(host, restart_timeout=0.5)
    uid = (await world.preflight(RESTART)).uid
    (host.state / "hold").touch()
    with pytest.raises(OutcomeUnknown, match=r"did not answer within 0\.5 s after the command had been sent"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid=uid)
    await world.close()


async def test_an_operation_without_a_mark_did_not_happen_and_one_with_an_old_mark_neither(host: TestHost) -> None:
    world = world_of(host, restart_timeout=0.0)
    uid = (await world.preflight(RESTART)).uid
    assert await world.find(RESTART, operation=OPERATION, uid=uid) is False
    host.mark(OPERATION, 1, "1")
    assert await world.find(RESTART, operation=OPERATION, uid=uid) is False
    await world.close()


async def test_a_command_that_only_looks_and_does_not_answer_is_transient(host: TestHost) -> None:
    world = world_of(host, command_timeout=0.5)
    (host.state / "silent").touch()
    with pytest.raises(Transient, match=r"systemctl: host web-1 did not answer within 0\.5 s"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid="x")
    await world.close()


async def test_a_host_that_is_away_is_transient_and_nothing_was_sent(host: TestHost) -> None:
    world = world_of(host, port=1, known_hosts=host.known_hosts(port=1))
    with pytest.raises(Transient, match="cannot be reached"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid="x")
    await world.close()


async def test_a_host_that_accepts_and_says_nothing_is_transient(host: TestHost) -> None:
    never = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as mute:
        port = mute.sockets[0].getsockname()[1]
        world = world_of(host, port=port, known_hosts=host.known_hosts(port=port), connect_timeout=0.3)
        with pytest.raises(Transient, match=r"did not answer within 0\.3 s"):
            await world.preflight(RESTART)
        await world.close()
        never.set()


# looking ------------------------------------------------------------------------------------------------------------


async def test_observe_sees_resources_units_containers_and_the_journal(host: TestHost, world: HostsWorld) -> None:
    host.write_container("db", status="running", health="healthy")
    snapshot = await world.observe(TARGET)
    assert {sensor.name: sensor.error for sensor in snapshot.sensors} == dict.fromkeys(
        ("ssh", "load", "memory", "disk", "processes", "journal", "units", "containers"), ""
    )
    assert snapshot.exists
    assert snapshot.host is not None
    assert snapshot.host.processors
    assert snapshot.host.memory_total
    assert snapshot.host.memory_available
    assert snapshot.host.load_1 is not None
    assert any(disk.size > disk.available > 0 for disk in snapshot.host.file_systems)
    assert unit_named(snapshot.units, "demo.service").active == "inactive"
    assert unit_named(snapshot.units, "db") == UnitView(
        name="db", active="running", sub="healthy", since="2024-01-01T00:00:00Z", restarts=2
    )
    assert "out of luck" in snapshot.logs["journal"]
    assert "COMMAND" in snapshot.logs["processes"]


async def test_what_an_action_is_about_is_seen_among_hundreds_of_others(host: TestHost, world: HostsWorld) -> None:
    running: dict[str, Any] = {"pid": host.server_pid, "invocation": "a" * 32}
    for number in range(UNITS_KEPT + 5):
        host.write_unit(f"unit-{number:03}.service", **running)
    for name in ("zz.service", "zz.mount"):
        host.write_unit(name, **running)
    for number in range(CONTAINERS_KEPT + 5):
        host.write_container(f"box-{number:03}", status="running")
    host.write_container("shop-zz-1", status="running", project="shop", service="zz")
    host.write_container("zzz", status="running")
    plain = {unit.name for unit in (await world.observe(TARGET)).units}
    assert not {"zz.service", "zz.mount", "zzz", "shop-zz-1"} & plain
    assert len(plain) == UNITS_KEPT + CONTAINERS_KEPT
    for part, seen in {"zz.service": "zz.service", "zz.mount": "zz.mount", "zzz": "zzz", "shop/zz": "shop-zz-1"}.items():
        snapshot = await world.observe(TARGET, parts=(part,))
        assert sum(unit.name == seen for unit in snapshot.units) == 1, part


@pytest.mark.parametrize("part", ["nobody.service", "x; reboot.service", "-x.service", "demo@.service", ""])
async def test_a_name_that_is_nothing_here_costs_no_other_unit(host: TestHost, world: HostsWorld, part: str) -> None:
    snapshot = await world.observe(TARGET, parts=(part,))
    assert snapshot.saw("units")
    assert snapshot.saw("containers")
    assert {unit.name for unit in snapshot.units} == {"demo.service", "web"}


async def test_the_file_system_that_docker_keeps_its_data_on_is_known(host: TestHost, world: HostsWorld) -> None:
    view = (await world.observe(TARGET)).host
    assert view is not None
    (system,) = [system for system in view.file_systems if system.docker]
    real = os.statvfs(host.docker_root)
    assert system.size == real.f_blocks * real.f_frsize
    assert str(host.docker_root).startswith(system.mount)


@pytest.mark.parametrize(("root", "docker"), [("/linked", ("/dev/shm",)), ("/nowhere", ()), ("/etc/../etc", None)])
async def test_docker_data_behind_a_link_are_where_the_link_points(host: TestHost, root: str, docker: tuple[str, ...] | None) -> None:
    (host.folder / "linked").symlink_to("/dev/shm")
    world = world_of(host, docker_root=f"{host.folder}{root}")
    snapshot = await world.observe(TARGET)
    await world.close()
    assert snapshot.saw("disk") is (docker is not None)
    if snapshot.host is not None and docker is not None:
        assert tuple(system.mount for system in snapshot.host.file_systems if system.docker) == docker


async def test_a_tool_that_is_not_there_is_an_error_of_its_sensor_alone(host: TestHost, world: HostsWorld) -> None:
    (host.folder / "bin" / "journalctl").unlink()
    snapshot = await world.observe(TARGET)
    errors = {sensor.name: sensor.error for sensor in snapshot.sensors if sensor.error}
    assert errors == {"journal": "journalctl is not installed on the host, or not on the account's PATH"}
    assert snapshot.measured


async def test_output_without_end_is_read_up_to_the_limit(host: TestHost) -> None:
    world = world_of(host, output_limit=20_000)
    (host.state / "endless").touch()
    snapshot = await world.observe(TARGET)
    assert not [sensor for sensor in snapshot.sensors if sensor.error]
    assert len(snapshot.logs["journal"]) <= 8000
    await world.close()


async def test_hostile_journal_lines_lose_their_control_characters_and_secrets(host: TestHost, world: HostsWorld) -> None:
    (host.state / "journal").write_text("\x1b]0;owned\x07 password=hunter2 \u202eevil\n")
    text = (await world.observe(TARGET)).logs["journal"]
    assert "hunter2" not in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


async def test_a_host_that_is_away_gives_a_snapshot_in_which_nothing_was_measured(host: TestHost) -> None:
    world = world_of(host, port=1, known_hosts=host.known_hosts(port=1))
    snapshot = await world.observe(TARGET)
    assert not snapshot.measured
    assert snapshot.exists is None
    assert "cannot be reached" in snapshot.sensors[0].error
    await world.close()


async def test_an_observation_reports_and_changes_nothing(host: TestHost, world: HostsWorld) -> None:
    action = Investigate(target=TARGET)
    preflight = await world.preflight(action)
    assert named(preflight.checks, "host can be asked").result is CheckResult.PASSED
    applied = await world.apply(action, operation=OPERATION, token=1, uid=preflight.uid)
    assert "8 of 8 sensors answered" in applied.output
    assert not host.marks.exists()
    assert await world.find(action, operation=OPERATION, uid="") is False


# preflight ----------------------------------------------------------------------------------------------------------


async def test_preflight_really_checks_and_says_what_it_could_not(host: TestHost) -> None:
    host.write_unit(required_by="shop.service multi-user.target")
    world = world_of(host, sudo=True)
    preflight = await world.preflight(RESTART)
    assert {check.name: check.result for check in preflight.checks} == {
        "syntax": CheckResult.PASSED,
        "host can be asked": CheckResult.PASSED,
        "tool exists": CheckResult.PASSED,
        "target exists": CheckResult.PASSED,
        "permission": CheckResult.PASSED,
    }
    assert preflight.blast.services == ("shop.service",)
    assert (preflight.blast.score, preflight.blast.tier) == (20, Tier.AUTO)
    assert preflight.inverse is None
    assert preflight.diff == ""
    await world.close()


async def test_sudo_that_wants_a_password_is_named_before_and_refused_when_it_is_tried(host: TestHost) -> None:
    (host.state / "sudoers").write_text("docker inspect *\n")
    world = world_of(host, sudo=True)
    preflight = await world.preflight(RESTART)
    check = named(preflight.checks, "permission")
    assert check.result is CheckResult.FAILED
    assert check.missing == "sudo systemctl restart demo.service"
    assert "NOPASSWD: systemctl restart demo.service" in check.detail
    with pytest.raises(Refused, match="a password is required"):
        await world.apply(RESTART, operation=OPERATION, token=1, uid=preflight.uid)
    assert host.restarts() == 0
    await world.close()


async def test_with_sudo_the_restart_runs_through_it(host: TestHost) -> None:
    world = world_of(host, sudo=True)
    await world.apply(RESTART, operation=OPERATION, token=1, uid=(await world.preflight(RESTART)).uid)
    assert (host.state / "sudone").exists()
    assert await host.answers()
    await world.close()


async def test_a_masked_unit_fails_its_check(host: TestHost, world: HostsWorld) -> None:
    host.write_unit(load="masked")
    check = named((await world.preflight(RESTART)).checks, "target exists")
    assert (check.result, check.detail) == (CheckResult.FAILED, "demo.service is masked, it cannot be restarted")


@pytest.mark.parametrize(
    "unit", ["demo.service; touch /tmp/owned", "$(reboot)", "-H", "--host=evil", "a\nb", "", "x" * 129, "näme", "../x"]
)
async def test_hostile_unit_names_are_refused_before_anything_is_sent(host: TestHost, world: HostsWorld, unit: str) -> None:
    action = RestartUnit(target=TARGET, unit=unit)
    with pytest.raises(Refused, match="may be sent to a host"):
        await world.apply(action, operation=OPERATION, token=1, uid="x")
    assert named((await world.preflight(action)).checks, "syntax").result is CheckResult.FAILED
    assert "Accepted publickey" not in (host.folder / "sshd.log").read_text()
