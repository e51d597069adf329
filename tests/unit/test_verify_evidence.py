"""What two snapshots say of an eviction: the pod that goes counts as gone, for on a dead node it never ends."""

from __future__ import annotations

import pytest

from schemas.action import EvictPod
from schemas.target import Kind, Target
from schemas.words import Health
from stages.verify.evidence import finding_of
from tests.unit.snapshots import pod, snapshot

EVICT = EvictPod(target=Target(cluster="prod", kind=Kind.POD, name="lost", namespace="shop"), uid="uid-lost")


@pytest.mark.parametrize(("deleting", "health"), [(False, Health.PROGRESSING), (True, Health.HEALTHY)])
def test_an_evicted_pod_that_is_being_deleted_holds_nothing_up(deleting: bool, health: Health) -> None:
    seen = snapshot(pod("fine"), pod("lost", deleting=deleting), desired=1, updated=1, ready=1, available=1)
    assert finding_of(seen, EVICT).health is health


def test_an_eviction_that_nothing_has_replaced_yet_is_not_healed() -> None:
    seen = snapshot(pod("fine"), pod("lost", "unready", deleting=True), desired=2, updated=2)
    assert finding_of(seen, EVICT).health is Health.PROGRESSING
