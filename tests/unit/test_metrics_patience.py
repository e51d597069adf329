"""A server that hangs is not waited for again and again by who would rather do without; who has to know asks it every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from adapters.alertmanager.client import AlertmanagerClient
from adapters.patience import Patience
from adapters.prometheus.metrics import PrometheusMetrics
from adapters.prometheus.options import PrometheusOptions
from schemas.evidence import Sensor
from schemas.secret import SecretUrl
from schemas.target import Kind, Target
from tests.unit.test_metrics_client import RUN, TOLD, Server, server, vector

__all__ = ["server"]

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
API = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
REFUSED = "not asked: Prometheus did not answer {} times in a row, asked again at 12:00:30 UTC"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def metrics(server: Server, clock: Clock) -> AsyncIterator[PrometheusMetrics]:
    made = PrometheusMetrics({"prod": PrometheusOptions(url=SecretUrl(server.url))}, clock=clock, seconds=0.1)
    yield made
    await made.close()


async def look(metrics: PrometheusMetrics) -> tuple[Sensor, ...]:
    """The sensors of a look at the target and its alert: three metrics and the alert, asked at once."""
    measured, state = await asyncio.gather(metrics.measure(API, [], {}, START), metrics.alert(TOLD, cluster="prod"))
    return (*measured.sensors, *state.sensors)


def errors(sensors: tuple[Sensor, ...]) -> set[str]:
    return {sensor.error for sensor in sensors}


async def test_who_did_not_answer_is_not_asked_for_a_while_and_the_sensors_say_so(
    server: Server,
    metrics: PrometheusMetrics,
    clock: Clock,
) -> None:
    server.silent, sparing = True, metrics.sparing()
    assert errors(await look(sparing)) == {"no answer within 0.1 s"}
    asked = len(server.asked)
    again = await look(sparing)
    assert errors(again) == {REFUSED.format(4)}
    assert {sensor.seconds for sensor in again} == {0.0}
    state = await sparing.alert(TOLD, cluster="prod")
    assert [(view.rule, view.fires) for view in state.alerts] == [(None, None)], "who is not asked is away, and says no to nothing"
    measured = await sparing.measure(API, [], {}, START)
    assert {(view.value, view.note) for view in measured.metrics} == {(None, REFUSED.format(4))}
    assert len(server.asked) == asked

    clock.now += timedelta(seconds=30)
    probed = await look(sparing)
    assert sorted(sensor.error == "no answer within 0.1 s" for sensor in probed) == [False, False, False, True], "one finds out"
    assert errors(await look(sparing)) == {REFUSED.format(5).replace("12:00:30", "12:01:00")}

    server.silent = False
    server.says(vector("1"))
    clock.now += timedelta(seconds=30)
    assert sum(sensor.error == "" for sensor in await look(sparing)) == 1
    found = await look(sparing)
    assert not any("not asked" in sensor.error for sensor in found), "it has answered, and is asked everything again"


async def test_who_has_to_know_asks_every_time(server: Server, metrics: PrometheusMetrics) -> None:
    server.silent, sparing = True, metrics.sparing()
    await look(sparing)
    for _ in range(2):
        assert errors(await look(metrics)) == {"no answer within 0.1 s"}


async def test_an_answer_that_is_an_error_is_an_answer(server: Server, metrics: PrometheusMetrics) -> None:
    server.says(b"", 503)
    sparing = metrics.sparing()
    for _ in range(4):
        assert errors(await look(sparing)) == {"Prometheus answers with status 503"}


async def test_each_server_has_its_own(server: Server, clock: Clock) -> None:
    """And a client that gives up before its sensor does counts the same."""
    well = Server()
    well.bodies = {"/api/v2/alerts": [], "/api/v2/status": {"uptime": RUN}}
    server.silent = True
    async with await asyncio.start_server(well.answer, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        heard = [AlertmanagerClient(url), AlertmanagerClient(server.url, timeout=0.1)]
        prometheus = {"prod": PrometheusOptions(url=SecretUrl(server.url), timeout=0.1)}
        metrics = PrometheusMetrics(prometheus, clock=clock, alertmanagers=heard)
        sparing = metrics.sparing()
        for _ in range(3):
            await sparing.alert(TOLD, cluster="prod")
        found = {sensor.name: sensor.error for sensor in (await sparing.alert(TOLD, cluster="prod", heard_by=(RUN,))).sensors}
        await sparing.close()
    assert found == {
        "alert:prometheus": REFUSED.format(3),
        "alert:alertmanager 1": "",
        "alert:alertmanager 2": REFUSED.format(3).replace("Prometheus", "Alertmanager"),
    }


def test_only_misses_in_a_row_count() -> None:
    patience = Patience("Prometheus", lambda: START)
    for late in (True, True, False, True, True):
        patience.told(late=late)
    assert patience.refusal() == ""
    patience.told(late=True)
    assert patience.refusal() == REFUSED.format(3)
    patience.told(late=False)
    assert patience.refusal() == "", "a late one of those under way was answered after all"
