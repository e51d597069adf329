"""Trouble that scenarios need of the sandbox: nodes that are away, no room, Jobs that fail, leaks, autoscalers, budgets, long lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from adapters.kubernetes import ways
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import Busy
from adapters.kubernetes.resources import AUTOSCALERS, DEPLOYMENTS, JOBS, NODES, PODS, REPLICASETS, Resource, budgets
from ops.sandbox import Kubectl, Sandbox
from ops.sandbox.kubectl import settled, waiting
from schemas.target import Kind, Target

Tree = dict[str, Any]
BUDGETS = budgets("v1")


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with Sandbox(speed=50, seed=1) as running:
        made = await ways.by_url(running.url)
        yield made
        await made.close()


@pytest_asyncio.fixture
async def kubectl(client: Client) -> Kubectl:
    made = Kubectl(client)
    await made.namespace("shop")
    return made


async def down(kubectl: Kubectl, node: str, *, away: bool = True) -> None:
    await kubectl.patch(NODES, "", node, {"metadata": {"annotations": {"sim/down": "true" if away else None}}})


def ended(kind: str) -> Callable[[Tree], bool]:
    return lambda job: any(each["type"] == kind for each in job["status"].get("conditions", []))


async def job(kubectl: Kubectl, image: str, **spec: Any) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": image}]}}
    await kubectl.create(JOBS, "shop", {"metadata": {"name": "import"}, "spec": {"template": template} | spec})


async def alone_on(kubectl: Kubectl, node: str) -> Target:
    """A workload all of whose pods are on one node."""
    others = [item["metadata"]["name"] for item in await kubectl.items(NODES, "") if item["metadata"]["name"] != node]
    for other in others:
        await kubectl.patch(NODES, "", other, {"spec": {"unschedulable": True}})
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=2)
    await kubectl.until(target, settled)
    for other in others:
        await kubectl.patch(NODES, "", other, {"spec": {"unschedulable": None}})
    return target


# nodes -----------------------------------------------------------------------------------------------------------


async def test_pods_of_a_node_that_is_down_are_unready_and_replaced_after_five_minutes(kubectl: Kubectl) -> None:
    target = await alone_on(kubectl, "node-2")
    before = {pod["metadata"]["name"] for pod in await kubectl.pods(target)}

    await down(kubectl, "node-2")
    await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 0)
    node = await kubectl.wait(lambda item: bool(item["spec"].get("taints")), NODES, "", "node-2")
    assert {taint["key"] for taint in node["spec"]["taints"]} == {"node.kubernetes.io/unreachable"}
    assert {pod["metadata"]["name"] for pod in await kubectl.pods(target)} == before, "they are left alone at first"
    await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 2)
    lost = [pod for pod in await kubectl.pods(target) if pod["metadata"]["name"] in before]
    assert all(pod["metadata"].get("deletionTimestamp") for pod in lost), "nobody confirms that they ended"
    assert len(lost) == 2

    await down(kubectl, "node-2", away=False)
    for name in before:
        await kubectl.gone(PODS, "shop", name)
    await kubectl.wait(lambda item: not item["spec"].get("taints"), NODES, "", "node-2")


async def test_pods_are_ready_again_when_their_node_comes_back_in_time(kubectl: Kubectl) -> None:
    target = await alone_on(kubectl, "node-2")
    before = {pod["metadata"]["uid"] for pod in await kubectl.pods(target)}
    await down(kubectl, "node-2")
    await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 0)
    await down(kubectl, "node-2", away=False)
    await kubectl.until(target, settled)
    assert {pod["metadata"]["uid"] for pod in await kubectl.pods(target)} == before


async def test_a_pod_deleted_from_a_node_that_is_down_is_replaced_at_once(kubectl: Kubectl) -> None:
    target = await alone_on(kubectl, "node-2")
    await down(kubectl, "node-2")
    await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 0)
    for pod in await kubectl.pods(target):
        await kubectl.delete(PODS, "shop", pod["metadata"]["name"])
    await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 2)


async def test_a_taint_keeps_pods_away_and_daemons_too(kubectl: Kubectl) -> None:
    taint = {"key": "only-for", "value": "x", "effect": "NoSchedule"}
    await kubectl.patch(NODES, "", "node-1", {"spec": {"taints": [taint]}})
    agent = await kubectl.deploy("shop", "agent", "sim/web:ok", kind=Kind.DAEMONSET)
    web = await kubectl.deploy("shop", "web", "sim/web:ok", replicas=3)
    for target in (agent, web):
        await kubectl.until(target, settled)
        assert "node-1" not in {pod["spec"]["nodeName"] for pod in await kubectl.pods(target)}


async def test_the_scheduler_says_why_and_takes_the_room_that_comes(kubectl: Kubectl) -> None:
    for node in ("node-1", "node-2"):
        await kubectl.patch(NODES, "", node, {"spec": {"unschedulable": True}})
    big = await kubectl.deploy("shop", "big", "sim/web:ok", resources={"requests": {"memory": "12Gi"}})
    await kubectl.until(big, settled)
    late = await kubectl.deploy("shop", "late", "sim/web:ok", resources={"requests": {"memory": "8Gi"}})
    await kubectl.until(late, lambda _, pods: any(pod["status"].get("conditions") for pod in pods))
    (pod,) = await kubectl.pods(late)
    message = pod["status"]["conditions"][0]["message"]
    assert message == "0/3 nodes are available: 1 Insufficient memory, 2 node(s) were unschedulable."
    await kubectl.patch(DEPLOYMENTS, "shop", "big", {"spec": {"replicas": 0}})
    await kubectl.until(late, settled)


# jobs and leaks --------------------------------------------------------------------------------------------------


async def test_a_job_that_is_done_is_complete(kubectl: Kubectl) -> None:
    await job(kubectl, "sim/web:done-5s")
    done = await kubectl.wait(ended("Complete"), JOBS, "shop", "import")
    assert done["status"]["conditions"][0]["status"] == "True"
    assert {pod["status"]["phase"] for pod in await kubectl.items(PODS, "shop")} == {"Succeeded"}


async def test_a_job_that_crashes_fails_after_its_tries(kubectl: Kubectl) -> None:
    await job(kubectl, "sim/web:crash", backoffLimit=1)
    failed = await kubectl.wait(ended("Failed"), JOBS, "shop", "import")
    assert failed["status"]["conditions"][0]["reason"] == "BackoffLimitExceeded"
    assert [pod["status"]["phase"] for pod in await kubectl.items(PODS, "shop")] == ["Failed", "Failed"]


async def test_a_job_that_takes_too_long_fails_and_its_pod_goes(kubectl: Kubectl) -> None:
    await job(kubectl, "sim/web:ok", activeDeadlineSeconds=20)
    failed = await kubectl.wait(ended("Failed"), JOBS, "shop", "import")
    assert failed["status"]["conditions"][0]["reason"] == "DeadlineExceeded"
    for pod in await kubectl.items(PODS, "shop"):
        await kubectl.gone(PODS, "shop", pod["metadata"]["name"])


async def test_a_leak_comes_back_after_every_restart(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:leak-30s", resources={"limits": {"memory": "4Gi"}})
    await kubectl.until(target, settled)
    for again in (1, 2):
        await kubectl.until(target, lambda _, pods: bool(_restarts(pods)))
        (status,) = (await kubectl.pods(target))[0]["status"]["containerStatuses"]
        assert status["lastState"]["terminated"]["reason"] == "OOMKilled"
        await kubectl.patch(DEPLOYMENTS, "shop", "api", {"spec": {"template": {"metadata": {"annotations": {"again": str(again)}}}}})
        await kubectl.until(target, lambda item, pods: settled(item, pods) and not _restarts(pods))


def _restarts(pods: list[Tree]) -> int:
    living = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return sum(status["restartCount"] for pod in living for status in pod["status"].get("containerStatuses", []))


# autoscalers and budgets -----------------------------------------------------------------------------------------


async def test_an_autoscaler_holds_its_bounds_and_follows_the_load_between_them(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 3}
    await kubectl.create(AUTOSCALERS, "shop", {"metadata": {"name": "api"}, "spec": spec})
    await kubectl.until(target, lambda item, pods: settled(item, pods) and item["spec"]["replicas"] == 2)

    await kubectl.patch(AUTOSCALERS, "shop", "api", {"metadata": {"annotations": {"sim/wanted": "9"}}})
    await kubectl.wait(lambda item: item["status"].get("desiredReplicas") == 3, AUTOSCALERS, "shop", "api")
    await kubectl.patch(DEPLOYMENTS, "shop", "api", {"spec": {"replicas": 1}})
    await kubectl.until(target, lambda item, pods: settled(item, pods) and item["spec"]["replicas"] == 3)
    await kubectl.wait(said("TooManyReplicas"), AUTOSCALERS, "shop", "api")
    await kubectl.patch(AUTOSCALERS, "shop", "api", {"spec": {"maxReplicas": 5}})
    await kubectl.until(target, lambda item, pods: settled(item, pods) and item["spec"]["replicas"] == 5)
    await kubectl.patch(AUTOSCALERS, "shop", "api", {"metadata": {"annotations": {"sim/wanted": "5"}}})
    await kubectl.wait(said("DesiredWithinRange"), AUTOSCALERS, "shop", "api")
    await kubectl.patch(AUTOSCALERS, "shop", "api", {"metadata": {"annotations": {"sim/wanted": None}}})
    await kubectl.wait(said("FailedGetResourceMetric"), AUTOSCALERS, "shop", "api")


def said(reason: str) -> Callable[[Tree], bool]:
    return lambda item: reason in item["metadata"]["annotations"].get("autoscaling.alpha.kubernetes.io/conditions", "")


async def test_two_evictions_at_once_do_not_both_use_the_same_room(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=3)
    await kubectl.until(target, settled)
    body = {"metadata": {"name": "api"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "api"}}}}
    await kubectl.create(BUDGETS, "shop", body)
    await kubectl.wait(lambda item: item["status"].get("disruptionsAllowed") == 1, BUDGETS, "shop", "api")
    first, second = [pod["metadata"]["name"] for pod in await kubectl.pods(target)][:2]
    await client.request("POST", PODS.path("shop", first, "eviction"), body={})
    with pytest.raises(Busy, match="429"):
        await client.request("POST", PODS.path("shop", second, "eviction"), body={})


# the API ---------------------------------------------------------------------------------------------------------


async def test_a_long_list_comes_in_pages(client: Client, kubectl: Kubectl) -> None:
    maps = Resource("", "v1", "configmaps")
    for number in range(5):
        await kubectl.create(maps, "shop", {"metadata": {"name": f"map-{number}"}})
    first: Tree = await client.read(maps.path("shop"), dict, query={"limit": "3"})
    assert len(first["items"]) == 3
    rest: Tree = await client.read(maps.path("shop"), dict, query={"limit": "3", "continue": first["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["map-3", "map-4"]
    assert "continue" not in rest["metadata"]


async def test_annotations_reach_the_replica_set_and_an_undo_brings_the_old_ones_back(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:v1")
    await kubectl.until(target, settled)
    await kubectl.patch(DEPLOYMENTS, "shop", "api", {"metadata": {"annotations": {"note": "one"}}})
    await kubectl.until(target, settled)
    await kubectl.set_image(target, "sim/web:v2")
    await kubectl.patch(DEPLOYMENTS, "shop", "api", {"metadata": {"annotations": {"note": "two"}}})
    await kubectl.until(target, settled)
    notes = {item["metadata"]["annotations"]["note"] for item in await kubectl.items(REPLICASETS, "shop")}
    assert notes == {"one", "two"}

    await kubectl.undo(target, 1)
    live = await kubectl.until(target, settled)
    assert live["metadata"]["annotations"]["note"] == "one"
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "sim/web:v1"


async def test_a_rollout_names_its_replica_set_when_it_is_complete(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:wedge-20s")
    await kubectl.until(target, settled)
    (made,) = await kubectl.items(REPLICASETS, "shop")
    live = await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 0)
    (progressing,) = [each for each in live["status"]["conditions"] if each["type"] == "Progressing"]
    assert progressing["message"] == f'ReplicaSet "{made["metadata"]["name"]}" has successfully progressed.'
    await kubectl.set_image(target, "sim/web:crash")
    live = await kubectl.until(target, waiting("CrashLoopBackOff"))
    (progressing,) = [each for each in live["status"]["conditions"] if each["type"] == "Progressing"]
    assert progressing["reason"] == "ReplicaSetUpdated"
