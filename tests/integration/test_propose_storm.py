"""propose in a storm beside a Prometheus and an Alertmanager that hang: the storm does not wait for them one incident after another."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.alertmanager.client import AlertmanagerClient
from adapters.prometheus.metrics import PrometheusMetrics
from adapters.prometheus.options import PrometheusOptions
from ops.sandbox.kubectl import settled
from schemas.events import ActionProposed, IncidentOpened
from schemas.secret import SecretUrl
from schemas.words import Severity
from sql.database import Database
from sql.evidence import get_snapshot
from stages.propose.stage import ProposeStage
from tests.integration.healing import Healing, healing_scene, only

INCIDENTS, AT_ONCE = 20, 4


class Hanging:
    """Takes connections and answers none; counts them."""

    def __init__(self) -> None:
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.read()
        writer.close()


async def opened(healing: Healing, name: str) -> IncidentOpened:
    target = await healing.deploy(name, "sim/web:ok")
    await healing.kubectl.until(target, settled)
    about: dict[str, Any] = {"target": target, "severity": Severity.P2, "title": name, "alert": "KubePodCrashLooping", "anomaly": name}
    return IncidentOpened(**healing.header(await healing.incident(target)), **about)


async def test_a_storm_does_not_wait_for_what_hangs_again_and_again(database: Database) -> None:
    hanging, bounded = Hanging(), asyncio.Semaphore(AT_ONCE)
    async with healing_scene(database) as healing, await asyncio.start_server(hanging, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        hears = [AlertmanagerClient(url)]
        servers = {"prod": PrometheusOptions(url=SecretUrl(url))}
        metrics = PrometheusMetrics(servers, clock=lambda: healing.now, alertmanagers=hears, seconds=0.5)
        stage = ProposeStage(healing.database, healing.world, metrics=metrics.sparing())
        storm = [await opened(healing, f"api-{number}") for number in range(INCIDENTS)]

        async def one(event: IncidentOpened) -> ActionProposed:
            async with bounded:
                return only(await healing.handle(stage, event), ActionProposed)

        proposals = await asyncio.gather(*(one(event) for event in storm))
        await metrics.close()
        async with database.connection() as connection:
            seen = [await get_snapshot(connection, proposal.evidence) for proposal in proposals]
    outside = [[sensor for sensor in one.sensors if sensor.name.startswith(("metric:", "alert:"))] for one in seen if one is not None]
    waited = [sensors for sensors in outside if any(sensor.seconds >= 0.5 for sensor in sensors)]
    assert len(outside) == INCIDENTS
    assert all(len(sensors) == 5 and all(sensor.error for sensor in sensors) for sensors in outside), "what was not asked was not seen"
    assert len(waited) < INCIDENTS / 2
    assert hanging.connections < INCIDENTS * 5 / 2
    assert sum(all(sensor.error.startswith("not asked: ") for sensor in sensors) for sensors in outside) > INCIDENTS / 2
