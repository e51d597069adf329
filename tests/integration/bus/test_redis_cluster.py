"""The same pipeline on a Redis Cluster of three masters with four partitions: started, filled, and a slot moved while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from redis.crc import key_slot

from bus import dead, inspect, names
from bus.connect import Bus, connect
from bus.errors import BusUnavailable
from bus.handler import Context, Reject
from bus.route import ClusterRoute
from schemas.event import Event, Output
from schemas.events import ExecutionRetryDue, PeopleAsked
from tests.integration.bus.ground import QUICK, Desk, answer, numbers, running, until, votes
from tests.integration.redis_cluster import MASTERS, ask, redis_cluster

PARTITIONS = 4
PATIENT = msgspec.structs.replace(QUICK, idle_limit=1.0)


@pytest_asyncio.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[int]]:
    """The ports of three masters that share the slots."""
    async with redis_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest_asyncio.fixture
async def bus(cluster: list[int]) -> AsyncIterator[Bus]:
    """A bus on the cluster, emptied."""
    connected = await until(lambda: _connected(cluster[0]))
    for partition in range(PARTITIONS):
        await connected.channel(partition).call("FLUSHALL")
    yield connected
    await connected.close()


async def _connected(port: int) -> Bus | None:
    try:
        return await connect(f"redis://127.0.0.1:{port}", partitions=PARTITIONS, name="test", cluster=True)
    except BusUnavailable:
        return None


async def everywhere(bus: Bus, topic: str) -> list[tuple[int, Event]]:
    """Partition and event of all entries of a topic."""
    return [(row.partition, row.event) async for row in inspect.tail(bus, topic, last=100_000) if row.event is not None]


async def ask_again(event: Event, context: Context) -> list[Output]:
    assert isinstance(event, PeopleAsked)
    return [context.event(ExecutionRetryDue, approval=event.reason, attempt=1)]


async def test_the_pipeline_runs_over_all_masters(bus: Bus, cluster: list[int]) -> None:
    batch = votes(400)
    await bus.append(batch)
    again = Desk(ask_again, name="learn", topics=("failures",))
    async with running(bus, Desk(), Desk(), again, options=PATIENT) as loops:
        await until(lambda: loops[2].meter.topics["failures"].handled == 400)
    ends = await everywhere(bus, "timers")
    assert sorted(event.approval for _, event in ends if isinstance(event, ExecutionRetryDue)) == sorted(numbers(400))
    home = {event.approval: names.partition_of(event.key, PARTITIONS) for event in batch}
    assert all(home[event.approval] == partition for partition, event in ends if isinstance(event, ExecutionRetryDue))
    assert {partition for partition, _ in ends} == set(range(PARTITIONS))
    masters = {(await bus.channel(partition).call("INFO", "server")).split(b"run_id:")[1][:40] for partition in range(PARTITIONS)}
    assert len(masters) == MASTERS == 3


async def test_dead_letters_are_replayed_where_they_died(bus: Bus) -> None:
    refuse = True

    async def handle(event: Event, context: Context) -> list[Output]:
        if refuse:
            raise Reject("not today")
        return await answer(event, context)

    await bus.append(votes(20))
    async with running(bus, Desk(handle), options=PATIENT) as (loop,):
        await until(lambda: loop.meter.topics["decisions"].handled == 20)
        refuse = False
        rows = [row async for row in dead.letters(bus)]
        assert len(rows) == 20
        for row in rows:
            assert (await dead.replay(bus, row)).outcome == dead.Outcome.DONE
        await until(lambda: loop.meter.topics["decisions"].handled == 40)
    assert len(await everywhere(bus, "failures")) == 20


async def test_a_partition_that_moves_to_another_master_is_followed(bus: Bus, cluster: list[int]) -> None:
    assert isinstance(bus.route, ClusterRoute)
    slot = key_slot(names.prefix(0))
    desk = Desk()
    async with running(bus, desk, options=PATIENT) as (loop,):
        await bus.append(votes(100))
        await until(lambda: loop.meter.topics["decisions"].handled == 100)
        await _move(cluster, slot)
        batch = votes(100)
        await bus.append(batch, token="after the move")
        await until(lambda: loop.meter.topics["decisions"].handled == 200)
    assert len(await everywhere(bus, "failures")) == 200


async def _move(ports: list[int], slot: int) -> None:
    """Gives one slot and its keys to another master."""
    places: dict[str, int] = {}
    source = ""
    for line in (await ask(ports[0], "CLUSTER", "NODES")).splitlines():
        node, place, *_ = words = line.split()
        places[node] = int(place.split("@")[0].split(":")[1])
        spans = [span.split("-") for span in words[8:]]
        if any(int(span[0]) <= slot <= int(span[-1]) for span in spans):
            source = node
    target = next(node for node in places if node != source)
    source_port, target_port = places[source], places[target]
    await ask(target_port, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", source)
    await ask(source_port, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", target)
    while keys := (await ask(source_port, "CLUSTER", "GETKEYSINSLOT", str(slot), "100")).split():
        await ask(source_port, "MIGRATE", "127.0.0.1", str(target_port), "", "0", "5000", "KEYS", *keys)
    for port in (target_port, source_port, *ports):
        await ask(port, "CLUSTER", "SETSLOT", str(slot), "NODE", target)
