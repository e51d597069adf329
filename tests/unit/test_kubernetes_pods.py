"""All pods of a large workload are counted and judged, though only the first are described in full."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from adapters.kubernetes.look import Look
from adapters.kubernetes.objects import Pod
from adapters.kubernetes.sensors import Sensors
from schemas.action import DeletePod, EvictPod, RestartWorkload
from schemas.diagnosis import Fault
from schemas.evidence import PodView, Snapshot
from schemas.target import Kind, Target
from schemas.words import Ground, Health, Outcome, Verdict
from stages.verify.evidence import faults_in, finding_of, restarts_since
from stages.verify.judge import Question, assess
from tests.unit.snapshots import TARGET, snapshot

MANY = 250


class OneLook:
    """A look at a workload whose pods are given."""

    def __init__(self, pods: list[Pod]) -> None:
        self.target = TARGET
        self._pods = pods

    async def pods(self) -> list[Pod]:
        return self._pods


def a_pod(number: int, *, ready: bool = True, restarts: int = 0, waiting: str = "") -> Pod:
    state: dict[str, Any] = {"waiting": {"reason": waiting, "message": "m" * 300}} if waiting else {"running": {}}
    status = {"name": "web", "image": "api:1", "ready": ready, "restartCount": restarts, "state": state}
    body = {
        "metadata": {"name": f"api-{number:03}", "uid": f"uid-{number:03}"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "web", "image": "api:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [status],
        },
    }
    return msgspec.convert(body, Pod)


async def seen(pods: list[Pod]) -> Snapshot:
    found = await Sensors(cast("Look", OneLook(pods))).by_name()["pods"]()
    views: tuple[PodView, ...] = found["pods"]
    assert len(views) == len(pods)
    return snapshot(*views)


async def test_restarts_and_faults_are_counted_over_all_pods() -> None:
    before = await seen([a_pod(number) for number in range(MANY)])
    after = await seen([a_pod(number, restarts=number // (MANY - 1)) for number in range(MANY)])
    assert restarts_since(before, after) == 1, "the very last pod has restarted"
    crashing = await seen([a_pod(number, ready=False, restarts=3, waiting="CrashLoopBackOff") for number in range(MANY)])
    assert faults_in(crashing) == {Fault.CRASH: MANY}
    judged = assess(Question(action=RestartWorkload(target=TARGET), outcome=Outcome.SUCCEEDED, before=before, after=after))
    assert (judged.verdict, judged.ground) == (Verdict.DEGRADED, Ground.RESTARTING)


async def test_a_pod_past_the_first_ones_is_not_taken_for_gone() -> None:
    after = await seen([a_pod(number) for number in range(MANY)])
    target = Target(cluster="prod", namespace="shop", kind=Kind.POD, name=f"api-{MANY - 1}")
    for kind in (DeletePod, EvictPod):
        assert finding_of(after, kind(target=target, uid=f"uid-{MANY - 1}")).health is Health.PROGRESSING


async def test_what_is_kept_of_many_pods_stays_small_and_reads_back_as_it_was() -> None:
    crashing = await seen([a_pod(number, ready=False, restarts=3, waiting="CrashLoopBackOff") for number in range(MANY)])
    assert sum(bool(container.message) for pod in crashing.pods for container in pod.containers) == 100
    body = msgspec.json.encode(crashing)
    assert len(body) < 130_000
    assert msgspec.json.decode(body, type=Snapshot) == crashing
