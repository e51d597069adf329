"""Real series, scraped by a real Prometheus from a small exporter, before and after something changed; and its alerts."""

from __future__ import annotations

import math
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from adapters.alertmanager.client import AlertmanagerClient
from adapters.ports import Metrics
from adapters.prometheus.client import PrometheusClient
from adapters.prometheus.metrics import PrometheusMetrics
from adapters.prometheus.probes import questions
from schemas.evidence import MetricView, Snapshot
from schemas.secret import Secret
from schemas.target import Kind, Target
from stages.verify.baseline import usual
from stages.verify.metrics import Change, Circumstances, MetricsAssessment, judge_metrics
from tests.e2e.alertmanager import alertmanager, needs_alertmanager
from tests.e2e.prometheus import Exporter, Prometheus, exporting, needs_prometheus, running, until

pytestmark = [pytest.mark.e2e, needs_prometheus]

HEALED = Circumstances(healthy_before=False, healthy_after=True)
CONTAINER = {"alertname": "MemoryHigh", "container": "web"}
RULES = """
groups:
  - name: test
    rules:
      - alert: MemoryHigh
        expr: container_memory_working_set_bytes{container="web",pod=~"api-7.*"} > 8e8
        labels: {severity: critical}
      - alert: Slow
        expr: container_memory_working_set_bytes{container="web",pod=~"api-7.*"} > 8e8
        for: 1h
"""


class Shop:
    """A deployment `api` in a namespace of the test's own, and the names of its series."""

    def __init__(self, namespace: str = "shop") -> None:
        pod = f'namespace="{namespace}",pod="api-7d9f8b6c5d-x2x4z",container="web"'
        self.api = Target(cluster="prod", namespace=namespace, kind=Kind.DEPLOYMENT, name="api")
        self.used, self.limit = f"container_memory_working_set_bytes{{{pod}}}", f"container_spec_memory_limit_bytes{{{pod}}}"
        self.restarts = f"kube_pod_container_status_restarts_total{{{pod}}}"
        namesake = self.used.replace("api-", "api-gateway-")
        self.series = {self.used: 9e8, self.limit: 1e9, self.restarts: 3.0, namesake: 5e12}

    def told(self, exporter: Exporter) -> dict[str, str]:
        """The labels of its alert, as Alertmanager tells them."""
        seen = {"namespace": self.api.namespace, "pod": "api-7d9f8b6c5d-x2x4z", "container": "web", "severity": "critical"}
        sent = {"instance": f"127.0.0.1:{exporter.port}", "job": "exporter", "datacenter": "north"}
        return {"alertname": "MemoryHigh", **seen, **sent}


class Scene(msgspec.Struct, frozen=True):
    shop: Shop
    exporter: Exporter
    server: Prometheus
    metrics: PrometheusMetrics

    async def look(self) -> Snapshot:
        return await look(self.metrics, CONTAINER, self.shop.api)


def now() -> datetime:
    return datetime.now(UTC)


async def look(metrics: Metrics, labels: dict[str, str], target: Target) -> Snapshot:
    at = now()
    found = await metrics.measure(target, [labels.get("alertname", "")], labels, at)
    return found.added_to(Snapshot(target=target, at=at, sensors=()))


@asynccontextmanager
async def scene_of(shop: Shop, exporter: Exporter, server: Prometheus) -> AsyncIterator[Scene]:
    metrics = PrometheusMetrics({"prod": server.options()}, clock=now)
    try:
        yield Scene(shop, exporter, server, metrics)
    finally:
        await metrics.close()


@pytest_asyncio.fixture(scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Exporter, Prometheus]]:
    """One Prometheus for the tests that leave it alone: it takes five seconds to begin scraping."""
    folder = tmp_path_factory.mktemp("prometheus")
    async with exporting({}) as exporter, running(Prometheus(folder, exporter=exporter.port, rules=RULES)) as server:
        yield exporter, server


