"""Doing: each action heals what it should, happens once, and is found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adapters.errors import Refused, TargetMissing, Transient
from adapters.kubernetes.marks import EARLIER, OPERATION, TOKEN
from adapters.kubernetes.resources import BY_KIND, DEPLOYMENTS, JOBS, NODES, PODS, budgets
from ops.sandbox.kubectl import rolled_out, settled, unready, waiting
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    Investigate,
    RerunJob,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.target import Kind, Target
from tests.cluster.conftest import Place, counted


async def uid_of(place: Place, target: Target) -> str:
    resource = BY_KIND[target.kind]
    return str((await place.kubectl.get(resource, target.namespace, target.name))["metadata"]["uid"])


async def live(place: Place, target: Target) -> dict[str, Any]:
    return await place.kubectl.get(BY_KIND[target.kind], target.namespace, target.name)


async def living(place: Place, target: Target) -> list[dict[str, Any]]:
    """The pods that are not being deleted."""
    return [pod for pod in await place.kubectl.pods(target) if not pod["metadata"].get("deletionTimestamp")]


async def deployed(place: Place, image: str = "sim/web:ok", **fields: Any) -> Target:
    target = await place.kubectl.deploy(place.namespace, "api", image, **fields)
    await place.kubectl.until(target, rolled_out if "wedge" in image else settled)
    return target


def ended(kind: str) -> Callable[[dict[str, Any]], bool]:
    """A Job has this condition: for `wait`."""
    return lambda job: any(each["type"] == kind and each["status"] == "True" for each in job["status"].get("conditions", []))


async def done(place: Place, action: Action, operation: str = "operation-1", token: int = 1) -> str:
    applied = await place.world.apply(action, operation=operation, token=token, uid=await uid_of(place, action.target))
    assert applied.repeated is False
    return applied.output


async def test_a_restart_heals_a_wedge(place: Place) -> None:
    target = await deployed(place, "sim/web:wedge-3s")
    await place.kubectl.until(target, unready)
    wedged = {pod["metadata"]["uid"] for pod in await place.kubectl.pods(target)}

    await done(place, RestartWorkload(target=target))

    await place.kubectl.until(target, settled)
    pods = await living(place, target)
    assert not wedged & {pod["metadata"]["uid"] for pod in pods}
    assert all(pod["metadata"]["annotations"][OPERATION] == "operation-1" for pod in pods)


@pytest.mark.parametrize("kind", [Kind.STATEFULSET, Kind.DAEMONSET])
async def test_a_restart_reaches_every_pod(place: Place, kind: Kind) -> None:
    target = await place.kubectl.deploy(place.namespace, "db", "sim/web:ok", kind=kind, replicas=2)
    await place.kubectl.until(target, settled)
    before = {pod["metadata"]["uid"] for pod in await place.kubectl.pods(target)}

    await done(place, RestartWorkload(target=target))

    await place.kubectl.until(target, settled)
    assert not before & {pod["metadata"]["uid"] for pod in await living(place, target)}


async def test_a_rollback_heals_a_crash_after_a_rollout(place: Place) -> None:
    target = await deployed(place, replicas=2)
    await place.kubectl.set_image(target, "sim/web:crash")
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))
    specified = await templates(place, target)

    await done(place, RollBackWorkload(target=target, to_revision=1))

    assert (await templates(place, target))[None] == specified[1] != specified[2]
    workload = await place.kubectl.until(target, settled)
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "sim/web:ok"
    assert "pod-template-hash" not in workload["spec"]["template"]["metadata"]["labels"]
    snapshot = await place.world.observe(target)
    assert [(view.revision, view.images, view.current) for view in snapshot.revisions] == [
        (3, ("sim/web:ok",), True),
        (2, ("sim/web:crash",), False),
    ]


async def templates(place: Place, target: Target) -> dict[int | None, str]:
    """The hashes of how pods are specified, by revision, and by None that of the workload itself."""
    seen = await place.world.observe(target)
    assert seen.workload is not None
    return {view.revision: view.template for view in seen.revisions} | {None: seen.workload.template}


@pytest.mark.parametrize("kind", [Kind.DEPLOYMENT, Kind.STATEFULSET, Kind.DAEMONSET])
async def test_a_restart_specifies_pods_as_before_and_another_environment_does_not(place: Place, kind: Kind) -> None:
    target = await place.kubectl.deploy(place.namespace, "db", "sim/web:ok", kind=kind)
    await place.kubectl.until(target, settled)
    first = (await templates(place, target))[None]
    await done(place, RestartWorkload(target=target))
    await place.kubectl.until(target, settled)
    assert set((await templates(place, target)).values()) == {first}
    await place.kubectl.set_image(target, "sim/web:ok", env=[{"name": "COLOUR", "value": "red"}])
    await place.kubectl.until(target, settled)
    assert (await templates(place, target))[None] != first


@pytest.mark.parametrize("kind", [Kind.STATEFULSET, Kind.DAEMONSET])
async def test_a_rollback_of_the_other_workloads(place: Place, kind: Kind) -> None:
    target = await place.kubectl.deploy(place.namespace, "db", "sim/web:ok", kind=kind)
    await place.kubectl.until(target, settled)
    await place.kubectl.set_image(target, "sim/web:v2")
    await place.kubectl.until(target, settled)
    specified = await templates(place, target)

    await done(place, RollBackWorkload(target=target, to_revision=1))

    assert (await templates(place, target))[None] == specified[1] != specified[2]
    workload = await place.kubectl.until(target, settled)
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "sim/web:ok"
    current = next(view for view in (await place.world.observe(target)).revisions if view.current)
    assert current.images == ("sim/web:ok",)
    assert current.revision == 3


async def test_scaling(place: Place) -> None:
    target = await deployed(place)

    await done(place, ScaleWorkload(target=target, replicas=3))

    await place.kubectl.until(target, settled)
    assert len(await place.kubectl.pods(target)) == 3


async def test_a_higher_memory_limit_heals_an_oom(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:oom-200Mi", resources={"limits": {"memory": "64Mi"}})
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))
    assert {view.last_terminated for pod in (await place.world.observe(target)).pods for view in pod.containers} == {"OOMKilled"}

    await done(place, SetMemoryLimit(target=target, container="web", memory="256Mi"))

    await place.kubectl.until(target, settled)


async def test_a_job_runs_again_once(place: Place) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "sim/web:ok"}]}}
    spec = {"template": template, "activeDeadlineSeconds": 3}
    await place.kubectl.create(JOBS, place.namespace, {"metadata": {"name": "import"}, "spec": spec})
    action = RerunJob(target=Target(cluster="", kind=Kind.JOB, name="import", namespace=place.namespace))
    uid = await uid_of(place, action.target)
    with pytest.raises(Refused, match="has not failed yet"):
        await place.world.apply(action, operation="operation-1", token=1, uid=uid)
    await place.kubectl.wait(ended("Failed"), JOBS, place.namespace, "import")
    assert await place.world.find(action, operation="operation-1", uid=uid) is None, "a Job that is not there may have been removed"

    await done(place, action)

    again = await place.world.apply(action, operation="operation-1", token=1, uid=uid)
    assert again.repeated is True
    assert await place.world.find(action, operation="operation-1", uid=uid) is True
    assert len(await place.kubectl.items(JOBS, place.namespace)) == 2


async def test_cordon_and_uncordon(place: Place) -> None:
    node = Target(cluster="", kind=Kind.NODE, name="node-3")
    await done(place, CordonNode(target=node), f"cordon-{place.namespace}", 10**12)
    try:
        assert (await live(place, node))["spec"].get("unschedulable") is True
    finally:
        await done(place, UncordonNode(target=node), f"uncordon-{place.namespace}", 10**12)
    assert not (await live(place, node))["spec"].get("unschedulable")
    clear = {"metadata": {"annotations": dict.fromkeys((OPERATION, TOKEN, EARLIER))}}
    await place.kubectl.patch(NODES, "", "node-3", clear)


async def test_looking_changes_nothing(place: Place) -> None:
    target = await deployed(place)
    before = await live(place, target)

    applied = await place.world.apply(Investigate(target=target), operation="operation-1", token=1, uid="")

    assert "1 of 1 pods available" in applied.output
    assert (await live(place, target))["metadata"] == before["metadata"]


# once ------------------------------------------------------------------------------------------------------------


async def test_one_operation_has_one_side_effect(place: Place) -> None:
    target = await deployed(place)
    action = RestartWorkload(target=target)
    uid = await uid_of(place, target)
    assert await place.world.find(action, operation="operation-1", uid=uid) is False

    await done(place, action)
    after = await place.kubectl.until(target, settled)
    again = await place.world.apply(action, operation="operation-1", token=1, uid=uid)

    assert again.repeated is True
    assert (await live(place, target))["metadata"]["generation"] == after["metadata"]["generation"] == 2
    assert await place.world.find(action, operation="operation-1", uid=uid) is True
    assert await place.world.find(action, operation="operation-2", uid=uid) is False


async def test_an_operation_is_found_after_others_came(place: Place) -> None:
    target = await deployed(place)
    uid = await uid_of(place, target)
    for number in (1, 2, 3):
        await done(place, RestartWorkload(target=target), f"operation-{number}", number)

    action = RestartWorkload(target=target)
    assert await place.world.find(action, operation="operation-1", uid=uid) is True
    assert (await place.world.apply(action, operation="operation-1", token=1, uid=uid)).repeated is True
    assert await place.world.find(action, operation="operation-4", uid=uid) is False
    annotations = (await live(place, target))["metadata"]["annotations"]
    assert (annotations[OPERATION], annotations[TOKEN], annotations[EARLIER]) == ("operation-3", "3", "operation-2,operation-1")


async def test_what_came_after_all_marks_is_not_in_doubt_however_many_there_are(place: Place) -> None:
    target = await deployed(place)
    uid = await uid_of(place, target)
    for number in range(1, 12):
        await done(place, ScaleWorkload(target=target, replicas=1 + number % 2), f"operation-{number}", number)
    action = RestartWorkload(target=target)

    assert await place.world.find(action, operation="operation-12", uid=uid, token=12) is False
    assert await place.world.find(action, operation="operation-11", uid=uid, token=11) is True
    # its mark is no longer on the Deployment; one of its ReplicaSets may still have it
    assert await place.world.find(action, operation="operation-1", uid=uid, token=1) is not False, "it was done"
    assert await place.world.find(action, operation="operation-12", uid=uid) is None, "when it began is not known"
    await done(place, action, "operation-12", 12)


async def test_a_lower_token_is_fenced_off(place: Place) -> None:
    target = await deployed(place)
    uid = await uid_of(place, target)
    await done(place, RestartWorkload(target=target), "operation-7", 7)

    with pytest.raises(Refused, match="fenced"):
        await place.world.apply(ScaleWorkload(target=target, replicas=3), operation="operation-6", token=6, uid=uid)

    assert (await live(place, target))["spec"]["replicas"] == 1


async def test_a_workload_that_was_replaced_is_refused(place: Place) -> None:
    target = await deployed(place)
    old = await uid_of(place, target)
    await place.kubectl.delete(DEPLOYMENTS, place.namespace, "api")
    await place.kubectl.gone(DEPLOYMENTS, place.namespace, "api")
    await deployed(place)

    with pytest.raises(Refused, match="replaced since it was approved"):
        await place.world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid=old)
    with pytest.raises(Refused):
        await place.world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid="")

    assert (await live(place, target))["metadata"]["generation"] == 1


async def test_what_is_not_there_is_missing(place: Place) -> None:
    target = Target(cluster="", kind=Kind.DEPLOYMENT, name="nobody", namespace=place.namespace)
    with pytest.raises(TargetMissing):
        await place.world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid="any")
    there = await deployed(place)
    with pytest.raises(TargetMissing, match="no revision 9"):
        await place.world.apply(RollBackWorkload(target=there, to_revision=9), operation="o", token=1, uid=await uid_of(place, there))


async def test_what_is_forbidden_is_refused(place: Place) -> None:
    target = await deployed(place)
    uid = await uid_of(place, target)
    world = await place.limited(("patch", "deployments", "apps"))

    with pytest.raises(Refused, match="forbidden"):
        await world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid=uid)

    assert (await live(place, target))["metadata"]["generation"] == 1


# pods ------------------------------------------------------------------------------------------------------------


async def a_pod(place: Place, target: Target) -> DeletePod:
    meta = (await place.kubectl.pods(target))[0]["metadata"]
    return DeletePod(target=Target(cluster="", kind=Kind.POD, name=meta["name"], namespace=place.namespace), uid=meta["uid"])


async def test_a_pod_is_deleted_and_comes_back(place: Place) -> None:
    target = await deployed(place)
    action = await a_pod(place, target)
    assert await place.world.find(action, operation="operation-1", uid=action.uid) is False

    await done(place, action)

    await place.kubectl.gone(PODS, place.namespace, action.target.name)
    await place.kubectl.until(target, settled)
    assert await place.world.find(action, operation="operation-1", uid=action.uid) is None, "gone, and nobody can say by whom"


async def test_a_namesake_is_left_alone(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "db", "sim/web:ok", kind=Kind.STATEFULSET)
    await place.kubectl.until(target, settled)
    first = await a_pod(place, target)
    await done(place, first)
    await place.kubectl.wait(
        lambda item: item["metadata"]["uid"] != first.uid and "containerStatuses" in item["status"], PODS, place.namespace, "db-0"
    )
    namesake = await a_pod(place, target)
    assert namesake.target == first.target

    with pytest.raises(Refused, match="replaced since it was approved"):
        await place.world.apply(first, operation="operation-1", token=1, uid=first.uid)
    with pytest.raises(Refused):
        await place.world.apply(first, operation="operation-1", token=1, uid=namesake.uid)

    assert (await a_pod(place, target)).uid == namesake.uid
    assert await place.world.find(first, operation="operation-1", uid=first.uid) is None


async def test_an_eviction_goes_by_the_budget(place: Place) -> None:
    target = await deployed(place, replicas=2)
    version = (await place.kubectl.groups("policy"))[-1]
    body = {"metadata": {"name": "api"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "api"}}}}
    await place.kubectl.create(budgets(version), place.namespace, body)
    await place.kubectl.wait(counted(2, healthy=2), budgets(version), place.namespace, "api")
    pod = await a_pod(place, target)
    action = EvictPod(target=pod.target, uid=pod.uid)

    with pytest.raises(Transient, match="429"):
        await place.world.apply(action, operation="operation-1", token=1, uid=pod.uid)
    assert not (await live(place, pod.target))["metadata"].get("deletionTimestamp"), "an eviction that was refused became a delete"

    await place.kubectl.patch(budgets(version), place.namespace, "api", {"spec": {"minAvailable": 1}})
    await place.kubectl.wait(lambda item: item["status"]["disruptionsAllowed"] == 1, budgets(version), place.namespace, "api")
    await done(place, action)
    await place.kubectl.gone(PODS, place.namespace, pod.target.name)
