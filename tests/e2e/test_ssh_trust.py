"""Whom Mendstream trusts over SSH: the key in the named file, offered the named key, whatever the user's own files say."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest
import pytest_asyncio

from adapters.errors import Refused, Transient
from adapters.ssh.connections import Connections
from adapters.ssh.remote import Remote
from adapters.ssh.world import HostsWorld
from schemas.action import Investigate, RestartUnit
from schemas.target import Kind, Target
from schemas.words import CheckResult
from tests.e2e.sshd import SSHD, Proxy, TestHost, key_pair, public_half, running_host, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")]

TARGET = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
RESTART = RestartUnit(target=TARGET, unit="demo.service")


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[TestHost]:
    async with running_host(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def world_of(host: TestHost, **changed: Any) -> AsyncIterator[HostsWorld]:
    world = HostsWorld({"web-1": host.options(**changed)}, clock=lambda: datetime.now(UTC))
    try:
        yield world
    finally:
        await world.close()


async def refusal(host: TestHost, **changed: Any) -> str:
    """The sentence with which a restart is refused; nobody may have logged in."""
    async with world_of(host, **changed) as world:
        with pytest.raises(Refused) as caught:
            await world.apply(RESTART, operation="operation", token=1, uid="x")
        assert (await world.preflight(RESTART)).checks[1].result is CheckResult.FAILED
        assert not (await world.observe(TARGET)).measured
    assert "Accepted publickey" not in (host.folder / "sshd.log").read_text()
    return str(caught.value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own with a ~/.ssh."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def trust_at_home(host: TestHost, home: Path) -> None:
    """The user's own known_hosts knows the host."""
    shutil.copy(host.known_hosts(), home / ".ssh" / "known_hosts")


async def test_an_unset_known_hosts_is_refused_even_where_the_user_knows_the_host(host: TestHost, home: Path) -> None:
    trust_at_home(host, home)
    sentence = await refusal(host, known_hosts="")
    assert "has no known_hosts in the settings" in sentence
    assert "ssh-keyscan" in sentence


async def test_an_empty_known_hosts_file_does_not_fall_back_to_that_of_the_user(host: TestHost, home: Path) -> None:
    trust_at_home(host, home)
    empty = host.folder / "empty"
    empty.touch()
    async with asyncssh.connect(
        "127.0.0.1", host.port, known_hosts=b"", username=getpass.getuser(), client_keys=[str(host.folder / "user_key")], config=None
    ) as connection:
        assert not connection.is_closed(), "the trap is real: asyncssh takes the user's file for an empty one"
    (host.folder / "sshd.log").write_text("")
    assert f"is not in {empty}" in await refusal(host, known_hosts=str(empty))


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(host: TestHost) -> None:
    sentence = await refusal(host, known_hosts=host.known_hosts(host="192.0.2.1"))
    assert "is not in" in sentence
    assert asyncssh.read_public_key(str(host.folder / "host_key.pub")).get_fingerprint() in sentence


async def test_a_changed_host_key_is_refused(host: TestHost) -> None:
    sentence = await refusal(host, known_hosts=host.known_hosts(key="other_host_key"))
    assert "does not show the key" in sentence
    assert "somebody is in between" in sentence


async def test_a_host_known_by_another_kind_of_key_counts_as_changed(host: TestHost) -> None:
    process = await asyncio.create_subprocess_exec(
        "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(host.folder / "rsa_key")
    )
    assert await process.wait() == 0
    assert "does not show the key" in await refusal(host, known_hosts=host.known_hosts(key="rsa_key"))


async def test_a_revoked_host_key_is_refused(host: TestHost) -> None:
    revoked = host.folder / "revoked"
    line = f"[127.0.0.1]:{host.port} {public_half(host.folder / 'host_key')}\n"
    revoked.write_text(f"{line}@revoked {line}")
    assert "revoked" in await refusal(host, known_hosts=str(revoked))


async def test_a_known_hosts_file_that_is_missing_or_broken_is_refused(host: TestHost) -> None:
    broken = host.folder / "broken"
    broken.write_text("nonsense\n")
    assert "cannot be read: No such file" in await refusal(host, known_hosts="/nowhere/known_hosts")
    assert "is not in OpenSSH's form" in await refusal(host, known_hosts=str(broken))


async def test_a_hostile_ssh_config_of_the_user_is_not_read(host: TestHost, home: Path) -> None:
    owned = host.folder / "owned"
    (home / ".ssh" / "config").write_text("Host *\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none\n")
    async with asyncssh.connect(
        "127.0.0.1", host.port, username=getpass.getuser(), client_keys=[str(host.folder / "user_key")]
    ) as connection:
        assert not connection.is_closed(), "the trap is real: with this file, asyncssh checks no key"
    (host.folder / "sshd.log").write_text("")
    assert "somebody is in between" in await refusal(host, known_hosts=host.known_hosts(key="other_host_key"))

    (home / ".ssh" / "config").write_text(
        f"Host *\n  ProxyCommand touch {owned}\n  User nobody\n  HostName 192.0.2.1\n  Port 1\n"
        "  RemoteCommand reboot\n  HostKeyAlias other\n"
    )
    async with world_of(host) as world:
        assert not (await world.observe(TARGET)).sensors[0].error
    assert not owned.exists()


