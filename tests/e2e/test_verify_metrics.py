"""verify with a real Prometheus beside the sandbox: what a healed target costs its metrics, and whether its alert is really gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.prometheus.metrics import PrometheusMetrics
from ops.sandbox.kubectl import settled
from schemas.events import ExecutionFinished, LessonLearned, VerificationDue, VerificationFinished
from schemas.playbook_file import read_playbook
from schemas.target import Target
from schemas.words import Ground, Verdict
from sql.database import Database
from sql.evidence import get_snapshot
from sql.incidents import get_incident
from sql.playbooks import add_version
from stages.learn.stage import Learn
from stages.verify.baseline import usual
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.e2e.prometheus import Exporter, Prometheus, exporting, needs_prometheus, running, until
from tests.integration.healing import Healing, healing_scene, restart
from tests.integration.test_verify import delayed, executed, verified

pytestmark = [pytest.mark.e2e, needs_prometheus]
AT_ONCE = VerifyOptions(hold_down=0)
HOLD = VerifyOptions().hold_down
POD = 'namespace="shop",pod="api-7d9f8b6c5d-x2x4z",container="web"'
USED, LIMIT = f"container_memory_working_set_bytes{{{POD}}}", f"container_spec_memory_limit_bytes{{{POD}}}"
RESTARTS = f"kube_pod_container_status_restarts_total{{{POD}}}"
RULES = """
groups:
  - name: test
    rules:
      - alert: MemoryHigh
        expr: container_memory_working_set_bytes{container="web"} > 8e8
        labels: {severity: critical}
      - alert: QueueFull
        expr: queue_length > 10
