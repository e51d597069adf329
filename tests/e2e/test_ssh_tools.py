"""Every tool that may act on a host, over a real sshd: what it does, and what it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from adapters.errors import Failed, Refused, TargetMissing
from adapters.ssh.world import HostsWorld
from schemas.action import (
    Action,
    DiagnoseHost,
)
from schemas.words import CheckResult, Probe, Tier
from tests.e2e.ssh_scene import (
    IMAGES,
    LOG,
    OPERATION,
    RELOAD,
    RENEW,
    SERVICE,
    SYSTEM,
    TARGET,
    VOLUMES,
    done,
    furnish,
    named,
    needs_nginx,
    world_of,
)
from tests.e2e.sshd import SSHD, TestHost, running_host, until

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
async def world(host: TestHost) -> AsyncIterator[HostsWorld]:
    made = world_of(host)
    yield made
    await made.close()


# what they do -------------------------------------------------------------------------------------------------------


async def test_a_compose_service_comes_back_with_all_its_containers(host: TestHost, world: HostsWorld) -> None:
    host.write_container("shop-api-2", project="shop", service="api")
    applied = await done(world, SERVICE)
    assert "restarted compose service api on web-1; it is running" in applied.output
    assert sorted(host.lines("restarted")) == ["shop-api-1", "shop-api-2"]
    units = {unit.name: unit for unit in (await world.observe(TARGET)).units}
    assert (units["shop-api-1"].active, units["shop-api-1"].service) == ("running", "shop/api")
    assert units["shop-db-1"].active == "exited"


async def test_a_compose_service_that_is_not_there_is_named_with_the_nearest(world: HostsWorld) -> None:
    preflight = await world.preflight(msgspec.structs.replace(SERVICE, service="apo"))
    assert named(preflight, "target exists").result is CheckResult.FAILED
    assert "nearest: api" in named(preflight, "target exists").detail
    with pytest.raises(TargetMissing, match="no compose service idle"):
        await done(world, msgspec.structs.replace(SERVICE, service="idle"))


async def test_the_folder_of_a_compose_project_comes_from_the_settings_only(host: TestHost) -> None:
    world = world_of(host, compose={"shop": str(host.state / "shop"), "other": "/srv/../etc"})
    for project, words in {"": "names no compose project", "shpo": "nearest: shop", "other": "may be sent to a host"}.items():
        action = msgspec.structs.replace(SERVICE, project=project)
        assert words in named(await world.preflight(action), "syntax").detail
        with pytest.raises(Refused, match=words):
            await world.apply(action, operation=OPERATION, token=1, uid="x")
    assert "it is running" in (await done(world, msgspec.structs.replace(SERVICE, project="shop"))).output
    await world.close()


async def test_a_containers_log_is_emptied_and_nothing_else(host: TestHost, world: HostsWorld) -> None:
    other = host.log_of("shop-api-1")
    other.write_text("kept")
    preflight = await world.preflight(LOG)
    assert preflight.diff == f"{host.log_of('c0ffee')}: 1800 bytes to 0"
    assert (preflight.blast.tier, preflight.blast.data_impact, preflight.uid) == (Tier.HUMAN, "write", "c0ffee")
    await done(world, LOG)
    assert host.log_of("c0ffee").read_text() == ""
    assert other.read_text() == "kept"


@pytest.mark.parametrize(
    ("log", "driver", "words"),
    [
        ("/etc/passwd", "json-file", "no log file below"),
        ("/etc/secret-json.log", "json-file", "no log file below"),
        ("@ROOT@-else/secret-json.log", "json-file", "no log file below"),
        ("@ROOT@/../secret-json.log", "json-file", "without `..`"),
        ("@ROOT@/containers/a b/x-json.log", "json-file", "letters, digits"),
        ("@ROOT@/volumes/data/db.sqlite", "json-file", "no log file below"),
        ("containers/x-json.log", "json-file", "must be absolute"),
        ("", "json-file", "must be absolute"),
        ("@ROOT@/containers/x/local-logs/container.log", "local", "log driver is 'local'"),
        ("@ROOT@/containers/link-json.log", "json-file", "is a symbolic link"),
    ],
)
async def test_a_path_that_is_no_log_file_of_docker_is_not_emptied(
    host: TestHost, world: HostsWorld, log: str, driver: str, words: str
) -> None:
    victim = host.state / "victim"
    victim.write_text("precious")
    (host.docker_root / "containers" / "link-json.log").symlink_to(victim)
    host.write_container(log=log.replace("@ROOT@", str(host.docker_root)), driver=driver)
    preflight = await world.preflight(LOG)
    check = named(preflight, "log file")
    assert check.result is CheckResult.FAILED
    assert words in check.detail
    with pytest.raises(Refused, match="log file:"):
        await world.apply(LOG, operation=OPERATION, token=1, uid=preflight.uid)
    assert victim.read_text() == "precious"
    assert not host.marks.exists()


async def test_a_container_that_was_made_anew_keeps_its_log(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(LOG)).uid
    host.write_container(id="new")
    host.log_of("new").write_text("fresh")
    with pytest.raises(Refused, match="has changed since this was approved"):
        await world.apply(LOG, operation=OPERATION, token=1, uid=uid)
    assert host.log_of("new").read_text() == "fresh"


async def test_nginx_reads_its_configuration_again(host: TestHost, world: HostsWorld) -> None:
    assert named(await world.preflight(RELOAD), "target exists").result is CheckResult.NOT_CHECKED
    pid = host.nginx.pid
    assert host.nginx.answer() == "old"
    await done(world, RELOAD)
    await until(lambda: host.nginx.answer() == "new", "nginx serves what its configuration says")
    assert (host.nginx.pid, host.nginx.reloads()) == (pid, 1)
    assert host.lines("reloads") == ["nginx -s reload"]


async def test_where_systemd_runs_nginx_systemd_reloads_it(host: TestHost, world: HostsWorld) -> None:
    host.write_unit("nginx.service", pid=host.nginx.pid, invocation="a" * 32)
    preflight = await world.preflight(RELOAD)
    assert preflight.uid == "a" * 32
    await done(world, RELOAD)
    await until(lambda: host.nginx.answer() == "new", "nginx serves what its configuration says")
    assert host.lines("reloads") == ["systemctl reload nginx.service", "nginx -s reload"], "the second is the unit's own command"


async def test_an_nginx_that_does_not_run_is_not_reloaded(host: TestHost, world: HostsWorld) -> None:
    host.write_unit("nginx.service")
    assert "restart it" in named(await world.preflight(RELOAD), "nginx runs").detail
    with pytest.raises(Refused, match=r"nginx\.service is inactive"):
        await done(world, RELOAD)
    (host.state / "units" / "nginx.service.json").unlink()
    host.nginx.stop()
    with pytest.raises(Refused, match=r"nothing was done: nginx exited with 1: .*invalid PID"):
        await done(world, RELOAD)
    assert await world.find(RELOAD, operation=OPERATION, uid="") is False


async def test_a_configuration_with_a_fault_is_not_loaded(host: TestHost, world: HostsWorld) -> None:
    uid = (await world.preflight(RELOAD)).uid
    host.nginx.configure("broken;")
    check = named(await world.preflight(RELOAD), "nginx -t")
    assert (check.result, 'unknown directive "broken"' in check.detail) == (CheckResult.FAILED, True)
    with pytest.raises(Refused, match="unknown directive"):
        await world.apply(RELOAD, operation=OPERATION, token=1, uid=uid)
    assert (host.nginx.answer(), host.lines("reloads")) == ("old", [])


async def test_certificates_that_are_due_are_renewed_without_a_dry_run(host: TestHost, world: HostsWorld) -> None:
    dry = named(await world.preflight(RENEW), "dry run")
    assert (dry.result, "limits" in dry.detail) == (CheckResult.NOT_CHECKED, True)
    assert not host.lines("renewals")
    assert "all renewals succeeded" in (await done(world, RENEW)).output
    assert [file.read_text() for file in (host.state / "certificates").iterdir()] == ["fresh", "fresh"]


async def test_a_renewal_that_went_wrong_in_part_has_failed_and_may_be_tried_again(host: TestHost, world: HostsWorld) -> None:
    (host.state / "failing").touch()
    with pytest.raises(Failed, match="Failed to renew certificate"):
        await done(world, RENEW)
    assert await world.find(RENEW, operation=OPERATION, uid="") is None
    (host.state / "failing").unlink()
    applied = await world.apply(RENEW, operation=OPERATION, token=2, uid=(await world.preflight(RENEW)).uid)
    assert not applied.repeated
    assert {file.read_text() for file in (host.state / "certificates").iterdir()} == {"fresh"}
    assert await world.find(RENEW, operation=OPERATION, uid="") is True


async def test_images_without_a_name_are_deleted_and_were_listed(host: TestHost, world: HostsWorld) -> None:
    preflight = await world.preflight(IMAGES)
    assert preflight.diff == "to be deleted: 2 images without a name (aaaaaaaaaaaa, bbbbbbbbbbbb)"
    assert (preflight.blast.tier, preflight.blast.data_impact) == (Tier.HUMAN, "write")
    assert "Total reclaimed space" in (await done(world, IMAGES)).output
    assert not host.lines("images")
    assert host.lines("volumes") == ["shop_data", "old_data"]
    assert (host.state / "containers" / "web.json").exists()


@pytest.mark.parametrize("action", [VOLUMES, SYSTEM], ids=lambda action: action.verb)
async def test_what_deletes_data_is_blocked_unless_the_settings_allow_it(host: TestHost, action: Action) -> None:
    strict, lax = world_of(host), world_of(host, delete_data=True)
    preflight = await strict.preflight(action)
    assert (preflight.blast.tier, preflight.blast.data_impact) == (Tier.BLOCKED, "destructive")
    assert named(preflight, "allowed").result is CheckResult.FAILED
    with pytest.raises(Refused, match="`delete_data` is not set"):
        await strict.apply(action, operation=OPERATION, token=1, uid=preflight.uid)
    assert len(host.lines("volumes")) == 2
    allowed = await lax.preflight(action)
    assert (allowed.blast.tier, allowed.blast.data_impact) == (Tier.DUAL, "destructive")
    await strict.close()
    await lax.close()


async def test_only_the_volumes_that_were_approved_may_go(host: TestHost) -> None:
    world = world_of(host, delete_data=True)
    preflight = await world.preflight(VOLUMES)
    assert preflight.diff == "to be deleted at most: 2 volumes (old_data, shop_data)"
    (host.state / "volumes").write_text("shop_data\nold_data\nprecious")
    with pytest.raises(Refused, match="has changed since this was approved"):
        await world.apply(VOLUMES, operation=OPERATION, token=1, uid=preflight.uid)
    assert len(host.lines("volumes")) == 3
    await done(world, VOLUMES)
    assert not host.lines("volumes")
    await world.close()


async def test_a_system_prune_names_the_stopped_containers_that_it_deletes(host: TestHost) -> None:
    world = world_of(host, delete_data=True)
    host.write_container("runs", status="running")
    preflight = await world.preflight(SYSTEM)
    assert "3 stopped containers (shop-api-1, shop-db-1, web)" in preflight.diff
    await done(world, SYSTEM)
    assert [file.stem for file in (host.state / "containers").iterdir()] == ["runs"]
    await world.close()


async def test_a_diagnosis_shows_what_the_probes_print(world: HostsWorld) -> None:
    text = (await done(world, DiagnoseHost(target=TARGET))).output
    for words in ("$ ps", "COMMAND", "$ df", "Filesystem", "$ free", "Mem:", "$ top", "PID", "$ uptime", "load average"):
        assert words in text
    assert len(text) < 10_000
    only = (await done(world, DiagnoseHost(target=TARGET, probes=(Probe.DF, Probe.DF)))).output
    assert only.count("$ ") == only.count("$ df") == 1
