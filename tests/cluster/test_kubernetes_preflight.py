"""Preflight: each check really run, what is missing named exactly, and nothing passed that was not checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.errors import Refused
from adapters.kubernetes.resources import AUTOSCALERS, DEPLOYMENTS, PODS, Resource, budgets
from adapters.ports import Preflight
from ops.sandbox.kubectl import settled, waiting
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    Investigate,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.preflight import Check
from schemas.target import Kind, Target
from schemas.words import CheckResult, Tier
from tests.cluster.conftest import Place, counted


def of(preflight: Preflight, name: str) -> Check:
    return next(check for check in preflight.checks if check.name == name)


def results(preflight: Preflight) -> dict[str, CheckResult]:
    return {check.name: check.result for check in preflight.checks if check.result is not CheckResult.PASSED}


async def healthy(place: Place, *, replicas: int = 1, service: bool = False) -> Target:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", replicas=replicas, service=service)
    await place.kubectl.until(target, settled)
    return target


async def test_a_restart_that_may_run(place: Place) -> None:
    target = await healthy(place, replicas=2, service=True)
    before = await place.world.observe(target)

    preflight = await place.world.preflight(RestartWorkload(target=target))

    assert results(preflight) == {}
    assert [check.detail for check in preflight.checks if check.name == "permission"] == [
        f"get deployments.apps in {place.namespace}",
        f"patch deployments.apps in {place.namespace}",
    ]
    assert before.workload is not None
    assert preflight.uid == before.workload.uid
    assert preflight.diff == "+ spec.template.metadata.annotations[mendstream.dev/operation]: dry-run"
    assert preflight.inverse is None
    assert (preflight.blast.pods, preflight.blast.replicas, preflight.blast.services) == (2, 2, ("api",))
    assert (preflight.blast.score, preflight.blast.tier, preflight.blast.unmeasured) == (8, Tier.AUTO, ())
    after = await place.world.observe(target)
    assert after.workload is not None
    assert after.workload.generation == before.workload.generation, "a dry run changed the Deployment"


async def test_the_diff_and_the_inverse_of_a_rollback(place: Place) -> None:
    target = await healthy(place)
    await place.kubectl.set_image(target, "sim/web:crash")
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))

    preflight = await place.world.preflight(RollBackWorkload(target=target, to_revision=1))

    assert results(preflight) == {}
    assert preflight.diff.splitlines() == [
        "- spec.template.spec.containers[web].image: sim/web:crash",
        "+ spec.template.spec.containers[web].image: sim/web:ok",
    ]
    assert preflight.inverse == RollBackWorkload(target=target, to_revision=2)


async def test_the_inverse_of_the_other_actions(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", replicas=2, resources={"limits": {"memory": "64Mi"}})
    await place.kubectl.until(target, settled)
    node = Target(cluster="", kind=Kind.NODE, name="node-1")
    limit = SetMemoryLimit(target=target, container="web", memory="256Mi")

    assert (await place.world.preflight(ScaleWorkload(target=target, replicas=5))).inverse == ScaleWorkload(target=target, replicas=2)
    assert (await place.world.preflight(CordonNode(target=node))).inverse == UncordonNode(target=node)
    wider = await place.world.preflight(limit)
    assert wider.inverse == SetMemoryLimit(target=target, container="web", memory="64Mi")
    path = "spec.template.spec.containers[web].resources.limits.memory"
    assert wider.diff.splitlines() == [f"- {path}: 64Mi", f"+ {path}: 256Mi"]


async def test_what_a_controller_above_may_revert_is_not_said_to_be_in_order(place: Place) -> None:
    parent, target = await place.kubectl.deploy(place.namespace, "parent", "sim/web:ok"), await healthy(place)
    uid = (await place.kubectl.get(DEPLOYMENTS, place.namespace, parent.name))["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": parent.name, "uid": uid, "controller": True}
    await place.kubectl.patch(DEPLOYMENTS, place.namespace, target.name, {"metadata": {"ownerReferences": [owner]}})

    preflight = await place.world.preflight(RestartWorkload(target=target))

    assert results(preflight) == {"owner": CheckResult.NOT_CHECKED}
    assert "controlled by Deployment parent" in of(preflight, "owner").detail


async def test_a_missing_permission_is_named_exactly(place: Place) -> None:
    target = await healthy(place)
    world = await place.limited(("patch", "deployments", "apps"))

    preflight = await world.preflight(RestartWorkload(target=target))

    missing = [check for check in preflight.checks if check.missing]
    assert [(check.name, check.result, check.missing) for check in missing] == [
        ("permission", CheckResult.FAILED, f"patch deployments.apps in {place.namespace}")
    ]
    assert preflight.uid
    assert of(preflight, "dry_run").result is CheckResult.FAILED, "the API server refuses the dry run, too"


async def test_what_could_not_be_checked_is_never_passed(place: Place) -> None:
    target = await healthy(place, replicas=2, service=True)
    allowed = (await place.world.preflight(ScaleWorkload(target=target, replicas=1))).blast
    world = await place.limited(("list", "poddisruptionbudgets", "policy"), ("list", "services", ""), ("list", "pods", ""))

    preflight = await world.preflight(ScaleWorkload(target=target, replicas=1))

    assert of(preflight, "disruption_budget").result is CheckResult.NOT_CHECKED
    assert {"disruption budgets", "services", "pods"} <= set(preflight.blast.unmeasured)
    assert preflight.blast.score > allowed.score
    tiers = list(Tier)
    assert tiers.index(preflight.blast.tier) >= tiers.index(allowed.tier)


async def test_nothing_is_passed_of_a_target_that_may_not_be_read(place: Place) -> None:
    target = await healthy(place)
    world = await place.limited(("get", "deployments", "apps"))

    preflight = await world.preflight(RestartWorkload(target=target))

    assert preflight.uid == ""
    assert of(preflight, "target").result is CheckResult.NOT_CHECKED
    assert of(preflight, "dry_run").result is CheckResult.NOT_CHECKED
    assert [check.missing for check in preflight.checks if check.missing] == [f"get deployments.apps in {place.namespace}"]
    assert preflight.blast.tier is Tier.BLOCKED


async def test_a_missing_target_fails_with_the_nearest_names(place: Place) -> None:
    await place.kubectl.deploy(place.namespace, "payment-api", "sim/web:ok")
    target = Target(cluster="", kind=Kind.DEPLOYMENT, name="payments-api", namespace=place.namespace)

    preflight = await place.world.preflight(RestartWorkload(target=target))

    check = of(preflight, "target")
    assert check.result is CheckResult.FAILED
    assert "payment-api" in check.detail
    assert preflight.uid == ""
    assert of(preflight, "dry_run").result is CheckResult.NOT_CHECKED


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda target: ScaleWorkload(target=target, replicas=-1), "-1"),
        (lambda target: ScaleWorkload(target=target, replicas=1), "nothing would change"),
        (lambda target: RollBackWorkload(target=target, to_revision=7), "no revision 7; there are: 1"),
        (lambda target: SetMemoryLimit(target=target, container="web", memory="lots"), "422"),
        (lambda target: SetMemoryLimit(target=target, container="sidecar", memory="1Gi"), "no container 'sidecar'"),
    ],
)
async def test_a_request_that_would_be_refused_fails_the_dry_run(place: Place, make: Callable[[Target], Action], reason: str) -> None:
    target = await healthy(place)

    preflight = await place.world.preflight(make(target))

    check = of(preflight, "dry_run")
    assert check.result is CheckResult.FAILED
    assert reason in check.detail
    assert preflight.diff == ""


async def test_an_action_that_makes_no_sense_is_refused(place: Place) -> None:
    daemon = Target(cluster="", kind=Kind.DAEMONSET, name="agent", namespace=place.namespace)
    with pytest.raises(Refused, match="scale is not possible for a DaemonSet"):
        await place.world.preflight(ScaleWorkload(target=daemon, replicas=2))
    with pytest.raises(Refused):
        await place.world.preflight(CordonNode(target=daemon))


async def test_looking_needs_no_permission_to_write(place: Place) -> None:
    target = await healthy(place)
    world = await place.limited(("patch", "deployments", "apps"))

    preflight = await world.preflight(Investigate(target=target))

    assert results(preflight) == {}
    assert (preflight.blast.score, preflight.blast.data_impact) == (3 * len(preflight.blast.services), "read only")


# pods and budgets ------------------------------------------------------------------------------------------------


async def budgets_of(place: Place) -> Resource:
    """Disruption budgets in whichever version of the policy API this server has."""
    return budgets((await place.kubectl.groups("policy"))[-1])


async def budget(place: Place, least: int, *, healthy: int | None = 2) -> None:
    """A disruption budget over the two pods of `api`, counted by its controller, with so many of them healthy."""
    body = {"metadata": {"name": "api"}, "spec": {"minAvailable": least, "selector": {"matchLabels": {"app": "api"}}}}
    resource = await budgets_of(place)
    await place.kubectl.create(resource, place.namespace, body)
    await place.kubectl.wait(counted(2, healthy), resource, place.namespace, "api")


async def one_pod(place: Place, target: Target) -> tuple[Target, str]:
    meta = (await place.kubectl.pods(target))[0]["metadata"]
    return Target(cluster="", kind=Kind.POD, name=meta["name"], namespace=place.namespace), meta["uid"]


async def test_a_pod_is_measured_with_its_owner(place: Place) -> None:
    target = await healthy(place, replicas=2, service=True)
    pod, uid = await one_pod(place, target)

    preflight = await place.world.preflight(DeletePod(target=pod, uid=uid))

    assert results(preflight) == {}
    assert preflight.uid == uid
    assert (preflight.blast.pods, preflight.blast.services) == (2, ("api",))
    assert preflight.blast.score == 5 + 25 + 3
    assert preflight.diff == f"- {pod} (UID {uid})"
    assert preflight.inverse is None


async def test_a_namesake_fails(place: Place) -> None:
    pod, _ = await one_pod(place, await healthy(place))

    preflight = await place.world.preflight(DeletePod(target=pod, uid="11111111-1111-4111-8111-111111111111"))

    assert of(preflight, "target").result is CheckResult.FAILED
    assert of(preflight, "dry_run").result is CheckResult.FAILED, "the precondition holds on the server as well"


async def test_a_budget_without_room(place: Place) -> None:
    target = await healthy(place, replicas=2)
    await budget(place, 2)
    pod, uid = await one_pod(place, target)

    preflight = await place.world.preflight(EvictPod(target=pod, uid=uid))

    assert of(preflight, "disruption_budget").result is CheckResult.FAILED
    assert preflight.blast.budget_headroom == 0
    assert preflight.blast.score == 5 + 25 + 20
    assert of(preflight, "permission").detail == f"get pods in {place.namespace}"


async def test_a_budget_without_room_is_seen_though_the_pods_cannot_be_listed(place: Place) -> None:
    target = await healthy(place, replicas=2)
    await budget(place, 2)
    pod, uid = await one_pod(place, target)
    world = await place.limited(("list", "pods", ""))

    for action in (DeletePod(target=pod, uid=uid), EvictPod(target=pod, uid=uid)):
        preflight = await world.preflight(action)
        assert of(preflight, "disruption_budget").result is CheckResult.FAILED
        assert preflight.blast.budget_headroom == 0


async def test_which_budgets_cover_pods_that_cannot_be_listed_is_not_known(place: Place) -> None:
    await healthy(place, replicas=2)
    await budget(place, 2)
    other = await place.kubectl.deploy(place.namespace, "other", "sim/web:ok", replicas=4)
    await place.kubectl.until(other, settled)
    pod, uid = await one_pod(place, other)
    known = (await place.world.preflight(RestartWorkload(target=other))).blast
    world = await place.limited(("list", "pods", ""))

    preflight = await world.preflight(RestartWorkload(target=other))
    assert of(preflight, "disruption_budget").result is CheckResult.NOT_CHECKED
    assert "disruption budgets" in preflight.blast.unmeasured
    assert preflight.blast.score > known.score
    deleted = await world.preflight(DeletePod(target=pod, uid=uid))
    assert of(deleted, "disruption_budget") == Check(
        name="disruption_budget", result=CheckResult.PASSED, detail="no budget covers these pods"
    ), "the labels of the one pod that goes are known"


async def test_an_eviction_that_the_api_server_refuses_fails_the_budget_also_for_a_pod_that_serves_nobody(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:wedge-1s", replicas=2)
    await budget(place, 2, healthy=None)
    await place.kubectl.until(
        target,
        lambda item, pods: [pod["status"]["phase"] for pod in pods] == ["Running"] * 2 and not item["status"].get("readyReplicas"),
    )
    await place.kubectl.wait(lambda item: item["status"]["disruptionsAllowed"] == 0, await budgets_of(place), place.namespace, "api")
    pod, uid = await one_pod(place, target)

    preflight = await place.world.preflight(EvictPod(target=pod, uid=uid))

    assert of(preflight, "dry_run").result is CheckResult.FAILED
    assert of(preflight, "disruption_budget").result is CheckResult.FAILED
    assert "429" in of(preflight, "disruption_budget").detail


async def test_a_budget_with_room(place: Place) -> None:
    target = await healthy(place, replicas=2)
    await budget(place, 1)
    pod, uid = await one_pod(place, target)

    preflight = await place.world.preflight(EvictPod(target=pod, uid=uid))

    assert of(preflight, "disruption_budget").result is CheckResult.PASSED
    assert of(preflight, "dry_run").result is CheckResult.PASSED
    assert preflight.blast.budget_headroom == 1
    assert preflight.blast.score == 5 + 25


async def test_a_pod_that_nothing_makes_again(place: Place) -> None:
    spec = {"containers": [{"name": "web", "image": "sim/web:ok"}]}
    made = await place.kubectl.create(PODS, place.namespace, {"metadata": {"name": "alone"}, "spec": spec})
    pod = Target(cluster="", kind=Kind.POD, name="alone", namespace=place.namespace)

    preflight = await place.world.preflight(DeletePod(target=pod, uid=made["metadata"]["uid"]))

    assert preflight.blast.data_impact == "destructive"
    assert preflight.blast.score >= 35


async def test_a_scaled_workload_belongs_to_its_autoscaler(place: Place) -> None:
    target = await healthy(place, replicas=2)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 4}
    await place.kubectl.create(AUTOSCALERS, place.namespace, {"metadata": {"name": "api"}, "spec": spec})

    check = of(await place.world.preflight(ScaleWorkload(target=target, replicas=9)), "autoscaler")

    assert check.result is CheckResult.FAILED
    assert "2 to 4 replicas" in check.detail
