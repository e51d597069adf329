"""`mend up` as a process: it starts, says what is wrong, ends in good order, and is found again after a crash."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.embedded import EmbeddedPostgres, EmbeddedRedis
from ops.runtime import is_running, running
from ops.wiring import API, ARCHIVE, NEEDS_WORLD, PROCESSES, STAGES
from tests.bench.alerts import in_groups, notification, of_deployment
from tests.bench.ground import peak_memory
from tests.integration.mend_process import ANA, ROOT, TOKEN, Mend, end, installation, until
from tests.ports import free_port

pytestmark = pytest.mark.slow
HOST = {"MEND_HOSTS_WEB_ADDRESS": "192.0.2.1", "MEND_HOSTS_WEB_USER": "mend", "MEND_HOSTS_WEB_PRIVATE_KEY_FILE": __file__}


@pytest.fixture
def mend() -> Iterator[Mend]:
    with installation() as mend:
        yield mend


def test_it_starts_and_ends_with_sigterm_and_leaves_nothing_running(mend: Mend) -> None:
    process = mend.up("--sandbox")
    assert len(mend.left_over()) >= 2, "an embedded Redis and Postgres run"
    until(lambda: "Deployment default/hello is well" in mend.log.read_text(), mend.log)
    assert json.load(urllib.request.urlopen(f"{mend.run.sandbox}/apis/apps/v1/namespaces/default/deployments/hello"))
    assert oct((mend.data / "run.json").stat().st_mode & 0o777) == "0o600"
    assert oct((mend.data / "votes.key").stat().st_mode & 0o777) == "0o600"
    assert mend.data.stat().st_mode & 0o066 == 0
    assert end(process) == 0
    until(lambda: not mend.left_over())
    assert not (mend.data / "run.json").exists()
    assert "no `mend up` runs" in mend.wrong("incidents", "ls")


def test_ctrl_c_is_a_graceful_end_and_a_second_one_ends_at_once(mend: Mend) -> None:
    process = mend.up("--sandbox")
    assert end(process, signal.SIGINT) == 0
    process = mend.up("--sandbox")
    with socket.create_connection(_address(mend.run.api)) as connection:
        # a request whose body never comes, and which the API is reading, holds the graceful end up
        connection.sendall(
            f"POST /v1/alertmanager HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
            "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert b"100 Continue" in connection.recv(100)
        process.send_signal(signal.SIGTERM)
        # two signals that are pending at the same time are one to the kernel: the second is sent once the first is told
        until(lambda: mend.log.read_bytes().count(b"second signal ends at once") == 2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 128 + signal.SIGTERM
    until(lambda: not mend.left_over())


def test_a_terminal_that_is_closed_ends_it_in_good_order_unless_it_runs_under_nohup(mend: Mend) -> None:
    assert end(mend.up("--sandbox"), signal.SIGHUP) == 0
    until(lambda: not mend.left_over())
    with mend.log.open("ab") as log:
        command = ["nohup", sys.executable, "-m", "ops.cli", "up", "--sandbox"]
        process = subprocess.Popen(command, cwd=mend.folder, env=mend.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    until(lambda: running(mend.data), mend.log)
    process.send_signal(signal.SIGHUP)
    assert mend.json("incidents", "ls") == []
    assert mend.said("incidents", "ls") == "No incident has been opened.\n"
    assert process.poll() is None
    assert end(process) == 0


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def test_a_second_one_on_the_same_folder_says_so_and_exits(mend: Mend) -> None:
    process = mend.up("--sandbox")
    said = mend.wrong("up", "--sandbox")
    assert f"another `mend up` already runs on {mend.data} (process {process.pid})" in said
    assert mend.json("incidents", "ls") == []
    assert end(process) == 0


def test_after_kill_9_it_is_known_to_be_gone_and_starts_again_with_what_it_had(mend: Mend) -> None:
    process = mend.up("--sandbox")
    before = (mend.data / "votes.key").read_text()
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    assert mend.left_over(), "the embedded servers outlive a kill -9"
    assert f"`mend up` (process {process.pid})" in mend.wrong("incidents", "ls")
    assert any("ended on" in finding["said"] for finding in mend.json("doctor"))
    again = mend.up("--sandbox")
    assert mend.json("incidents", "ls") == []
    assert (mend.data / "votes.key").read_text() == before
    assert end(again) == 0
    until(lambda: not mend.left_over())


def test_a_stage_of_its_own_joins_the_one_that_runs(mend: Mend) -> None:
    whole = mend.up("--sandbox", "--stage", "ingest", "--stage", "archive")
    alone = mend.start(module="stages.gate")
    another = mend.start("up", "--stage", "gate")
    until(lambda: mend.log.read_text().count('"stage":"gate"') >= 2, mend.log)
    groups = {row["group"] for row in mend.json("streams", "ls")}
    assert {"ingest", "archive", "gate"} <= groups
    assert "propose" not in groups
    assert [end(process) for process in (alone, another, whole)] == [0, 0, 0]


def test_another_ingest_shares_the_work_of_the_one_that_listens(mend: Mend) -> None:
    whole = mend.up("--sandbox")
    _, port = _address(mend.run.api)
    another = mend.start(module="stages.ingest", MEND_HTTP_PORT=str(port))
    said = f"alerts come in at {mend.run.api}, by the `mend up` that this one has joined"
    until(lambda: said in mend.log.read_text(), mend.log)
    until(lambda: len(re.findall(r'"stage":"ingest".*"event":"stage_started"', mend.log.read_text())) == 2, mend.log)
    assert [end(process) for process in (another, whole)] == [0, 0]


def test_alerts_open_incidents_before_there_is_a_kubeconfig(mend: Mend) -> None:
    """As in the composition after its two commands: the stages that look and act say what is missing."""
    (mend.folder / "kubeconfig").touch()
    cluster = {"MEND_CLUSTERS_DEFAULT_KUBECONFIG": str(mend.folder / "kubeconfig")}
    process = mend.up("--stage", "ingest", "--stage", "archive", **cluster)
    mend("send-alert", "-", stdin=notification([of_deployment("api")]).decode())
    (incident,) = until(lambda: mend.json("incidents", "ls"), mend.log)
    assert incident["target"] == "deployment shop/api", "the pod's name tells"
    assert "not a usable kubeconfig" in mend.log.read_text()
    before = len(mend.log.read_text())
    assert mend.start(module="stages.execute", **cluster).wait(30) == 1
    assert re.search(r"^mend: .* is not a usable kubeconfig", mend.log.read_text()[before:], re.MULTILINE)
    assert end(process) == 0


def test_plain_stages_stay_under_60_mb_and_those_with_a_kubernetes_client_under_120(mend: Mend) -> None:
    """At their peak, once alerts have come: the client is really used, for the owners of pods and to look at workloads."""
    whole = mend.up("--sandbox", "--stage", "archive")
    port = str(free_port())
    started = {name: mend.start(module=f"stages.{name}", MEND_HTTP_PORT=port) for name in STAGES if name != ARCHIVE}
    started[ARCHIVE] = mend.start("stage", ARCHIVE)
    for name in started:
        until(lambda name=name: f'"stage":"{name}"' in mend.log.read_text(), mend.log)  # type: ignore[misc]
    for body in in_groups([of_deployment(f"api-{number % 20}", number) for number in range(400)], 200):
        mend("send-alert", "-", "--url", f"http://127.0.0.1:{port}", stdin=body.decode())
    until(lambda: len(mend.json("incidents", "ls")) == 20, mend.log)
    until(lambda: all(row["lag"] == row["pending"] == 0 for row in mend.json("streams", "ls")), mend.log)
    sizes = {name: peak_memory(process.pid) for name, process in started.items()}
    assert {name: size for name, size in sizes.items() if size > (120 if name in NEEDS_WORLD else 60)} == {}
    assert [end(process) for process in started.values()] == [0] * len(started)
    assert end(whole) == 0


def test_the_procfile_starts_every_stage_with_a_port_of_its_own() -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert tuple(lines) == PROCESSES
    ports = [re.search(r"MEND_METRICS_PORT=(\d+)", command) for command in lines.values()]
    assert len({port[1] for port in ports if port}) == len(PROCESSES)
    for name, command in lines.items():
        assert command.endswith(f"python -m ops.cli stage {name}" if name in (ARCHIVE, API) else f"python -m stages.{name}")


def test_a_stage_alone_says_that_there_is_nothing_to_join(mend: Mend) -> None:
    process = mend.start(module="stages.gate")
    assert process.wait(30) == 1
    assert mend.log.read_text() == f"mend: no `mend up` runs on {mend.data}: start it, or set redis.url and postgres.url\n"


def test_health_and_metrics_have_a_port(mend: Mend) -> None:
    port = free_port()
    process = mend.up("--sandbox", MEND_METRICS_PORT=str(port))
    until(lambda: _get(port, "/readyz") == '{"ok": true}\n')
    assert _get(port, "/livez") == '{"ok": true}\n'
    metrics = _get(port, "/metrics")
    assert 'mend_events_handled_total{stage="gate",topic="votes"} 0.0' in metrics
    assert "process_resident_memory_bytes" in metrics
    assert end(process) == 0


def test_the_api_tells_its_metrics_to_who_may_post_alerts(mend: Mend) -> None:
    process = mend.up("--sandbox")
    _, port = _address(mend.run.api)
    assert "WWW" in _get(port, "/metrics") or "Authorization" in _get(port, "/metrics")
    asked = urllib.request.Request(f"{mend.run.api}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        assert b'mend_events_handled_total{stage="gate",topic="votes"} 0.0' in answer.read()
    assert end(process) == 0


def _listed(mend: Mend) -> Any:
    """The incidents, or None while a store is still starting."""
    try:
        return mend.json("incidents", "ls")
    except AssertionError:
        return None


def _post(mend: Mend) -> subprocess.CompletedProcess[str]:
    return mend("send-alert", str(ROOT / "tests" / "data" / "alertmanager-0.27-group.json"))


@pytest.mark.parametrize("name", ["redis-server", "bin/postgres -D"])
def test_an_embedded_server_that_is_killed_is_started_again(mend: Mend, name: str) -> None:
    process = mend.up("--sandbox")
    _post(mend)
    before = until(lambda: mend.json("incidents", "ls"), mend.log)
    for place in Path("/proc").glob("[0-9]*"):
        command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode() if (place / "cmdline").exists() else ""
        if name in command and str(mend.folder) in command:
            os.kill(int(place.name), signal.SIGKILL)
    until(lambda: "ended by itself (code -9): it is started again" in mend.log.read_text(), mend.log)
    _, port = _address(mend.run.api)
    until(lambda: _get(port, "/readyz") == '{"ok":true}', mend.log)
    until(lambda: _listed(mend) == before, mend.log)
    _post(mend)
    until(lambda: all(row["lag"] == row["pending"] == 0 for row in mend.json("streams", "ls")), mend.log)
    assert end(process) == 0
    until(lambda: not mend.left_over())


async def test_a_postgres_that_is_away_is_told_though_alerts_are_taken(mend: Mend) -> None:
    port = free_port()
    with installation("") as place:
        server = await EmbeddedPostgres(place.folder / "postgres").start()
        process = mend.up("--sandbox", MEND_POSTGRES_URL=server.url, MEND_METRICS_PORT=str(port))
        _, api = _address(mend.run.api)
        until(lambda: _get(port, "/readyz") == '{"ok": true}\n', mend.log)
        await server.stop()
        until(lambda: "Postgres cannot be reached" in _get(port, "/readyz"), mend.log)
        assert _get(port, "/readyz").startswith('{"ok": false')
        until(lambda: '"warning":"Postgres cannot be reached' in _get(api, "/readyz"), mend.log)
        assert _get(api, "/readyz").startswith('{"ok":true')
        assert _post(mend).stdout == "2 signals accepted\n"
        await server.start()
        until(lambda: _get(port, "/readyz") == '{"ok": true}\n', mend.log)
        until(lambda: mend.json("incidents", "ls"), mend.log)
        assert end(process) == 0
        await server.stop()


def test_the_number_of_partitions_cannot_change_while_there_is_data(mend: Mend) -> None:
    assert end(mend.up("--sandbox", MEND_REDIS_PARTITIONS="2")) == 0
    said = mend("up", "--sandbox", code=1, MEND_REDIS_PARTITIONS="3").stderr.splitlines()[-1]
    assert said == (
        "mend: redis.partitions is 3, and the events of this installation are spread over 2: set it back to 2,"
        " or start with an empty Redis and an empty database"
    )
    process = mend.up("--sandbox", MEND_REDIS_PARTITIONS="2")
    urls = {"MEND_REDIS_URL": mend.run.redis.reveal(), "MEND_POSTGRES_URL": mend.run.postgres.reveal()}
    found = {one["about"]: one for one in mend.json("doctor", code=1, MEND_REDIS_PARTITIONS="4", **urls)}
    assert found["partitions"]["mend"] == "set redis.partitions to 2"
    alone = mend.start(module="stages.gate", MEND_REDIS_PARTITIONS="4", **urls)
    assert alone.wait(30) == 1
    assert "redis.partitions is 4" in mend.log.read_text()
    assert end(process) == 0


def _get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("--stage", "gait"), {}, "'gait' is none of ingest, propose, gate"),
        (("--mode", "yolo"), {}, "--mode: expected one of shadow, assist, auto, not 'yolo'"),
        (("--sandbox",), {"MEND_HTTP_HOST": "0.0.0.0", "MEND_HTTP_TOKEN": ""}, "http.host is 0.0.0.0, which others can reach"),
        ((), {}, "there is nothing to heal: set KUBECONFIG"),
        ((), {"KUBECONFIG": "/absent/config"}, "/absent/config"),
        ((), HOST | {"MEND_HOSTS_WEB_KNOWN_HOSTS": "/absent/known_hosts"}, "the file /absent/known_hosts cannot be read"),
        ((), HOST, "hosts.web.known_hosts (MEND_HOSTS_WEB_KNOWN_HOSTS): no file is named that holds the host's key"),
        (("--sandbox",), {"MEND_DATA_FOLDER": "/proc/mend"}, "the data folder /proc/mend cannot be made"),
        (("--sandbox",), {"MEND_REDIS_URL": "ftp://x"}, "redis"),
        (("--sandbox",), {"MEND_POSTGRES_URL": "garbage"}, "the URL of Postgres does not begin with postgresql://"),
        (("--sandbox",), {"MEND_REDIS_PARTITIONS": "none"}, "MEND_REDIS_PARTITIONS (redis.partitions): expected a whole number"),
        (("--sandbox",), {"MEND_VOTES_KEY": "short"}, "the votes key is too short"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_one_sentence(
    mend: Mend, arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = mend("up", *arguments, code=1, **variables)
    assert said in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("mend: ")
    until(lambda: not mend.left_over())


def test_a_port_that_is_taken_is_named(mend: Mend) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = mend("up", "--sandbox", "--port", port, code=1)
        assert f"127.0.0.1:{port}" in done.stderr.splitlines()[-1]
        assert "stage_started" not in done.stderr, "nothing has acted before"
        said = mend("up", "--sandbox", code=1, MEND_METRICS_PORT=port).stderr.splitlines()[-1]
        assert f"the metrics cannot listen on 127.0.0.1:{port}" in said
    until(lambda: not mend.left_over())


async def test_a_redis_that_may_throw_events_away_is_refused(mend: Mend, tmp_path: Path) -> None:
    server = await EmbeddedRedis(tmp_path, durable=False, arguments=("--maxmemory-policy", "allkeys-lru")).start()
    try:
        said = mend("up", "--sandbox", code=1, MEND_REDIS_URL=server.url).stderr.splitlines()[-1]
        assert "maxmemory-policy allkeys-lru" in said
        assert "noeviction" in said
        doctor = mend.json("doctor", code=1, MEND_REDIS_URL=server.url, MEND_POSTGRES_URL="postgresql://nobody@127.0.0.1:1/none")
        wrong = {finding["about"]: finding for finding in doctor if finding["level"] == "wrong"}
        assert set(wrong) == {"redis", "postgres"}
        assert "noeviction" in wrong["redis"]["mend"]
        assert "cannot be reached" in wrong["postgres"]["said"]
    finally:
        await server.stop()


def test_it_waits_for_a_store_that_is_not_there_yet_and_still_ends_when_told(mend: Mend) -> None:
    process = mend.start("up", "--sandbox", MEND_POSTGRES_URL="postgresql://nobody@127.0.0.1:1/none")
    until(lambda: b"waiting for Postgres" in mend.log.read_bytes(), mend.log)
    assert is_running(mend.data)
    assert end(process) == 0
    until(lambda: not mend.left_over())


def test_a_run_file_of_one_that_was_killed_is_not_taken_for_that_of_one_that_starts(mend: Mend) -> None:
    process = mend.up("--sandbox")
    stale = (mend.data / "run.json").read_bytes()
    assert end(process) == 0
    (mend.data / "run.json").write_bytes(stale)
    process = mend.start("up", "--sandbox", MEND_POSTGRES_URL="postgresql://nobody@127.0.0.1:1/none")
    until(lambda: b"waiting for Postgres" in mend.log.read_bytes(), mend.log)
    assert "is still starting: try again in a moment" in mend.wrong("incidents", "ls")
    assert end(process) == 0


def test_a_store_that_is_away_is_named_with_what_to_do(mend: Mend) -> None:
    urls: dict[str, Any] = {"MEND_REDIS_URL": "redis://127.0.0.1:1", "MEND_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none"}
    advice = "Is its server running, and does {} name it? `mend doctor` looks at everything\n"
    assert mend.wrong("streams", "ls", **urls).endswith(". " + advice.format("redis.url"))
    assert mend.wrong("incidents", "ls", **urls).endswith(". " + advice.format("postgres.url"))


def test_the_process_list_shows_no_secret(mend: Mend) -> None:
    process = mend.up("--sandbox")
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "http-token-of-the-test" not in listed
    assert (mend.data / "votes.key").read_text() not in listed
    assert end(process) == 0


def test_a_stop_is_seen_by_the_process_and_the_doctor_until_it_is_resumed(mend: Mend) -> None:
    process = mend.up("--sandbox")
    _, api = _address(mend.run.api)
    assert "Missing option '--reason'" in mend.wrong("stop", code=2)
    assert "From now on nothing is proposed, approved or begun." in mend.said("stop", "--reason", "the database moves")
    until(lambda: '"warning":"Mendstream is stopped by ' in _get(api, "/readyz"), mend.log)
    assert _get(api, "/readyz").startswith('{"ok":true')
    assert "!!  stop switch" in mend.said("doctor")
    assert "may not sign" in mend.wrong("resume")
    assert "resumed by ana" in mend.said("resume", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    until(lambda: _get(api, "/readyz") == '{"ok":true}', mend.log)
    assert mend.json("resume", "--as", "ana", MEND_PERSON_TOKEN=ANA)["was_stopped"] is False
    assert end(process) == 0
