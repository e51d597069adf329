"""Which revisions are known to have been fully available, which tool manages an object, what an approval rests on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.availability import (
    AVAILABLE,
    ROLLED_BACK,
    noted,
    of_revisions,
    of_sets,
    pods_by_revision,
    whole_revision,
    with_note,
)
from adapters.kubernetes.basis import basis_of
from adapters.kubernetes.gitops import gitops_check, gitops_of
from adapters.kubernetes.objects import ControllerRevision, Metadata, Pod, Workload
from adapters.kubernetes.quantities import number_of
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
)
from schemas.evidence import GitOps, RevisionView
from schemas.target import Kind
from schemas.words import CheckResult
from tests.unit.snapshots import TARGET, snapshot

NAMES = st.from_regex(r"api-[a-z0-9]{4}", fullmatch=True)


def deployment(replicas: int = 2, *, reason: str = "", named: str = "", notes: str = "", left: str = "") -> Workload:
    conditions = [{"type": "Progressing", "status": "True", "reason": reason, "message": f'ReplicaSet "{named}" words.'}] if reason else []
    annotations = {AVAILABLE: notes, ROLLED_BACK: left}
    tree = {"metadata": {"name": "api", "annotations": annotations}, "spec": {"template": {}, "replicas": replicas}}
    return msgspec.convert(tree | {"status": {"conditions": conditions}}, Workload)


def replica_set(name: str, wanted: int, available: int, number: int = 0) -> Workload:
    meta = {"name": name, "annotations": {"deployment.kubernetes.io/revision": str(number)}}
    tree = {"metadata": meta, "spec": {"template": {}, "replicas": wanted}, "status": {"availableReplicas": available}}
    return msgspec.convert(tree, Workload)


def known(workload: Workload, *sets: Workload) -> dict[str, bool]:
    return {name: found.available for name, found in of_sets(workload, sets).items()}


def test_a_set_all_of_whose_pods_are_available_is_known() -> None:
    assert known(deployment(), replica_set("api-1", 2, 2)) == {"api-1": True}


def test_a_set_that_was_replaced_or_is_only_partly_available_is_not_known() -> None:
    assert known(deployment(), replica_set("api-1", 0, 0), replica_set("api-2", 2, 1)) == {}


def test_a_set_that_never_had_nearly_all_of_the_pods_is_not_known() -> None:
    sets = replica_set("good", 8, 8), replica_set("half", 2, 2), replica_set("newest", 3, 0)
    assert known(deployment(10), *sets) == {"good": True}, "a rollout by the usual strategy leaves 8 of 10"
    assert known(deployment(10), replica_set("one", 1, 1)) == {}


def test_where_a_rollout_may_take_all_pods_a_set_must_have_all_of_them() -> None:
    tree = {"metadata": {"name": "api"}, "spec": {"template": {}, "replicas": 2, "strategy": {"type": "Recreate"}}}
    recreated = msgspec.convert(tree, Workload)
    assert known(recreated, replica_set("api-1", 1, 1)) == {}
    assert known(recreated, replica_set("api-1", 2, 2)) == {"api-1": True}


def test_what_was_rolled_back_from_is_none_to_go_back_to_until_somebody_brings_it_again() -> None:
    left = deployment(notes="api-2", left="2,7")
    (found,) = of_sets(left, [replica_set("api-2", 2, 2, number=2)]).values()
    assert (found.available, found.rolled_back) == (False, True)
    assert known(left, replica_set("api-2", 2, 2, number=9)) == {"api-2": True}
    of_old = msgspec.convert({"metadata": {"name": "api-3", "annotations": {ROLLED_BACK: "3"}}, "spec": {"template": {}}}, Workload)
    assert known(deployment(), of_old, replica_set("api-1", 0, 0, number=3)) == {"api-1": False}, "the sets keep what an undo takes away"


def test_the_end_of_a_rollout_is_known_also_after_its_pods_broke() -> None:
    assert known(deployment(reason="NewReplicaSetAvailable", named="api-2"), replica_set("api-2", 2, 0)) == {"api-2": True}


def test_a_rollout_that_ended_with_no_pods_proves_nothing() -> None:
    assert known(deployment(0, reason="NewReplicaSetAvailable", named="api-2")) == {}


def test_a_missed_deadline_is_known_and_what_serves_weighs_more() -> None:
    late = deployment(reason="ProgressDeadlineExceeded", named="api-2")
    assert known(late, replica_set("api-2", 2, 1)) == {"api-2": False}
    assert known(late, replica_set("api-2", 2, 2)) == {"api-2": True}


def test_notes_are_read_from_the_deployment_and_from_its_sets() -> None:
    old = msgspec.convert({"metadata": {"name": "api-3", "annotations": {AVAILABLE: "api-1"}}, "spec": {"template": {}}}, Workload)
    assert known(deployment(notes="api-2"), old) == {"api-1": True, "api-2": True}


@given(st.lists(NAMES, min_size=1, max_size=20))
def test_the_newest_eight_notes_are_kept_once_each(names: list[str]) -> None:
    annotations: dict[str, str] = {"team": "shop"}
    for name in names:
        annotations = with_note(annotations, AVAILABLE, name)
    assert noted(annotations, AVAILABLE) == tuple(dict.fromkeys(reversed(names)))[:8]
    assert annotations["team"] == "shop"


def test_nothing_is_noted_of_nothing() -> None:
    assert with_note({"a": "b"}, AVAILABLE, "") == {"a": "b"}


def status_of(**changed: Any) -> Workload:
    """A Deployment at generation 3 whose rollout was completed, with all that it wants; `changed` are fields of its status."""
    conditions = [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": 'ReplicaSet "api-2" words.'}]
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "observedGeneration": 3}
    tree = {"metadata": {"name": "api", "generation": 3}, "spec": {"template": {}, "replicas": changed.pop("wanted", 2)}}
    return msgspec.convert(tree | {"status": counts | {"conditions": conditions} | changed}, Workload)


def test_a_revision_is_whole_only_while_every_pod_is_of_it_and_available() -> None:
    assert whole_revision(status_of()) == "api-2"
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
    for field in counts:
        assert whole_revision(status_of(**{field: 1})) == "", field
    assert whole_revision(status_of(wanted=3)) == ""
    assert whole_revision(status_of(wanted=0, **dict.fromkeys(counts[:4], 0))) == ""


def stateful(current: str, update: str) -> Workload:
    status = {"currentRevision": current, "updateRevision": update}
    return msgspec.convert({"metadata": {"name": "db"}, "spec": {"template": {}, "replicas": 2}, "status": status}, Workload)


def revisions(*names: str) -> list[ControllerRevision]:
    return [msgspec.convert({"metadata": {"name": name}, "revision": number}, ControllerRevision) for number, name in enumerate(names, 1)]


def pod(revision: str, *, ready: bool) -> Pod:
    conditions = [{"type": "Ready", "status": str(ready)}]
    meta = {"name": "db-0", "labels": {"controller-revision-hash": revision}}
    return msgspec.convert({"metadata": meta, "spec": {"containers": []}, "status": {"conditions": conditions}}, Pod)


def test_the_current_revision_of_a_stateful_set_was_complete_unless_it_is_the_first() -> None:
    assert set(of_revisions(stateful("db-2", "db-3"), Kind.STATEFULSET, revisions("db-1", "db-2", "db-3"), [])) == {"db-2"}
    assert of_revisions(stateful("db-1", "db-2"), Kind.STATEFULSET, revisions("db-1", "db-2"), []) == {}
    assert of_revisions(stateful("db-2", "db-2"), Kind.STATEFULSET, revisions("db-1", "db-2"), []) == {}


def test_pods_tell_of_their_revision_only_all_together() -> None:
    pods = [pod("db-1", ready=True), pod("db-2", ready=True), pod("db-2", ready=False)]
    assert set(of_revisions(stateful("db-1", "db-2"), Kind.STATEFULSET, revisions("db-1", "db-2"), pods)) == {"db-1"}


def test_pods_of_a_daemon_set_carry_only_the_hash_of_their_revision() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "u", "controller": True}
    meta = {"name": "agent-x", "labels": {"controller-revision-hash": "6b7d9c"}, "ownerReferences": [owner]}
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    one = msgspec.convert({"metadata": meta, "spec": {"containers": []}, "status": status}, Pod)
    assert pods_by_revision([one]) == {"agent-6b7d9c": (1, 1)}


def test_a_stateful_sets_revision_with_fewer_pods_than_a_rollout_leaves_is_not_known() -> None:
    three = msgspec.convert({"metadata": {"name": "db"}, "spec": {"template": {}, "replicas": 3}}, Workload)
    one, two = [pod("db-1", ready=True)], [pod("db-1", ready=True), pod("db-1", ready=True)]
    assert of_revisions(three, Kind.STATEFULSET, revisions("db-1", "db-2"), one) == {}
    assert set(of_revisions(three, Kind.STATEFULSET, revisions("db-1", "db-2"), two)) == {"db-1"}


def test_the_last_available_revision_is_the_newest_known_one_and_not_the_one_before() -> None:
    one, two, three, four = (
        RevisionView(revision=number, name=f"api-{number}", was_available=good, current=number == 4)
        for number, good in ((1, True), (2, True), (3, None), (4, True))
    )
    seen = snapshot(revisions=(four, three, two, one))
    assert seen.last_available == two
    assert snapshot(revisions=(four, three)).last_available is None
    restarted = msgspec.structs.replace(two, same=True)
    assert snapshot(revisions=(four, three, restarted)).last_available is None, "its pods would be those that there are"


# GitOps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ({}, None),
        ({"labels": {"app.kubernetes.io/instance": "shop"}}, None),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/api"}}, GitOps(tool="Argo CD", application="shop")),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/other"}}, None),
        ({"labels": {"argocd.argoproj.io/instance": "shop"}}, GitOps(tool="Argo CD", application="shop")),
        (
            {"labels": {"app.kubernetes.io/instance": "shop"}, "annotations": {"argocd.argoproj.io/sync-wave": "1"}},
            GitOps(tool="Argo CD", application="shop"),
        ),
        (
            {"labels": {"app.kubernetes.io/instance": "shop"}, "managedFields": [{"manager": "argocd-controller"}]},
            GitOps(tool="Argo CD", application="shop"),
        ),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}, GitOps(tool="Flux", application="apps")),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}, GitOps(tool="Flux", application="shop")),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "kustomize-controller"}]}, GitOps(tool="Flux")),
    ],
)
def test_the_tool_is_told_by_its_marks(meta: dict[str, Any], found: GitOps | None) -> None:
    assert gitops_of(msgspec.convert({"name": "api", "namespace": "prod"} | meta, Metadata)) == found


def test_an_application_with_a_hostile_name_is_cleaned() -> None:
    found = gitops_of(msgspec.convert({"labels": {"argocd.argoproj.io/instance": "\x1b[31m" + "x" * 500}}, Metadata))
    assert found is not None
    assert "\x1b" not in found.application
    assert len(found.application) <= 120


def test_what_the_repository_says_will_be_reverted_and_a_restart_will_not() -> None:
    argo = GitOps(tool="Argo CD", application="shop")
    scaled = gitops_check(ScaleWorkload(target=TARGET, replicas=3), argo)
    assert (scaled.result, scaled.warning) == (CheckResult.PASSED, True)
    assert "managed by Argo CD application shop: it will revert this change" in scaled.detail
    restarted, alone = gitops_check(RestartWorkload(target=TARGET), argo), gitops_check(RestartWorkload(target=TARGET), None)
    assert "revert" not in restarted.detail
    assert "no GitOps tool" in alone.detail
    assert (restarted.warning, alone.warning) == (msgspec.UNSET, msgspec.UNSET)


# the basis -------------------------------------------------------------------------------------------------------

ON_TEMPLATE: tuple[Action, ...] = (
    RestartWorkload(target=TARGET),
    RollBackWorkload(target=TARGET, to_revision=1),
    SetMemoryLimit(target=TARGET, container="web", memory="1Gi"),
)
SPEC: dict[str, Any] = {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}, "paused": False}


def changed(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "9"}, "spec": SPEC | spec, "status": {"replicas": 7}}


@pytest.mark.parametrize("action", ON_TEMPLATE, ids=lambda action: action.verb)
def test_a_basis_changes_with_what_the_action_changes_and_with_nothing_else(action: Action) -> None:
    basis = basis_of(action, {"spec": SPEC})
    assert len(basis) == 16
    assert basis_of(action, changed()) == basis_of(action, changed(replicas=5, paused=True)) == basis
    assert basis_of(action, changed(template={"spec": {"containers": [{"name": "web", "image": "web:2"}]}})) != basis


def test_the_basis_of_scaling_bounds_and_cordoning() -> None:
    scale = ScaleWorkload(target=TARGET, replicas=3)
    assert basis_of(scale, changed()) != basis_of(scale, changed(replicas=3))
    assert basis_of(scale, changed()) == basis_of(scale, changed(template={}))
    bounds = SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=9)
    assert basis_of(bounds, {"spec": {"maxReplicas": 4}}) != basis_of(bounds, {"spec": {"maxReplicas": 5}})
    cordon = CordonNode(target=TARGET)
    assert basis_of(cordon, {"spec": {}}) == basis_of(cordon, {"spec": {"unschedulable": False}})
    assert basis_of(cordon, {"spec": {}}) != basis_of(cordon, {"spec": {"unschedulable": True}})
    assert basis_of(DeletePod(target=TARGET, uid="u"), {"spec": {"nodeName": "a"}}) == ""


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("64Mi", 64 * 2**20),
        ("1G", 10**9),
        ("1.5Gi", 3 * 2**29),
        (128, 128),
        ("100m", 1),
        ("2500m", 3),
        ("1500000000n", 2),
        ("250u", 1),
        ("lots", None),
        (None, None),
        ("", None),
    ],
)
def test_quantities_in_whole_units(quantity: object, number: int | None) -> None:
    assert number_of(quantity) == number
