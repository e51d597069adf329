"""Blast radius: the formula, and that what was not measured never makes an action look smaller."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.blast import Facts, blast_radius, lost_pods, tier_of
from adapters.kubernetes.objects import Workload
from schemas.action import Action, CordonNode, DeletePod, RestartWorkload, RollBackWorkload, ScaleWorkload
from schemas.target import Kind, Target
from schemas.words import Tier

TARGET = Target(cluster="c", kind=Kind.DEPLOYMENT, name="api", namespace="shop")
ACTIONS: list[Action] = [
    RestartWorkload(target=TARGET),
    RollBackWorkload(target=TARGET, to_revision=1),
    ScaleWorkload(target=TARGET, replicas=3),
    DeletePod(target=TARGET, uid="u"),
    CordonNode(target=TARGET),
]
small = st.integers(0, 6)
facts = st.builds(
    Facts,
    healthy=small,
    lost=small,
    services=st.lists(st.text("ab", min_size=1), max_size=6, unique=True).map(tuple),
    budgets=st.just(True),
    headroom=st.none() | small,
    data=st.sampled_from(["none", "write", "destructive"]),
    pods=small,
    replicas=small,
    start_seconds=st.none() | st.floats(1, 60),
)


@given(st.sampled_from(ACTIONS), facts, st.sets(st.sampled_from(["healthy", "lost", "services", "budgets", "data", "pods", "replicas"])))
def test_what_was_not_measured_never_lowers_the_tier(action: Action, known: Facts, unknown: set[str]) -> None:
    measured = blast_radius(action, known)
    less = dict.fromkeys(unknown - {"budgets"}) | ({"budgets": False, "headroom": None} if "budgets" in unknown else {})
    guessed = blast_radius(action, msgspec.structs.replace(known, **less))

    assert guessed.score >= measured.score
    tiers = list(Tier)
    assert tiers.index(guessed.tier) >= tiers.index(measured.tier)
    assert 0 <= measured.score <= 100


@given(st.sampled_from(ACTIONS), facts)
def test_everything_that_was_measured_leaves_nothing_unmeasured_but_the_downtime(action: Action, known: Facts) -> None:
    assert set(blast_radius(action, known).unmeasured) <= {"downtime"}


def test_the_formula() -> None:
    known = Facts(healthy=4, lost=1, services=("a", "b"), budgets=True, headroom=0, data="write", pods=4, replicas=4)
    blast = blast_radius(RestartWorkload(target=TARGET), known)
    assert blast.score == 5 + 12 + 6 + 20 + 10
    assert blast.tier is Tier.HUMAN
    assert (blast.pods, blast.replicas, blast.services, blast.budget_headroom, blast.data_impact) == (4, 4, ("a", "b"), 0, "write")
    assert blast.downtime == 0


def test_nothing_is_lost_where_nothing_is_healthy() -> None:
    broken = Facts(healthy=0, lost=0, services=("a",), budgets=True, pods=3, replicas=3)
    assert blast_radius(RestartWorkload(target=TARGET), broken).score == 5 + 3


def test_downtime_is_the_time_to_start_and_without_end_it_is_unmeasured() -> None:
    alone = Facts(healthy=1, lost=1, services=(), budgets=True, start_seconds=7.0)
    assert blast_radius(RestartWorkload(target=TARGET), alone).downtime == 7.0
    ended = msgspec.structs.replace(alone, returns=False)
    assert "downtime" in blast_radius(ScaleWorkload(target=TARGET, replicas=0), ended).unmeasured


@pytest.mark.parametrize(
    ("score", "tier"), [(0, Tier.AUTO), (29, Tier.AUTO), (30, Tier.HUMAN), (59, Tier.HUMAN), (60, Tier.DUAL), (90, Tier.BLOCKED)]
)
def test_tiers(score: int, tier: Tier) -> None:
    assert tier_of(score) is tier


def deployment(replicas: int, **strategy: object) -> Workload:
    return msgspec.convert({"metadata": {}, "spec": {"template": {}, "replicas": replicas, **strategy}}, Workload)


@pytest.mark.parametrize(
    ("workload", "kind", "healthy", "lost"),
    [
        (deployment(1), Kind.DEPLOYMENT, 1, 0),
        (deployment(4), Kind.DEPLOYMENT, 4, 1),
        (deployment(4), Kind.DEPLOYMENT, 3, 0),
        (deployment(4), Kind.DEPLOYMENT, 0, 0),
        (deployment(3, strategy={"type": "Recreate"}), Kind.DEPLOYMENT, 3, 3),
        (deployment(4, strategy={"rollingUpdate": {"maxUnavailable": "50%"}}), Kind.DEPLOYMENT, 4, 2),
        (deployment(2, strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}), Kind.DEPLOYMENT, 2, 1),
        (deployment(3), Kind.STATEFULSET, 3, 1),
        (deployment(3, updateStrategy={"type": "OnDelete"}), Kind.STATEFULSET, 3, 0),
    ],
)
def test_how_many_pods_a_rollout_takes_away(workload: Workload, kind: Kind, healthy: int, lost: int) -> None:
    assert lost_pods(RestartWorkload(target=TARGET), workload, kind, healthy) == lost


def test_how_many_pods_scaling_takes_away() -> None:
    assert lost_pods(ScaleWorkload(target=TARGET, replicas=1), deployment(4), Kind.DEPLOYMENT, 4) == 3
    assert lost_pods(ScaleWorkload(target=TARGET, replicas=9), deployment(4), Kind.DEPLOYMENT, 4) == 0
