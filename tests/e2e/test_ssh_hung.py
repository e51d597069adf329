"""A tool that hangs on a host costs what only it can tell: no process and no session is left behind by each look, others answer."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.errors import Transient
from adapters.ssh.connections import Connections
from adapters.ssh.remote import Remote
from adapters.ssh.world import HostsWorld
from schemas.words import CheckResult
from tests.e2e.ssh_scene import CONTAINER, TARGET, UNIT, named, world_of
from tests.e2e.sshd import SSHD, TOOLS, TestHost, running_host, until
from tests.e2e.sudo import running_sudo_host, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")]
LOOKS = 6  # with what each look runs at once, more than the sessions that an sshd allows on one connection
HANGS = """
import signal, time
from pathlib import Path

signal.signal(signal.SIGHUP, signal.SIG_IGN)
Path("@STATE@/began").touch()
while not Path("@STATE@/over").exists():
    time.sleep(0.01)
"""
DEAF = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{HANGS}"


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[TestHost]:
    async with running_host(tmp_path) as running:
        yield running


def hung(host: TestHost, tool: str = "docker") -> list[int]:
    """The processes of a tool on this host."""
    listing = subprocess.run(["ps", "-ewwo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    started = (line.split() for line in listing.splitlines())
    return [int(words[0]) for words in started if f"{host.folder}/bin/{tool}" in words[1:4]]


async def unseen(world: HostsWorld) -> set[str]:
    """Of what a look shows, the containers and what the tools of the operating system tell: what of that was not seen."""
    snapshot = await world.observe(TARGET)
    return {name for name in ("load", "memory", "disk", "processes", "containers") if not snapshot.saw(name)}


@pytest.mark.parametrize("program", [HANGS, DEAF], ids=["hangs", "deaf"])
async def test_a_tool_that_hangs_leaves_nothing_on_the_host(host: TestHost, program: str) -> None:
    host.install("docker", program)
    world = world_of(host, command_timeout=1.0)
    for _ in range(LOOKS):
        assert await unseen(world) == {"containers"}
    await until(lambda: not hung(host), "no process of the tool is left on the host")
    await world.close()


async def test_who_stops_waiting_leaves_nothing_on_the_host(host: TestHost) -> None:
    """As a look does that gives a sensor up: the host ends the command all the same, and its slot, the only one, is free then."""
    host.install("docker", HANGS)
    connections = Connections({"web-1": host.options(concurrency=1)}, limit=1)
    remote = Remote("web-1", host.options(command_timeout=2.0), connections)
    await remote.connect()
    look = asyncio.create_task(remote.read("docker", "ps"))
    await until((host.state / "began").exists, "the tool runs")
    look.cancel()
    assert (await remote.read("uptime")).succeeded
    assert not hung(host)
    await connections.close()


async def test_what_sudo_began_and_cannot_be_ended_is_begun_a_bounded_number_of_times(host: TestHost) -> None:
    """The stand-in of sudo runs it as the same account: nothing but the test ends it. The connection is never too old to be kept."""
    host.install("docker", HANGS)
    world = world_of(host, sudo=True, command_timeout=1.0, idle=0.0)
    for _ in range(LOOKS):
        assert await unseen(world) == {"containers"}
        assert len(hung(host)) <= 2
    permission = named(await world.preflight(UNIT), "permission")
    assert permission.result is CheckResult.PASSED, permission.detail
    with pytest.raises(Transient, match="still runs earlier commands that do not end"):
        await world.preflight(CONTAINER)
    (host.state / "over").touch()
    await until(lambda: not hung(host), "the tool has ended")
    host.install("docker", "import sys\nsys.exit(0)")
    assert not await unseen(world)
    await world.close()


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_the_real_sudo_ends_what_its_rule_gives_a_time() -> None:
    """As docs/hosts.md advises: it is root's process, which the account cannot end."""
    async with running_sudo_host() as host:
        host.install("docker", HANGS)
        host.allow(["(root) TIMEOUT=1 NOPASSWD: @BIN@/docker ps *, @BIN@/docker inspect *", "(root) NOPASSWD: @BIN@/docker restart web"])
        world = world_of(host, sudo=True, command_timeout=1.0)
        for _ in range(3):
            assert "containers" in await unseen(world)
        await until(lambda: not hung(host), "no process of the tool is left on the host")
        host.install("docker", TOOLS.joinpath("docker.py").read_text())
        preflight = await world.preflight(CONTAINER)
        assert named(preflight, "permission").result is CheckResult.PASSED
        await world.close()
