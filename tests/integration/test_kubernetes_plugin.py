"""A kubeconfig that names a program for its credentials: one that hangs or fails holds nobody up, and may work later."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.errors import Transient, WrongSettings
from adapters.kubernetes import connect, plugin
from ops.clusters import open_worlds
from ops.demo.payloads import webhook
from ops.examination.finding import Level
from ops.examination.world import of_clusters
from ops.settings import ClusterSettings, Settings
from schemas.action import RestartWorkload
from schemas.target import Kind, Target
from schemas.text import clean
from stages.execute.classify import is_transient
from tests.integration.mend_process import end, installation, until

POD = Target(cluster="prod", kind=Kind.POD, namespace="shop", name="web-1")
RESTART = RestartWorkload(target=Target(cluster="prod", kind=Kind.DEPLOYMENT, namespace="shop", name="web"))
VERSION = "client.authentication.k8s.io/v1"
CREDENTIAL = json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": {"token": "t"}})
HANGS = 'echo $$ > "$HERE/pid"; sleep 300 & echo $! > "$HERE/child"; wait'
FAILS = "echo 'could not connect to sts: i/o timeout' >&2; exit 1"
GIVES = f"echo '{CREDENTIAL}'"
ASKS = f"read answer || echo '{CREDENTIAL}'"  # there is nobody to answer
Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Writes the program that `kubeconfig` names."""

    def write(script: str) -> None:
        path = tmp_path / "login"
        path.write_text(f"#!/bin/sh\nHERE={tmp_path}\n{script}\n")
        path.chmod(0o755)

    return write


def kubeconfig(folder: Path, server: str = "http://127.0.0.1:1") -> str:
    whole = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"exec": {"command": str(folder / "login"), "apiVersion": VERSION, "interactiveMode": "Never"}}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(whole))
    return str(path)


def written(path: Path) -> bool:
    return path.exists() and path.read_text() != ""


def is_gone(folder: Path, name: str) -> bool:
    """Whether the process whose id is in this file has ended, or is about to be collected."""
    try:
        state = Path(f"/proc/{(folder / name).read_text().strip()}/stat").read_text()
    except FileNotFoundError:
        return True
    return state.rpartition(")")[2].split()[0] == "Z"


async def test_a_program_that_hangs_is_ended_and_named(tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "SECONDS", 0.5)
    program(HANGS)
    with pytest.raises(Transient) as raised:
        await connect(kubeconfig=kubeconfig(tmp_path))
    assert f"{tmp_path}/kubeconfig: its program {tmp_path}/login gave no credentials within" in str(raised.value)
    assert "***" not in clean(str(raised.value))
    assert is_gone(tmp_path, "pid")
    until(lambda: is_gone(tmp_path, "child"))


async def test_a_program_is_ended_when_nobody_waits_any_more(tmp_path: Path, program: Program) -> None:
    program(HANGS)
    connecting = asyncio.create_task(connect(kubeconfig=kubeconfig(tmp_path)))
    await asyncio.to_thread(until, lambda: written(tmp_path / "child"))
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert is_gone(tmp_path, "pid")


async def test_a_program_has_nobody_to_talk_to(tmp_path: Path, program: Program) -> None:
    program(ASKS)
    world = await connect(kubeconfig=kubeconfig(tmp_path))
    await world.close()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (FAILS, "ended with 1 and said: could not connect to sts: i/o timeout"),
        ("echo nothing", "is no ExecCredential"),
        (f"echo '{CREDENTIAL.replace('token', 'certificate')}'", "neither a token nor a certificate"),
        (f"echo '{CREDENTIAL.replace('/v1', '/v1beta1')}'", "another version"),
    ],
)
async def test_a_program_that_fails_may_work_later(
    tmp_path: Path, program: Program, caplog: pytest.LogCaptureFixture, script: str, says: str
) -> None:
    program(script)
    with pytest.raises(Transient, match=says):
        await connect(kubeconfig=kubeconfig(tmp_path))
    assert caplog.records == [], "it is for the caller to say"


async def test_a_program_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="cannot be read"):
        await connect(kubeconfig=kubeconfig(tmp_path))


