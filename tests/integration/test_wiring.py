"""The wiring: every stage can be made, reads what it should, and carries no more than it needs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from adapters.errors import Transient, UnknownCluster, WrongSettings
from adapters.prometheus.options import PrometheusOptions
from adapters.ssh.options import HostOptions
from adapters.worlds import Worlds
from ops.clusters import cluster_names, default_cluster, open_worlds, require_files_of_hosts
from ops.errors import NoCluster, SettingsWrong, StageCrashed
from ops.process import AtOnce
from ops.settings import ClusterSettings, Settings
from ops.settings.model import AlertmanagerSettings, VotesSettings
from ops.tasks import Tasks
from ops.up import Choices, Machine, chosen
from ops.wiring import (
    API,
    ARCHIVE,
    NEEDS_WORLD,
    PROCESSES,
    STAGES,
    Parts,
    groups_of_topics,
    make_stage,
    open_metrics,
    stages_named,
    topology,
)
from schemas.events import TOPICS
from schemas.secret import Secret, SecretUrl
from schemas.target import Kind, Target
from schemas.words import Mode
from sql.database import Database
from stages.propose.stage import ProposeStage
from stages.verify.stage import VerifyStage

ROOT = Path(__file__).parents[2]
KEY = Secret("a votes key that is long enough")


@pytest.fixture(autouse=True)
def no_cluster_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """These tests say themselves which clusters there are."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def one_cluster(**clusters: str) -> Settings:
    return Settings(clusters={name: ClusterSettings(server=url) for name, url in clusters.items()})


async def test_every_stage_can_be_made_from_the_defaults(database: Database) -> None:
    worlds = await open_worlds(Settings(), sandbox="http://127.0.0.1:1")
    parts = Parts(settings=Settings(), database=database, votes_key=KEY, worlds=worlds)
    read = topology()
    assert tuple(read) != ()
    assert set(read) == set(STAGES)
    for name in STAGES:
        if name != ARCHIVE:
            stage = make_stage(name, parts)
            assert stage.name == name
            assert tuple(stage.topics) == read[name]
    await worlds.close()


def test_every_topic_is_read_and_kept_by_the_archive() -> None:
    groups = groups_of_topics()
    assert set(groups) == set(TOPICS)
    assert all(ARCHIVE in names for names in groups.values())
    assert {"ingest", ARCHIVE} <= set(groups["signals"])
    assert {"execute", "learn", "notify", ARCHIVE} <= set(groups["decisions"])
    assert {topic for names in topology().values() for topic in names} == set(TOPICS)


def test_stages_are_named_in_their_order() -> None:
    assert stages_named(()) == PROCESSES == (*STAGES, API)
    assert stages_named(("gate", "ingest")) == ("ingest", "gate")
    with pytest.raises(SettingsWrong, match="did you mean verify"):
        stages_named(("verfy",))


