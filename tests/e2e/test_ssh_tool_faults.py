"""Every tool that may act on a host, over a real sshd: what it refuses, what is not known, and that it acts once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from adapters.errors import Failed, OutcomeUnknown, Refused, Transient
from adapters.ssh.checks import permission
from adapters.ssh.connections import Connections
from adapters.ssh.remote import Remote
from adapters.ssh.world import HostsWorld
from schemas.action import (
    Action,
    DiagnoseHost,
    RestartComposeService,
    RestartUnit,
)
from schemas.words import CheckResult, Probe
from tests.e2e.ssh_scene import (
    CHORES,
    CONTAINER,
    IMAGES,
    LOG,
    OPERATION,
    RELOAD,
    RENEW,
    SERVICE,
    SYSTEM,
    TARGET,
    UNIT,
    VOLUMES,
    WRITES,
    done,
    furnish,
    named,
    needs_nginx,
    world_of,
)
from tests.e2e.sshd import SSHD, Proxy, TestHost, running_host, until

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


# what goes wrong ----------------------------------------------------------------------------------------------------

HOSTILE = ("web; touch /tmp/owned", "$(reboot)", "--all", "a\nb", "", "x" * 129, "../x", "web\x00")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("action", [CONTAINER, SERVICE, LOG, UNIT], ids=lambda action: action.verb)
async def test_hostile_names_are_refused_before_anything_is_sent(host: TestHost, world: HostsWorld, action: Action, name: str) -> None:
    field = "unit" if isinstance(action, RestartUnit) else "service" if isinstance(action, RestartComposeService) else "container"
    hostile = msgspec.structs.replace(action, **{field: name})
    with pytest.raises(Refused, match="may be sent to a host"):
        await world.apply(hostile, operation=OPERATION, token=1, uid="x")
    assert named(await world.preflight(hostile), "syntax").result is CheckResult.FAILED
    assert await world.find(hostile, operation=OPERATION, uid="x") is None
    assert "Accepted publickey" not in (host.folder / "sshd.log").read_text()


TOOLS = {action: tool for tool, actions in {
    "systemctl": (UNIT,), "docker": (CONTAINER, SERVICE, LOG, IMAGES, VOLUMES, SYSTEM), "certbot": (RENEW,), "nginx": (RELOAD,),
}.items() for action in actions}  # fmt: skip


@pytest.mark.parametrize(("action", "tool"), TOOLS.items(), ids=lambda value: getattr(value, "verb", value))
async def test_a_tool_that_is_not_there_is_named(host: TestHost, world: HostsWorld, action: Action, tool: str) -> None:
    (host.folder / "bin" / tool).unlink()
    preflight = await world.preflight(action)
    check = named(preflight, "tool exists")
    assert check.result is CheckResult.FAILED
    assert f"{tool} is not installed on the host" in check.detail
    with pytest.raises(Refused, match=f"{tool} is not installed"):
        await world.apply(action, operation=OPERATION, token=1, uid="x")
    assert not host.marks.exists()


async def test_a_probe_that_is_not_there_says_so_in_its_place(host: TestHost, world: HostsWorld) -> None:
    (host.folder / "bin" / "free").unlink()
    text = (await done(world, DiagnoseHost(target=TARGET))).output
    assert "$ free\nfree is not installed on the host" in text
    assert "load average" in text
    with pytest.raises(Refused, match="free is not installed"):
        await done(world, DiagnoseHost(target=TARGET, probes=(Probe.FREE,)))


async def test_a_probe_without_end_and_one_that_hangs_are_bounded(host: TestHost) -> None:
    (host.state / "silent").touch()
    host.install("ps", "import sys\nwhile True: sys.stdout.write('x' * 70 + ' token=abcdefgh \\x1b[31m\\n')")
    host.install("top", "import time, pathlib\nwhile pathlib.Path('@STATE@/silent').exists(): time.sleep(0.01)")
    world = world_of(host, command_timeout=1.0, output_limit=20_000)
    text = (await done(world, DiagnoseHost(target=TARGET))).output
    assert len(text) < 6_000
    assert "\x1b" not in text
    assert "abcdefgh" not in text
    assert "top: host web-1 did not answer within 1 s" in text
    with pytest.raises(Transient, match="did not answer within 1 s"):
        await done(world, DiagnoseHost(target=TARGET, probes=(Probe.TOP,)))
    await world.close()


@pytest.mark.parametrize("action", WRITES, ids=lambda action: action.verb)
async def test_what_takes_too_long_is_unknown_and_not_repeated(host: TestHost, action: Action) -> None:
    world = world_of(host, restart_timeout=1.0)
    uid = (await world.preflight(action)).uid
    slow = "truncate" if action is LOG else ""
    if slow:
        host.install(slow, "import time, pathlib\nwhile pathlib.Path('@STATE@/hold').exists(): time.sleep(0.01)")
    (host.state / "hold").touch()
    with pytest.raises(OutcomeUnknown, match=r"did not answer within 1 s after the command had been sent"):
        await world.apply(action, operation=OPERATION, token=1, uid=uid)
    await world.close()
    patient = world_of(host)
    assert await patient.find(action, operation=OPERATION, uid=uid) is None
    with pytest.raises(OutcomeUnknown, match="has not told how it ended"):
        await patient.apply(action, operation=OPERATION, token=2, uid=uid)
    await patient.close()


async def test_output_without_end_of_a_tool_is_dropped_and_its_end_awaited(host: TestHost) -> None:
    host.install("certbot", "import sys\nprint('\\x1b[31m' + 'token=abcdefgh ' * 100_000 if 'renew' in sys.argv else 'certbot 2')")
    world = world_of(host, output_limit=5_000)
    applied = await done(world, RENEW)
    assert len(applied.output) <= 2_000
    assert "\x1b" not in applied.output
    assert "abcdefgh" not in applied.output
    await world.close()


@pytest.mark.parametrize("action", WRITES, ids=lambda action: action.verb)
async def test_with_sudo_each_tool_works(host: TestHost, action: Action) -> None:
    world = world_of(host, sudo=True)
    preflight = await world.preflight(action)
    assert named(preflight, "permission").result is CheckResult.PASSED
    assert not [check for check in preflight.checks if check.result is CheckResult.FAILED]
    assert not (await done(world, action)).repeated
    assert (host.state / "sudone").exists()
    await world.close()


@pytest.mark.parametrize(("action", "tool"), [(RENEW, "certbot"), (IMAGES, "docker")], ids=lambda value: getattr(value, "verb", value))
async def test_what_ran_and_failed_without_a_word_is_not_told_as_not_done(host: TestHost, action: Action, tool: str) -> None:
    """All that is said is what sudo says aside."""
    (host.folder / "bin" / tool).rename(host.folder / "bin" / "real")
    host.install(
        tool,
        "import subprocess, sys\n"
        "changes = {'renew', 'prune'} & set(sys.argv)\n"
        "ended = subprocess.run(['real', *sys.argv[1:]], stdout=subprocess.DEVNULL if changes else None)\n"
        "sys.exit(1 if changes else ended.returncode)\n",
    )
    world = world_of(host, sudo=True)
    with pytest.raises(Failed, match=r"it ran and did not succeed: .* unable to resolve host"):
        await done(world, action)
    assert host.lines("renewals") if action is RENEW else not host.lines("images")
    assert await world.find(action, operation=OPERATION, uid="") is None
    await world.close()


@pytest.mark.parametrize(
    ("action", "rules"),
    [
        (SERVICE, ["docker compose --project-directory @STATE@/shop ps *", "docker inspect *"]),
        (LOG, ["docker inspect *", "docker ps *", "stat *"]),
        (RENEW, []),
        (RELOAD, ["nginx -t"]),
        (IMAGES, ["docker image ls *"]),
    ],
    ids=lambda value: getattr(value, "verb", ""),
)
async def test_what_sudo_refuses_is_known_before_and_changes_nothing(host: TestHost, action: Action, rules: list[str]) -> None:
    (host.state / "sudoers").write_text("\n".join(rules).replace("@STATE@", str(host.state)))
    world = world_of(host, sudo=True)
    preflight = await world.preflight(action)
    check = named(preflight, "permission")
    assert check.result is CheckResult.FAILED
    assert check.missing.startswith("sudo ")
    assert "NOPASSWD" in check.detail
    with pytest.raises(Refused, match="a password is required"):
        await world.apply(action, operation=OPERATION, token=1, uid=preflight.uid)
    assert await world.find(action, operation=OPERATION, uid=preflight.uid) is False
    assert not host.lines("restarted")
    assert not host.lines("renewals")
    assert not host.lines("reloads")
    assert len(host.lines("images")) == 2
    assert host.log_of("c0ffee").read_text()
    await world.close()


@pytest.mark.parametrize(
    ("rules", "result"),
    [
        (["systemctl restart demo.service"], CheckResult.PASSED),
        (["PASSWD: systemctl restart demo.service", "docker ps *"], CheckResult.FAILED),
        (["systemctl restart demo.service", "PASSWD: systemctl restart demo.service"], CheckResult.FAILED),
        (["PASSWD: systemctl restart demo.service", "systemctl restart *"], CheckResult.PASSED),
        (["PASSWD: systemctl restart demo.service", "systemctl restart [d]emo.service"], CheckResult.NOT_CHECKED),
    ],
)
async def test_a_rule_that_wants_a_password_is_not_taken_for_one_that_wants_none(
    host: TestHost, rules: list[str], result: CheckResult
) -> None:
    """`sudo -n -l COMMAND` says yes to all of these: any rule without a password is enough for that."""
    (host.state / "sudoers").write_text("\n".join(rules))
    connections = Connections({"web-1": host.options()}, limit=1)
    remote = Remote("web-1", host.options(sudo=True, user="mend"), connections)  # root is never asked for one, and tests may be root

    command = ("systemctl", "restart", "demo.service")
    assert (await remote.read("sudo", "-n", "-l", *command)).succeeded
    check = await permission(command, remote)

    assert check.result is result
    assert "password" in check.detail
    assert (check.missing == "sudo systemctl restart demo.service") is (result is CheckResult.FAILED)
    await connections.close()


AWAY = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    "failed to connect to the docker API at unix:///run/docker.sock: dial unix /run/docker.sock: connect: no such file or directory",
    "error during connect: Get http://docker/v1.24/containers/web/json: open /run/docker: no such file or directory",
)


@pytest.mark.parametrize("sudo", [False, True], ids=["plain", "sudo"])
@pytest.mark.parametrize("words", AWAY, ids=["28", "29", "during"])
async def test_a_docker_daemon_that_is_away_is_transient(host: TestHost, words: str, sudo: bool) -> None:
    """Its containers are not said to be missing, whatever the words in which its client says that."""
    world = world_of(host, sudo=sudo)
    uid = (await world.preflight(IMAGES)).uid
    (host.state / "away").write_text(words)
    for action in (CONTAINER, LOG, IMAGES, SERVICE):
        with pytest.raises(Transient, match=re.escape(words[:40])):
            await world.preflight(action)
        with pytest.raises(Transient, match=re.escape(words[:40])):
            await world.apply(action, operation=OPERATION, token=1, uid=uid)
    await world.close()


# once ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", CHORES, ids=lambda action: action.verb)
async def test_a_chore_is_done_once_and_says_so_later(host: TestHost, world: HostsWorld, action: Action) -> None:
    uid = (await world.preflight(action)).uid
    assert await world.find(action, operation=OPERATION, uid=uid) is False
    await world.apply(action, operation=OPERATION, token=1, uid=uid)
    assert await world.find(action, operation=OPERATION, uid=uid) is True
    host.log_of("c0ffee").write_text("written since")
    told = host.lines("reloads")
    (host.state / "images").write_text("later")
    (host.state / "certificates" / "a.example").write_text("due")
    assert (await world.apply(action, operation=OPERATION, token=2, uid=uid)).repeated
    assert host.log_of("c0ffee").read_text() == "written since"
    assert host.lines("reloads") == told
    assert host.lines("images") == ["later"]
    assert (host.state / "certificates" / "a.example").read_text() == "due"


@pytest.mark.parametrize("action", CHORES, ids=lambda action: action.verb)
async def test_a_chore_that_was_begun_and_has_not_told_is_unknown(host: TestHost, world: HostsWorld, action: Action) -> None:
    uid = (await world.preflight(action)).uid
    host.mark(OPERATION, 1, "1")
    assert await world.find(action, operation=OPERATION, uid=uid) is None
    with pytest.raises(OutcomeUnknown, match="has not told how it ended"):
        await world.apply(action, operation=OPERATION, token=2, uid=uid)
    assert host.log_of("c0ffee").read_text()


async def test_a_connection_cut_during_a_chore_is_unknown(host: TestHost) -> None:
    async with Proxy(host.port) as proxy:
        world = world_of(host, port=proxy.port, known_hosts=host.known_hosts(port=proxy.port))
        uid = (await world.preflight(IMAGES)).uid
        (host.state / "hold").touch()
        running = asyncio.create_task(world.apply(IMAGES, operation=OPERATION, token=1, uid=uid))
        await until((host.state / "entered").exists, "the prune is under way")
        proxy.cut()
        with pytest.raises(OutcomeUnknown, match="it may have run"):
            await running
        assert await world.find(IMAGES, operation=OPERATION, uid=uid) is None
        (host.state / "hold").unlink()
        await world.close()


KILLED = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
TOLD_BY_A_SHELL = "import sys\nsys.exit(137)\n"


@pytest.mark.parametrize("ending", [KILLED, TOLD_BY_A_SHELL], ids=["signal", "exit of a shell"])
@pytest.mark.parametrize(("action", "tool"), [(LOG, "truncate"), (RELOAD, "nginx")], ids=["truncate-log", "reload-nginx"])
async def test_a_chore_that_was_killed_may_have_been_done(
    host: TestHost, world: HostsWorld, action: Action, tool: str, ending: str
) -> None:
    uid = (await world.preflight(action)).uid
    tested = "import sys\nif sys.argv[1:] == ['-t']: sys.exit(0)\n"  # what comes before the reload itself
    host.install(tool, tested + ending)

    with pytest.raises(OutcomeUnknown, match="cannot be told"):
        await world.apply(action, operation=OPERATION, token=1, uid=uid)

    assert await world.find(action, operation=OPERATION, uid=uid) is None


async def test_a_restart_that_was_killed_may_still_happen(host: TestHost, world: HostsWorld) -> None:
    """The daemon goes on with what a client asked for that is gone."""
    uid = (await world.preflight(CONTAINER)).uid
    docker = (host.folder / "bin" / "docker").read_text().partition("\n")[2]
    host.install("docker", f"import sys\nif sys.argv[1] == 'restart': sys.exit(137)\n{docker}")

    with pytest.raises(OutcomeUnknown, match="half way"):
        await world.apply(CONTAINER, operation=OPERATION, token=1, uid=uid)

    assert await world.find(CONTAINER, operation=OPERATION, uid=uid) is not True
