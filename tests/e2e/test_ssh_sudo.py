"""What is said of sudo before an action is what the real sudo then does, for an account that is not root and has no home."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from adapters.errors import Failed, Refused
from adapters.ssh.world import HostsWorld
from schemas.words import CheckResult
from tests.e2e.ssh_scene import OPERATION, RENEW, UNIT, named, world_of
from tests.e2e.sshd import SSHD
from tests.e2e.sudo import SudoHost, running_sudo_host, why_not

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server"),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]
RESTART = "@BIN@/systemctl restart demo.service"
FREE, ASKED = f"(root) NOPASSWD: {RESTART}", f"(root) PASSWD: {RESTART}"
RENEWAL = "(root) NOPASSWD: @BIN@/certbot renew *"
OTHER = "(root) NOPASSWD: @BIN@/docker ps *"


@pytest_asyncio.fixture
async def host() -> AsyncIterator[SudoHost]:
    async with running_sudo_host() as running:
        yield running


@pytest_asyncio.fixture
async def world(host: SudoHost) -> AsyncIterator[HostsWorld]:
    made = world_of(host, sudo=True)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("rules", "defaults", "result"),
    [
        ([FREE], "", CheckResult.PASSED),
        (["(root) NOPASSWD: ALL"], "", CheckResult.PASSED),
        (["(ALL:ALL) NOPASSWD: @BIN@/"], "", CheckResult.PASSED),
        ([ASKED, "(root) NOPASSWD: @BIN@/systemctl restart *"], "", CheckResult.PASSED),
        ([f"(root) {RESTART}"], "!authenticate", CheckResult.PASSED),
        ([], "", CheckResult.FAILED),
        ([OTHER], "", CheckResult.FAILED),
        ([ASKED], "", CheckResult.FAILED),
        ([ASKED, OTHER], "", CheckResult.FAILED),
        ([FREE, ASKED], "", CheckResult.FAILED),
        ([FREE, f"(root) !{RESTART}"], "", CheckResult.FAILED),
        ([f"(nobody) NOPASSWD: {RESTART}"], "", CheckResult.FAILED),
        ([ASKED, OTHER], "!authenticate", CheckResult.FAILED),
        (["(root) @BIN@/docker ps *"], "!authenticate", CheckResult.FAILED),
    ],
)
async def test_what_is_said_of_sudo_is_what_it_does(
    host: SudoHost, world: HostsWorld, rules: list[str], defaults: str, result: CheckResult
) -> None:
    host.allow(rules, defaults)
    preflight = await world.preflight(UNIT)
    check = named(preflight, "permission")
    assert check.result is result, check.detail
    if result is CheckResult.PASSED:
        applied = await world.apply(UNIT, operation=OPERATION, token=1, uid=preflight.uid)
        assert "it is active running" in applied.output
        assert host.restarts() == 1
        assert await host.answers()
        return
    assert check.missing == "sudo systemctl restart demo.service"
    with pytest.raises(Refused, match="was not restarted"):
        await world.apply(UNIT, operation=OPERATION, token=1, uid=preflight.uid)
    assert host.restarts() == 0
    assert await world.find(UNIT, operation=OPERATION, uid=preflight.uid) is False


@pytest.mark.parametrize(
    ("rules", "defaults", "words"),
    [
        ([], "", "a password is required"),
        ([OTHER], "", "a password is required"),
        ([OTHER], "!authenticate", "is not allowed to execute"),
        ([], "!authenticate", "is not in the sudoers file"),
        ([RENEWAL], "requiretty", "you must have a tty"),
    ],
)
async def test_what_sudo_did_not_run_is_told_as_not_done(
    host: SudoHost, world: HostsWorld, rules: list[str], defaults: str, words: str
) -> None:
    (host.state / "certificates" / "a.example").write_text("due")
    host.allow(rules, defaults)
    with pytest.raises(Refused, match=f"nothing was done: .*{words}"):
        await world.apply(RENEW, operation=OPERATION, token=1, uid=(await world.preflight(RENEW)).uid)
    assert not host.lines("renewals")
    assert await world.find(RENEW, operation=OPERATION, uid="") is False


async def test_what_sudo_ran_and_failed_is_not_told_as_not_done(host: SudoHost, world: HostsWorld) -> None:
    """Whatever sudo says aside, here that it cannot resolve the name of its own host."""
    host.home.mkdir()
    for name in ("a.example", "b.example"):
        (host.state / "certificates" / name).write_text("due")
    (host.state / "failing").touch()
    host.allow([RENEWAL])
    with pytest.raises(Failed, match=r"unable to resolve host .* Failed to renew certificate b\.example"):
        await world.apply(RENEW, operation=OPERATION, token=1, uid=(await world.preflight(RENEW)).uid)
    assert (host.state / "certificates" / "a.example").read_text() == "fresh"
    assert await world.find(RENEW, operation=OPERATION, uid="") is None


async def test_marks_that_an_account_without_a_home_may_not_read_are_not_taken_for_none(host: SudoHost, world: HostsWorld) -> None:
    host.allow([FREE])
    uid = (await world.preflight(UNIT)).uid
    host.marks.chmod(0)
    os.chown(host.marks, 0, 0)
    assert await world.find(UNIT, operation=OPERATION, uid=uid) is None
    with pytest.raises(Refused, match=r"marks of operations on host web-1 cannot be read: .*Permission denied"):
        await world.apply(UNIT, operation=OPERATION, token=1, uid=uid)