@pytest.mark.parametrize("name", [name for name in STAGES if name != ARCHIVE])
def test_a_stage_imports_no_driver_that_it_does_not_need(name: str, database: Database, tmp_path: Path) -> None:
    """In a fresh process, for what one test has imported all see."""
    code = f"""
import asyncio, sys
from ops.settings import Settings
from ops.clusters import open_worlds
from ops.wiring import Parts, make_stage
from schemas.secret import Secret
async def main():
    worlds = await open_worlds(Settings(), sandbox="http://127.0.0.1:1") if {name in NEEDS_WORLD} else None
    make_stage({name!r}, Parts(settings=Settings(), database=None, votes_key=Secret("x" * 32), worlds=worlds))
    if worlds: await worlds.close()
asyncio.run(main())
print(" ".join(sorted({{module.split(".")[0] for module in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"litestar", "uvicorn", "asyncssh", "typer"} & loaded
    assert ("kubernetes_asyncio" in loaded) is (name in NEEDS_WORLD)


async def test_with_nothing_to_heal_it_says_what_to_do() -> None:
    with pytest.raises(NoCluster, match="set KUBECONFIG"):
        await open_worlds(Settings())


async def test_the_cluster_of_kubeconfig_is_called_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(_KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(config))
    assert cluster_names(Settings()) == ("default",)
    assert default_cluster(Settings()) == "default"
    worlds = await open_worlds(Settings())
    assert _settled(worlds, "") == "default"
    await worlds.close()


async def _parts(stack: AsyncExitStack, settings: Settings, database: Database, *stages: str) -> Parts:
    settings = msgspec.structs.replace(settings, votes=VotesSettings(key=KEY))
    return await Machine(settings, Choices(stages=stages), stack, stop=asyncio.Event(), at_once=AtOnce()).parts(database, "")


async def test_alerts_are_taken_before_there_is_a_way_to_the_cluster(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the composition, where the kubeconfig is empty until somebody fills it."""
    config = tmp_path / "kubeconfig"
    config.touch()
    settings = Settings(clusters={"default": ClusterSettings(kubeconfig=str(config))})
    pod = Target(cluster="default", kind=Kind.POD, namespace="shop", name="web-1")
    async with AsyncExitStack() as stack:
        parts = await _parts(stack, settings, database, "ingest")
        assert make_stage("ingest", parts).name == "ingest"
        assert "alerts are taken, and a pod's name has to tell its workload" in caplog.text
        assert "kubeconfig" in caplog.text
        assert parts.owners is not None
        with pytest.raises(WrongSettings, match="is not a usable kubeconfig"):
            await parts.owners.owner(pod)
        config.write_text(_KUBECONFIG)
        with pytest.raises(Transient):  # nobody is there, and it was asked
            await parts.owners.owner(pod)
        with pytest.raises(UnknownCluster):
            await parts.owners.owner(msgspec.structs.replace(pod, cluster="other"))


async def test_without_any_cluster_alerts_are_taken_and_nothing_else_starts(database: Database) -> None:
    async with AsyncExitStack() as stack:
        owners = (await _parts(stack, Settings(), database, "ingest", "gate")).owners
        assert owners is not None
        with pytest.raises(WrongSettings, match="there is nothing to heal"):
            await owners.owner(Target(cluster="", kind=Kind.POD, namespace="shop", name="web-1"))
        for stages in (("propose",), ("ingest", "execute")):
            with pytest.raises(NoCluster):
                await _parts(stack, Settings(), database, *stages)


def _settled(worlds: Worlds, cluster: str) -> str:
    return worlds.settled(Target(cluster=cluster, kind=Kind.DEPLOYMENT, name="web", namespace="shop")).cluster


async def test_the_only_cluster_is_the_default_and_of_several_none_is_guessed() -> None:
    one = await open_worlds(one_cluster(prod="http://127.0.0.1:1"))
    assert _settled(one, "") == "prod"
    two = await open_worlds(one_cluster(prod="http://127.0.0.1:1", edge="http://127.0.0.1:2"))
    with pytest.raises(UnknownCluster):
        _settled(two, "")
    with pytest.raises(UnknownCluster):
        _settled(two, "pord")
    with pytest.raises(SettingsWrong, match="default_cluster is 'x', and"):
        await open_worlds(msgspec.structs.replace(one_cluster(prod="http://127.0.0.1:1"), default_cluster="x"))
    await one.close()
    await two.close()


async def test_a_sandbox_stands_in_for_the_default_cluster_and_no_real_one_is_touched() -> None:
    settings = msgspec.structs.replace(one_cluster(prod="http://127.0.0.1:1"), default_cluster="prod")
    worlds = await open_worlds(settings, sandbox="http://127.0.0.1:2")
    named = Target(cluster="prod", kind=Kind.POD, name="x", namespace="y")
    assert cluster_names(settings, sandbox=True) == ("prod",)
    assert worlds.settled(msgspec.structs.replace(named, cluster="")) == worlds.settled(named), "one cluster, and one name for it"
    with pytest.raises(UnknownCluster):
        worlds.world_of(msgspec.structs.replace(named, cluster="other"))
    assert cluster_names(one_cluster(prod="http://127.0.0.1:1"), sandbox=True) == ("prod",), "as ingest names it for an alert"
    await worlds.close()


def test_the_command_line_chooses_mode_and_port() -> None:
    assert Settings().gate.mode is Mode.ASSIST
    settings = chosen(Settings(), Choices(mode="auto", port=0))
    assert settings.gate.mode is Mode.AUTO
    assert settings.http.port == 0
    with pytest.raises(SettingsWrong, match="expected one of shadow, assist, auto"):
        chosen(Settings(), Choices(mode="never"))


