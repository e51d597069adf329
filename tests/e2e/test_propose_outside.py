"""propose beside a real Prometheus and a real Alertmanager: what they say is in the evidence before anything is decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.alertmanager.client import AlertmanagerClient
from adapters.prometheus.metrics import PrometheusMetrics
from ops.sandbox.kubectl import settled, waiting
from schemas.action import Investigate, RestartWorkload, ScaleWorkload
from schemas.event import Output
from schemas.events import ActionProposed, IncidentOpened
from schemas.evidence import Snapshot
from schemas.identity import new_id
from schemas.in_short import in_short
from schemas.target import Target
from schemas.words import Severity, Verdict
from sql.database import Database
from sql.evidence import get_snapshot, store_snapshot
from sql.incidents import get_incident
from stages.propose.options import ProposeOptions
from stages.propose.outside import look
from stages.propose.stage import ProposeStage
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.e2e.alertmanager import alertmanager, needs_alertmanager
from tests.e2e.prometheus import Exporter, Prometheus, exporting, needs_prometheus, running, until
from tests.integration.healing import Healing, healing_scene, only
from tests.integration.mend_process import SETTINGS, TOKEN, Mend, end, installation
from tests.integration.mend_process import until as waited_for
from tests.integration.test_cli import break_workload
from tests.integration.test_verify import executed, verified
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, needs_prometheus, needs_alertmanager]
POD = 'namespace="shop",pod="api-7d9f8b6c5d-x2x4z",container="web"'
USED, LIMIT = f"container_memory_working_set_bytes{{{POD}}}", f"container_spec_memory_limit_bytes{{{POD}}}"
RESTARTS = f"kube_pod_container_status_restarts_total{{{POD}}}"
RULES = """
groups:
  - name: test
    rules:
      - {alert: MemoryHigh, expr: 'container_memory_working_set_bytes{container="web"} > 8e8', labels: {severity: critical}}
      - {alert: PodCrashLooping, expr: 'container_memory_working_set_bytes{container="web"} > 8e8', labels: {severity: critical}}
