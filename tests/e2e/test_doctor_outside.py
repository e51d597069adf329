"""The doctor at a real Prometheus and a real Alertmanager: whether they answer, let us ask, and have anything to tell."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.prometheus.options import PrometheusOptions
from ops.examination.finding import Finding, Level
from ops.examination.outside import of_outside
from ops.settings import ClusterSettings, Settings
from ops.settings.model import AlertmanagerSettings
from schemas.secret import Secret, SecretUrl
from tests.e2e.alertmanager import alertmanager, needs_alertmanager
from tests.e2e.prometheus import Prometheus, exporting, needs_prometheus, running, until

pytestmark = [pytest.mark.e2e, needs_prometheus, needs_alertmanager]


def settings(**parts: object) -> Settings:
    return Settings(clusters={"prod": ClusterSettings(server="http://127.0.0.1:1")}, **parts)  # type: ignore[arg-type]


async def found(one: Settings) -> list[Finding]:
    return [finding async for finding in of_outside(one, sandbox=False)]


async def of_prometheus(options: PrometheusOptions) -> Finding:
    (finding,) = await found(settings(prometheus={"prod": options}))
    return finding


async def test_a_prometheus_that_scrapes_is_fine_and_one_that_lets_nobody_ask_is_wrong(tmp_path: Path) -> None:
    async with exporting({"up_to_now": 1.0}) as exporter:
        prometheus = Prometheus(tmp_path, exporter=exporter.port, guarded=True)
        async with running(prometheus) as server:
            right = server.options()
            fine = await until(lambda: of_prometheus(right), lambda finding: finding.level is Level.FINE)
            assert (fine.about, fine.said) == ("prometheus prod", "it answers, and scrapes 1 targets")
            wrong = await of_prometheus(msgspec.structs.replace(right, password=Secret("not its password")))
            assert wrong.level is Level.WRONG
            assert "check prometheus.prod: url, token or username and password" in wrong.mend
            assert "not its password" not in wrong.said + wrong.mend
            await server.stop()
            away = await of_prometheus(right)
            assert (away.level, "cannot be asked" in away.said) == (Level.WRONG, True)


async def test_each_alertmanager_is_asked(tmp_path: Path) -> None:
    async with alertmanager(tmp_path, "http://127.0.0.1:9", "token") as heard:
        named = {"one": AlertmanagerSettings(url=SecretUrl(heard.url)), "two": AlertmanagerSettings(url=SecretUrl("http://127.0.0.1:1"))}
        one, two = await found(settings(alertmanager=named))
    assert (one.level, one.about) == (Level.FINE, "alertmanager one")
    assert (two.level, two.about) == (Level.WRONG, "alertmanager two")
    assert "check alertmanager.two" in two.mend


async def test_a_prometheus_of_no_cluster_is_told() -> None:
    (finding,) = await found(settings(prometheus={"prodd": PrometheusOptions(url=SecretUrl("http://127.0.0.1:1"))}))
    assert finding.level is Level.WRONG
    assert "prodd" in finding.said


async def test_without_either_there_is_nothing_to_find() -> None:
    assert await found(settings()) == []