async def test_a_task_that_ends_by_itself_ends_the_others_and_the_process() -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("a bug")

    async def works() -> None:
        await stop.wait()
        ended.set()

    tasks = Tasks(stop)
    tasks.start("learn", fails())
    tasks.start("gate", works())
    with pytest.raises(StageCrashed, match="learn ended unexpectedly"):
        await tasks.until_stopped()
    assert ended.is_set()


async def test_a_task_that_ends_after_the_stop_is_as_it_should_be() -> None:
    stop = asyncio.Event()

    async def works() -> None:
        await stop.wait()

    tasks = Tasks(stop)
    tasks.start("gate", works())
    asyncio.get_running_loop().call_soon(stop.set)
    await tasks.until_stopped()


_KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {token: none}}]
"""


def test_without_prometheus_and_alertmanager_nobody_is_asked() -> None:
    assert open_metrics(Settings()) is None


async def test_a_prometheus_answers_for_the_cluster_or_host_group_of_its_name() -> None:
    server = PrometheusOptions(url=SecretUrl("http://127.0.0.1:1"))
    settings = msgspec.structs.replace(
        one_cluster(prod="http://127.0.0.1:1"),
        prometheus={"prod": server},
        alertmanager={"main": AlertmanagerSettings(url=SecretUrl("http://127.0.0.1:1"))},
    )
    metrics = open_metrics(settings)
    assert metrics is not None
    assert await metrics.firing({"alertname": "Down"}, cluster="prod") is None, "nobody is there"
    await metrics.close()
    with pytest.raises(SettingsWrong, match=r"prometheus\.prd: there is no such cluster or host group \(prod\)"):
        open_metrics(msgspec.structs.replace(settings, prometheus={"prd": server}))
    everything = PrometheusOptions(url=SecretUrl("http://127.0.0.1:1"), cluster_label="cluster")
    shared = open_metrics(msgspec.structs.replace(settings, prometheus={"thanos": everything}))
    assert shared is not None
    await shared.close()


MACHINE = Settings(
    votes=VotesSettings(key=KEY),
    clusters={"prod": ClusterSettings(server="http://127.0.0.1:1")},
    prometheus={"prod": PrometheusOptions(url=SecretUrl("http://127.0.0.1:1"))},
    alertmanager={"main": AlertmanagerSettings(url=SecretUrl("http://127.0.0.1:1"))},
)


@pytest.mark.parametrize(("stage", "asks"), [("propose", True), ("verify", True), ("execute", False), ("gate", False)])
async def test_what_is_asked_from_outside_is_open_where_a_stage_asks_it(database: Database, stage: str, asks: bool) -> None:
    async with AsyncExitStack() as stack:
        parts = await Machine(MACHINE, Choices(stages=(stage,)), stack, stop=asyncio.Event(), at_once=AtOnce()).parts(database, "")
        assert (parts.metrics is not None) is asks


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads a question, and answers nothing until whoever asked goes."""
    await reader.read()
    writer.close()


async def test_propose_spares_itself_who_hangs_and_verify_asks_every_time(database: Database) -> None:
    async with await asyncio.start_server(_hang, "127.0.0.1", 0) as hanging:
        url = SecretUrl(f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}")
        settings = msgspec.structs.replace(MACHINE, prometheus={"prod": PrometheusOptions(url=url, timeout=0.1)}, alertmanager={})
        metrics = open_metrics(settings, baseline=False)
        parts = Parts(settings=settings, database=database, votes_key=KEY, worlds=Worlds(clusters={}, groups={}), metrics=metrics)
        propose, verify = make_stage("propose", parts), make_stage("verify", parts)
        assert isinstance(propose, ProposeStage)
        assert isinstance(verify, VerifyStage)
        said = {}
        for stage in (propose, verify):
            assert stage._metrics is not None
            for _ in range(4):
                state = await stage._metrics.alert({"alertname": "A"}, cluster="prod")
            said[stage.name] = state.sensors[0].error
        assert metrics is not None
        await metrics.close()
    assert said["propose"].startswith("not asked: Prometheus did not answer 3 times in a row, asked again at ")
    assert said["verify"] == "Prometheus did not answer within 0.1 s"


