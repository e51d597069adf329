"""Whether there is room on the nodes: what is asked, what is used, and which nodes count."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.objects import Node, Pod
from adapters.kubernetes.quantities import exact, number_of
from adapters.kubernetes.room import Room, containers_after, free_room, requested, room_check
from schemas.action import ScaleWorkload, SetMemoryLimit
from schemas.words import CheckResult
from tests.unit.snapshots import TARGET

GIB = 2**30
TEMPLATE: dict[str, Any] = {
    "spec": {
        "containers": [
            {"name": "web", "image": "web:1", "resources": {"limits": {"memory": "1Gi"}}},
            {"name": "log", "image": "log:1", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "8Gi"}}},
        ]
    }
}


def node(name: str, memory: str = "16Gi", labels: dict[str, str] | None = None, **spec: Any) -> Node:
    status = {"allocatable": {"cpu": "8", "memory": memory}, "conditions": [{"type": "Ready", "status": "True"}]}
    return msgspec.convert({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}, Node)


def pod(on: str, memory: str, phase: str = "Running") -> Pod:
    containers = [{"name": "web", "resources": {"requests": {"memory": memory}}}]
    return msgspec.convert({"metadata": {}, "spec": {"nodeName": on, "containers": containers}, "status": {"phase": phase}}, Pod)


def test_a_request_that_is_missing_is_the_limit() -> None:
    assert requested(containers_after(ScaleWorkload(target=TARGET, replicas=3), TEMPLATE)) == Room(Decimal(2 * GIB), Decimal("0.5"))


def test_a_higher_limit_asks_for_more_only_where_no_request_is_set() -> None:
    def need(container: str) -> Decimal:
        return requested(containers_after(SetMemoryLimit(target=TARGET, container=container, memory="12Gi"), TEMPLATE)).memory

    assert need("web") == 13 * GIB
    assert need("log") == 2 * GIB


def test_only_nodes_that_take_pods_count_and_what_is_over_uses_nothing() -> None:
    taint = {"key": "gpu", "effect": "NoSchedule"}
    nodes = [node("a"), node("b", unschedulable=True), node("c", taints=[taint])]
    pods = [pod("a", "4Gi"), pod("a", "9Gi", "Succeeded"), pod("elsewhere", "9Gi")]
    assert free_room(nodes, pods, TEMPLATE) == [Room(Decimal(12 * GIB), Decimal(8))]


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ({}, [1]),
        ({"nodeSelector": {"pool": "big"}}, []),
        ({"tolerations": [{"key": "pool", "operator": "Exists"}]}, [1, 2, 4]),
        ({"tolerations": [{"operator": "Exists"}]}, [1, 2, 4]),
        ({"tolerations": [{"key": "pool", "value": "big", "effect": "NoSchedule"}]}, [1, 2]),
        ({"tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}], "nodeSelector": {"pool": "big"}}, [2]),
        ({"tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoExecute"}]}, [1, 4]),
    ],
)
def test_only_nodes_that_take_these_very_pods_count(spec: dict[str, Any], sizes: list[int]) -> None:
    nodes = [
        node("any", "1Gi"),
        node("big", "2Gi", labels={"pool": "big"}, taints=[{"key": "pool", "value": "big", "effect": "NoSchedule"}]),
        node("odd", "4Gi", taints=[{"key": "pool", "effect": "NoExecute"}]),
        node("spot", "8Gi", taints=[{"key": "spot", "effect": "PreferNoSchedule"}], unschedulable=True),
    ]
    free = free_room(nodes, [], {"spec": spec})
    assert free is not None
    assert [int(room.memory / GIB) for room in free] == sizes


def test_an_affinity_that_narrows_the_nodes_is_not_guessed_at() -> None:
    wanted = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": wanted}}
    assert free_room([node("a")], [], {"spec": {"affinity": affinity}}) is None
    assert free_room([node("a")], [], {"spec": {"affinity": {"nodeAffinity": {}}}}) is not None


@pytest.mark.parametrize(("pods", "result"), [(4, CheckResult.PASSED), (5, CheckResult.FAILED)])
def test_pods_are_not_cut_in_pieces(pods: int, result: CheckResult) -> None:
    free = [Room(Decimal(5 * GIB), Decimal(8)), Room(Decimal(5 * GIB), Decimal(8))]
    assert room_check(Room(Decimal(2 * GIB), Decimal(1)), pods, free).result is result


def test_room_that_could_not_be_read_is_not_checked() -> None:
    assert room_check(Room(Decimal(1), Decimal(0)), 1, None).result is CheckResult.NOT_CHECKED
    assert room_check(Room(Decimal(0), Decimal(0)), 1, []).result is CheckResult.FAILED, "no node takes pods at all"


@given(st.integers(0, 10**15), st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi", "m", "u", "n"]))
def test_a_quantity_is_rounded_up_and_never_down(number: int, unit: str) -> None:
    value, rounded = exact(f"{number}{unit}"), number_of(f"{number}{unit}")
    assert value is not None
    assert rounded is not None
    assert 0 <= rounded - value < 1