@pytest_asyncio.fixture
async def shared(ground: tuple[Exporter, Prometheus], request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    exporter, server = ground
    shop = Shop(f"of-{zlib.crc32(request.node.name.encode())}")
    exporter.series |= shop.series
    async with scene_of(shop, exporter, server) as scene:
        yield scene
    exporter.series.clear()


def view(snapshot: Snapshot, name: str) -> MetricView:
    return next(one for one in snapshot.metrics if one.name == name)


def ratio(snapshot: Snapshot) -> float | None:
    return view(snapshot, "memory_ratio").value


def changes(assessment: MetricsAssessment) -> dict[str, Change]:
    return {result.name: result.change for result in assessment.results}


async def test_a_metric_that_got_better_supports_the_action_and_one_that_got_worse_does_not(shared: Scene) -> None:
    before = await until(shared.look, lambda seen: ratio(seen) is not None)
    assert ratio(before) == pytest.approx(0.9), "the pod of its namesake is not its own"
    shared.exporter.series[shared.shop.used] = 3e8
    after = await until(shared.look, lambda seen: ratio(seen) != ratio(before))
    better = judge_metrics(before, after, HEALED)
    assert (changes(better)["memory_ratio"], better.parts["memory_ratio"], better.regressions) == (Change.IMPROVED, 1.0, ())
    shared.exporter.series[shared.shop.used] = 9.9e8
    bad = await until(shared.look, lambda seen: (ratio(seen) or 0) > 0.9)
    worse = judge_metrics(after, bad, Circumstances(healthy_before=True, healthy_after=True))
    assert changes(worse)["memory_ratio"] is Change.WORSE
    assert worse.regressions == ("memory_ratio is worse than before: 99 %, 30 % before",)


async def test_restarts_are_those_of_the_pods_that_are_there(shared: Scene) -> None:
    old, new, series = shared.shop.restarts, shared.shop.restarts.replace("x2x4z", "zzzzz"), shared.exporter.series
    await until(shared.look, lambda seen: view(seen, "restarts_15m").value == 0.0)
    series[old] = 6.0
    crashing = await until(shared.look, lambda seen: (view(seen, "restarts_15m").value or 0) > 2)
    del series[old]
    series[new] = 0.0
    calm = await until(shared.look, lambda seen: view(seen, "restarts_15m").value == 0.0)
    assert changes(judge_metrics(crashing, calm, HEALED))["restarts_15m"] is Change.IMPROVED
    series[new] = 2.0
    again = await until(shared.look, lambda seen: (view(seen, "restarts_15m").value or 0) > 1)
    assert changes(judge_metrics(calm, again, HEALED))["restarts_15m"] is Change.WORSE


async def test_what_vanished_is_unknown_and_not_well(shared: Scene) -> None:
    before = await until(shared.look, lambda seen: ratio(seen) is not None)
    await shared.exporter.stop()
    try:
        after = await until(shared.look, lambda seen: ratio(seen) is None)
        host = await look(shared.metrics, {}, Target(cluster="prod", kind=Kind.HOST, name="127.0.0.1"))
    finally:
        await shared.exporter.start()
    assert [sensor.error for sensor in after.sensors] == ["", "", ""], "Prometheus did answer"
    found = judge_metrics(before, after, HEALED)
    assert (changes(found)["memory_ratio"], found.share, found.regressions) == (Change.UNKNOWN, None, ())
    reason = next(one.reason for one in found.judgements if "memory" in one.about)
    assert reason == "could not be measured any more: 90 % before (Prometheus has no such series now)"
    assert view(host, "up").value == 0.0


async def test_a_sample_from_before_the_action_is_seen_as_that(shared: Scene) -> None:
    fresh = await until(shared.look, lambda seen: ratio(seen) is not None)
    age = view(fresh, "memory_ratio").age
    assert age is not None
    assert 0 <= age < 5
    later = await shared.metrics.measure(shared.shop.api, ["MemoryHigh"], CONTAINER, now() + timedelta(seconds=60))
    stale = later.added_to(Snapshot(target=shared.shop.api, at=now(), sensors=()))
    found = judge_metrics(fresh, stale, Circumstances(healthy_before=False, healthy_after=True, elapsed=30.0))
    assert changes(found)["memory_ratio"] is Change.UNKNOWN
    assert "no sample from after the action" in next(one.reason for one in found.judgements if "memory" in one.about)


async def test_a_rule_that_fires_and_clears(shared: Scene) -> None:
    metrics, told = shared.metrics, shared.shop.told(shared.exporter)
    assert await until(lambda: metrics.firing(told), lambda fires: fires is True)
    assert await metrics.firing({**told, "alertname": "Slow"}), "its condition holds, though it only fires in an hour"
    assert await metrics.firing({**told, "pod": "api-7d9f8b6c5d-other"}) is False
    assert await metrics.firing({**told, "alertname": "Unheard"}) is None, "nobody knows of such an alert"
    assert await metrics.firing({**told, "alertname": 'a"} or vector(1) #'}) is None
    shared.exporter.series[shared.shop.used] = 1e8
    assert await until(lambda: metrics.firing(told), lambda fires: fires is not True) is False
    assert await metrics.firing(told, cluster="prod") is False
    assert await metrics.firing(told, cluster="elsewhere") is None


async def test_when_prometheus_is_away_the_sensors_say_so_and_nobody_calls_the_alert_gone(tmp_path: Path) -> None:
    shop = Shop()
    async with (
        exporting(shop.series) as exporter,
        running(Prometheus(tmp_path, exporter=exporter.port)) as server,
        scene_of(shop, exporter, server) as scene,
    ):
        assert (await scene.look()).sensors[0].error == ""
        await server.stop()
        found = await scene.metrics.measure(shop.api, [], CONTAINER, now(), usual_until=now())
        assert [sensor.name for sensor in found.sensors] == ["metric:memory_ratio", "metric:restarts_15m", "metric:cpu_cores"]
        assert all("Prometheus cannot be asked" in sensor.error for sensor in found.sensors)
        assert [one.value for one in found.metrics] == [None] * 3
        assert await scene.metrics.firing(shop.told(exporter)) is None
        assert not found.added_to(Snapshot(target=shop.api, at=now(), sensors=())).measured


async def test_a_prometheus_that_was_started_again_says_nothing_before_it_has_evaluated_the_rule(tmp_path: Path) -> None:
    """The alert fired, and its condition holds: but nothing is active, and no error is told."""
    shop = Shop()
    async with (
        exporting(shop.series) as exporter,
        running(Prometheus(tmp_path, exporter=exporter.port, rules=RULES)) as server,
        scene_of(shop, exporter, server) as scene,
    ):
        told = shop.told(exporter)
        assert await until(lambda: scene.metrics.firing(told), lambda fires: fires is True)
        for rules, said in (
            (RULES.replace("rules:", "interval: 1000h\n    rules:"), "its health is unknown"),
            (RULES.replace("MemoryHigh", "Renamed"), ""),
        ):
            await server.stop()
            server.evaluate(rules)
            await server.start()
            found = await scene.metrics.alert(told)
            assert [view.fires for view in found.alerts] == [None], "it was active within a day, and no rule says that it is over"
            assert said in found.sensors[0].error


async def test_every_query_of_every_kind_is_one_that_prometheus_understands(shared: Scene) -> None:
    labels = {"instance": "a.b:1", "job": "x", "name": "redis", "container": "web"}
    asked = {
        query
        for kind in Kind
        for given in ({}, labels, {"instance": "z:1"}, {"instance": "z:1", "job": "blackbox"})
        for alert in ("Any", "EndpointDown", "ContainerDown")
        for label in ("", "cluster")
        for question in questions(Target(cluster="prod", namespace="shop", kind=kind, name="a.b"), [alert], given, cluster_label=label)
        for query in (question.query, question.sampled)
        if query
    }
    assert len(asked) > 100
    client = PrometheusClient(shared.server.options())
    try:
        for query in sorted(asked):
            assert await client.query(query, now().timestamp()) is None, query
    finally:
        await client.close()


@needs_alertmanager
async def test_prometheus_and_alertmanager_are_asked_together(tmp_path: Path) -> None:
    shop = Shop()
    async with alertmanager(tmp_path / "am", "http://127.0.0.1:9", "token") as heard, exporting(shop.series) as exporter:
        address = heard.url.removeprefix("http://")
        prometheus = Prometheus(tmp_path / "prom", exporter=exporter.port, rules=RULES, alertmanager=f"'{address}'")
        async with running(prometheus) as server:
            hears = AlertmanagerClient(heard.url)
            both = PrometheusMetrics({"prod": server.options()}, clock=now, alertmanagers=[hears])
            alone = PrometheusMetrics({}, clock=now, alertmanagers=[AlertmanagerClient(heard.url)])
            told = shop.told(exporter)
            assert await until(lambda: alone.firing(told), lambda fires: fires is True)
            assert await both.firing(told)
            pushed = {"alertname": "FromElsewhere", "instance": "a"}
            await heard.tell(pushed)
            assert await both.firing(pushed), "an alert of another source is known to Alertmanager only"
            had = (await both.alert(pushed)).alerts[0].heard_by
            await heard.tell(pushed, ended=True)
            assert await until(lambda: both.firing(pushed, heard_by=had), lambda fires: fires is not True) is False
            assert await both.firing(pushed) is None, "who never saw it there cannot tell"
            elder = {**told, "pod": "api-5c9f8b6c5d-b2b4z"}
            for metrics, by_rule in ((both, False), (alone, None)):
                assert await metrics.firing(elder) is by_rule
                assert await metrics.firing(elder, target=shop.api), "it fires for the pod that took its place"
            exporter.series[shop.used] = 1e8
            assert await until(lambda: both.firing(told), lambda fires: fires is not True) is False
            await server.stop()
            assert await alone.firing(told, heard_by=had) is False
            assert await both.firing(told, heard_by=had) is None, "Alertmanager forgets the alerts of a Prometheus that is silent"
            await both.close()
            await alone.close()


async def test_the_past_tells_what_is_usual(tmp_path: Path) -> None:
    """Six days of a daily rhythm are in its store: what is usual at this hour is told from them, and judged by."""
    shop = Shop()
    begin = (now() - timedelta(days=6)).timestamp()
    span = 6 * 86400 - 3 * 3600

    def at_hour(when: float) -> float:
        return 4e8 + 2e8 * math.sin(2 * math.pi * when / 86400)

    past = {
        shop.used: [(begin + seconds, at_hour(begin + seconds) + (seconds % 7) * 1e6) for seconds in range(0, span, 240)],
        shop.limit: [(begin + seconds, 1e9) for seconds in range(0, span, 240)],
    }
    async with exporting(shop.series) as exporter:
        prometheus = Prometheus(tmp_path, exporter=exporter.port)
        prometheus.remember(past)
        async with running(prometheus) as server:
            metrics = PrometheusMetrics({"prod": server.options()}, clock=now, forecast=usual)
            trouble = now() - timedelta(hours=3, minutes=30)

            async def seen() -> Snapshot:
                found = await metrics.measure(shop.api, ["MemoryHigh"], CONTAINER, now(), usual_until=trouble)
                return found.added_to(Snapshot(target=shop.api, at=now(), sensors=()))

            bad = await until(seen, lambda snapshot: ratio(snapshot) is not None)
            band = view(bad, "memory_ratio").baseline
            assert band is not None, view(bad, "memory_ratio").note
            expected = at_hour(now().timestamp()) / 1e9
            assert band.season == "daily"
            assert band.lower < expected < band.upper
            assert band.upper - band.lower < 0.3
            assert view(bad, "memory_ratio").history_seconds > 5 * 86400
            assert "too little history" in view(bad, "restarts_15m").note or "no history" in view(bad, "restarts_15m").note
            exporter.series[shop.used] = expected * 1e9
            good = await until(seen, lambda snapshot: ratio(snapshot) != ratio(bad))
            assert judge_metrics(bad, good, HEALED).parts["memory_ratio"] == 1.0
            left = judge_metrics(good, bad, HEALED)
            assert [one.partition(":")[0] for one in left.regressions] == ["memory_ratio has left what is usual"]
            await metrics.close()


async def test_a_young_metric_has_no_usual_and_says_so(shared: Scene) -> None:
    metrics = PrometheusMetrics({"prod": shared.server.options(resolution=1.0)}, clock=now, forecast=usual)
    try:
        ask = lambda: metrics.measure(shared.shop.api, [], CONTAINER, now(), usual_until=now())  # noqa: E731
        found = await until(ask, lambda found: found.metrics[0].history_seconds >= 2)
    finally:
        await metrics.close()
    assert found.metrics[0].baseline is None
    assert "too little history" in found.metrics[0].note
    assert [sensor.name for sensor in found.sensors[:2]] == ["metric:memory_ratio", "metric:memory_ratio usual"]


async def test_a_prometheus_with_a_password(tmp_path: Path) -> None:
    api = Shop().api
    async with exporting({}) as exporter, running(Prometheus(tmp_path, exporter=exporter.port, guarded=True)) as server:
        right = PrometheusMetrics({"prod": server.options()}, clock=now)
        wrong = PrometheusMetrics({"prod": server.options(password=Secret("guessed-wrongly"))}, clock=now)
        found, refused = await right.measure(api, [], CONTAINER, now()), await wrong.measure(api, [], CONTAINER, now())
        await right.close()
        await wrong.close()
    assert [sensor.error for sensor in found.sensors] == ["", "", ""]
    assert all("check its credential" in sensor.error for sensor in refused.sensors)
    assert "guessed" not in str(refused)
