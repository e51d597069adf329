"""A real Alertmanager posts to our API, and its alerts are in Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.alertmanager.client import AlertmanagerClient, Heard
from adapters.alertmanager.fingerprint import fingerprint_of
from adapters.errors import Refused, Transient
from adapters.prometheus.metrics import PrometheusMetrics
from bus.connect import Bus, connect
from bus.handler import Context
from ops.api.application import build_api
from ops.api.guard import Guard
from ops.api.server import bind, serve, url_of
from schemas.codec import decode
from schemas.event import Output
from schemas.events import IncidentOpened, IncidentResolved, SignalReceived
from schemas.words import SignalStatus
from sql.database import Database
from stages.ingest.stage import Ingest
from tests.e2e.alertmanager import Alertmanager, alertmanager, needs_alertmanager
from tests.e2e.prometheus import until as shown

pytestmark = [pytest.mark.e2e, needs_alertmanager]
TOKEN = "the-token-of-this-test"
DOWN = {"alertname": "KubeDeploymentReplicasMismatch", "namespace": "shop", "deployment": "api", "severity": "critical"}
SLOW = {"alertname": "Slow", "namespace": "shop", "deployment": "api", "odd": 'quo"te\\ \u00fc \U0001f600\n'}


@asynccontextmanager
async def api(bus: Bus, token: str = TOKEN) -> AsyncIterator[str]:
    """Our API over this bus; its URL."""
    stop, listener = asyncio.Event(), bind("127.0.0.1", 0)
    application = build_api(bus, guard=Guard(token=token), clock=lambda: datetime.now(UTC), by="api/test")
    serving = asyncio.create_task(serve(application, listener, stop))
    yield url_of(listener)
    stop.set()
    await serving


async def signals_in(redis_url: str) -> list[SignalReceived]:
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:
        entries: Any = await client.xrange("mend:{0}:signals")
    events = [decode(fields[b"e"]) for _, fields in entries]
    assert all(isinstance(event, SignalReceived) for event in events)
    return [event for event in events if isinstance(event, SignalReceived)]


async def until(ask: Callable[[], Awaitable[list[SignalReceived]]], count: int) -> list[SignalReceived]:
    """What `ask` gives, as soon as it is that many."""
    deadline = asyncio.get_running_loop().time() + 30
    while len(found := await ask()) < count:
        assert asyncio.get_running_loop().time() < deadline, f"only {len(found)} signals arrived"
        await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    bus = await connect(redis_url, name="test")
    yield bus
    await bus.close()


async def test_an_alert_of_a_real_alertmanager_arrives_in_the_stream(tmp_path: Path, redis_url: str, bus: Bus, database: Database) -> None:
    async with api(bus) as url, alertmanager(tmp_path / "am", url, TOKEN) as sender:
        await sender.tell(DOWN)
        (firing,) = await until(lambda: signals_in(redis_url), 1)
        assert (firing.status, firing.labels) == (SignalStatus.FIRING, DOWN)
        assert (firing.key, firing.ends_at) == ("default/shop/Deployment/api", None)
        assert firing.annotations == {"summary": f"{DOWN['alertname']} happened"}
        await sender.tell(DOWN, ended=True)
        _, resolved = await until(lambda: signals_in(redis_url), 2)
    assert (resolved.status, resolved.starts_at, resolved.fingerprint) == (SignalStatus.RESOLVED, firing.starts_at, firing.fingerprint)
    assert resolved.ends_at is not None
    await _opens_and_resolves(database, firing, resolved)


async def test_an_alert_whose_start_nobody_told_resolves_too(tmp_path: Path, redis_url: str, bus: Bus, database: Database) -> None:
    async with api(bus) as url, alertmanager(tmp_path / "am", url, TOKEN) as sender:
        sender.tells_start = False
        await sender.tell(DOWN)
        await until(lambda: signals_in(redis_url), 1)
        await sender.tell(DOWN, ended=True)
        firing, resolved = await until(lambda: signals_in(redis_url), 2)
    assert firing.starts_at > resolved.starts_at
    await _opens_and_resolves(database, firing, resolved)


async def _opens_and_resolves(database: Database, firing: SignalReceived, resolved: SignalReceived) -> None:
    stage = Ingest(database)
    outputs: list[Output] = []
    for event in (firing, resolved):
        context = Context(stage="ingest", by="ingest/test", clock=lambda: datetime.now(UTC), input=event)
        outputs += await stage.handle(event, context)
    assert [type(output) for output in outputs[:2]] == [IncidentOpened, IncidentResolved]


async def test_our_fingerprint_is_alertmanagers(tmp_path: Path) -> None:
    async with alertmanager(tmp_path / "am", "http://127.0.0.1:9", TOKEN) as sender:
        await sender.tell(DOWN, SLOW)
        given = await sender.fingerprints()
    assert given == {labels["alertname"]: fingerprint_of(labels) for labels in (DOWN, SLOW)}


async def test_alertmanager_tries_again_what_was_not_taken(tmp_path: Path, redis_url: str, bus: Bus) -> None:
    refused = asyncio.Event()

    class Away:
        async def append(self, events: object) -> None:
            from bus.errors import BusUnavailable

            refused.set()
            raise BusUnavailable("Redis is away")

    class Switch:
        taker: Away | Bus = Away()

        async def append(self, events: list[SignalReceived]) -> object:
            return await self.taker.append(events)

    switch = Switch()
    async with api(switch) as url, alertmanager(tmp_path / "am", url, TOKEN) as sender:  # type: ignore[arg-type]
        await sender.tell(DOWN)
        await asyncio.wait_for(refused.wait(), 20)
        assert await signals_in(redis_url) == []
        switch.taker = bus
        await until(lambda: signals_in(redis_url), 1)


async def test_the_client_tells_whether_an_alert_fires(tmp_path: Path) -> None:
    async with alertmanager(tmp_path / "am", "http://127.0.0.1:9", TOKEN) as sender:
        client = AlertmanagerClient(sender.url)
        try:
            assert not await client.is_firing(DOWN)
            await sender.tell(DOWN, SLOW)
            assert await client.is_firing(DOWN)
            assert await client.is_firing(SLOW)
            assert not await client.is_firing({**DOWN, "deployment": "web"})
            await _ended(sender, client)
        finally:
            await client.close()
        elsewhere = AlertmanagerClient(sender.url + "/nowhere")
        with pytest.raises(Refused, match="check its URL"):
            await elsewhere.is_firing(DOWN)
        await elsewhere.close()


async def _ended(sender: Alertmanager, client: AlertmanagerClient) -> None:
    await sender.tell(DOWN, ended=True)
    deadline = asyncio.get_running_loop().time() + 10
    while await client.is_firing(DOWN):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


async def test_an_alert_of_which_nobody_is_told_fires_all_the_same(tmp_path: Path) -> None:
    """Silenced, or inhibited by another."""
    async with alertmanager(tmp_path / "am", "http://127.0.0.1:9", TOKEN) as sender:
        client = AlertmanagerClient(sender.url)
        await sender.silence(SLOW["alertname"])
        await sender.tell(DOWN, SLOW, {"alertname": "Outage"})
        suppressed = {DOWN["alertname"]: "suppressed", SLOW["alertname"]: "suppressed", "Outage": "active"}
        await shown(sender.states, lambda states: states == suppressed)
        assert await client.is_firing(DOWN)
        assert await client.heard(DOWN) == Heard(fires=True)  # inhibited: there is no silence
        (silence,) = (await client.heard(SLOW)).silences
        assert re.fullmatch(r"by ana until 20\d\d-\S+Z: known", silence)
        metrics = PrometheusMetrics({}, clock=lambda: datetime.now(UTC), alertmanagers=[client])
        (view,) = (await metrics.alert(SLOW)).alerts
        assert (view.fires, view.silences) == (True, (silence,))
        await metrics.close()


async def test_an_alertmanager_that_was_started_again_is_told_from_the_one_that_had_the_alert(tmp_path: Path) -> None:
    """It has lost the alert, which still fires: only the run that had it can say that it is over."""
    async with alertmanager(tmp_path / "am", "http://127.0.0.1:9", TOKEN) as sender:
        metrics = PrometheusMetrics({}, clock=lambda: datetime.now(UTC), alertmanagers=[AlertmanagerClient(sender.url)])
        (never,) = (await metrics.alert(DOWN)).alerts
        assert (never.heard, never.fires, never.heard_by) == (None, None, ())
        assert never.note == "Alertmanager does not have it, but was not seen to have had it"
        await sender.tell(DOWN, SLOW)
        (had,) = (await metrics.alert(DOWN)).alerts
        assert (had.heard, had.fires, len(had.heard_by)) == (True, True, 1)
        await sender.tell(SLOW, ended=True)
        await shown(sender.states, lambda states: SLOW["alertname"] not in states)
        (over,) = (await metrics.alert(SLOW, heard_by=had.heard_by)).alerts
        assert (over.heard, over.fires) == (False, False)
        await sender.stop()
        await sender.start()
        (lost,) = (await metrics.alert(DOWN, heard_by=had.heard_by)).alerts
        assert (lost.heard, lost.fires) == (None, None)
        assert lost.note == "Alertmanager does not have it, but was started again since it did"
        await sender.tell(DOWN)
        assert await metrics.firing(DOWN, heard_by=had.heard_by)
        await metrics.close()


async def test_a_silent_alertmanager_is_transient() -> None:
    client = AlertmanagerClient("http://127.0.0.1:9", timeout=2)
    with pytest.raises(Transient):
        await client.is_firing(DOWN)
    await client.close()
