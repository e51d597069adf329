"""What stands around a target: revisions that were available, budgets, autoscaler, GitOps, memory, owners, nodes, long lists."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.errors import AdapterError
from adapters.kubernetes import ways
from adapters.kubernetes.availability import AVAILABLE
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import TooMany
from adapters.kubernetes.objects import Anything
from adapters.kubernetes.resources import AUTOSCALERS, BY_KIND, PODS, Resource, budgets
from ops.sandbox.kubectl import rolled_out, settled, unready, waiting
from schemas.action import (
    Action,
    Investigate,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
)
from schemas.diagnosis import wants_more, why_blind
from schemas.evidence import GitOps
from schemas.preflight import Check
from schemas.target import Kind, Target
from schemas.words import CheckResult
from stages.propose.rollout import last_good
from tests.cluster.conftest import Place

CONFIG_MAPS = Resource("", "v1", "configmaps")


async def deployed(place: Place, image: str = "sim/web:ok", *, kind: Kind = Kind.DEPLOYMENT, replicas: int = 2, **fields: Any) -> Target:
    target = await place.kubectl.deploy(place.namespace, "api", image, kind=kind, replicas=replicas, **fields)
    await place.kubectl.until(target, rolled_out if "wedge" in image else settled)
    return target


async def recreate(place: Place, target: Target) -> None:
    """From now on a rollout takes every old pod away first."""
    strategy = {"type": "Recreate", "rollingUpdate": None}
    await place.kubectl.patch(BY_KIND[target.kind], target.namespace, target.name, {"spec": {"strategy": strategy}})


async def known(place: Place, target: Target) -> dict[int, bool | None]:
    return {view.revision: view.was_available for view in (await place.world.observe(target)).revisions}


def of(checks: tuple[Check, ...], name: str) -> Check:
    return next(check for check in checks if check.name == name)


async def scaler(place: Place, least: int, most: int) -> str:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}
    spec = {"scaleTargetRef": reference, "minReplicas": least, "maxReplicas": most}
    made = await place.kubectl.create(AUTOSCALERS, place.namespace, {"metadata": {"name": "load"}, "spec": spec})
    return str(made["metadata"]["uid"])


# revisions -------------------------------------------------------------------------------------------------------


async def test_a_revision_that_a_restart_made_is_no_other_one(place: Place) -> None:
    target = await deployed(place)
    uid = (await place.world.preflight(RestartWorkload(target=target))).uid
    await place.world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid=uid)
    await place.kubectl.until(target, settled)

    snapshot = await place.world.observe(target)

    assert {view.revision: view.same for view in snapshot.revisions} == {2: False, 1: True}
    assert snapshot.last_available is None


async def test_the_last_good_revision_is_not_merely_the_one_before(place: Place) -> None:
    target = await deployed(place)
    for image in ("sim/web:crash", "sim/web:pull"):
        await place.kubectl.set_image(target, image)
        await place.kubectl.until(target, waiting("CrashLoopBackOff" if image.endswith("crash") else "ImagePullBackOff"))

    snapshot = await place.world.observe(target)

    assert {view.revision: view.was_available for view in snapshot.revisions} == {3: None, 2: None, 1: True}
    assert snapshot.last_available is not None
    assert snapshot.last_available.revision == 1
    assert snapshot.last_available.availability == "all of its 2 pods are available now"
    good, bad = [(await place.world.preflight(RollBackWorkload(target=target, to_revision=number))).checks for number in (1, 2)]
    assert of(good, "revision").result is CheckResult.PASSED
    assert of(bad, "revision").result is CheckResult.NOT_CHECKED
    assert "whether revision 2 was ever fully available is not known" in of(bad, "revision").detail


async def test_what_kubernetes_forgot_is_not_known_but_what_was_noted_in_time_is(place: Place) -> None:
    target = await deployed(place)
    await recreate(place, target)
    await place.kubectl.until(target, settled)
    uid = (await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api"))["metadata"]["uid"]
    await place.kubectl.set_image(target, "sim/web:v2")
    await place.kubectl.until(target, settled)
    assert await known(place, target) == {2: True, 1: None}, "nothing tells any more that revision 1 was available"

    await place.world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid=uid)
    await place.kubectl.until(target, settled)
    await place.kubectl.set_image(target, "sim/web:crash")
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))

    assert await known(place, target) == {4: None, 3: None, 2: True, 1: None}, "the restart noted what it replaced"


async def test_a_revision_that_was_rolled_back_from_is_never_the_last_good_one(place: Place) -> None:
    """A container that works for seconds completes its rollout: that says nothing for it later."""
    target = await deployed(place, "sim/web:v1", replicas=1)
    uid = (await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api"))["metadata"]["uid"]
    await place.kubectl.set_image(target, "sim/web:wedge-2s")
    await place.kubectl.until(target, rolled_out)
    await place.kubectl.until(target, unready)
    first = last_good(await place.world.observe(target))
    assert first is not None
    assert first.images == ("sim/web:v1",)

    back = RollBackWorkload(target=target, to_revision=first.revision)
    await place.world.apply(back, operation="operation-1", token=1, uid=uid)
    await place.kubectl.until(target, settled)
    await place.kubectl.set_image(target, "sim/web:wedge-3s")
    await place.kubectl.until(target, rolled_out)
    await place.kubectl.until(target, unready)

    snapshot = await place.world.observe(target)
    second = last_good(snapshot)
    assert second is not None
    assert (second.revision, second.images) == (3, ("sim/web:v1",))
    assert {view.revision: view.was_available for view in snapshot.revisions} == {4: True, 3: None, 2: False}
    assert snapshot.last_available is None, "nobody may be told that the revision that was left had worked"
    check = of((await place.world.preflight(RollBackWorkload(target=target, to_revision=2))).checks, "revision")
    assert (check.result, check.detail) == (
        CheckResult.NOT_CHECKED,
        "whether revision 2 works is in doubt: an earlier action rolled back from it",
    ), "a person may still take a rollback back"


async def test_what_was_rolled_back_from_is_known_of_a_stateful_set_too(place: Place) -> None:
    target = await deployed(place, kind=Kind.STATEFULSET)
    await place.kubectl.set_image(target, "sim/web:v2")
    await place.kubectl.until(target, settled)
    uid = (await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api"))["metadata"]["uid"]

    await place.world.apply(RollBackWorkload(target=target, to_revision=1), operation="operation-1", token=1, uid=uid)
    await place.kubectl.until(target, settled)

    assert (await known(place, target))[2] is False
    await place.kubectl.set_image(target, "sim/web:v2")
    await place.kubectl.until(target, settled)
    assert (await known(place, target))[4] is True, "it was brought again"


@pytest.mark.parametrize("image", ["sim/web:flap", "sim/web:wedge-2s"])
async def test_what_has_restarted_or_is_not_available_when_it_is_replaced_is_not_noted(place: Place, image: str) -> None:
    target = await deployed(place, image, replicas=1)
    uid = (await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api"))["metadata"]["uid"]
    if image.endswith("2s"):
        await place.kubectl.until(target, unready)

    await place.world.apply(RestartWorkload(target=target), operation="operation-1", token=1, uid=uid)

    annotations = (await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api"))["metadata"]["annotations"]
    assert AVAILABLE not in annotations


async def test_a_rollout_that_was_completed_counts_though_its_pods_broke_later(place: Place) -> None:
    target = await deployed(place, "sim/web:wedge-2s", replicas=1)
    await place.kubectl.until(target, lambda item, _: item["status"].get("availableReplicas", 0) == 0)
    (view,) = (await place.world.observe(target)).revisions
    assert (view.was_available, view.availability) == (True, "its rollout was completed")


async def test_the_complete_revision_of_a_stateful_set(place: Place) -> None:
    target = await deployed(place, kind=Kind.STATEFULSET)
    await place.kubectl.set_image(target, "sim/web:v2")
    await place.kubectl.until(target, settled)
    await place.kubectl.set_image(target, "sim/web:crash")
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))

    assert await known(place, target) == {3: None, 2: True, 1: None}


# what holds it ---------------------------------------------------------------------------------------------------


async def test_budgets_autoscaler_memory_and_nodes_are_seen(place: Place) -> None:
    target = await deployed(place, resources={"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}})
    body = {"metadata": {"name": "strict"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "api"}}}}
    version = (await place.kubectl.groups("policy"))[-1]
    await place.kubectl.create(budgets(version), place.namespace, body)
    other = {"metadata": {"name": "other"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "cart"}}}}
    await place.kubectl.create(budgets(version), place.namespace, other)
    await place.kubectl.wait(lambda item: item["status"].get("expectedPods") == 2, budgets(version), place.namespace, "strict")
    uid = await scaler(place, 1, 2)
    await place.kubectl.wait(lambda item: "ScalingActive" in str(item["metadata"].get("annotations")), AUTOSCALERS, place.namespace, "load")

    snapshot = await place.world.observe(target)

    (strict,) = snapshot.budgets
    assert (strict.name, strict.allowed, strict.healthy, strict.needed, strict.expected) == ("strict", 0, 2, 2, 2)
    assert strict.deadlocked
    assert snapshot.autoscaler is not None
    assert (snapshot.autoscaler.name, snapshot.autoscaler.uid) == ("load", uid)
    assert (snapshot.autoscaler.minimum, snapshot.autoscaler.maximum, snapshot.autoscaler.current) == (1, 2, 2)
    assert snapshot.autoscaler.maxed
    assert "unable to get metrics" in why_blind(snapshot.autoscaler)
    assert wants_more(snapshot.autoscaler) is None
    assert {(view.memory_limit, view.memory_request) for pod in snapshot.pods for view in pod.containers} == {(64 * 2**20, 32 * 2**20)}
    assert {node.name for node in snapshot.nodes} == {pod.node for pod in snapshot.pods}
    assert sum(node.pods for node in snapshot.nodes) == 2
    assert all(node.ready and not node.cordoned and node.conditions[0].type == "Ready" for node in snapshot.nodes)
    assert snapshot.workload is not None
    assert {"Available", "Progressing"} <= {condition.type for condition in snapshot.workload.conditions}


async def test_the_chain_of_owners(place: Place) -> None:
    target = await deployed(place, replicas=1)
    meta = (await place.kubectl.pods(target))[0]["metadata"]

    snapshot = await place.world.observe(Target(cluster="", kind=Kind.POD, name=meta["name"], namespace=place.namespace))

    assert [owner.kind for owner in snapshot.owners] == ["ReplicaSet", "Deployment"]
    assert snapshot.owners[-1].name == "api"
    assert snapshot.owners[0].uid == meta["ownerReferences"][0]["uid"]


async def test_why_a_pod_fits_no_node(place: Place) -> None:
    target = await place.kubectl.deploy(place.namespace, "api", "sim/web:ok", resources={"requests": {"memory": "20Gi"}})
    await place.kubectl.until(target, lambda _, pods: any(pod["status"].get("conditions") for pod in pods))

    (pod,) = (await place.world.observe(target)).pods

    assert (pod.phase, pod.reason, pod.node) == ("Pending", "Unschedulable", "")
    assert "nodes are available" in pod.message


async def test_the_gitops_tool_is_told_to_the_approver(place: Place) -> None:
    target = await deployed(place)
    mark = {"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": f"shop:apps/Deployment:{place.namespace}/api"}}}
    await place.kubectl.patch(BY_KIND[target.kind], place.namespace, "api", mark)
    argo = GitOps(tool="Argo CD", application="shop")

    assert (await place.world.observe(target)).gitops == argo
    preflight = await place.world.preflight(ScaleWorkload(target=target, replicas=3))

    assert preflight.gitops == argo
    check = of(preflight.checks, "gitops")
    assert (check.result, check.warning) == (CheckResult.PASSED, True)
    assert "managed by Argo CD application shop: it will revert this change" in check.detail
    plain = await place.world.preflight(RestartWorkload(target=target))
    assert "revert" not in of(plain.checks, "gitops").detail


async def test_a_node_that_may_not_be_read_is_named_and_not_called_unready(place: Place) -> None:
    target = await deployed(place)
    world = await place.limited(("get", "nodes", ""))

    snapshot = await world.observe(target)

    assert {(node.ready, node.exists) for node in snapshot.nodes} == {(None, True)}
    assert [sensor.error for sensor in snapshot.sensors if sensor.name == "nodes"] == [""]


# the basis of an approval ----------------------------------------------------------------------------------------


async def test_a_basis_tells_whether_somebody_changed_what_the_action_changes(place: Place) -> None:
    target = await deployed(place)
    restart, scale = RestartWorkload(target=target), ScaleWorkload(target=target, replicas=5)
    before = [(await place.world.preflight(action)).basis for action in (restart, scale)]
    assert all(len(basis) == 16 for basis in before)
    assert [(await place.world.preflight(action)).basis for action in (restart, scale)] == before

    await place.kubectl.patch(BY_KIND[target.kind], place.namespace, "api", {"spec": {"replicas": 3}})
    after = [(await place.world.preflight(action)).basis for action in (restart, scale)]
    assert after[0] == before[0]
    assert after[1] != before[1]
    await place.kubectl.set_image(target, "sim/web:v2")
    assert (await place.world.preflight(restart)).basis != before[0]


# bounds of an autoscaler -----------------------------------------------------------------------------------------


async def test_the_bounds_are_set_found_and_have_a_way_back(place: Place) -> None:
    target = await deployed(place)
    uid = await scaler(place, 1, 2)
    action = SetAutoscalerBounds(target=target, autoscaler="load", minimum=3, maximum=6)
    back = SetAutoscalerBounds(target=target, autoscaler="load", minimum=1, maximum=2)

    preflight = await place.world.preflight(action)

    assert [check for check in preflight.checks if check.result is not CheckResult.PASSED] == []
    assert (preflight.uid, preflight.inverse) == (uid, back)
    lines = ["- spec.maxReplicas: 2", "+ spec.maxReplicas: 6", "- spec.minReplicas: 1", "+ spec.minReplicas: 3"]
    assert preflight.diff.splitlines() == lines
    applied = await place.world.apply(action, operation="operation-1", token=1, uid=uid)
    assert applied.repeated is False
    assert await place.world.find(action, operation="operation-1", uid=uid) is True
    assert (await place.world.apply(action, operation="operation-1", token=1, uid=uid)).repeated is True
    await place.kubectl.until(target, lambda item, _: item["spec"]["replicas"] == 3)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"autoscaler": "load", "minimum": 3, "maximum": 2}, "are no bounds"),
        ({"autoscaler": "load", "minimum": 0, "maximum": 2}, "are no bounds"),
        ({"autoscaler": "load", "minimum": 1, "maximum": 2}, "nothing would change"),
    ],
)
async def test_bounds_that_make_no_sense_fail_the_rehearsal(place: Place, fields: dict[str, Any], reason: str) -> None:
    target = await deployed(place)
    await scaler(place, 1, 2)

    check = of((await place.world.preflight(SetAutoscalerBounds(target=target, **fields))).checks, "dry_run")

    assert check.result is CheckResult.FAILED
    assert reason in check.detail


async def test_an_autoscaler_of_something_else_or_none_is_refused(place: Place) -> None:
    target = await deployed(place)
    cart = await place.kubectl.deploy(place.namespace, "cart", "sim/web:ok")
    await scaler(place, 1, 2)

    foreign = await place.world.preflight(SetAutoscalerBounds(target=cart, autoscaler="load", minimum=1, maximum=9))
    missing = await place.world.preflight(SetAutoscalerBounds(target=target, autoscaler="nobody", minimum=1, maximum=9))

    assert "does not scale deployment" in of(foreign.checks, "dry_run").detail
    assert of(missing.checks, "target").result is CheckResult.FAILED
    assert missing.uid == ""


# looking ---------------------------------------------------------------------------------------------------------


async def test_an_investigation_reports_what_was_seen(place: Place) -> None:
    target = await deployed(place, replicas=1)
    await place.kubectl.set_image(target, "sim/web:crash")
    await place.kubectl.until(target, waiting("CrashLoopBackOff"))

    report = (await place.world.apply(Investigate(target=target), operation="operation-1", token=1, uid="")).output

    for words in (
        "revision 2 (current): sim/web:crash",
        "condition Progressing",
        "CrashLoopBackOff",
        "event BackOff on pod/",
        "node node-",
    ):
        assert words in report, report
    assert len(report) <= 4000


@pytest.fixture
async def client(place: Place) -> Client:
    server = place.server
    return await ways.by_url(server["server"]) if "server" in server else await ways.by_kubeconfig(server["kubeconfig"])


async def test_a_long_list_is_read_whole_or_not_at_all(place: Place, client: Client) -> None:
    for number in range(7):
        await place.kubectl.create(CONFIG_MAPS, place.namespace, {"metadata": {"name": f"map-{number}", "labels": {"of": "test"}}})
    client.page = 3
    query = {"labelSelector": "of=test"}
    try:
        found = await client.read_all(CONFIG_MAPS.path(place.namespace), Anything, query=query)
        assert [item.metadata.name for item in found] == [f"map-{number}" for number in range(7)]
        with pytest.raises(TooMany, match="more than 6 objects"):
            await client.read_all(CONFIG_MAPS.path(place.namespace), Anything, query=query, pages=2)
        with pytest.raises(AdapterError):
            await client.read_all(PODS.path(place.namespace), Anything, query={"limit": "1", "continue": "nonsense"})
    finally:
        await client.close()


# undone by a person ----------------------------------------------------------------------------------------------


async def test_what_a_person_undid_is_still_told_to_have_happened(place: Place) -> None:
    target = await deployed(place, replicas=1)
    uid = (await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api"))["metadata"]["uid"]
    restart, scale = RestartWorkload(target=target), ScaleWorkload(target=target, replicas=2)
    done: tuple[Action, ...] = (restart, scale)
    for number, action in enumerate(done, 1):
        await place.world.apply(action, operation=f"operation-{number}", token=number, uid=uid)
        await place.kubectl.until(target, settled)

    await place.kubectl.undo(target, 1)
    live = await place.kubectl.until(target, settled)

    assert "mendstream.dev/operation" not in live["metadata"]["annotations"], "the undo took the annotations of revision 1 with it"
    assert await place.world.find(restart, operation="operation-1", uid=uid) is True
    assert await place.world.find(scale, operation="operation-2", uid=uid) is True
    assert (await place.world.apply(restart, operation="operation-1", token=3, uid=uid)).repeated is True
    assert await place.world.find(restart, operation="operation-9", uid=uid) is None, "its mark may have gone with the others"
    after = await place.kubectl.get(BY_KIND[target.kind], place.namespace, "api")
    assert after["metadata"]["generation"] == live["metadata"]["generation"]


# room ------------------------------------------------------------------------------------------------------------


async def test_a_limit_and_a_number_of_replicas_need_room_on_the_nodes(place: Place) -> None:
    target = await deployed(place, resources={"limits": {"memory": "64Mi"}}, replicas=1)

    async def room(action: Action) -> Check:
        return of((await place.world.preflight(action)).checks, "room")

    assert (await room(SetMemoryLimit(target=target, container="web", memory="128Mi"))).result is CheckResult.PASSED
    assert (await room(ScaleWorkload(target=target, replicas=3))).result is CheckResult.PASSED
    beyond = await room(SetMemoryLimit(target=target, container="web", memory="17Gi"))
    assert beyond.result is CheckResult.FAILED
    assert "there is no room for 1 more pod of 17.00 GiB" in beyond.detail
    assert (await room(ScaleWorkload(target=target, replicas=2000))).result is CheckResult.FAILED
    world = await place.limited(("list", "nodes", ""))
    unknown = of((await world.preflight(ScaleWorkload(target=target, replicas=3))).checks, "room")
    assert unknown.result is CheckResult.NOT_CHECKED