async def test_no_agent_is_asked_and_no_other_key_is_offered(host: TestHost, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    stranger = await key_pair(host.folder / "stranger")
    (home / ".ssh" / "id_ed25519").write_bytes((host.folder / "user_key").read_bytes())
    socket = str(host.folder / "agent")
    async with await asyncio.start_unix_server(agent, socket):
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        sentence = await refusal(host, private_key_file=str(stranger))
    assert "does not accept the key" in sentence
    assert "authorized_keys" in sentence
    assert not asked.is_set()


async def test_a_private_key_that_is_missing_or_locked_or_no_key_is_refused(host: TestHost) -> None:
    locked, garbage = host.folder / "locked", host.folder / "garbage"
    process = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "a phrase", "-f", str(locked))
    assert await process.wait() == 0
    garbage.write_text("sentinel-secret")
    assert "cannot be read: No such file" in await refusal(host, private_key_file="/nowhere/key")
    assert "without a passphrase" in await refusal(host, private_key_file=str(locked))
    assert "sentinel-secret" not in await refusal(host, private_key_file=str(garbage))
    assert "has no private_key_file" in await refusal(host, private_key_file="")


async def test_something_that_is_not_ssh_is_said_to_be_so(host: TestHost) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with world_of(host, port=port, known_hosts=host.known_hosts(port=port)) as world:
            with pytest.raises((Refused, Transient)):
                await world.preflight(RESTART)
            assert not (await world.observe(TARGET)).measured


# connections kept ---------------------------------------------------------------------------------------------------


async def test_one_connection_serves_many_commands(host: TestHost) -> None:
    async with Proxy(host.port) as proxy, world_of(host, port=proxy.port, known_hosts=host.known_hosts(port=proxy.port)) as world:
        await asyncio.gather(*(world.observe(TARGET) for _ in range(3)))
        assert proxy.accepted == 1


async def test_a_kept_connection_that_died_is_replaced(host: TestHost) -> None:
    async with Proxy(host.port) as proxy, world_of(host, port=proxy.port, known_hosts=host.known_hosts(port=proxy.port)) as world:
        await world.preflight(RESTART)
        proxy.cut()
        assert (await world.preflight(RESTART)).uid
        assert proxy.accepted == 2


async def test_an_unused_connection_is_closed_after_its_time(host: TestHost) -> None:
    async with world_of(host, idle=0.05) as world:
        await world.preflight(RESTART)
        await until(lambda: "Received disconnect" in (host.folder / "sshd.log").read_text(), "the connection is closed")


async def test_no_more_connections_are_open_than_allowed(host: TestHost) -> None:
    names = [f"web-{number}" for number in range(4)]
    world = HostsWorld(dict.fromkeys(names, host.options()), clock=lambda: datetime.now(UTC), connections=2)
    open_now: list[int] = []

    async def ask(name: str) -> None:
        target = msgspec.structs.replace(TARGET, name=name)
        assert (await world.preflight(Investigate(target=target))).checks[0].result is CheckResult.PASSED
        open_now.append(world._connections._open)

    await asyncio.gather(*(ask(name) for name in names))
    assert max(open_now) <= 2
    await world.close()
    assert world._connections._open == 0


async def test_where_all_connections_are_busy_the_next_host_waits_and_then_says_so(host: TestHost) -> None:
    options = host.options(connect_timeout=0.3, command_timeout=5.0)
    quiet = host.options(connect_timeout=5.0)
    world = HostsWorld({"web-1": quiet, "web-2": options}, clock=lambda: datetime.now(UTC), connections=1)
    await world.preflight(RESTART)
    (host.state / "silent").touch()
    busy = asyncio.create_task(world.preflight(RESTART))
    await until(lambda: world._connections._places["web-1"].users, "the only connection is in use")
    with pytest.raises(Transient, match="all 1 SSH connections were busy"):
        await world.preflight(Investigate(target=msgspec.structs.replace(TARGET, name="web-2")))
    (host.state / "silent").unlink()
    await busy
    await world.close()


WAITS = """
import os, time
from pathlib import Path

state = Path("@STATE@")
(state / f"entered-{os.getpid()}").touch()
while (state / "hold").exists():
    time.sleep(0.01)
"""


async def test_no_more_commands_run_at_once_on_a_host_than_allowed(tmp_path: Path) -> None:
    """The host itself counts them: its sshd refuses a seventh session on a connection. It forgets one shortly after its end."""
    async with running_host(tmp_path, sessions=6) as host:
        host.install("waits", WAITS)
        more, bounded = (Connections({"web-1": host.options(concurrency=allowed)}, limit=1) for allowed in (7, 2))
        (host.state / "hold").touch()
        remote = Remote("web-1", host.options(), more)
        held = [asyncio.create_task(remote.read("waits")) for _ in range(6)]
        await until(lambda: len(list(host.state.glob("entered-*"))) == 6, "six commands run")
        with pytest.raises(Transient):
            await remote.read("waits")
        (host.state / "hold").unlink()
        assert all(result.succeeded for result in await asyncio.gather(*held))

        remote = Remote("web-1", host.options(), bounded)
        results = await asyncio.gather(*(remote.read("waits") for _ in range(20)), return_exceptions=True)
        await asyncio.gather(more.close(), bounded.close())

        assert [getattr(result, "exit", result) for result in results] == [0] * 20
