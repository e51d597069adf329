"""When the API server does not answer as it should: what is said about the side effect is true, and looking finds it.

A proxy stands between the adapter and the cluster. It reads each request whole and does with it what the test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from adapters.errors import OutcomeUnknown, Refused, Transient
from adapters.kubernetes import KubernetesWorld, connect, ways
from adapters.kubernetes.resources import DEPLOYMENTS
from adapters.kubernetes.sensors import observe
from ops.sandbox.kubectl import settled
from schemas.action import DeletePod, RestartWorkload, ScaleWorkload
from schemas.target import Kind, Target
from schemas.words import CheckResult
from tests.cluster.conftest import Place
from tests.cluster.proxy import Proxy, Rule, in_front_of


@pytest_asyncio.fixture
async def proxy(place: Place) -> AsyncIterator[Proxy]:
    """A proxy in front of the test's cluster."""
    made = await in_front_of(place)
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def world(proxy: Proxy) -> AsyncIterator[KubernetesWorld]:
    """The adapter, through the proxy."""
    made = await connect(server=proxy.url)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def target(place: Place) -> Target:
    made = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok")
    await place.kubectl.until(made, settled)
    return made


async def uid_of(place: Place) -> str:
    return str((await place.kubectl.get(DEPLOYMENTS, place.namespace, "api"))["metadata"]["uid"])


async def generation(place: Place) -> int:
    return int((await place.kubectl.get(DEPLOYMENTS, place.namespace, "api"))["metadata"]["generation"])


def on_write(step: str) -> Rule:
    """Do this with the patch itself; forward the dry run and everything else."""
    return lambda method, path: step if method == "PATCH" and "dryRun" not in path else "forward"


def always(step: str) -> Rule:
    """Do this with every request."""
    return lambda _method, _path: step


async def test_an_answer_that_is_lost_is_unknown_and_then_found(place: Place, proxy: Proxy, world: KubernetesWorld, target: Target) -> None:
    action, uid = RestartWorkload(target=target), await uid_of(place)
    proxy.rule = on_write("lose")

    with pytest.raises(OutcomeUnknown):
        await world.apply(action, operation="operation-1", token=1, uid=uid)

    assert await generation(place) == 2, "the patch did reach the cluster"
    proxy.rule = always("forward")
    assert await world.find(action, operation="operation-1", uid=uid) is True
    assert (await world.apply(action, operation="operation-1", token=1, uid=uid)).repeated is True
    assert await generation(place) == 2


async def test_a_request_that_is_lost_is_unknown_and_then_not_found(
    place: Place, proxy: Proxy, world: KubernetesWorld, target: Target
) -> None:
    action, uid = RestartWorkload(target=target), await uid_of(place)
    proxy.rule = on_write("drop")

    with pytest.raises(OutcomeUnknown):
        await world.apply(action, operation="operation-1", token=1, uid=uid)

    assert await world.find(action, operation="operation-1", uid=uid) is False
    assert await generation(place) == 1


@pytest.mark.parametrize("status", ["429", "500", "502", "503", "504"])
async def test_a_fault_that_changed_nothing_is_transient(
    place: Place, proxy: Proxy, world: KubernetesWorld, target: Target, status: str
) -> None:
    action, uid = RestartWorkload(target=target), await uid_of(place)
    for rule in (on_write(status), always(status)):
        proxy.rule = rule
        with pytest.raises(Transient, match=status):
            await world.apply(action, operation="operation-1", token=1, uid=uid)
    assert await generation(place) == 1


async def test_a_fault_after_the_write_is_not_taken_for_a_failure(
    place: Place, proxy: Proxy, world: KubernetesWorld, target: Target
) -> None:
    """An API server behind a gateway: the patch arrives, the gateway answers 504."""
    action, uid = RestartWorkload(target=target), await uid_of(place)
    proxy.rule = on_write("then 504")

    applied = await world.apply(action, operation="operation-1", token=1, uid=uid)

    assert "though the API server answered with an error" in applied.output
    assert await generation(place) == 2


async def test_a_fault_that_cannot_be_looked_into_is_unknown(place: Place, proxy: Proxy, world: KubernetesWorld, target: Target) -> None:
    action, uid = RestartWorkload(target=target), await uid_of(place)
    failed = False

    def rule(method: str, path: str) -> str:
        nonlocal failed
        failed = failed or (method == "PATCH" and "dryRun" not in path)
        return "503" if failed else "forward"

    proxy.rule = rule
    with pytest.raises(OutcomeUnknown, match="could not be looked for"):
        await world.apply(action, operation="operation-1", token=1, uid=uid)