async def test_credentials_that_cannot_be_renewed_now_are_tried_again(tmp_path: Path, program: Program) -> None:
    """A token that has expired, while what gives a new one is away for a moment: nothing was tried, and it passes by itself."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    program(GIVES)
    path = kubeconfig(tmp_path, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    world = await connect(kubeconfig=path)
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: world.owner(POD),
        lambda: world.preflight(RESTART),
        lambda: world.find(RESTART, operation="o", uid="u"),
        lambda: world.apply(RESTART, operation="o", token=1, uid="u"),
    ]
    program(FAILS)
    for call in calls:
        with pytest.raises(Transient, match="i/o timeout") as raised:
            await call()
        assert is_transient(raised.value, RESTART.target)
    (tmp_path / "login").unlink()
    for call in calls:
        with pytest.raises(Transient, match="cannot be renewed") as raised:
            await call()
        assert is_transient(raised.value, RESTART.target)
    await world.close()
    server.close()


async def test_one_cluster_without_credentials_holds_up_no_other(
    tmp_path: Path, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    program(FAILS)
    clusters = {"prod": ClusterSettings(kubeconfig=kubeconfig(tmp_path)), "edge": ClusterSettings(server="http://127.0.0.1:1")}
    worlds = await open_worlds(Settings(clusters=clusters))
    assert "cluster prod is tried again" in caplog.text
    edge = Target(cluster="edge", kind=Kind.POD, namespace="shop", name="web-1")
    with pytest.raises(Transient, match="cannot be reached"):
        await worlds.owner(edge)
    with pytest.raises(Transient, match="could not connect to sts"):
        await worlds.owner(POD)
    program(GIVES)
    with pytest.raises(Transient, match="cannot be reached"):  # the credentials are there, and it was asked
        await worlds.owner(POD)
    await worlds.close()


async def test_who_gives_up_waiting_does_not_end_the_opening(tmp_path: Path, program: Program) -> None:
    program(FAILS)
    worlds = await open_worlds(Settings(clusters={"prod": ClusterSettings(kubeconfig=kubeconfig(tmp_path))}))
    program(f'echo x >> "$HERE/runs"; while [ ! -e "$HERE/go" ]; do sleep 0.02; done; {GIVES}')
    asking = [asyncio.create_task(worlds.owner(POD)) for _ in range(3)]
    await asyncio.to_thread(until, (tmp_path / "runs").exists)
    for one in asking:
        one.cancel()
    await asyncio.wait(asking)
    (tmp_path / "go").touch()
    with pytest.raises(Transient, match="cannot be reached"):
        await worlds.owner(POD)
    assert (tmp_path / "runs").read_text() == "x\n"
    await worlds.close()


async def test_worlds_that_are_closed_while_one_opens_leave_no_program(tmp_path: Path, program: Program) -> None:
    program(FAILS)
    worlds = await open_worlds(Settings(clusters={"prod": ClusterSettings(kubeconfig=kubeconfig(tmp_path))}))
    program(HANGS)
    asking = asyncio.create_task(worlds.owner(POD))
    await asyncio.to_thread(until, lambda: written(tmp_path / "pid"))
    asking.cancel()
    await asyncio.wait([asking])
    await worlds.close()
    assert is_gone(tmp_path, "pid")


async def test_the_doctor_says_it_and_goes_on(tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "SECONDS", 0.5)
    program(HANGS)
    clusters = {"prod": ClusterSettings(kubeconfig=kubeconfig(tmp_path)), "edge": ClusterSettings(server="http://127.0.0.1:1")}
    found = {finding.about: finding async for finding in of_clusters(Settings(clusters=clusters), "")}
    assert list(found) == ["cluster prod", "cluster edge"]
    assert found["cluster prod"].level is Level.WRONG
    assert f"{tmp_path}/login gave no credentials within" in found["cluster prod"].said


@pytest.mark.slow
def test_mend_up_ends_at_once_while_it_waits_for_a_program(tmp_path: Path, program: Program) -> None:
    program(HANGS)
    with installation() as mend:
        process = mend.start("up", KUBECONFIG=kubeconfig(tmp_path))
        until(lambda: written(tmp_path / "child"), mend.log)
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(8) == 0, "sooner than the program's own limit"
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            raise
        assert "stopped while waiting for the clusters" in mend.log.read_text()
        assert "Traceback" not in mend.log.read_text()
        until(lambda: is_gone(tmp_path, "pid"))
        until(lambda: not mend.left_over())


@pytest.mark.slow
def test_mend_up_takes_alerts_while_a_cluster_gives_no_credentials(tmp_path: Path, program: Program) -> None:
    program(FAILS)
    with installation() as mend:
        process = mend.up(KUBECONFIG=kubeconfig(tmp_path))
        labels = {"alertname": "Down", "namespace": "shop", "deployment": "api", "severity": "critical"}
        mend.said("send-alert", "-", stdin=json.dumps(webhook(labels, "it is down", starts_at=datetime.now(UTC))))
        until(lambda: mend.json("incidents", "ls"), mend.log)
        assert "could not connect to sts" in mend.log.read_text()
        assert end(process) == 0
