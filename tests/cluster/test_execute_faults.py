"""The stage execute against a real API server that fails it, at each of its steps in turn: 500, 429, silence, or a broken line.

A proxy stands between the two. Whatever it does, and whether it does so once or for good: the side effect happens once or not at
all, and what is told of it (the event, the ledger, the audit log) is what the cluster itself shows, or that it is not known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from adapters.kubernetes import KubernetesWorld, ways
from adapters.kubernetes.resources import DEPLOYMENTS
from adapters.worlds import Worlds
from ops.sandbox.kubectl import settled
from schemas.action import Action, EvictPod, RestartWorkload
from schemas.event import Delayed, Event
from schemas.events import ExecutionFinished, ExecutionRetryDue
from schemas.target import Kind, Target
from schemas.words import Outcome
from sql.database import Database
from stages.execute.options import ExecuteOptions
from tests.cluster.conftest import Place
from tests.cluster.proxy import Proxy, in_front_of
from tests.integration.healing import CLUSTER, Healing, Unsteady, executor, healing_scene

pytestmark = pytest.mark.cluster

FAULTS = ("hang", "500", "429", "drop", "lose", "then 504")
OPTIONS = ExecuteOptions(retries=1, retry_after=1.0)
_SECONDS = 3.0  # the patience of the adapter here, in place of 8 to 30 s, where it can be set
_NOT_DONE = (Outcome.FAILED, Outcome.REFUSED, Outcome.DRY_RUN_BLOCKED)


class Fault(NamedTuple):
    """What the API server does at a step: at the first attempt that comes there, or at every one.

    The steps are those of an attempt: observe, preflight, read (what `apply` reads and rehearses), write, find. What is looked for
    was written, or was not: `write` says what became of the request, for the step find.
    """

    step: str
    kind: str
    lasting: bool
    write: str = "forward"

    def __str__(self) -> str:
        return f"{self.step} {self.kind} {'always' if self.lasting else 'once'}{f' after a write: {self.write}' * (self.step == 'find')}"


class Steps(Unsteady):
    """The world, which notes at which step of which attempt it is."""

    step = ""
    attempt = 0

    async def _through(self, call: str, work: Callable[[], Awaitable[Any]]) -> Any:
        self.step = call
        return await super()._through(call, work)


def _lives(pod: dict[str, Any]) -> bool:
    return not pod["metadata"].get("deletionTimestamp")


class Trial:
    """One approved action on a workload, behind a proxy that fails it."""

    def __init__(self, place: Place, scene: Healing, fault: Fault, workload: Target) -> None:
        self.fault = fault
        self._place = place
        self._scene = scene
        self._workload = workload
        self._struck: set[str] = set()
        self._generation = 0
        self._pods: frozenset[str] = frozenset()

    async def run(self, kind: type[Action]) -> list[str]:
        """What is wrong with how it went; empty when nothing is."""
        live = await self._place.kubectl.until(self._workload, settled)
        self._generation = live["metadata"]["generation"]
        proxy = await in_front_of(self._place)
        client = await ways.by_url(proxy.url)
        cluster = KubernetesWorld(client, clock=lambda: datetime.now(UTC))
        if self.fault.kind == "hang":
            client.write_seconds = _SECONDS
            cluster = KubernetesWorld(client, clock=lambda: datetime.now(UTC), sensor_seconds=_SECONDS, total_seconds=_SECONDS)
        world = Steps(Worlds(clusters={CLUSTER: cluster}, groups={}))
        try:
            return await self._judged(world, proxy, await self._action(kind))
        finally:
            await world.close()
            await proxy.stop()

    async def _action(self, kind: type[Action]) -> Action:
        web = msgspec.structs.replace(self._workload, cluster=CLUSTER)
        living = [pod for pod in await self._place.kubectl.pods(web) if _lives(pod)]
        self._pods = frozenset(pod["metadata"]["uid"] for pod in living)
        if kind is RestartWorkload:
            return RestartWorkload(target=web)
        meta = living[0]["metadata"]
        return EvictPod(target=msgspec.structs.replace(web, kind=Kind.POD, name=meta["name"]), uid=meta["uid"])

    async def _times(self, action: Action) -> int:
        """How often the side effect happened, as the cluster tells."""
        if isinstance(action, RestartWorkload):
            live = await self._place.kubectl.get(DEPLOYMENTS, self._workload.namespace, self._workload.name)
            return int(live["metadata"]["generation"]) - self._generation
        pods = await self._place.kubectl.pods(self._workload)
        return len(self._pods - {pod["metadata"]["uid"] for pod in pods if not pod["metadata"].get("deletionTimestamp")})

    def _rule(self, world: Steps, proxy: Proxy, method: str, path: str) -> str:
        is_write = method != "GET" and "dryRun" not in path and b'"dryRun"' not in proxy.body
        step = {"apply": "write" if is_write else "read"}.get(world.step, world.step)
        self._struck.add(step)
        if step == self.fault.step and (self.fault.lasting or world.attempt == 1):
            self._struck.add("the fault")
            return self.fault.kind
        return self.fault.write if step == "write" and world.attempt == 1 else "forward"

    async def _judged(self, world: Steps, proxy: Proxy, action: Action) -> list[str]:
        found = await self._place.world.preflight(action)
        row = await self._scene.approve(action, uid=found.uid, basis=found.basis, blast=found.blast, signers=["ann", "bob"])
        proxy.rule = lambda method, path: self._rule(world, proxy, method, path)
        told = await self._told(world, self._scene.announce(row))
        proxy.rule = lambda _method, _path: "forward"
        operation = await self._scene.operation(row)
        assert operation is not None
        audit = await self._scene.audit(told.operation)
        log = [*["retried"] * (told.attempts - 1), _LOGGED[told.outcome]]
        checks = {
            "the fault did not strike": "the fault" in self._struck,
            "a second side effect": (times := await self._times(action)) <= 1,
            "told as done, and it is not": told.outcome is not Outcome.SUCCEEDED or times == 1,
            f"told as not done ({told.error}), and it is": told.outcome not in _NOT_DONE or times == 0,
            f"unknown, though nothing was written: {told.error}": told.outcome is not Outcome.UNKNOWN or "write" in self._struck,
            "the ledger says something else": operation.outcome is told.outcome,
            "the audit log says something else": [line["state"] for line in audit] == log,
            f"it should be {self._due(action)} and is {told.outcome}: {told.error}": told.outcome in self._due(action),
        }
        return [f"{self.fault}, {type(action).__name__}: {problem}" for problem, right in checks.items() if not right]

    async def _told(self, world: Steps, event: Event) -> ExecutionFinished:
        """What is told at the end, with every later attempt made at once."""
        stage = executor(self._scene.database, world, OPTIONS)
        while True:
            world.attempt += 1
            outputs = await self._scene.handle(stage, event)
            events = [one.event if isinstance(one, Delayed) else one for one in outputs]
            if finished := [one for one in events if isinstance(one, ExecutionFinished)]:
                return finished[0]
            (event,) = [one for one in events if isinstance(one, ExecutionRetryDue)]

    def _due(self, action: Action) -> tuple[Outcome, ...]:
        """How it must be told, as far as the law of the docstring leaves no choice."""
        marked = isinstance(action, RestartWorkload)
        wrote = self.fault.write if self.fault.step == "find" else self.fault.kind if self.fault.step == "write" else "forward"
        if self.fault.step == "find" and self.fault.lasting:
            return (Outcome.UNKNOWN,)
        if wrote in ("lose", "then 504") and not marked:
            return (Outcome.UNKNOWN,)
        if not self.fault.lasting or self.fault.step == "observe" or (marked and wrote in ("lose", "then 504")):
            return (Outcome.SUCCEEDED,)
        if wrote in ("hang", "drop"):
            return (Outcome.UNKNOWN,)
        return _NOT_DONE


_LOGGED = {
    Outcome.SUCCEEDED: "success",
    Outcome.FAILED: "failed",
    Outcome.UNKNOWN: "unknown",
    Outcome.REFUSED: "refused",
    Outcome.DRY_RUN_BLOCKED: "dry_run",
}


@pytest_asyncio.fixture
async def scene(database: Database) -> AsyncIterator[Healing]:
    async with healing_scene(database) as made:
        yield made


def cases_of(step: str) -> list[tuple[Fault, type[Action]]]:
    """Each fault at this step, once and for good; those that take their time come first."""
    kinds: tuple[type[Action], ...] = (RestartWorkload,)
    if step == "find":  # of an eviction there is nothing to find: the answer is that nobody can tell
        found = [Fault(step, kind, lasting, write) for kind, lasting, write in product(("hang", "500"), (True, False), ("lose", "drop"))]
    else:
        found = [Fault(step, kind, lasting) for kind, lasting in product(FAULTS, (True, False))]
    if step == "write":
        kinds = (RestartWorkload, EvictPod)
    # A read in `apply` may take 8 s, whatever a test says: it hangs once here.
    return list(product([fault for fault in found if fault != Fault("read", "hang", True)], kinds))


@pytest.mark.parametrize("step", ["observe", "preflight", "read", "write", "find"])
async def test_a_fault_at_this_step_makes_one_side_effect_or_none_and_what_is_told_is_true(real: Place, scene: Healing, step: str) -> None:
    waiting = deque(cases_of(step))
    problems: list[str] = []

    async def work(name: str) -> None:
        workload = await real.kubectl.deploy(real.namespace, name, "sim/web:ok")
        while waiting:
            fault, kind = waiting.popleft()
            problems.extend(await Trial(real, scene, fault, workload).run(kind))

    await asyncio.gather(*(work(f"web-{number}") for number in range(4)))
    assert problems == []
