"""No container of the composition runs in CI: its parts are held to the tools and the settings that read them.

Its services are started, as processes, by `tests/integration/test_processes.py`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from bus.metrics import BusCollector
from ops.group_watch import HEARTBEAT
from ops.settings.environment import read_environment
from ops.settings.model import Settings
from ops.wiring import PROCESSES

COMPOSE = Path(__file__).parents[2] / "compose"
pytestmark = pytest.mark.e2e


def composition() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return loaded


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_its_configuration_and_rules() -> None:
    assert "4 rules found" in run("promtool", "check", "config", str(COMPOSE / "prometheus.yml"))


_SILENT = """
rule_files: [{rules}]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series: [{{series: 'mend_failure_watch_heartbeat_seconds{{instance="a"}}', values: '0 30 60 60 60 60 60 60 60 60 60 60'}}]
    alert_rule_test:
      - {{eval_time: 2m, alertname: MendstreamFailureWatchSilent, exp_alerts: []}}
      - {{eval_time: 5m, alertname: MendstreamFailureWatchSilent, exp_alerts: [{{exp_labels: {{severity: critical}}}}]}}
  - interval: 30s
    input_series: [{{series: 'up', values: '1x20'}}]
    alert_rule_test:
      - {{eval_time: 2m, alertname: MendstreamFailureWatchSilent, exp_alerts: [{{exp_labels: {{severity: critical}}}}]}}
"""


def test_a_failure_watch_that_is_silent_or_gone_raises_the_alarm(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    loaded = yaml.safe_load((COMPOSE / "rules.yml").read_text())
    for rule in loaded["groups"][0]["rules"]:
        rule.pop("annotations")
    rules.write_text(yaml.safe_dump(loaded))
    (tmp_path / "test.yml").write_text(_SILENT.format(rules=rules))
    assert "SUCCESS" in run("promtool", "test", "rules", str(tmp_path / "test.yml"))


def test_alertmanager_takes_its_configuration() -> None:
    assert "SUCCESS" in run("amtool", "check-config", str(COMPOSE / "alertmanager.yml"))


def test_every_stage_is_a_service_that_can_be_started() -> None:
    services = composition()["services"]
    assert set(PROCESSES) <= set(services)
    for stage in PROCESSES:
        module = services[stage]["command"][0]
        assert find_spec(f"{module}.__main__") is not None, module


def test_every_variable_is_a_setting() -> None:
    environment = composition()["x-stage"]["environment"]
    found, problems = read_environment(Settings, environment, {})
    assert problems == []
    assert len(found) == len(environment)


def test_verify_asks_the_prometheus_and_the_alertmanager_of_the_composition() -> None:
    """Each URL names a service and its port, and the Prometheus is that of the one cluster."""
    found, _ = read_environment(Settings, composition()["x-stage"]["environment"], {})
    services = composition()["services"]
    for path in (("prometheus", "default", "url"), ("alertmanager", "main", "url")):
        url = urlsplit(found[path].text)
        assert url.hostname in services
        assert f"127.0.0.1:{url.port}:{url.port}" in services[url.hostname]["ports"]
    assert ("clusters", "default", "kubeconfig") in found


def test_who_has_made_the_secrets_is_told_that_a_kubeconfig_is_missing(tmp_path: Path) -> None:
    shutil.copy(COMPOSE / "make-secrets", tmp_path)
    kubeconfig = tmp_path / "secrets" / "kubeconfig"
    assert f"put a kubeconfig for the cluster to heal at {kubeconfig}" in run(str(tmp_path / "make-secrets"))
    kubeconfig.write_text("apiVersion: v1")
    assert "still to do" not in run(str(tmp_path / "make-secrets"))


def test_every_mounted_secret_is_made(tmp_path: Path) -> None:
    shutil.copy(COMPOSE / "make-secrets", tmp_path)
    run(str(tmp_path / "make-secrets"))
    before = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert set(before) == set(composition()["secrets"])
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    run(str(tmp_path / "make-secrets"))
    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == before


def test_rules_speak_of_metrics_that_exist() -> None:
    text = (COMPOSE / "rules.yml").read_text()
    known = {family.name for family in BusCollector([]).collect()} | {HEARTBEAT}
    named = {name.removesuffix("_total") for name in re.findall(r"\bmend_\w+", text)}
    assert named
    assert named <= known
