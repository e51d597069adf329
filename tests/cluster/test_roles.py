"""The roles that are offered suffice to look and for every action, each done for real under them; the reader's alone suffices for none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.kubernetes import KubernetesWorld, connect
from adapters.kubernetes.marks import EARLIER, OPERATION, TOKEN
from adapters.kubernetes.resources import AUTOSCALERS, JOBS, NODES, Resource
from ops.sandbox.kubectl import settled
from schemas import action as a
from schemas.evidence import Snapshot
from schemas.target import Kind, Target
from schemas.words import CheckResult
from tests.cluster.conftest import BINDINGS, Deploy, Place

pytestmark = pytest.mark.cluster
RBAC = Path(__file__).parents[2] / "compose" / "rbac.yaml"
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", namespaced=False)
CLUSTER_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", namespaced=False)
SUBJECTS = [{"kind": "User", "apiGroup": CLUSTER_ROLES.group, "name": "limited"}]
ON_CLUSTERS = {
    *(a.Investigate, a.RestartWorkload, a.RollBackWorkload, a.ScaleWorkload, a.SetAutoscalerBounds, a.SetMemoryLimit),
    *(a.DeletePod, a.EvictPod, a.CordonNode, a.UncordonNode, a.RerunJob),
}


@asynccontextmanager
async def bound(place: Place, kubeconfig: str, wanted: Sequence[str]) -> AsyncIterator[KubernetesWorld]:
    """A world whose identity has these roles of the file: in the test's namespace, and for nodes in the whole cluster."""
    roles = {role["metadata"]["name"].removeprefix("mendstream-"): role for role in yaml.safe_load_all(RBAC.read_text())}
    assert set(roles) == {"reader", "healer", "nodes"}
    for part in wanted:
        meta = {"name": f"{place.namespace}-{part}"}
        await place.kubectl.create(CLUSTER_ROLES, "", {**roles[part], "metadata": meta})
        binding: dict[str, Any] = {"metadata": meta, "subjects": SUBJECTS}
        binding["roleRef"] = {"kind": "ClusterRole", "apiGroup": CLUSTER_ROLES.group, "name": meta["name"]}
        await place.kubectl.create(CLUSTER_BINDINGS if part == "nodes" else BINDINGS, place.namespace, binding)
    world = await connect(kubeconfig=str(Path(kubeconfig).parent / "limited.kubeconfig"))
    try:
        yield world
    finally:
        await world.close()
        for part in wanted:
            await place.kubectl.delete(CLUSTER_BINDINGS, "", f"{place.namespace}-{part}")
            await place.kubectl.delete(CLUSTER_ROLES, "", f"{place.namespace}-{part}")


async def rolled_out(place: Place, deploy: Deploy) -> Target:
    """A deployment with two revisions, and an autoscaler."""
    web = await deploy("web", "sim/web:ok", replicas=3)
    await place.kubectl.until(web, settled)
    await place.kubectl.set_image(web, "sim/web:newer")
    await place.kubectl.until(web, settled)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": web.name}
    body = {"metadata": {"name": "load"}, "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 4}}
    await place.kubectl.create(AUTOSCALERS, web.namespace, body)
    return web


async def failed_job(place: Place) -> Target:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "sim/web:ok"}]}}
    await place.kubectl.create(
        JOBS, place.namespace, {"metadata": {"name": "import"}, "spec": {"template": template, "activeDeadlineSeconds": 1}}
    )
    ended = lambda job: any(each["type"] == "Failed" for each in job["status"].get("conditions", []))  # noqa: E731
    await place.kubectl.wait(ended, JOBS, place.namespace, "import")
    return Target(cluster="", kind=Kind.JOB, name="import", namespace=place.namespace)


async def actions(place: Place, web: Target) -> list[a.Action]:
    """One action of every kind, in an order in which each can be done."""
    pods = [pod["metadata"] for pod in await place.kubectl.pods(web)]
    first, second = (Target(cluster="", kind=Kind.POD, namespace=web.namespace, name=pod["name"]) for pod in pods[:2])
    node = Target(cluster="", kind=Kind.NODE, name="node-1")
    return [
        a.Investigate(target=web),
        a.DeletePod(target=first, uid=pods[0]["uid"]),
        a.EvictPod(target=second, uid=pods[1]["uid"]),
        a.SetMemoryLimit(target=web, container="web", memory="256Mi"),
        a.RestartWorkload(target=web),
        a.RollBackWorkload(target=web, to_revision=1),
        a.SetAutoscalerBounds(target=web, autoscaler="load", minimum=1, maximum=6),
        a.ScaleWorkload(target=web, replicas=4),
        a.RerunJob(target=await failed_job(place)),
        a.CordonNode(target=node),
        a.UncordonNode(target=node),
    ]


def unseen(snapshot: Snapshot) -> list[str]:
    """What could not be looked at. A simulated node has no kubelet to give logs: who may read them is told so instead of being refused."""
    return [sensor.error for sensor in snapshot.sensors if sensor.error and "no preferred addresses" not in sensor.error]


async def test_every_action_is_done_under_the_roles(real: Place, deploy: Deploy, kubeconfig: str) -> None:
    web = await rolled_out(real, deploy)
    wanted = await actions(real, web)
    assert {type(action) for action in wanted} == ON_CLUSTERS
    token = 10**12
    async with bound(real, kubeconfig, ["reader", "healer", "nodes"]) as world:
        try:
            for number, action in enumerate(wanted):
                assert unseen(await world.observe(action.target)) == [], action
                found = await world.preflight(action)
                permissions = [check for check in found.checks if check.name == "permission"]
                assert [check for check in permissions if check.result is not CheckResult.PASSED] == [], action
                applied = await world.apply(action, operation=f"{real.namespace}-{number}", token=token + number, uid=found.uid)
                assert "forbidden" not in applied.output, action
                await real.kubectl.until(web, settled)
        finally:
            clear = {"metadata": {"annotations": dict.fromkeys((OPERATION, TOKEN, EARLIER))}, "spec": {"unschedulable": None}}
            await real.kubectl.patch(NODES, "", "node-1", clear)


async def test_under_the_readers_role_alone_everything_is_seen_and_nothing_may_be_changed(
    real: Place, deploy: Deploy, kubeconfig: str
) -> None:
    web = await rolled_out(real, deploy)
    async with bound(real, kubeconfig, ["reader"]) as world:
        assert unseen(await world.observe(web)) == []
        for action in await actions(real, web):
            failed = [check for check in (await world.preflight(action)).checks if check.result is CheckResult.FAILED]
            lacking = [check.missing for check in failed if check.name == "permission"]
            assert bool(lacking) is (action.scope != "read"), (action, failed)


def test_every_kind_of_action_on_a_cluster_is_known_here() -> None:
    on_hosts = {a.DiagnoseHost, a.RestartUnit, a.RestartContainer, a.RestartComposeService, a.TruncateContainerLog, a.RenewCertificates}
    on_hosts |= {a.ReloadNginx, a.PruneImages, a.PruneVolumes, a.PruneSystem}
    assert set(a.BaseAction.__subclasses__()) == ON_CLUSTERS | on_hosts
