"""Looking at a target: what the sensors see of a healthy, crashing, pulling and wedged Deployment, and of what is not there."""

from __future__ import annotations

import pytest

from adapters.errors import TargetMissing
from adapters.kubernetes.resources import AUTOSCALERS, JOBS
from ops.sandbox.kubectl import rolled_out, settled, unready, waiting
from schemas.action import Investigate
from schemas.evidence import Snapshot
from schemas.target import Kind, Target
from tests.cluster.conftest import Place


def failed(snapshot: Snapshot) -> set[str]:
    """Sensors that failed, the logs aside: the simulated nodes of the control plane keep none."""
    return {sensor.name for sensor in snapshot.sensors if sensor.error} - {"logs"}


async def test_a_healthy_deployment(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", replicas=2, service=True)
    live = await place.kubectl.until(target, settled)

    snapshot = await place.world.observe(target)

    assert failed(snapshot) == set()
    seen = {"workload", "pods", "revisions", "nodes", "budgets", "autoscaler", "events", "services", "logs"}
    assert {sensor.name for sensor in snapshot.sensors} == seen
    assert all(0 < sensor.seconds < 8 for sensor in snapshot.sensors)
    assert snapshot.exists is True
    assert snapshot.workload is not None
    assert snapshot.workload.uid == live["metadata"]["uid"]
    assert (snapshot.workload.desired, snapshot.workload.updated, snapshot.workload.ready, snapshot.workload.available) == (2, 2, 2, 2)
    assert snapshot.workload.generation == snapshot.workload.observed_generation == 1
    assert snapshot.workload.revision == 1
    assert snapshot.workload.images == ("sim/web:ok",)
    assert [pod.ready for pod in snapshot.pods] == [True, True]
    assert all(pod.owner == snapshot.revisions[0].name and pod.node for pod in snapshot.pods)
    assert [(view.revision, view.current, view.available) for view in snapshot.revisions] == [(1, True, 2)]
    assert snapshot.services == ("api",)
    assert any(event.reason == "ScalingReplicaSet" and event.about == "deployment/api" for event in snapshot.events)


async def test_a_crash_after_a_rollout(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok")
    await place.kubectl.until(target, settled)
    await place.kubectl.set_image(target, "sim/web:crash")
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))

    snapshot = await place.world.observe(target)

    assert snapshot.workload is not None
    assert snapshot.workload.revision == 2
    assert [(view.revision, view.images, view.current) for view in snapshot.revisions] == [
        (2, ("sim/web:crash",), True),
        (1, ("sim/web:ok",), False),
    ]
    broken = next(pod for pod in snapshot.pods if not pod.ready)
    container = broken.containers[0]
    assert (container.name, container.ready, container.waiting) == ("web", False, "CrashLoopBackOff")
    assert (container.last_terminated, container.exit_code) == ("Error", 1)
    assert container.restarts >= 1
    assert any(event.reason == "BackOff" and event.about == f"pod/{broken.name}" for event in snapshot.events)


