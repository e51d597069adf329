"""Every stage, the archive, the webhook and the `mend` commands on a Redis Cluster of three masters with four partitions."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from redis.cluster import RedisCluster

from bus import names
from ops.wiring import STAGES
from tests.bench.alerts import in_groups, of_deployment
from tests.integration.healing import eventually
from tests.integration.mend_process import Mend, end, installation, until
from tests.integration.redis_cluster import ask, redis_cluster
from tests.ports import free_port

pytestmark = pytest.mark.slow
PARTITIONS = 4
DEPLOYMENTS = 24
SETTINGS = """
[data]
folder = "{folder}/data"
[redis]
url = "redis://127.0.0.1:PORT"
cluster = true
partitions = 4
[postgres]
url = "POSTGRES"
[http]
port = HTTP
[api]
port = 0
[clusters.default]
server = "http://127.0.0.1:9"
[gate]
mode = "auto"
cooldown = {{ actions = 1000, seconds = 600 }}
[verify]
settle = 0.3
interval = 0.2
hold_down = 0.0
[bus]
delay_period = 0.05
[archive]
trim_period = 0.5
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[list[int]]:
    async with redis_cluster(tmp_path) as ports:
        for port in ports:
            await eventually(partial(_is_whole, port))
        yield ports


async def _is_whole(port: int) -> bool:
    return "cluster_state:ok" in await ask(port, "CLUSTER", "INFO")


@pytest.fixture
def mend(cluster: list[int], postgres_url: str) -> Iterator[Mend]:
    """An installation with these stores and with targets that are nowhere: what is done to them is nothing."""
    http = str(free_port())
    settings = SETTINGS.replace("PORT", str(cluster[0]), 1).replace("POSTGRES", postgres_url).replace("HTTP", http)
    with installation(settings) as mend:
        yield mend


class Event:
    """What the event log has of one event."""

    def __init__(self, row: asyncpg.Record) -> None:
        self.type, self.by, self.incident = row["type"], row["told_by"].partition("/")[0], row["incident"]
        self.partition: int = row["partition"]


async def _logged(url: str) -> list[Event]:
    connection = await asyncpg.connect(url)
    try:
        return [Event(row) for row in await connection.fetch("SELECT type, told_by, incident, partition FROM event_log")]
    finally:
        await connection.close()


def _answers(url: str, body: bytes | None = None) -> bool:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def _append_nonsense(port: int) -> None:
    """What a producer that got it wrong writes to each partition."""
    with closing(RedisCluster(port=port, host="127.0.0.1")) as client:
        for partition in range(PARTITIONS):
            client.xadd(names.stream(partition, "signals"), {"e": f"no event {partition}"})


async def test_from_the_alert_to_the_lesson_over_all_masters(mend: Mend, cluster: list[int], postgres_url: str) -> None:
    process = mend.start(str(mend.folder / "mend.toml"), module="tests.bench.stage_process")
    try:
        await _heal_everything(mend, postgres_url)
        assert [await ask(port, "DBSIZE") for port in cluster].count("0\n") == 0, "every master holds a part of it"
        await asyncio.to_thread(_look_around, mend)
        await asyncio.to_thread(_replay_what_died, mend, cluster[0])
    finally:
        code = await asyncio.to_thread(end, process)
    assert code == 0, mend.log.read_text()


async def _heal_everything(mend: Mend, postgres_url: str) -> None:
    """One incident for each Deployment, each healed once, by every stage in every partition."""
    api = f"http://127.0.0.1:{_http_port(mend)}"
    await asyncio.to_thread(until, lambda: _answers(f"{api}/readyz"), mend.log)
    for body in in_groups([of_deployment(f"api-{number}") for number in range(DEPLOYMENTS)], 6):
        assert await asyncio.to_thread(_answers, f"{api}/v1/alertmanager", body), mend.log.read_text()
    await eventually(lambda: _all_learned(postgres_url))
    events = await _logged(postgres_url)
    counted = Counter(event.type for event in events)
    for kind in ("SignalReceived", "IncidentOpened", "ActionProposed", "ActionApproved", "ExecutionFinished", "VerificationFinished"):
        assert counted[kind] == DEPLOYMENTS, (kind, counted)
    for stage in ("ingest", "propose", "gate", "execute", "verify", "learn"):
        assert {event.partition for event in events if event.by == stage} == set(range(PARTITIONS)), stage


async def _all_learned(postgres_url: str) -> bool:
    return len({event.incident for event in await _logged(postgres_url) if event.type == "LessonLearned"}) == DEPLOYMENTS


def _http_port(mend: Mend) -> str:
    return (mend.folder / "mend.toml").read_text().partition("[http]\nport = ")[2].partition("\n")[0]


def _look_around(mend: Mend) -> None:
    """The commands see all partitions, wherever they are."""
    rows: list[dict[str, Any]] = until(lambda: _settled(mend), mend.log)
    assert {row["group"] for row in rows} == set(STAGES)
    assert {row["partition"] for row in rows} == set(range(PARTITIONS))
    for incident in mend.json("incidents", "ls", "--limit", "3"):
        types = [node["type"] for node in mend.json("trace", incident["id"])]
        assert types[:4] == ["SignalReceived", "IncidentOpened", "ActionProposed", "ActionApproved"]
        assert types.count("LessonLearned") == 1
    about = {finding["about"]: finding["level"] for finding in mend.json("doctor", code=1)}  # the cluster of the targets is nowhere
    assert about["redis"] == about["groups"] == "fine", about


def _settled(mend: Mend) -> list[dict[str, Any]]:
    """Every group of every stream, once all have settled everything and it is trimmed; nothing before."""
    rows: list[dict[str, Any]] = mend.json("streams", "ls")
    done = all(row["lag"] == row["pending"] == 0 for row in rows)
    return rows if done and all(row["length"] <= 1 for row in rows) else []


def _replay_what_died(mend: Mend, port: int) -> None:
    """What died in a partition is put back into that very partition, where its group finds it."""
    _append_nonsense(port)
    first = until(lambda: _dead(mend, PARTITIONS), mend.log)
    until(lambda: all(row["lag"] == row["pending"] == 0 for row in mend.json("streams", "ls")), mend.log)
    assert [one["outcome"] for one in mend.json("dead", "replay", "--all")] == ["done"] * PARTITIONS
    again = until(lambda: _dead(mend, PARTITIONS), mend.log)
    assert not {row["id"] for row in first} & {row["id"] for row in again}
    assert {row["group"] for row in again} == {"ingest"}


def _dead(mend: Mend, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = mend.json("dead", "ls")
    return rows if len(rows) == count else []
