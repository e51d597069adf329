"""The templates for nodes that are down: a cordon, one eviction at a time, and never around a disruption budget."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.action import CordonNode, EvictPod, Investigate, RestartWorkload
from schemas.evidence import BudgetView, ConditionView, NodeView, Snapshot
from schemas.target import Kind, Target
from tests.unit.snapshots import TARGET, pod, snapshot
from tests.unit.test_propose_templates import ONE_REVISION, suggested

NODE = Target(cluster="prod", kind=Kind.NODE, name="n1")
SILENT = ConditionView(type="Ready", status="Unknown", reason="NodeStatusUnknown")
DOWN = NodeView(name="n1", ready=False, conditions=(SILENT,), pods=1)
UP = NodeView(name="n2", ready=True, pods=1)


def node(view: NodeView | None) -> Snapshot:
    plain = snapshot(pod("a", "unready", node="n1"), target=NODE, nodes=(view,) if view else ())
    return msgspec.structs.replace(plain, workload=None)


def stranded(count: int = 1, *, target: Target = TARGET, **fields: Any) -> Snapshot:
    """A workload with `count` pods on the node that is down, and one elsewhere."""
    lost = tuple(pod(f"lost-{number}", "unready", node="n1") for number in range(count))
    fields = {"nodes": (DOWN, UP), "revisions": ONE_REVISION} | fields
    return snapshot(*lost, pod("fine", node="n2"), target=target, **fields)


def test_a_node_that_is_down_is_cordoned_and_people_are_asked_to_repair_it() -> None:
    found = suggested("KubeNodeNotReady", node(DOWN))
    assert found.action == CordonNode(target=NODE)
    assert "NodeStatusUnknown" in found.reasons[0]
    assert "Repair or replace node n1" in found.question


@pytest.mark.parametrize(
    ("view", "asks"),
    [
        (msgspec.structs.replace(DOWN, cordoned=True), True),
        (msgspec.structs.replace(UP, name="n1"), False),
        (msgspec.structs.replace(DOWN, ready=None), True),
        (None, True),
    ],
    ids=["cordoned already", "up again", "may not be read", "not seen"],
)
def test_any_other_node_is_left_alone(view: NodeView | None, asks: bool) -> None:
    found = suggested("KubeNodeNotReady", node(view))
    assert isinstance(found.action, Investigate)
    assert bool(found.question) is asks


def test_one_pod_of_a_deployment_is_moved_off_the_node_by_its_uid() -> None:
    found = suggested("KubePodNotReady", stranded(3))
    assert found.action == EvictPod(target=Target(cluster="prod", kind=Kind.POD, name="lost-0", namespace="shop"), uid="uid-lost-0")
    assert "3 of its pods are on node n1" in found.reasons[0]
    assert "2 more" in found.reasons[1]


@pytest.mark.parametrize("kind", [Kind.STATEFULSET, Kind.DAEMONSET])
def test_other_workloads_lose_no_pod_for_theirs_do_not_come_back_elsewhere(kind: Kind) -> None:
    found = suggested("KubePodNotReady", stranded(target=msgspec.structs.replace(TARGET, kind=kind)))
    assert isinstance(found.action, Investigate)
    assert "off for good" in found.question


@pytest.mark.parametrize(("needed", "said"), [(2, "no eviction at all"), (1, "no eviction now")])
def test_a_budget_that_allows_nothing_is_told_and_not_gone_around(needed: int, said: str) -> None:
    budget = BudgetView(name="api", allowed=0, healthy=1, needed=needed, expected=2)
    found = suggested("KubePodNotReady", stranded(budgets=(budget,)))
    assert isinstance(found.action, Investigate)
    assert said in found.reasons[0]
    assert "budget api" in found.question


def test_a_budget_with_room_lets_one_go() -> None:
    budget = BudgetView(name="api", allowed=1, healthy=2, needed=1, expected=3)
    assert isinstance(suggested("KubePodNotReady", stranded(budgets=(budget,))).action, EvictPod)


@pytest.mark.parametrize("ready", [True, None])
def test_a_pod_that_hangs_on_a_node_that_is_up_or_not_readable_is_restarted(ready: bool | None) -> None:
    nodes = (msgspec.structs.replace(DOWN, ready=ready), UP)
    assert suggested("KubePodNotReady", stranded(nodes=nodes)).action == RestartWorkload(target=TARGET)


def test_a_pod_that_is_going_already_is_not_evicted_again() -> None:
    lost = pod("lost", "unready", node="n1", deleting=True)
    found = suggested("KubePodNotReady", snapshot(lost, pod("fine", node="n2"), nodes=(DOWN, UP), revisions=ONE_REVISION, desired=1))
    assert isinstance(found.action, Investigate)