"""


class Scene(msgspec.Struct, frozen=True):
    """A workload in the sandbox, its series and its alerts, and who is asked about them."""

    healing: Healing
    exporter: Exporter
    server: Prometheus
    alertmanager: str
    metrics: PrometheusMetrics

    def told(self, alert: str) -> dict[str, str]:
        """The labels of the alert as Alertmanager tells them."""
        sent = {"instance": f"127.0.0.1:{self.exporter.port}", "job": "exporter", "datacenter": "north"}
        return {"alertname": alert, "namespace": "shop", "pod": "api-7d9f8b6c5d-x2x4z", "container": "web", "severity": "critical", **sent}

    async def states(self, alert: str) -> tuple[bool | None, bool | None]:
        """What its rule and Alertmanager say of it."""
        (view,) = (await self.metrics.alert(self.told(alert), cluster="prod")).alerts
        return view.rule, view.heard

    async def fires(self, *alerts: str) -> None:
        for alert in alerts:
            await until(lambda alert=alert: self.states(alert), lambda states: states == (True, True))  # type: ignore[misc]

    async def proposed(
        self, target: Target, alert: str, metrics: PrometheusMetrics | None = None, **options: Any
    ) -> tuple[ActionProposed, Snapshot]:
        """The proposal for an incident of this alert, with its evidence as it was stored."""
        stage = ProposeStage(self.healing.database, self.healing.world, ProposeOptions(**options), metrics=metrics or self.metrics)
        incident = await self.healing.incident(target, alert=alert)
        labels = msgspec.json.encode(self.told(alert)).decode()
        for table, key in (("incidents", "id"), ("incident_alerts", "incident")):
            await self.healing.database.fetch(f"UPDATE {table} SET labels = $2 WHERE {key} = $1 RETURNING {key}", incident, labels)
        about: dict[str, Any] = {"target": target, "severity": Severity.P2, "title": alert, "alert": alert, "anomaly": alert}
        outputs: Sequence[Output] = await self.healing.handle(stage, IncidentOpened(**self.healing.header(incident), **about))
        proposal = only(outputs, ActionProposed)
        async with self.healing.database.connection() as connection:
            evidence = await get_snapshot(connection, proposal.evidence)
        assert evidence is not None
        await self.healing.resolve(incident)
        return proposal, evidence


@asynccontextmanager
async def scene(folder: Path, database: Database) -> AsyncIterator[Scene]:
    async with (
        healing_scene(database) as healing,
        alertmanager(folder / "am", "http://127.0.0.1:9", "token") as heard,
        exporting({USED: 9e8, LIMIT: 1e9, RESTARTS: 3.0}) as exporter,
        running(
            Prometheus(folder / "prom", exporter=exporter.port, rules=RULES, alertmanager=f"'{heard.url.removeprefix('http://')}'")
        ) as server,
        asking(server, heard.url, healing) as metrics,
    ):
        yield Scene(healing, exporter, server, heard.url, metrics)


@asynccontextmanager
async def asking(server: Prometheus, heard: str, healing: Healing, **fields: Any) -> AsyncIterator[PrometheusMetrics]:
    hears = [AlertmanagerClient(heard)]
    metrics = PrometheusMetrics({"prod": server.options()}, clock=lambda: healing.now, alertmanagers=hears, **fields)
    try:
        yield metrics
    finally:
        await metrics.close()


async def test_metrics_and_the_alert_are_in_the_evidence_that_a_proposal_rests_on(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database) as made:
        target = await made.healing.deploy("api", "sim/web:crash")
        await made.healing.kubectl.until(target, waiting("CrashLoopBackOff"))
        await made.fires("PodCrashLooping")
        proposal, seen = await made.proposed(target, "PodCrashLooping")
        assert proposal.action == RestartWorkload(target=target)
        values = {view.name: view.value for view in seen.metrics}
        assert set(values) == {"memory_ratio", "restarts_15m", "cpu_cores"}
        assert values["memory_ratio"] == pytest.approx(0.9)
        assert values["cpu_cores"] is None
        (alert,) = seen.alerts
        assert (alert.name, alert.rule, alert.heard, alert.fires) == ("PodCrashLooping", True, True, True)
        asked = {sensor.name: sensor for sensor in seen.sensors}
        outside = {"metric:memory_ratio", "metric:restarts_15m", "metric:cpu_cores", "alert:prometheus", "alert:alertmanager"}
        assert outside | {"workload", "pods"} <= set(asked)
        assert all(asked[name].error == "" and 0 < asked[name].seconds < 8 for name in outside)
        assert not any("does not fire now" in reason for reason in proposal.reasons)
        lines = in_short(seen)
        assert "alert PodCrashLooping: fires (its rule in Prometheus holds, Alertmanager has it)" in lines
        assert "metric memory_ratio: 90 %" in lines


async def test_an_alert_that_is_gone_from_a_target_that_is_well_is_said_to_who_signs(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database) as made:
        target = await made.healing.deploy("api", "sim/web:ok")
        await made.healing.kubectl.until(target, settled)
        await made.fires("PodCrashLooping", "MemoryHigh")
        still, _ = await made.proposed(target, "MemoryHigh")
        assert isinstance(still.action, ScaleWorkload)
        assert not any("does not fire now" in reason for reason in still.reasons)
        made.exporter.series[USED] = 1e8
        for alert, action in (("MemoryHigh", ScaleWorkload), ("PodCrashLooping", Investigate)):
            await until(lambda alert=alert: made.states(alert), lambda states: states == (False, None))  # type: ignore[misc]
            proposal, seen = await made.proposed(target, alert)
            assert isinstance(proposal.action, action)
            assert proposal.reasons[1] == (
                f"{alert} does not fire now (its rule in Prometheus does not hold, Alertmanager does not have it),"
                " and deployment shop/api is well: 1 of 1 pods available."
            )
            assert seen.alerts[0].fires is False
        assert proposal.reasons[0].startswith("It has healed meanwhile")


@pytest.mark.parametrize(("started_again", "cleared"), [(False, True), (True, None)])
async def test_alertmanager_alone_says_that_an_alert_is_over_only_where_it_had_it_at_the_proposal(
    tmp_path: Path, database: Database, started_again: bool, cleared: bool | None
) -> None:
    """Nobody else is asked. One that was started again since has lost the alert, which is not over for that."""
    told = {"alertname": "PodCrashLooping", "namespace": "shop", "pod": "api-7d9f8b6c5d-x2x4z"}
    async with (
        healing_scene(database) as healing,
        alertmanager(tmp_path / "am", "http://127.0.0.1:9", "token") as heard,
    ):
        metrics = PrometheusMetrics({}, clock=lambda: healing.now, alertmanagers=[AlertmanagerClient(heard.url)])
        target = await healing.deploy("api", "sim/web:ok")
        await healing.kubectl.until(target, settled)
        incident = await healing.incident(target, alert=told["alertname"], labels=told)
        await heard.tell(told)
        evidence = await _looked(healing, metrics, incident)
        finished = await executed(healing, RestartWorkload(target=target), incident=incident, evidence=evidence)
        await healing.kubectl.until(target, settled)
        if started_again:
            await heard.stop()
            await heard.start()
        else:
            await heard.tell(told, ended=True)
        await until(heard.states, lambda states: not states)
        await database.fetch("UPDATE incidents SET firing = 0 WHERE id = $1 RETURNING id", incident)
        result = await verified(healing, VerifyStage(database, healing.world, VerifyOptions(hold_down=0), metrics=metrics), finished)
        await metrics.close()
        assert (result.verdict, result.cleared) == (Verdict.SUCCESS, cleared)


@pytest.mark.parametrize(
    ("seconds", "options", "failed"),
    [
        (0.5, {}, {"metric:memory_ratio", "metric:restarts_15m", "metric:cpu_cores", "alert:prometheus"}),
        (8.0, {"observe_limit": 2.0}, {"metric:all", "alert:all"}),
    ],
    ids=["each sensor is bounded", "the look is bounded"],
)
async def test_a_prometheus_that_hangs_holds_no_proposal_back_and_is_named(
    tmp_path: Path, database: Database, seconds: float, options: dict[str, float], failed: set[str]
) -> None:
    async with scene(tmp_path, database) as made:
        target = await made.healing.deploy("api", "sim/web:crash")
        await made.healing.kubectl.until(target, waiting("CrashLoopBackOff"))
        await made.fires("PodCrashLooping")
        async with asking(made.server, made.alertmanager, made.healing, seconds=seconds) as metrics:
            with made.server.hung():
                proposal, seen = await made.proposed(target, "PodCrashLooping", metrics, **options)
        assert proposal.action == RestartWorkload(target=target)
        assert {sensor.name for sensor in seen.sensors if sensor.error} == failed
        assert all(sensor.seconds < min(seconds, options.get("observe_limit", 30.0)) + 2 for sensor in seen.sensors)
        assert all(f"not seen: {name}" in "\n".join(in_short(seen)) or name.startswith("metric:") for name in failed)


async def _looked(healing: Healing, metrics: PrometheusMetrics, incident: str) -> str:
    """The id of the evidence of a proposal for the incident, whose alert fires."""
    evidence = new_id(healing.now)
    async with healing.database.transaction() as connection:
        row = await get_incident(connection, incident)
        assert row is not None
        until = asyncio.get_running_loop().time() + 30
        seen = await look(healing.world, metrics, row, row.target, at=healing.now, until=until)
        await store_snapshot(connection, id=evidence, incident=incident, phase="proposal", snapshot=seen)
    assert [view.fires for view in seen.alerts] == [True]
    return evidence


OUTSIDE = """
[prometheus.default]
url = "{prometheus}"
[alertmanager.main]
url = "{alertmanager}"
"""


async def test_from_a_rule_that_fires_to_what_the_approver_reads(tmp_path: Path) -> None:
    """Everything real but the cluster: Prometheus, Alertmanager, `mend up`, and the commands of who is to sign."""
    port = free_port()
    rules = RULES.replace("{severity: critical}", "{severity: critical, deployment: web}")
    used, limit = USED.replace("api-", "web-"), LIMIT.replace("api-", "web-")
    async with (
        alertmanager(tmp_path / "am", f"http://127.0.0.1:{port}", TOKEN) as heard,
        exporting({used: 1e8, limit: 1e9}) as exporter,
        running(
            Prometheus(tmp_path / "prom", exporter=exporter.port, rules=rules, alertmanager=f"'{heard.url.removeprefix('http://')}'")
        ) as server,
    ):
        outside = OUTSIDE.format(prometheus=server.url, alertmanager=heard.url)
        with installation(SETTINGS.replace("port = 0", f"port = {port}", 1) + outside) as mend:
            process = await asyncio.to_thread(mend.up, "--sandbox")
            try:
                await break_workload(mend.run.sandbox, "web")
                exporter.series[used] = 9e8
                shown = await asyncio.to_thread(_shown, mend)
            finally:
                await asyncio.to_thread(end, process)
    for text in shown:
        assert "(its rule in Prometheus holds, Alertmanager has it)" in text
        assert "metric memory_ratio: 90 %" in text
        assert " sensors\n" in text


def _shown(mend: Mend) -> tuple[str, str]:
    """What the commands show of the first approval and of its incident."""
    (approval, *_) = waited_for(lambda: mend.json("approvals", "ls"), mend.log)
    return mend.said("approvals", "show", approval["id"]), mend.said("incidents", "show", approval["incident"])