"""
QUEUE = 'queue_length{namespace="shop"}'
TOLD = {"alertname": "MemoryHigh", "namespace": "shop", "container": "web", "severity": "critical"}


class Scene:
    """A healthy workload in the sandbox, its series in Prometheus, and verify between them."""

    def __init__(
        self, healing: Healing, exporter: Exporter, server: Prometheus, metrics: PrometheusMetrics, target: Target, options: VerifyOptions
    ) -> None:
        self.healing = healing
        self.exporter = exporter
        self.server = server
        self.metrics = metrics
        self.target = target
        self.stage = VerifyStage(healing.database, healing.world, options, metrics=metrics)

    async def memory(self) -> float | None:
        found = await self.metrics.measure(self.target, ["MemoryHigh"], TOLD, self.healing.now)
        return next(view.value for view in found.metrics if view.name == "memory_ratio")

    async def firing(self, told: dict[str, str] = TOLD) -> bool | None:
        return await self.metrics.firing(told, cluster="prod")

    async def restarted(self, told: dict[str, str] = TOLD, joined: dict[str, str] | None = None) -> ExecutionFinished:
        """The restart of the workload for an incident of this alert, which another may have joined."""
        incident = await self.healing.incident(self.target, alert=told["alertname"], labels=told)
        if joined is not None:
            async with self.healing.database.transaction() as connection:
                await self.healing.join(connection, incident, self.target, joined)
        return await executed(self.healing, restart(self.target), incident=incident)

    async def held(self) -> VerificationDue:
        """The look after the hold-down of a restart, for an alert that is gone by then."""
        await until(self.firing, lambda fires: fires is True)
        due, _ = delayed(await self.healing.handle(self.stage, await self.restarted()))
        await self.uses(3e8)
        await until(self.firing, lambda fires: fires is False)
        await self.healing.kubectl.until(self.target, settled)
        due, seconds = delayed(await self.healing.handle(self.stage, due))
        assert seconds == pytest.approx(HOLD, abs=0.5)
        return due

    async def uses(self, used: float) -> None:
        """Its memory from now on; returns when Prometheus has seen it."""
        self.exporter.series[USED] = used
        await until(self.memory, lambda ratio: ratio is not None and abs(ratio - used / 1e9) < 0.001)

    async def verified(self, finished: ExecutionFinished, *, limit: bool = False) -> VerificationFinished:
        await self.healing.kubectl.until(self.target, settled)
        return await verified(self.healing, self.stage, finished, limit=limit)


@asynccontextmanager
async def scene(folder: Path, database: Database, used: float, options: VerifyOptions = AT_ONCE) -> AsyncIterator[Scene]:
    async with healing_scene(database) as healing, exporting({USED: used, LIMIT: 1e9, RESTARTS: 3.0, QUEUE: 0.0}) as exporter:
        server = Prometheus(folder, exporter=exporter.port, rules=RULES)
        async with running(server):
            metrics = PrometheusMetrics({"prod": server.options()}, clock=lambda: healing.now, forecast=usual)
            target = await healing.deploy("api", "sim/web:ok")
            await healing.kubectl.until(target, settled)
            made = Scene(healing, exporter, server, metrics, target, options)
            try:
                await made.uses(used)
                yield made
            finally:
                await metrics.close()


async def test_a_metric_that_got_worse_makes_a_success_degraded_and_says_why(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 3e8) as made:
        finished = await made.restarted()
        await made.uses(7.9e8)
        result = await made.verified(finished, limit=True)
        assert (result.verdict, result.ground) == (Verdict.DEGRADED, Ground.REGRESSED)
        assert "memory_ratio is worse than before: 79 %, 30 % before" in result.summary
        assert any(line.startswith("memory_ratio") for line in result.regressions)
        assert result.parts["regressions"] < 0
        async with database.connection() as connection:
            before, after = await get_snapshot(connection, result.before), await get_snapshot(connection, result.after)
        assert before is not None
        assert after is not None
        values = [next(view.value for view in seen.metrics if view.name == "memory_ratio") for seen in (before, after)]
        assert values == [pytest.approx(0.3), pytest.approx(0.79)]
        assert not before.late


async def test_metrics_that_stay_as_they_were_are_not_held_against_it(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 3e8) as made:
        finished = await made.restarted()
        await made.uses(3.01e8)
        result = await made.verified(finished)
        assert (result.verdict, result.regressions) == (Verdict.SUCCESS, ())
        assert result.parts["metrics"] > 0, "no restarts is an ideal"


async def test_the_alert_is_gone_when_its_own_rule_says_so(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 9e8) as made:
        await until(made.firing, lambda fires: fires is True)
        due, _ = delayed(await made.healing.handle(made.stage, await made.restarted()))
        await made.healing.kubectl.until(made.target, settled)
        made.healing.later(VerifyOptions().limit + 1)
        due, seconds = delayed(await made.healing.handle(made.stage, due))
        assert seconds == pytest.approx(30, abs=0.5), "it is well, and looked at again because of its alert"
        await made.uses(3e8)
        await until(made.firing, lambda fires: fires is False)
        made.healing.later(seconds)
        (gone,) = await made.healing.handle(made.stage, due)
        assert isinstance(gone, VerificationFinished)
        assert (gone.verdict, gone.cleared) == (Verdict.SUCCESS, True)


async def test_no_success_is_called_while_any_alert_of_the_incident_holds_by_its_own_rule(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 9e8) as made:
        await until(made.firing, lambda fires: fires is True)
        other = {"alertname": "Unheard", "namespace": "shop"}
        for told, joined in ((TOLD, None), (other, TOLD), (TOLD | {"pod": "api-5c9f8b6c5d-b2b4z"}, None)):
            due, _ = delayed(await made.healing.handle(made.stage, await made.restarted(told, joined)))
            await made.healing.kubectl.until(made.target, settled)
            made.healing.later(AT_ONCE.alert_limit + 1)
            (result,) = await made.healing.handle(made.stage, due)
            assert isinstance(result, VerificationFinished)
            assert (result.verdict, result.ground, result.cleared) == (Verdict.DEGRADED, Ground.STILL_FIRING, False)
            assert "the alert still fires by its own rule" in result.summary
            (lesson,) = await made.healing.handle(Learn(database), result, backed=False)
            assert isinstance(lesson, LessonLearned), "no trust is earned and none is lost"
            async with database.connection() as connection:
                row = await get_incident(connection, result.incident)
            assert row is not None
            assert (row.succeeded, row.effectiveness) == (None, None)


async def test_an_alert_that_was_gone_when_it_was_held_and_holds_again_is_a_relapse(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 9e8, VerifyOptions()) as made:
        due = await made.held()
        await made.uses(9e8)
        await until(made.firing, lambda fires: fires is True)
        made.healing.later(HOLD + VerifyOptions().limit + 1)
        (result,) = await made.healing.handle(made.stage, due)
        assert isinstance(result, VerificationFinished)
        assert (result.verdict, result.ground, result.relapse) == (Verdict.FAILED, Ground.RELAPSED, True)
        assert "an alert that was gone fires again: MemoryHigh" in result.summary


async def test_another_alert_that_joins_while_a_success_is_held_is_no_relapse_and_moves_no_trust(
    tmp_path: Path, database: Database
) -> None:
    async with scene(tmp_path, database, 9e8, VerifyOptions()) as made:
        due = await made.held()
        other = {"alertname": "QueueFull", "namespace": "shop"}
        made.exporter.series[QUEUE] = 11.0
        await until(lambda: made.firing(other), lambda fires: fires is True)
        async with made.healing.database.transaction() as connection:
            await made.healing.join(connection, due.finished.incident, made.target, other)
        made.healing.later(HOLD + VerifyOptions().alert_limit + 1)
        (result,) = await made.healing.handle(made.stage, due)
        assert isinstance(result, VerificationFinished)
        assert (result.verdict, result.ground, result.relapse) == (Verdict.DEGRADED, Ground.STILL_FIRING, False)
        (lesson,) = await made.healing.handle(Learn(database), result, backed=False)
        assert isinstance(lesson, LessonLearned), "no trust is earned and none is lost"


async def test_a_prometheus_that_is_away_is_neither_good_nor_bad(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 3e8) as made:
        finished = await made.restarted()
        await made.server.stop()
        await database.fetch("UPDATE incidents SET firing = 0 WHERE id = $1 RETURNING id", finished.incident)
        result = await made.verified(finished)
        assert (result.verdict, result.cleared, result.regressions) == (Verdict.SUCCESS, None, ())
        assert "metrics" not in result.parts
        async with database.connection() as connection:
            after = await get_snapshot(connection, result.after)
        assert after is not None
        assert any("cannot be asked" in sensor.error for sensor in after.sensors)


BOOK = """\
name: drained
title: It drains
owner: ana
symptoms: {alerts: [alertname=MemoryHigh]}
steps: [{do: RestartWorkload}]
verification: {hold_down: 0, promql: ['queue_length{namespace="{target.namespace}"} < 5']}
"""


async def test_a_question_of_the_playbook_has_to_give_something_before_it_is_a_success(tmp_path: Path, database: Database) -> None:
    async with scene(tmp_path, database, 3e8) as made:

        async def queue() -> bool | None:
            return await made.metrics.holds(f"{QUEUE} < 5", cluster="prod", at=made.healing.now)

        async with database.transaction() as connection:
            await add_version(connection, read_playbook(BOOK), at=made.healing.now, by="ana")
        made.exporter.series[QUEUE] = 9.0
        await until(queue, lambda holds: holds is False)
        incident = await made.healing.incident(made.target, alert="MemoryHigh", labels=TOLD)
        done = await executed(made.healing, restart(made.target), incident=incident, playbook="drained")
        due, _ = delayed(await made.healing.handle(made.stage, done))
        await made.healing.kubectl.until(made.target, settled)
        due, seconds = delayed(await made.healing.handle(made.stage, due))
        made.exporter.series[QUEUE] = 1.0
        await until(queue, lambda holds: holds is True)
        made.healing.later(seconds)
        (result,) = await made.healing.handle(made.stage, due)
        assert isinstance(result, VerificationFinished)
        assert result.verdict is Verdict.SUCCESS
        assert await made.metrics.holds("up ==", cluster="prod", at=made.healing.now) is None
        assert await made.metrics.holds("up", cluster="other", at=made.healing.now) is None
