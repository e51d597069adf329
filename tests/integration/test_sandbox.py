"""The sandbox behaves as the cluster that it stands for, where healing looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapters.errors import AdapterError
from adapters.kubernetes import ways
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import Busy, Conflict, Forbidden, NotFound
from adapters.kubernetes.resources import BY_KIND, DEPLOYMENTS, NODES, PODS, Resource
from ops.sandbox import Kubectl, Sandbox
from ops.sandbox.kubectl import settled, unready, waiting
from schemas.target import Kind, Target

CONFIG_MAPS = Resource("", "v1", "configmaps")
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=20, seed=1) as running:
        yield running


@pytest_asyncio.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    made = await ways.by_url(sandbox.url)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def kubectl(client: Client) -> Kubectl:
    made = Kubectl(client)
    await made.namespace("shop")
    return made


def tags(pods: list[dict[str, Any]]) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in pods if not pod["metadata"].get("deletionTimestamp"))


async def test_there_is_a_workload_in_it_that_is_well(sandbox: Sandbox, kubectl: Kubectl) -> None:
    assert sandbox.cluster.settle_in() == "default/hello"
    await kubectl.until(Target(cluster="", kind=Kind.DEPLOYMENT, namespace="default", name="hello"), settled)


async def test_it_tells_what_it_has_so_that_the_real_kubectl_finds_its_way(client: Client) -> None:
    """The questions that kubectl asks before any other."""
    assert (await client.read("/api", dict))["versions"] == ["v1"]
    groups = (await client.read("/apis", dict))["groups"]
    assert {"apps", "batch", "policy"} <= {group["name"] for group in groups}
    for group in groups:
        found = await client.read(f"/apis/{group['preferredVersion']['groupVersion']}", dict)
        assert all("list" in each["verbs"] for each in found["resources"] if "/" not in each["name"])


async def test_it_starts_and_stops() -> None:
    async with Sandbox() as sandbox:
        client = await ways.by_url(sandbox.url)
        assert await client.request("GET", "/readyz") == b"ok"
    with pytest.raises(AdapterError):
        await client.request("GET", "/readyz")
    await client.close()


async def test_a_taken_port_is_an_error(sandbox: Sandbox) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        await Sandbox(port=port).start()


# what containers do ----------------------------------------------------------------------------------------------


async def test_a_bad_rollout_leaves_the_old_pods_serving(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=4)
    await kubectl.until(target, settled)
    await kubectl.set_image(target, "sim/web:crash")

    workload = await kubectl.until(target, waiting("CrashLoopBackOff"))
    workload = await kubectl.until(target, lambda item, _: item["status"].get("updatedReplicas") == 2)

    assert workload["status"]["availableReplicas"] == 3, "no more than a quarter may be away"
    assert tags(await kubectl.pods(target)) == ["sim/web:crash"] * 2 + ["sim/web:ok"] * 3


@pytest.mark.parametrize("tag", ["ok", "flap", "slow-15s", "oom-200Mi", "anything"])
async def test_what_becomes_healthy_by_itself(kubectl: Kubectl, tag: str) -> None:
    target = await kubectl.deploy("shop", "api", f"sim/web:{tag}", replicas=2)
    await kubectl.until(target, settled)


async def test_a_flap_is_counted(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:flap")
    await kubectl.until(target, settled)
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in await kubectl.pods(target)] == [2]


async def test_a_slow_start_is_not_ready_at_once(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:slow-30s")
    await kubectl.until(target, unready)
    await kubectl.until(target, settled)


async def test_a_wedge_comes_and_stays_until_the_restart(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:wedge-20s")
    await kubectl.until(target, settled)
    await kubectl.until(target, unready)
    await kubectl.until(target, lambda item, _: item["status"]["availableReplicas"] == 0)
    await kubectl.patch(DEPLOYMENTS, "shop", "api", {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}})
    await kubectl.until(target, settled)


async def test_out_of_memory_until_the_limit_is_enough(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:oom-200Mi", resources={"limits": {"memory": "100Mi"}})
    await kubectl.until(target, waiting("CrashLoopBackOff"))
    status = (await kubectl.pods(target))[0]["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"] | {"startedAt": "", "finishedAt": ""} == {
        "exitCode": 137,
        "reason": "OOMKilled",
        "startedAt": "",
        "finishedAt": "",
    }
    await kubectl.set_image(target, "sim/web:oom-200Mi", resources={"limits": {"memory": "200Mi"}})
    await kubectl.until(target, settled)


async def test_a_missing_key_until_it_is_there(kubectl: Kubectl) -> None:
    env = [{"name": "URL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "URL"}}}]
    target = await kubectl.deploy("shop", "api", "sim/web:needs-URL", env=env)
    await kubectl.until(target, waiting("CreateContainerConfigError"))
    await kubectl.create(CONFIG_MAPS, "shop", {"metadata": {"name": "settings"}, "data": {"URL": "x"}})
    await kubectl.until(target, settled)


async def test_no_room_is_pending(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok", resources={"requests": {"memory": "20Gi"}})
    await kubectl.until(target, lambda _, pods: any(pod["status"].get("conditions") for pod in pods))
    pod = (await kubectl.pods(target))[0]
    assert (pod["status"]["phase"], pod["status"]["conditions"][0]["reason"]) == ("Pending", "Unschedulable")


async def test_a_cordoned_node_takes_no_pods_and_one_that_is_down_does_not_report(kubectl: Kubectl) -> None:
    for node in ("node-1", "node-2"):
        await kubectl.patch(NODES, "", node, {"spec": {"unschedulable": True}})
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=2)
    await kubectl.until(target, settled)
    assert {pod["spec"]["nodeName"] for pod in await kubectl.pods(target)} == {"node-3"}
    await kubectl.patch(NODES, "", "node-3", {"metadata": {"annotations": {"sim/down": "true"}}})
    await kubectl.wait(lambda node: node["status"]["conditions"][0]["status"] == "Unknown", NODES, "", "node-3")


# controllers -----------------------------------------------------------------------------------------------------


async def test_the_revision_of_a_template_that_returns_is_the_newest(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:v1")
    for image in ("sim/web:v2", "sim/web:v1"):
        await kubectl.until(target, settled)
        await kubectl.set_image(target, image)
    workload = await kubectl.until(target, settled)
    assert workload["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    sets = await kubectl.items(Resource("apps", "v1", "replicasets"), "shop")
    numbers = {item["spec"]["template"]["spec"]["containers"][0]["image"]: item["metadata"]["annotations"] for item in sets}
    assert {image: notes["deployment.kubernetes.io/revision"] for image, notes in numbers.items()} == {"sim/web:v1": "3", "sim/web:v2": "2"}


async def test_recreate_takes_all_away_first(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=2)
    await kubectl.patch(DEPLOYMENTS, "shop", "api", {"spec": {"strategy": {"type": "Recreate"}}})
    await kubectl.until(target, settled)
    await kubectl.set_image(target, "sim/web:pull")
    await kubectl.until(target, waiting("ImagePullBackOff"))
    assert tags(await kubectl.pods(target)) == ["sim/web:pull"] * 2


async def test_a_rollout_that_does_not_move_misses_its_deadline(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:pull")
    await kubectl.patch(DEPLOYMENTS, "shop", "api", {"spec": {"progressDeadlineSeconds": 10}})

    def late(workload: dict[str, Any], _pods: list[dict[str, Any]]) -> bool:
        return any(each["reason"] == "ProgressDeadlineExceeded" for each in workload["status"].get("conditions", []))

    await kubectl.until(target, late)


async def test_a_stateful_set_waits_for_each_pod(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "db", "sim/web:ok", replicas=3, kind=Kind.STATEFULSET)
    await kubectl.until(target, settled)
    assert sorted(pod["metadata"]["name"] for pod in await kubectl.pods(target)) == ["db-0", "db-1", "db-2"]
    await kubectl.set_image(target, "sim/web:crash")
    await kubectl.until(target, waiting("CrashLoopBackOff"))
    assert tags(await kubectl.pods(target)) == ["sim/web:crash", "sim/web:ok", "sim/web:ok"]


async def test_a_daemon_set_is_on_every_node(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "agent", "sim/web:ok", kind=Kind.DAEMONSET)
    await kubectl.until(target, settled)
    assert {pod["spec"]["nodeName"] for pod in await kubectl.pods(target)} == {"node-1", "node-2", "node-3"}
    await kubectl.set_image(target, "sim/web:v2")
    await kubectl.until(target, settled)
    assert tags(await kubectl.pods(target)) == ["sim/web:v2"] * 3


async def test_what_belongs_to_a_deployment_goes_with_it(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=2)
    await kubectl.until(target, settled)
    pod = (await kubectl.pods(target))[0]["metadata"]["name"]
    await kubectl.delete(DEPLOYMENTS, "shop", "api")
    await kubectl.gone(PODS, "shop", pod)


async def test_a_namespace_takes_everything_with_it(kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok")
    await kubectl.until(target, settled)
    await kubectl.end_namespace("shop")
    with pytest.raises(NotFound):
        await kubectl.get(DEPLOYMENTS, "shop", "api")


# the API ---------------------------------------------------------------------------------------------------------


async def refusal(client: Client, method: str, path: str, **request: Any) -> str:
    with pytest.raises(AdapterError) as raised:
        await client.request(method, path, **request)
    return str(raised.value)


async def test_errors_are_those_of_kubernetes(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok")
    path = DEPLOYMENTS.path("shop", "api")
    assert "404" in await refusal(client, "GET", DEPLOYMENTS.path("shop", "nobody"))
    assert "404" in await refusal(client, "GET", "/apis/nothing/v1/things")
    assert "405" in await refusal(client, "POST", path, body={})
    assert "400" in await refusal(client, "PATCH", path, body=[], content="application/merge-patch+json")
    assert "415" in await refusal(client, "PATCH", path, body={}, content="application/apply-patch+yaml")
    assert "409" in await refusal(client, "POST", DEPLOYMENTS.path("shop"), body=await kubectl.get(DEPLOYMENTS, "shop", "api"))
    wrong = {"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}}}
    assert "422" in await refusal(client, "POST", DEPLOYMENTS.path("shop"), body=wrong)
    assert "404" in await refusal(client, "POST", DEPLOYMENTS.path("nowhere"), body={"metadata": {"name": "x"}})
    await kubectl.until(target, settled)


async def test_preconditions_hold(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok")
    live = await kubectl.until(target, settled)
    for meta in ({"uid": "other"}, {"resourceVersion": "1"}):
        with pytest.raises(Conflict):
            await kubectl.patch(DEPLOYMENTS, "shop", "api", {"metadata": meta, "spec": {"replicas": 9}})
    with pytest.raises(Conflict):
        await client.request("DELETE", DEPLOYMENTS.path("shop", "api"), body={"preconditions": {"uid": "other"}})
    assert (await kubectl.get(DEPLOYMENTS, "shop", "api"))["spec"] == live["spec"]


async def test_json_patches_test_and_change(client: Client, kubectl: Kubectl) -> None:
    await kubectl.deploy("shop", "api", "sim/web:ok")
    path, kind = DEPLOYMENTS.path("shop", "api"), "application/json-patch+json"
    note = {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}
    false = {"op": "test", "path": "/spec/replicas", "value": 7}
    assert "422" in await refusal(client, "PATCH", path, body=[note, false], content=kind)
    await client.request("PATCH", path, body=[note, {"op": "replace", "path": "/spec/replicas", "value": 2}], content=kind)
    live = await kubectl.get(DEPLOYMENTS, "shop", "api")
    assert (live["metadata"]["labels"]["a/b"], live["spec"]["replicas"]) == ("c", 2)


async def test_a_dry_run_keeps_nothing(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok")
    live = await kubectl.until(target, settled)
    query = {"dryRun": "All"}
    body, content = {"spec": {"replicas": 5}}, "application/merge-patch+json"
    await client.request("PATCH", DEPLOYMENTS.path("shop", "api"), query=query, body=body, content=content)
    await client.request("DELETE", DEPLOYMENTS.path("shop", "api"), body={"dryRun": ["All"]})
    await client.request("POST", CONFIG_MAPS.path("shop"), query=query, body={"metadata": {"name": "settings"}})
    assert await kubectl.get(DEPLOYMENTS, "shop", "api") == live
    assert await kubectl.items(CONFIG_MAPS, "shop") == []


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=api", {"api"}),
        ("app==api", {"api"}),
        ("app!=api", {"cart"}),
        ("app in (api,cart)", {"api", "cart"}),
        ("app notin (api),app", {"cart"}),
        ("app,!tier", {"api", "cart"}),
        ("tier", set()),
    ],
)
async def test_label_selectors(kubectl: Kubectl, selector: str, found: set[str]) -> None:
    for name in ("api", "cart"):
        await kubectl.deploy("shop", name, "sim/web:ok")
    assert {item["metadata"]["name"] for item in await kubectl.items(DEPLOYMENTS, "shop", selector)} == found


async def test_field_selectors(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok", replicas=3)
    await kubectl.until(target, settled)
    found = await client.read(PODS.path(), dict, query={"fieldSelector": "spec.nodeName=node-2"})
    assert [item["spec"]["nodeName"] for item in found["items"]] == ["node-2"]


async def test_denied_permissions_deny_and_are_told(sandbox: Sandbox, client: Client, kubectl: Kubectl) -> None:
    sandbox.denied.add("list deployments.apps in shop")
    with pytest.raises(Forbidden):
        await kubectl.items(DEPLOYMENTS, "shop")
    assert await kubectl.items(DEPLOYMENTS, "default") == []
    for namespace, allowed in (("shop", False), ("default", True)):
        attributes = {"verb": "list", "group": "apps", "resource": "deployments", "namespace": namespace}
        body = {"spec": {"resourceAttributes": attributes}}
        review = await kubectl.create(Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False), "", body)
        assert review["status"] == {"allowed": allowed}


async def test_an_eviction_without_room_is_busy(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:ok")
    await kubectl.until(target, settled)
    await kubectl.create(
        BUDGETS, "shop", {"metadata": {"name": "api"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "api"}}}}
    )
    pod = (await kubectl.pods(target))[0]["metadata"]["name"]
    with pytest.raises(Busy, match="disruption budget"):
        await client.request("POST", PODS.path("shop", pod, "eviction"), body={})


async def test_logs_say_what_happened(client: Client, kubectl: Kubectl) -> None:
    target = await kubectl.deploy("shop", "api", "sim/web:crash")
    await kubectl.until(target, waiting("CrashLoopBackOff"))
    pod = (await kubectl.pods(target))[0]["metadata"]["name"]
    assert b"exit code 1" in await client.request("GET", PODS.path("shop", pod, "log"), query={"container": "web"})


async def test_the_same_seed_gives_the_same_names() -> None:
    names = []
    for _ in range(2):
        async with Sandbox(seed=5) as sandbox:
            kubectl = await Kubectl.at(server=sandbox.url)
            target: Target = await kubectl.deploy("default", "api", "sim/web:ok")
            await kubectl.until(target, settled)
            names.append([pod["metadata"]["name"] for pod in await kubectl.pods(target)])
            await kubectl.close()
    assert names[0] == names[1]
    assert BY_KIND[target.kind] is DEPLOYMENTS