def test_propose_asks_from_outside_and_stays_small() -> None:
    """In a fresh process: it opens its connections, asks in vain, and carries neither what forecasts nor more than 120 MB."""
    code = """
import asyncio, sys
from datetime import datetime, UTC
from ops.settings import Settings
from ops.clusters import open_worlds
from ops.wiring import Parts, make_stage, open_metrics
from schemas.secret import Secret
from schemas.target import Kind, Target
from adapters.prometheus.options import PrometheusOptions
from ops.settings import ClusterSettings
from ops.settings.model import AlertmanagerSettings
from schemas.secret import SecretUrl
async def main():
    nobody = SecretUrl("http://127.0.0.1:1")
    settings = Settings(
        clusters={"prod": ClusterSettings(server="http://127.0.0.1:1")},
        prometheus={"prod": PrometheusOptions(url=nobody)},
        alertmanager={"main": AlertmanagerSettings(url=nobody)},
    )
    worlds, metrics = await open_worlds(settings), open_metrics(settings, baseline=False)
    make_stage("propose", Parts(settings=settings, database=None, votes_key=Secret("x" * 32), worlds=worlds, metrics=metrics))
    target = Target(cluster="prod", kind=Kind.DEPLOYMENT, namespace="shop", name="api")
    asked = await asyncio.gather(metrics.measure(target, ["A"], {}, datetime.now(UTC)), metrics.alert({"alertname": "A"}, cluster="prod"))
    assert all(sensor.error for answer in asked for sensor in answer.sensors)
    await metrics.close()
    await worlds.close()
asyncio.run(main())
import bus.loop, bus.connect, ops.up, sql.database
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(" ".join(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    peak, loaded = done.stdout.splitlines()
    assert int(peak) < 120 * 1024
    assert not {"numpy", "statsmodels", "pandas", "scipy", "stages.verify.baseline"} & set(loaded.split())


class Bell:
    """A channel that knows whether it was closed."""

    name = "bell"

    def __init__(self) -> None:
        self.closed = False

    async def send(self, lines: Sequence[str], *, delivery: str) -> None: ...

    async def close(self) -> None:
        self.closed = True


async def test_what_reaches_people_is_closed_when_the_process_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    bell, stop = Bell(), asyncio.Event()
    monkeypatch.setattr("ops.up.open_channels", lambda _: (bell,))
    async with AsyncExitStack() as stack:
        machine = Machine(Settings(votes=VotesSettings(key=KEY)), Choices(stages=("notify",)), stack, stop=stop, at_once=AtOnce())
        parts = await machine.parts(database, "")
        assert parts.channels == (bell,)
        assert not bell.closed
    assert bell.closed


def test_a_host_whose_files_cannot_be_read_is_refused_before_anybody_asks_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key")
    host = HostOptions(
        address="192.0.2.1", user="mend", private_key_file=str(tmp_path / "key"), known_hosts=str(tmp_path / "key"), port=2222
    )
    require_files_of_hosts(Settings(hosts={"web": host}))
    for field, value, said in (
        ("private_key_file", "/absent/key", "(MEND_HOSTS_WEB_PRIVATE_KEY_FILE): the file /absent/key cannot be read: No such file"),
        ("known_hosts", str(tmp_path), f"(MEND_HOSTS_WEB_KNOWN_HOSTS): the file {tmp_path} cannot be read: Is a directory"),
        ("known_hosts", "~nobody-of-that-name/x", "(MEND_HOSTS_WEB_KNOWN_HOSTS): the file ~nobody-of-that-name/x cannot be read: "),
        (
            "known_hosts",
            "",
            "(MEND_HOSTS_WEB_KNOWN_HOSTS): no file is named that holds the host's key: write that of `ssh-keyscan -p 2222 ",
        ),
    ):
        with pytest.raises(SettingsWrong) as caught:
            require_files_of_hosts(Settings(hosts={"web": msgspec.structs.replace(host, **{field: value})}))
        (problem,) = caught.value.problems
        assert problem.startswith(f"hosts.web.{field} {said}")