async def test_an_image_that_cannot_be_pulled(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:pull")
    await place.kubectl.until(target, waiting("ImagePullBackOff"))

    snapshot = await place.world.observe(target)

    assert snapshot.workload is not None
    assert (snapshot.workload.desired, snapshot.workload.available) == (1, 0)
    assert [(pod.phase, pod.containers[0].waiting) for pod in snapshot.pods] == [("Pending", "ImagePullBackOff")]


async def test_a_wedge(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:wedge-2s")
    await place.kubectl.until(target, rolled_out)
    await place.kubectl.until(target, unready)

    snapshot = await place.world.observe(target)

    assert [(pod.phase, pod.ready) for pod in snapshot.pods] == [("Running", False)]
    container = snapshot.pods[0].containers[0]
    assert (container.ready, container.waiting, container.terminated, container.restarts) == (False, "", "", 0)


@pytest.mark.parametrize("kind", [Kind.STATEFULSET, Kind.DAEMONSET])
async def test_the_other_workloads(place: Place, kind: Kind) -> None:
    target = await place.kubectl.deploy(place.namespace, "db", "sim/web:ok", kind=kind)
    await place.kubectl.until(target, settled)

    snapshot = await place.world.observe(target)

    assert failed(snapshot) == set()
    assert snapshot.workload is not None
    assert snapshot.workload.desired == snapshot.workload.available == snapshot.workload.updated == len(snapshot.pods) > 0
    assert snapshot.workload.revision == 1
    assert [(view.revision, view.current, view.images) for view in snapshot.revisions] == [(1, True, ("sim/web:ok",))]


async def test_a_job_says_how_it_ended(place: Place) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "sim/web:ok"}]}}
    target = Target(cluster="", kind=Kind.JOB, name="import", namespace=place.namespace)
    body = {"metadata": {"name": target.name}, "spec": {"activeDeadlineSeconds": 2, "backoffLimit": 0, "template": template}}
    await place.kubectl.create(JOBS, place.namespace, body)

    begun = await place.world.observe(target)

    assert failed(begun) == set()
    assert begun.job is not None
    assert (begun.job.complete, begun.job.has_failed, begun.job.suspended) == (False, False, False)

    await place.kubectl.wait(lambda item: "DeadlineExceeded" in str(item.get("status")), JOBS, place.namespace, target.name)
    ended = await place.world.observe(target)

    assert ended.exists is True
    assert ended.job is not None
    assert ended.job.uid == begun.job.uid
    assert (ended.job.has_failed, ended.job.complete, ended.job.why_failed) == (True, False, "DeadlineExceeded")