async def test_a_write_that_hangs_is_unknown(place: Place, proxy: Proxy, target: Target) -> None:
    action, uid = ScaleWorkload(target=target, replicas=2), await uid_of(place)
    client = await ways.by_url(proxy.url)
    client.write_seconds = 0.5
    world = KubernetesWorld(client, clock=lambda: datetime.now(UTC))
    proxy.rule = on_write("hang")

    with pytest.raises(OutcomeUnknown, match="timeout"):
        await world.apply(action, operation="operation-1", token=1, uid=uid)

    assert await world.find(action, operation="operation-1", uid=uid) is False
    await world.close()


async def test_a_pod_whose_delete_was_lost_is_not_said_to_be_deleted(
    place: Place, proxy: Proxy, world: KubernetesWorld, target: Target
) -> None:
    meta = (await place.kubectl.pods(target))[0]["metadata"]
    pod = Target(cluster="", kind=Kind.POD, name=meta["name"], namespace=place.namespace)
    action = DeletePod(target=pod, uid=meta["uid"])

    def rule(method: str, _path: str) -> str:
        return "drop" if method == "DELETE" and rehearsed() else "forward"

    def rehearsed() -> bool:  # the dry run of a delete differs from it only in its body
        return any(method == "DELETE" for method, _ in proxy.seen)

    proxy.rule = rule
    with pytest.raises(OutcomeUnknown):
        await world.apply(action, operation="operation-1", token=1, uid=action.uid)

    assert await world.find(action, operation="operation-1", uid=action.uid) is False


# reading ---------------------------------------------------------------------------------------------------------


async def test_reads_that_are_lost_change_nothing_and_say_so(place: Place, proxy: Proxy, world: KubernetesWorld, target: Target) -> None:
    uid = await uid_of(place)
    for step in ("drop", "lose"):
        proxy.rule = always(step)
        with pytest.raises(Transient):
            await world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid=uid)
        with pytest.raises(Transient):
            await world.owner(target)
    assert await generation(place) == 1


async def test_a_sensor_that_hangs_is_missing_and_the_others_are_not(place: Place, proxy: Proxy, target: Target) -> None:
    client = await ways.by_url(proxy.url)
    proxy.rule = lambda _method, path: "hang" if "/services" in path or "/events" in path else "forward"
    start = asyncio.get_running_loop().time()
    snapshot = await observe(client, target, at=datetime.now(UTC), seconds=1.0)
    took = asyncio.get_running_loop().time() - start
    await client.close()

    errors = {sensor.name: sensor.error for sensor in snapshot.sensors if sensor.error and sensor.name != "logs"}
    assert errors == {"services": "timeout after 1 s", "events": "timeout after 1 s"}
    assert snapshot.exists is True
    assert len(snapshot.pods) == 1
    assert took < 3


async def test_an_api_server_that_is_away(target: Target) -> None:
    world = await connect(server="http://127.0.0.1:1")
    try:
        snapshot = await world.observe(target)
        assert snapshot.exists is None
        assert not snapshot.measured
        for work in (world.owner(target), world.preflight(RestartWorkload(target=target))):
            with pytest.raises(Transient, match="cannot be reached"):
                await work
        with pytest.raises(Transient, match="cannot be reached"):
            await world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid="any")
    finally:
        await world.close()


async def test_checks_that_get_no_answer_are_not_passed(place: Place, proxy: Proxy, world: KubernetesWorld, target: Target) -> None:
    def rule(method: str, path: str) -> str:
        return "forward" if method == "GET" and path.startswith(f"/apis/apps/v1/namespaces/{place.namespace}/deployments/") else "503"

    proxy.rule = rule
    preflight = await world.preflight(RestartWorkload(target=target))

    passed = [check.name for check in preflight.checks if check.result is CheckResult.PASSED]
    assert passed == ["target", "effect", "gitops"]
    assert {check.name for check in preflight.checks if check.result is CheckResult.NOT_CHECKED} == {
        "permission",
        "dry_run",
        "disruption_budget",
    }


async def test_an_answer_that_is_no_object_is_refused_or_transient(proxy: Proxy, world: KubernetesWorld, target: Target) -> None:
    proxy.rule = always("200")
    with pytest.raises(Transient):
        await world.owner(target)
    proxy.rule = always("418")
    with pytest.raises(Refused, match="418"):
        await world.owner(target)
