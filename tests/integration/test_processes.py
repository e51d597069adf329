"""Every stage as a process of its own, started as the Procfile and as the composition start it, on stores that are given by URL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.wiring import PROCESSES
from tests.integration.mend_process import ROOT, Mend, end, installation, until
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.slow
COMPOSE = ROOT / "compose"
KUBECONFIG = """
current-context: one
clusters: [{name: one, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: one, user: {token: of-the-test}}]
contexts: [{name: one, context: {cluster: one, user: one}}]
"""


@pytest.fixture
def mend() -> Iterator[Mend]:
    with installation() as mend:
        (mend.folder / "kubeconfig").write_text(KUBECONFIG)
        yield mend


def is_ready(port: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def test_honcho_starts_every_stage_of_the_procfile_and_ends_them_all(mend: Mend, redis_url: str, postgres_url: str) -> None:
    """With other ports than those of the file, which may be taken."""
    ports: list[str] = []

    def moved(found: re.Match[str]) -> str:
        ports.append(str(free_port()))
        return found[1] + ports[-1]

    procfile = mend.folder / "Procfile"
    procfile.write_text(re.sub(r"(MEND_METRICS_PORT=)\d+", moved, (ROOT / "Procfile").read_text()))
    process = mend.start(
        *("start", "--procfile", str(procfile), "--app-root", str(mend.folder)),
        module="honcho",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        MEND_REDIS_URL=redis_url,
        MEND_POSTGRES_URL=postgres_url,
        MEND_CLUSTERS_DEFAULT_KUBECONFIG=str(mend.folder / "kubeconfig"),
    )
    try:
        for port in ports:
            until(lambda port=port: process.poll() is not None or is_ready(port), mend.log)  # type: ignore[misc]
            assert process.poll() is None, mend.log.read_text()
        started = {int(number) for number in re.findall(r"started \(pid=(\d+)\)", mend.log.read_text())}
        assert len(started) == len(ports) == len(PROCESSES)
        assert end(process) == 128 + signal.SIGTERM
        assert not [number for number in started if Path(f"/proc/{number}").exists()]
    finally:
        end(process)


def is_healthy(check: list[str]) -> bool:
    """Whether a healthcheck passes, also where containers are given a proxy."""
    proxy = {"http_proxy": "http://127.0.0.1:1"}
    return subprocess.run(check, env=os.environ | proxy, capture_output=True, check=False).returncode == 0


def placed(mend: Mend, redis: str, postgres: str, environment: dict[str, str], ports: dict[str, str]) -> dict[str, str]:
    """The environment of a service, with the test's stores, the secrets of `make-secrets`, and ports that are free."""
    shutil.copy(COMPOSE / "make-secrets", mend.folder)
    subprocess.run([mend.folder / "make-secrets"], check=True, capture_output=True)
    secrets = mend.folder / "secrets"
    (secrets / "postgres_url").write_text(postgres)
    shutil.copy(mend.folder / "kubeconfig", secrets)
    mounted = {name: value.replace("/run/secrets", str(secrets)) for name, value in environment.items()}
    return {**mounted, "MEND_REDIS_URL": redis, **ports}


def test_every_service_of_the_composition_is_healthy_and_ends_when_it_is_told(mend: Mend, redis_url: str, postgres_url: str) -> None:
    """With ports of its own, for there every container has all of them."""
    composition: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    services = {name: one for name, one in composition["services"].items() if one["image"] == "mendstream"}
    assert set(services) == set(PROCESSES)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", (COMPOSE / "Dockerfile").read_text(), re.MULTILINE)
    assert yaml.safe_load(entry) == ["python", "-m"]
    (mend.folder / "mend.toml").unlink()
    processes: dict[str, subprocess.Popen[bytes]] = {}
    checks: dict[str, list[str]] = {}
    try:
        for name, service in services.items():
            own = {f"MEND_{part}_PORT": str(free_port()) for part in ("METRICS", "HTTP", "API")}
            variables = placed(mend, redis_url, postgres_url, service["environment"], own)
            module, *arguments = service["command"]
            processes[name] = mend.start(*arguments, module=module, **variables)
            kind, program, *rest = service["healthcheck"]["test"]
            assert (kind, program) == ("CMD", "python")
            assert ":9100/" in rest[-1]
            checks[name] = [sys.executable, *rest[:-1], rest[-1].replace("9100", own["MEND_METRICS_PORT"])]
        for name, process in processes.items():
            until(lambda name=name, process=process: process.poll() is not None or is_healthy(checks[name]), mend.log)  # type: ignore[misc]
            assert process.poll() is None, mend.log.read_text()
        for process in processes.values():
            process.terminate()
        assert {name: process.wait(PATIENCE) for name, process in processes.items()} == dict.fromkeys(services, 0)
    finally:
        for process in processes.values():
            end(process)