async def test_a_pod_and_its_node(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", service=True)
    await place.kubectl.until(target, settled)
    name = (await place.kubectl.pods(target))[0]["metadata"]["name"]
    pod = Target(cluster="", kind=Kind.POD, name=name, namespace=place.namespace)

    snapshot = await place.world.observe(pod)

    assert failed(snapshot) == set()
    assert snapshot.exists is True
    assert [view.name for view in snapshot.pods] == [name]
    assert snapshot.node_ready is True
    assert snapshot.services == ("api",)

    node = await place.world.observe(Target(cluster="", kind=Kind.NODE, name=snapshot.node))
    assert (node.exists, node.node_ready) == (True, True)
    assert name in {view.name for view in node.pods}


async def test_what_is_not_there_is_said_not_to_exist(place: Place) -> None:
    for kind in (Kind.DEPLOYMENT, Kind.POD, Kind.NODE, Kind.UNKNOWN):
        snapshot = await place.world.observe(Target(cluster="", kind=kind, name="nobody", namespace=place.namespace))
        assert snapshot.exists is False, kind
        assert snapshot.workload is None


async def test_what_may_not_be_read_is_not_said_to_be_missing(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok")
    await place.kubectl.until(target, settled)
    world = await place.limited(("get", "deployments", "apps"))

    snapshot = await world.observe(target)

    assert snapshot.exists is None
    assert "forbidden" in next(sensor.error for sensor in snapshot.sensors if sensor.name == "workload")


async def test_one_sensor_that_fails_spoils_no_other(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", service=True)
    await place.kubectl.until(target, settled)
    world = await place.limited(("list", "services", ""), ("list", "events", ""), ("list", "replicasets", "apps"))

    snapshot = await world.observe(target)

    assert failed(snapshot) == {"services", "events", "revisions"}
    assert snapshot.exists is True
    assert len(snapshot.pods) == 1, "pods are still told by the selector and the name of their ReplicaSet"
    assert snapshot.services == ()


# whose is it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.DEPLOYMENT, Kind.STATEFULSET, Kind.DAEMONSET])
async def test_the_owner_of_a_pod(place: Place, kind: Kind) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", kind=kind)
    await place.kubectl.until(target, settled)
    name = (await place.kubectl.pods(target))[0]["metadata"]["name"]

    for asked in (Kind.POD, Kind.UNKNOWN):
        assert await place.world.owner(Target(cluster="", kind=asked, name=name, namespace=place.namespace)) == target


async def test_the_owner_of_a_pod_that_is_gone(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok")
    await place.kubectl.until(target, settled)
    name = (await place.kubectl.pods(target))[0]["metadata"]["name"]
    gone = Target(cluster="", kind=Kind.POD, name=f"{name[:-5]}zzzzz", namespace=place.namespace)

    assert await place.world.owner(gone) == target


async def test_the_workload_that_an_autoscaler_holds(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok")
    held = {"load": {"kind": "Deployment", "name": "api"}, "other": {"kind": "Shop", "name": "main"}}
    for name, reference in held.items():
        spec = {"scaleTargetRef": reference | {"apiVersion": "apps/v1"}, "maxReplicas": 3}
        await place.kubectl.create(AUTOSCALERS, place.namespace, {"metadata": {"name": name}, "spec": spec})

    def named(name: str) -> Target:
        return Target(cluster="", kind=Kind.AUTOSCALER, name=name, namespace=place.namespace)

    assert await place.world.owner(named("load")) == target
    assert await place.world.owner(named("other")) == named("other"), "what is not known here stays what it is"
    assert (await place.world.observe(named("other"))).exists
    with pytest.raises(TargetMissing) as raised:
        await place.world.owner(named("loads"))
    assert raised.value.nearest == ("load",)


async def test_a_name_alone_and_its_spelling(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", kind=Kind.STATEFULSET)

    assert await place.world.owner(Target(cluster="", kind=Kind.UNKNOWN, name=" API ", namespace=place.namespace)) == target
    assert (await place.world.observe(Target(cluster="", kind=Kind.UNKNOWN, name="api", namespace=place.namespace))).target == target


async def test_a_miss_gives_the_nearest_names(place: Place) -> None:
    for name in ("payment-api", "payment-worker", "cart"):
        await place.kubectl.deploy(place.namespace, name, "sim/web:ok")

    for kind in (Kind.DEPLOYMENT, Kind.UNKNOWN):
        with pytest.raises(TargetMissing) as raised:
            await place.world.owner(Target(cluster="", kind=kind, name="payments-api", namespace=place.namespace))
        assert raised.value.nearest[0] == "payment-api"
        assert "cart" not in raised.value.nearest
        assert "payment-api" in str(raised.value)


@pytest.mark.parametrize("name", ["../../../api/v1/nodes", "a/b", "..", "a b", "a%2fb", "\x1b[31mapi", "a" * 300])
async def test_a_hostile_name_shapes_no_path(place: Place, name: str) -> None:
    for kind in (Kind.DEPLOYMENT, Kind.UNKNOWN):
        with pytest.raises(TargetMissing) as raised:
            await place.world.owner(Target(cluster="", kind=kind, name=name, namespace=place.namespace))
        assert "\x1b" not in str(raised.value)


def top_of(output: str) -> list[str]:
    """The lines of an investigation that tell of usage, or why it was not seen."""
    return [line for line in output.splitlines() if line.startswith(("top", "not seen: top"))]


async def test_an_investigation_tells_what_is_used_or_that_nothing_tells_it(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "web", "sim/web:ok", replicas=2)
    await place.kubectl.until(target, settled)
    pod = (await place.kubectl.pods(target))[0]
    one = Target(cluster="", kind=Kind.POD, namespace=place.namespace, name=pod["metadata"]["name"])
    node = Target(cluster="", kind=Kind.NODE, name=pod["spec"]["nodeName"])
    found = {}
    for about in (target, one, node):
        applied = await place.world.apply(Investigate(target=about), operation="op", token=1, uid="")
        found[about.kind] = top_of(applied.output)
    if place.sandbox is None:
        assert set(map(tuple, found.values())) == {("not seen: top: this cluster serves no metrics.k8s.io",)}
        return
    assert len(found[Kind.DEPLOYMENT]) == 2
    assert found[Kind.POD] == [f"top {one.name}/web: cpu 5m, memory 20 MiB"]
    assert [line.startswith(f"top {node.name}: cpu ") for line in found[Kind.NODE]] == [True]

    place.sandbox.denied.add("list pods.metrics.k8s.io")
    applied = await place.world.apply(Investigate(target=target), operation="op", token=1, uid="")
    (said,) = top_of(applied.output)
    assert said.startswith("not seen: top:")
    assert "forbidden" in said


@pytest.mark.parametrize("place", ["sandbox"], indirect=True)
async def test_usage_of_what_has_none_is_not_seen_where_it_is_served(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "web", "sim/web:pull")
    await place.kubectl.until(target, waiting("ImagePullBackOff"))
    applied = await place.world.apply(Investigate(target=target), operation="op", token=1, uid="")
    assert top_of(applied.output) == ["top: nothing is told of 1 of its pods"]
