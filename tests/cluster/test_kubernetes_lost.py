"""Answers and requests that are lost, for every action that writes: at most one side effect, and looking for it tells the truth."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from adapters.errors import OutcomeUnknown, Refused, TargetMissing
from adapters.kubernetes import KubernetesWorld, connect
from adapters.kubernetes.changes import subject_path
from adapters.kubernetes.resources import AUTOSCALERS, BY_KIND, JOBS, NODES, PODS
from ops.sandbox.kubectl import settled
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    RerunJob,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
    rerun_name,
)
from schemas.target import Kind, Target
from schemas.words import CheckResult
from tests.cluster.conftest import Place
from tests.cluster.proxy import Proxy, Rule, in_front_of


class Ground(NamedTuple):
    """A Deployment with two revisions and an autoscaler, one of its pods, a Job that failed, and a node that takes no pods."""

    place: Place
    web: Target
    pod: Target
    job: Target
    node: Target


class Act(NamedTuple):
    """An action, the UID it is approved for, and how often its side effect has happened."""

    action: Action
    uid: str
    times: Callable[[], Awaitable[int]]


@pytest_asyncio.fixture
async def ground(place: Place) -> AsyncIterator[Ground]:
    web = await place.kubectl.deploy(place.namespace, "web", "sim/web:ok", replicas=2, resources={"limits": {"memory": "64Mi"}})
    await place.kubectl.until(web, settled)
    await place.kubectl.set_image(web, "sim/web:newer", resources={"limits": {"memory": "64Mi"}})
    await place.kubectl.until(web, settled)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec: dict[str, Any] = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 4}
    await place.kubectl.create(AUTOSCALERS, place.namespace, {"metadata": {"name": "web"}, "spec": spec})
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "sim/web:ok"}]}}
    spec = {"template": template, "activeDeadlineSeconds": 1}
    await place.kubectl.create(JOBS, place.namespace, {"metadata": {"name": "import"}, "spec": spec})
    name = f"node-{secrets.token_hex(4)}"
    taints = [{"key": "only-for", "value": "a-test", "effect": "NoSchedule"}]
    await place.kubectl.create(NODES, "", {"metadata": {"name": name}, "spec": {"taints": taints}})
    await place.kubectl.wait(lambda node: bool(node.get("status", {}).get("conditions")), NODES, "", name)
    living = [pod for pod in await place.kubectl.pods(web) if not pod["metadata"].get("deletionTimestamp")]
    in_place = {"cluster": "", "namespace": place.namespace}
    yield Ground(
        place=place,
        web=web,
        pod=Target(kind=Kind.POD, name=living[0]["metadata"]["name"], **in_place),
        job=Target(kind=Kind.JOB, name="import", **in_place),
        node=Target(cluster="", kind=Kind.NODE, name=name),
    )
    await place.kubectl.delete(NODES, "", name)


@pytest_asyncio.fixture
async def proxy(place: Place) -> AsyncIterator[Proxy]:
    made = await in_front_of(place)
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def world(proxy: Proxy) -> AsyncIterator[KubernetesWorld]:
    made = await connect(server=proxy.url)
    yield made
    await made.close()


async def live(ground: Ground, target: Target) -> dict[str, Any]:
    return await ground.place.kubectl.get(BY_KIND[target.kind], target.namespace, target.name)


async def act(ground: Ground, kind: type[Action]) -> Act:
    """The action of this kind on this ground."""
    place, web = ground.place, ground.web
    on_web: dict[type[Any], Action] = {
        RestartWorkload: RestartWorkload(target=web),
        RollBackWorkload: RollBackWorkload(target=web, to_revision=1),
        ScaleWorkload: ScaleWorkload(target=web, replicas=3),
        SetMemoryLimit: SetMemoryLimit(target=web, container="web", memory="128Mi"),
    }
    if kind in on_web:
        before = await live(ground, web)

        async def rollouts() -> int:
            return int((await live(ground, web))["metadata"]["generation"] - before["metadata"]["generation"])

        return Act(on_web[kind], before["metadata"]["uid"], rollouts)
    if kind is SetAutoscalerBounds:
        scaler = await place.kubectl.get(AUTOSCALERS, place.namespace, "web")

        async def bounds() -> int:
            return int((await place.kubectl.get(AUTOSCALERS, place.namespace, "web"))["spec"]["maxReplicas"] == 8)

        return Act(SetAutoscalerBounds(target=web, autoscaler="web", minimum=2, maximum=8), scaler["metadata"]["uid"], bounds)
    if kind is RerunJob:
        job = await place.kubectl.wait(_failed, JOBS, place.namespace, ground.job.name)

        async def reruns() -> int:
            return len(await place.kubectl.items(JOBS, place.namespace)) - 1

        return Act(RerunJob(target=ground.job), job["metadata"]["uid"], reruns)
    return await (_on_pod(ground, kind) if kind in (DeletePod, EvictPod) else _on_node(ground, kind))


def _failed(job: dict[str, Any]) -> bool:
    return any(each["type"] == "Failed" for each in job["status"].get("conditions", []))


async def _on_pod(ground: Ground, kind: type[Action]) -> Act:
    uid = (await live(ground, ground.pod))["metadata"]["uid"]
    action = DeletePod(target=ground.pod, uid=uid) if kind is DeletePod else EvictPod(target=ground.pod, uid=uid)

    async def staying() -> set[str]:
        pods = await ground.place.kubectl.items(PODS, ground.place.namespace, "app=web")
        return {pod["metadata"]["uid"] for pod in pods if not pod["metadata"].get("deletionTimestamp")}

    known = await staying()

    async def gone() -> int:
        return len(known - await staying())

    return Act(action, uid, gone)


async def _on_node(ground: Ground, kind: type[Action]) -> Act:
    if kind is UncordonNode:
        await ground.place.kubectl.patch(NODES, "", ground.node.name, {"spec": {"unschedulable": True}})
    uid = (await live(ground, ground.node))["metadata"]["uid"]

    async def changed() -> int:
        return int(bool((await live(ground, ground.node))["spec"].get("unschedulable")) is (kind is CordonNode))

    return Act(CordonNode(target=ground.node) if kind is CordonNode else UncordonNode(target=ground.node), uid, changed)


OBJECTS = (RestartWorkload, RollBackWorkload, ScaleWorkload, SetMemoryLimit, SetAutoscalerBounds, CordonNode, UncordonNode)
"""What changes an object that stays, and so keeps the mark."""
MARKED = (*OBJECTS, RerunJob)
UNMARKED = (DeletePod, EvictPod)


def on_write(proxy: Proxy, step: str) -> Rule:
    """Do this with the write itself; forward what only reads or rehearses. Discovery is a GET, and a rehearsal says so."""

    def rule(method: str, path: str) -> str:
        return "forward" if method == "GET" or "dryRun" in path or b'"dryRun"' in proxy.body else step

    return rule


def forward(_method: str, _path: str) -> str:
    return "forward"


@pytest.mark.parametrize("kind", MARKED, ids=lambda kind: kind.__name__)
async def test_a_lost_answer_is_found_and_never_repeated(ground: Ground, proxy: Proxy, world: KubernetesWorld, kind: type[Action]) -> None:
    done = await act(ground, kind)
    without_it = None if kind is RerunJob else False  # a Job that is not there may have been made, and be gone
    assert await world.find(done.action, operation="operation-1", uid=done.uid) is without_it
    proxy.rule = on_write(proxy, "lose")

    with pytest.raises(OutcomeUnknown):
        await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)

    proxy.rule = forward
    assert await done.times() == 1, "it did reach the cluster"
    assert await world.find(done.action, operation="operation-1", uid=done.uid) is True
    assert await world.find(done.action, operation="operation-2", uid=done.uid) is without_it
    assert (await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)).repeated is True
    assert await done.times() == 1


@pytest.mark.parametrize("kind", [*OBJECTS, *UNMARKED], ids=lambda kind: kind.__name__)
async def test_a_lost_request_is_not_found_and_can_be_done_then(
    ground: Ground, proxy: Proxy, world: KubernetesWorld, kind: type[Action]
) -> None:
    done = await act(ground, kind)
    proxy.rule = on_write(proxy, "drop")

    with pytest.raises(OutcomeUnknown):
        await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)

    proxy.rule = forward
    assert await done.times() == 0
    assert await world.find(done.action, operation="operation-1", uid=done.uid) is False
    assert (await world.apply(done.action, operation="operation-1", token=2, uid=done.uid)).repeated is False
    assert await done.times() == 1


@pytest.mark.parametrize("removed", [False, True], ids=["never made", "removed since"])
async def test_a_job_that_is_not_there_may_have_been_made(ground: Ground, proxy: Proxy, world: KubernetesWorld, removed: bool) -> None:
    """By its time to live, or by somebody: nothing tells a Job that is gone from one that never was, so it is not made again."""
    done = await act(ground, RerunJob)
    proxy.rule = on_write(proxy, "lose" if removed else "drop")

    with pytest.raises(OutcomeUnknown):
        await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)

    proxy.rule = forward
    assert await done.times() == int(removed)
    if removed:
        name = rerun_name(ground.job.name, "operation-1")
        await ground.place.kubectl.delete(JOBS, ground.place.namespace, name)
        await ground.place.kubectl.gone(JOBS, ground.place.namespace, name)
    assert await world.find(done.action, operation="operation-1", uid=done.uid) is None


@pytest.mark.parametrize("kind", UNMARKED, ids=lambda kind: kind.__name__)
async def test_what_leaves_no_mark_is_not_said_to_be_ours_and_takes_no_second_pod(
    ground: Ground, proxy: Proxy, world: KubernetesWorld, kind: type[Action]
) -> None:
    done = await act(ground, kind)
    proxy.rule = on_write(proxy, "lose")

    with pytest.raises(OutcomeUnknown):
        await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)

    proxy.rule = forward
    assert await done.times() == 1
    assert await world.find(done.action, operation="operation-1", uid=done.uid) is None
    await ground.place.kubectl.gone(PODS, ground.place.namespace, ground.pod.name)
    with pytest.raises((TargetMissing, Refused)):
        await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)
    assert await done.times() == 1


@pytest.mark.parametrize("kind", [*MARKED, *UNMARKED], ids=lambda kind: kind.__name__)
async def test_an_error_after_the_write_is_looked_into(ground: Ground, proxy: Proxy, world: KubernetesWorld, kind: type[Action]) -> None:
    """A gateway in front of the API server: the write arrives, the gateway answers 504."""
    done = await act(ground, kind)
    proxy.rule = on_write(proxy, "then 504")

    if kind in UNMARKED:
        with pytest.raises(OutcomeUnknown, match="cannot be told"):
            await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)
    else:
        applied = await world.apply(done.action, operation="operation-1", token=1, uid=done.uid)
        assert "though the API server answered with an error" in applied.output
    assert await done.times() == 1


@pytest.mark.parametrize("kind", [*MARKED, *UNMARKED], ids=lambda kind: kind.__name__)
async def test_checks_that_get_no_answer_are_not_passed(ground: Ground, proxy: Proxy, world: KubernetesWorld, kind: type[Action]) -> None:
    action = (await act(ground, kind)).action
    proxy.rule = lambda method, path: "forward" if (method, path) == ("GET", subject_path(action)) else "503"

    checks = (await world.preflight(action)).checks

    results = {result: {check.name for check in checks if check.result is result} for result in CheckResult}
    assert results[CheckResult.FAILED] == set()
    assert results[CheckResult.PASSED] <= {"target", "effect", "gitops"}, "what the object itself says"
    asked = {"permission", "dry_run", *(() if kind in (RerunJob, CordonNode, UncordonNode) else ("disruption_budget",))}
    assert asked <= results[CheckResult.NOT_CHECKED]
