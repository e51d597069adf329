"""What stands around the target of an action: its pods, disruption budgets, services, autoscaler and revision.

Each is asked for at once with the others; what gives no answer is None in the facts and `not checked` among the checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

import msgspec

from adapters.errors import AdapterError
from adapters.kubernetes.availability import Known, of_revisions, of_sets
from adapters.kubernetes.blast import Facts, lost_pods, start_seconds
from adapters.kubernetes.client import READ_SECONDS, Client
from adapters.kubernetes.look import Look
from adapters.kubernetes.objects import Autoscaler, Budget, Metadata, Pod, Workload
from adapters.kubernetes.owner import find_owner
from adapters.kubernetes.rollouts import desired_of, revision_number
from adapters.kubernetes.room import containers_after, free_room, requested, room_check
from adapters.kubernetes.trees import Tree
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    RerunJob,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.preflight import Check
from schemas.target import Kind, Target
from schemas.words import CheckResult

T = TypeVar("T")
_SINGLE_POD = (DeletePod, EvictPod)
_TOUCHES_NO_POD = (RerunJob, CordonNode, UncordonNode)


class Measured(NamedTuple):
    """The facts, the checks that come with them, and the revision that the workload is at."""

    facts: Facts
    checks: tuple[Check, ...]
    revision: int | None


class Revisions(NamedTuple):
    """The revision that a workload is at, and what is known of the others, by number."""

    current: int | None
    known: dict[int, Known]


class Surroundings:
    """What stands around one action's target, `live` being the target as just read, or None where it could not be."""

    def __init__(self, client: Client, action: Action, live: Tree | None) -> None:
        self._client = client
        self._action = action
        self._live = live

    async def measure(self) -> Measured:
        """Everything at once, 8 seconds each. It never raises an AdapterError."""
        target = await self._pod_owner()
        look = Look(self._client, target)
        namespaced = bool(target.namespace)
        try:
            (workload, pods, services, found), (scalers, revisions, room) = await asyncio.gather(
                asyncio.gather(
                    self._workload(look),
                    _answer(look.pods()),
                    _answer(look.services() if namespaced else _nothing(list[str]())),
                    _answer(look.budgets() if namespaced else _nothing(list[Budget]())),
                ),
                asyncio.gather(_answer(self._autoscalers(look)), _answer(self._revisions(look)), self._room_checks(look)),
            )
        finally:
            await look.end()
        facts = self._facts(pods, services, found, workload)
        checks = [*self._budget_checks(found, facts), *self._scaler_checks(scalers), *self._effect_checks(workload)]
        return Measured(facts, (*checks, *self._revision_checks(revisions), *room), revisions.current if revisions else None)

    async def _pod_owner(self) -> Target:
        """The workload whose pods are meant: for one pod its owner, where that can be told."""
        target = self._action.target
        if not isinstance(self._action, _SINGLE_POD) or self._live is None:
            return target
        return await _answer(find_owner(self._client, target)) or target

    async def _workload(self, look: Look) -> Workload | None:
        """The workload that the action is about; None for everything else, and where it could not be read."""
        if self._live is None or not look.target.kind.is_workload or look.target != self._action.target:
            return None
        if isinstance(self._action, SetAutoscalerBounds):
            return await _answer(look.workload())
        return msgspec.convert(self._live, Workload)

    async def _autoscalers(self, look: Look) -> list[Autoscaler]:
        """The autoscaler that would undo a scaling, if there is one."""
        found = await look.autoscaler() if isinstance(self._action, ScaleWorkload) else None
        return [found] if found else []

    async def _revisions(self, look: Look) -> Revisions | None:
        """The current revision of a workload, for the way back, and what is known of the others; None for other actions."""
        if self._live is None or not isinstance(self._action, RollBackWorkload):
            return None
        workload = msgspec.convert(self._live, Workload)
        if look.target.kind is Kind.DEPLOYMENT:
            sets = await look.sets()
            by_name = {item.metadata.name: revision_number(item) for item in sets}
            known = of_sets(workload, sets)
            current = revision_number(workload)
        else:
            revisions, pods = await asyncio.gather(look.controller_revisions(), look.pods())
            by_name = {item.metadata.name: item.revision for item in revisions}
            known = of_revisions(workload, look.target.kind, revisions, pods)
            current = by_name.get(workload.status.update_revision) or max((item.revision for item in revisions), default=None)
        return Revisions(current, {number: known[name] for name, number in by_name.items() if number is not None and name in known})

    def _facts(self, pods: list[Pod] | None, services: list[str] | None, found: list[Budget] | None, workload: Workload | None) -> Facts:
        kind = self._action.target.kind
        healthy = sum(pod.ready for pod in pods) if pods is not None else None
        if healthy is None and workload is not None:
            healthy = workload.status.number_ready if kind is Kind.DAEMONSET else workload.status.ready_replicas
        labels, surely_all = self._labels(pods, workload)
        return Facts(
            healthy=healthy,
            lost=self._lost(healthy, workload),
            services=None if services is None else tuple(services),
            budgets=found is not None and (surely_all or not found),
            headroom=_headroom(found or [], labels),
            data=self._data(pods, workload),
            pods=None if pods is None else len(pods),
            replicas=desired_of(workload, kind) if workload is not None else None if pods is None else len(pods),
            start_seconds=start_seconds(pods or []),
            returns=self._returns(),
        )

    def _labels(self, pods: list[Pod] | None, workload: Workload | None) -> tuple[list[dict[str, str]], bool]:
        """The labels by which budgets cover the pods that may be away, and whether these are surely all of them."""
        if isinstance(self._action, _SINGLE_POD):
            return ([msgspec.convert(self._live, Pod).metadata.labels or {}], True) if self._live is not None else ([], False)
        labels = [pod.metadata.labels or {} for pod in pods or ()]
        if workload is not None:
            labels.append((workload.spec.template.get("metadata") or {}).get("labels") or {})
        return labels, pods is not None

    def _lost(self, healthy: int | None, workload: Workload | None) -> int | None:
        if isinstance(self._action, _TOUCHES_NO_POD):
            return 0
        if isinstance(self._action, _SINGLE_POD):
            if self._live is None:
                return None
            return int(msgspec.convert(self._live, Pod).ready)
        if workload is None or healthy is None:
            return None
        return lost_pods(self._action, workload, self._action.target.kind, healthy)

    def _returns(self) -> bool:
        """Whether pods that go come back by themselves."""
        if isinstance(self._action, _SINGLE_POD) and self._live is not None:
            return msgspec.convert(self._live["metadata"], Metadata).controller is not None
        return not (isinstance(self._action, ScaleWorkload) and self._action.replicas == 0)

    def _data(self, pods: list[Pod] | None, workload: Workload | None) -> str | None:
        if isinstance(self._action, _TOUCHES_NO_POD):
            return "none"
        if isinstance(self._action, _SINGLE_POD) and not self._returns():
            return "destructive"
        if workload is None and pods is None:
            return None
        claimed = any("persistentVolumeClaim" in volume for pod in pods or () for volume in pod.spec.volumes or ())
        if workload is not None:
            volumes = workload.spec.template.get("spec", {}).get("volumes") or []
            claimed = claimed or bool(workload.spec.volume_claim_templates) or any("persistentVolumeClaim" in item for item in volumes)
        return "write" if claimed else "none"

    def _budget_checks(self, found: list[Budget] | None, facts: Facts) -> list[Check]:
        if isinstance(self._action, _TOUCHES_NO_POD):
            return []
        if found is None or facts.lost is None:
            return [Check(name="disruption_budget", result=CheckResult.NOT_CHECKED, detail="budgets or pods could not be read")]
        over = f"{facts.lost} healthy pods may be away at once, the budget allows {facts.headroom}"
        if facts.headroom is not None and facts.lost > facts.headroom:
            return [Check(name="disruption_budget", result=CheckResult.FAILED, detail=over)]
        if not facts.budgets and facts.lost:
            unread = "there are budgets, and which of them cover these pods is not known: the pods could not be read"
            return [Check(name="disruption_budget", result=CheckResult.NOT_CHECKED, detail=unread)]
        detail = over if facts.headroom is not None else "no budget covers these pods" if facts.budgets else "no healthy pod will be away"
        return [Check(name="disruption_budget", result=CheckResult.PASSED, detail=detail)]

    def _scaler_checks(self, scalers: list[Autoscaler] | None) -> list[Check]:
        if not isinstance(self._action, ScaleWorkload):
            return []
        if scalers is None:
            return [Check(name="autoscaler", result=CheckResult.NOT_CHECKED, detail="autoscalers could not be read")]
        if not scalers:
            return [Check(name="autoscaler", result=CheckResult.PASSED, detail="no autoscaler holds the number of replicas")]
        spec, name = scalers[0].spec, scalers[0].metadata.name
        held = f"{spec.min_replicas or 1} to {spec.max_replicas}"
        detail = f"autoscaler {name} holds it at {held} replicas and would undo this: set its bounds instead"
        return [Check(name="autoscaler", result=CheckResult.FAILED, detail=detail)]

    async def _room_checks(self, look: Look) -> list[Check]:
        """Whether the nodes have room, for what makes more pods or bigger ones: a rollout needs room for one beside the old ones."""
        action = self._action
        if not isinstance(action, ScaleWorkload | SetMemoryLimit) or self._live is None:
            return []
        workload = msgspec.convert(self._live, Workload)
        more = action.replicas - desired_of(workload, action.target.kind) if isinstance(action, ScaleWorkload) else 1
        if more < 1:
            return []
        placed = await _answer(look.everything_placed())
        template = workload.spec.template
        need = requested(containers_after(action, template))
        return [room_check(need, more, free_room(*placed, template) if placed else None)]

    def _revision_checks(self, revisions: Revisions | None) -> list[Check]:
        """Whether the revision to go back to is known to have worked: being an older one says nothing."""
        if not isinstance(self._action, RollBackWorkload) or self._live is None:
            return []
        number, name = self._action.to_revision, "revision"
        if revisions is None:
            return [Check(name=name, result=CheckResult.NOT_CHECKED, detail="the revisions could not be read")]
        known = revisions.known.get(number)
        if known is None or known.rolled_back:
            detail = f"whether revision {number} was ever fully available is not known"
            if known is not None:
                detail = f"whether revision {number} works is in doubt: {known.why}"
            return [Check(name=name, result=CheckResult.NOT_CHECKED, detail=detail)]
        if known.available:
            return [Check(name=name, result=CheckResult.PASSED, detail=f"revision {number} was fully available: {known.why}")]
        return [Check(name=name, result=CheckResult.FAILED, detail=f"revision {number} never became available: {known.why}")]

    def _effect_checks(self, workload: Workload | None) -> list[Check]:
        """Why the request would be accepted and yet do nothing."""
        if workload is None or isinstance(self._action, (ScaleWorkload, SetAutoscalerBounds, *_TOUCHES_NO_POD)):
            return []
        why = ""
        if workload.spec.paused:
            why = "the Deployment is paused: resume it first"
        elif workload.spec.update_strategy is not None and workload.spec.update_strategy.type == "OnDelete":
            why = "its update strategy is OnDelete: pods change only when they are deleted"
        return [
            Check(name="effect", result=CheckResult.FAILED if why else CheckResult.PASSED, detail=why or "a change rolls out by itself")
        ]


def _headroom(found: list[Budget], labels: list[dict[str, str]]) -> int | None:
    """The fewest disruptions that a budget over pods with these labels allows; None where none covers them."""
    return min((item.status.disruptions_allowed for item in found if any(item.selects(each) for each in labels)), default=None)


async def _answer(question: Awaitable[T]) -> T | None:
    """The answer, or None where none came in time or it was refused; what is not there (a policy API, say) counts as refused."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await question
    except (AdapterError, TimeoutError):
        return None


async def _nothing(value: T) -> T:
    return value
