"""Of several attempts at one operation on a host, one acts: forced to meet at the one moment at which they could both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.errors import OutcomeUnknown, Refused, TargetMissing, Transient
from adapters.ports import Applied
from adapters.ssh.connections import Connections
from adapters.ssh.marks import KEPT_DAYS, End, Mark, Marks
from adapters.ssh.remote import Remote
from adapters.ssh.world import HostsWorld
from schemas.action import Action, PruneImages, RestartUnit
from schemas.target import Kind, Target
from tests.e2e.sshd import SSHD, TestHost, running_host, until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SSHD is None, reason="sshd is not installed: apt-get install openssh-server")]

TARGET = Target(cluster="hosts", kind=Kind.HOST, name="web-1")
RESTART = RestartUnit(target=TARGET, unit="demo.service")
PRUNE = PruneImages(target=TARGET)
OPERATION = "018f0000-0000-7000-8000-000000000001"


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[TestHost]:
    async with running_host(tmp_path) as running:
        (running.state / "images").write_text("one\ntwo")
        yield running


@pytest_asyncio.fixture
async def worlds(host: TestHost) -> AsyncIterator[list[HostsWorld]]:
    """Three executors, each with a connection of its own."""
    made = [world_of(host) for _ in range(3)]
    yield made
    for world in made:
        await world.close()


def world_of(host: TestHost, **changed: Any) -> HostsWorld:
    return HostsWorld({"web-1": host.options(**changed)}, clock=lambda: datetime.now(UTC))


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """All three have read the marks and found none of the others before one of them makes its own."""
    barrier, leave = asyncio.Barrier(3), Marks.leave

    async def leave_together(self: Marks, token: int, before: Sequence[Mark]) -> int:
        await barrier.wait()
        return await leave(self, token, before)

    monkeypatch.setattr(Marks, "leave", leave_together)


async def race(worlds: list[HostsWorld], action: Action, uid: str) -> list[Applied | BaseException]:
    attempts = [world.apply(action, operation=OPERATION, token=token, uid=uid) for token, world in enumerate(worlds, start=1)]
    return await asyncio.gather(*attempts, return_exceptions=True)


@pytest.mark.usefixtures("meeting")
@pytest.mark.parametrize("action", [RESTART, PRUNE], ids=lambda action: action.verb)
async def test_attempts_with_different_tokens_in_the_same_moment_act_once(host: TestHost, worlds: list[HostsWorld], action: Action) -> None:
    results = await race(worlds, action, (await worlds[0].preflight(action)).uid)
    assert sum(isinstance(result, Applied) for result in results) == 1
    assert sum(isinstance(result, OutcomeUnknown) and "in this moment" in str(result) for result in results) == 2
    assert host.restarts() == (1 if action is RESTART else 0)
    assert len(list(host.marks.iterdir())) == 2


@pytest.mark.usefixtures("meeting")
async def test_attempts_that_take_over_in_the_same_moment_act_once(host: TestHost) -> None:
    worlds = [world_of(host, restart_timeout=5.0) for _ in range(3)]
    uid = (await worlds[0].preflight(RESTART)).uid
    host.mark(OPERATION, 1, "0")
    host.age(f"{OPERATION}.1", 60)
    assert await worlds[0].find(RESTART, operation=OPERATION, uid=uid) is False
    results = await race(worlds, RESTART, uid)
    assert sum(isinstance(result, Applied) for result in results) == 1
    assert host.restarts() == 1
    for world in worlds:
        await world.close()


@pytest.mark.parametrize("action", [RESTART, PRUNE], ids=lambda action: action.verb)
async def test_a_newer_attempt_does_not_act_while_an_older_one_is_at_it(host: TestHost, worlds: list[HostsWorld], action: Action) -> None:
    uid = (await worlds[0].preflight(action)).uid
    (host.state / "hold").touch()
    first = asyncio.create_task(worlds[0].apply(action, operation=OPERATION, token=1, uid=uid))
    await until((host.state / "entered").exists, "the first attempt is under way")
    with pytest.raises(OutcomeUnknown, match="has not told how it ended"):
        await worlds[1].apply(action, operation=OPERATION, token=2, uid=uid)
    assert await worlds[1].find(action, operation=OPERATION, uid=uid) is None
    (host.state / "hold").unlink()
    assert not (await first).repeated
    assert await worlds[1].find(action, operation=OPERATION, uid=uid) is True
    assert (await worlds[1].apply(action, operation=OPERATION, token=2, uid=uid)).repeated


@pytest.mark.parametrize(("end", "found"), [("", None), ("done", True), ("not-done", False)])
async def test_a_run_that_systemd_has_forgotten_is_not_taken_for_none(
    host: TestHost, worlds: list[HostsWorld], end: str, found: bool | None
) -> None:
    host.write_unit("backup.service", type="oneshot", invocation="")
    host.mark(OPERATION, 1, "1", end=end)
    host.age(f"{OPERATION}.1", 3600)
    backup = RestartUnit(target=RESTART.target, unit="backup.service")
    uid = (await worlds[0].preflight(backup)).uid
    assert await worlds[0].find(backup, operation=OPERATION, uid=uid) is found


async def test_what_was_surely_not_done_may_be_tried_again_at_once(host: TestHost, worlds: list[HostsWorld]) -> None:
    uid = (await worlds[0].preflight(RESTART)).uid
    (host.state / "denied").touch()
    with pytest.raises(Refused, match="was not restarted"):
        await worlds[0].apply(RESTART, operation=OPERATION, token=1, uid=uid)
    assert await worlds[0].find(RESTART, operation=OPERATION, uid=uid) is False
    (host.state / "denied").unlink()
    assert not (await worlds[1].apply(RESTART, operation=OPERATION, token=2, uid=uid)).repeated
    assert host.restarts() == 1


async def test_a_restart_by_somebody_else_after_a_refused_attempt_is_not_taken_for_ours(host: TestHost, worlds: list[HostsWorld]) -> None:
    uid = (await worlds[0].preflight(RESTART)).uid
    host.mark(OPERATION, 1, "1", end="not-done")
    await worlds[0].apply(RESTART, operation="somebody-else", token=1, uid=uid)
    assert await worlds[0].find(RESTART, operation=OPERATION, uid=uid) is False
    with pytest.raises(Refused, match="restarted since this was approved"):
        await worlds[0].apply(RESTART, operation=OPERATION, token=2, uid=uid)


async def test_a_start_between_the_mark_and_the_restart_is_noticed(
    host: TestHost, worlds: list[HostsWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, leave = (await worlds[0].preflight(RESTART)).uid, Marks.leave

    async def leave_late(self: Marks, token: int, before: Sequence[Mark]) -> int:
        number = await leave(self, token, before)
        host.write_unit(invocation="b" * 32)
        return number

    monkeypatch.setattr(Marks, "leave", leave_late)
    with pytest.raises(Refused, match="restarted in this moment by somebody else"):
        await worlds[0].apply(RESTART, operation=OPERATION, token=1, uid=uid)
    assert host.restarts() == 0


# marks --------------------------------------------------------------------------------------------------------------


async def test_old_marks_are_removed_and_nothing_else(host: TestHost, worlds: list[HostsWorld]) -> None:
    old = host.mark("0190", 1, "5", end="done")
    fresh = host.mark("0191", 1, "6")
    for name in (old.name, f"{old.name}.ended"):
        host.age(name, (KEPT_DAYS + 2) * 86_400)
    host.age(fresh.name, (KEPT_DAYS - 1) * 86_400)
    (host.marks / "notes.txt").write_text("mine")
    (host.marks / "elsewhere.link").symlink_to("/etc")
    (host.marks / "2024.1").write_text("a report of mine")
    for name in ("elsewhere.link", "2024.1", "notes.txt"):
        host.age(name, (KEPT_DAYS + 2) * 86_400)
    await worlds[0].apply(RESTART, operation=OPERATION, token=1, uid=(await worlds[0].preflight(RESTART)).uid)
    assert {file.name for file in host.marks.iterdir()} == {
        "0191.1",
        "notes.txt",
        "elsewhere.link",
        "2024.1",
        f"{OPERATION}.1",
        f"{OPERATION}.1.ended",
    }


async def test_marks_that_nobody_understands_stop_everything(host: TestHost, worlds: list[HostsWorld]) -> None:
    uid = (await worlds[0].preflight(RESTART)).uid
    host.mark(OPERATION, 1, "not-a-token")
    with pytest.raises(Refused, match="cannot be understood"):
        await worlds[0].apply(RESTART, operation=OPERATION, token=2, uid=uid)
    assert await worlds[0].find(RESTART, operation=OPERATION, uid=uid) is None
    assert host.restarts() == 0


async def test_an_end_that_cannot_be_noted_is_said_and_changes_nothing(host: TestHost) -> None:
    options = host.options()
    connections = Connections({"web-1": options}, limit=1)
    marks = Marks(Remote("web-1", options, connections), OPERATION)
    await marks.leave(1, ())
    assert await marks.end(1, End.DONE) == ""
    assert "File exists" in await marks.end(1, End.NOT_DONE)
    assert [mark.end for mark in await marks.read()] == [End.DONE]
    await connections.close()


# which host ---------------------------------------------------------------------------------------------------------


async def test_an_address_is_the_one_host_that_has_it(host: TestHost) -> None:
    world = HostsWorld(
        {"web-1": host.options(), "web-2": host.options(address="2001:db8::1"), "web-3": host.options(address="DB.example")},
        clock=lambda: datetime.now(UTC),
    )
    for address, name in {"127.0.0.1": "web-1", "2001:DB8:0::1": "web-2", "db.example": "web-3", "web-2": "web-2"}.items():
        assert (await world.owner(Target(cluster="hosts", kind=Kind.HOST, name=address))).name == name
    by_address = Target(cluster="hosts", kind=Kind.HOST, name="127.0.0.1")
    assert (await world.preflight(RestartUnit(target=by_address, unit="demo"))).uid
    with pytest.raises(TargetMissing, match="no host"):
        await world.owner(Target(cluster="hosts", kind=Kind.HOST, name="127.0.0.2"))
    await world.close()


async def test_an_address_of_two_hosts_is_neither(host: TestHost) -> None:
    world = HostsWorld({"web-1": host.options(), "web-2": host.options(port=1)}, clock=lambda: datetime.now(UTC))
    with pytest.raises(TargetMissing, match=r"web-1, web-2 all have the address '127\.0\.0\.1'") as caught:
        await world.owner(Target(cluster="hosts", kind=Kind.HOST, name="127.0.0.1"))
    assert caught.value.nearest == ("web-1", "web-2")
    await world.close()


async def test_a_unit_without_its_suffix_is_the_same_unit(host: TestHost, worlds: list[HostsWorld]) -> None:
    short = RestartUnit(target=TARGET, unit="demo")
    uid = (await worlds[0].preflight(short)).uid
    assert uid == (await worlds[0].preflight(RESTART)).uid
    assert "restarted systemd unit demo.service" in (await worlds[0].apply(short, operation=OPERATION, token=1, uid=uid)).output


async def test_a_command_that_was_never_sent_leaves_the_operation_free(
    host: TestHost, worlds: list[HostsWorld], monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, write = (await worlds[0].preflight(PRUNE)).uid, Remote.write

    async def unsent(self: Remote, arguments: Sequence[str]) -> Any:
        if arguments[0] == "docker":
            raise Transient("the host ended the session before the command was sent")
        return await write(self, arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "write", unsent)
        with pytest.raises(Transient, match="before the command was sent"):
            await worlds[0].apply(PRUNE, operation=OPERATION, token=1, uid=uid)
    assert await worlds[0].find(PRUNE, operation=OPERATION, uid=uid) is False
    assert not (await worlds[0].apply(PRUNE, operation=OPERATION, token=2, uid=uid)).repeated
    assert not host.lines("images")
