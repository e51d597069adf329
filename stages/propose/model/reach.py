"""What a language model may name: a few typed actions on the incident's own target, or on what was seen to belong to it. Pure functions.

Narrower than the grammar of text actions, for its words may be those of whoever wrote a log line: it never scales down, never deletes
data, and on a host restarts only what was seen to be down.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.action import (
    Action,
    DeletePod,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    is_observation,
    unit_name,
    why_not_restarted,
)
from schemas.diagnosis import unit_finding
from schemas.evidence import RevisionView, UnitView
from schemas.target import Kind
from schemas.words import Health
from stages.propose.case import Case
from stages.propose.options import ProposeOptions

LOOK = "INVESTIGATE"
_PODS = 20
_UNITS = 10


def spellings(case: Case, options: ProposeOptions) -> tuple[str, ...]:
    """The actions that may be named for this case, spelled as they are read; none where nothing but looking is left."""
    return tuple(_spellings(case, options))


def _spellings(case: Case, options: ProposeOptions) -> Iterator[str]:
    target = case.target
    if target.kind is Kind.HOST:
        yield from (_of_unit(unit) for unit in _down(case)[:_UNITS])
    if target.kind.is_workload and _has_pods(case):
        named = f"{target.kind.lower()}: {target.namespace}/{target.name}"
        yield f"Restart {named}"
        yield from (f"Roll back {named} to revision {one.revision}" for one in _earlier(case))
        if replicas := _more(case, options):
            yield f"Scale {named} to N replicas, where N is from {replicas.start} to {replicas.stop - 1}"
        yield from (f"kubectl delete pod {pod.name} -n {target.namespace}" for pod in case.snapshot.pods[:_PODS])


def why_not(action: Action, case: Case, options: ProposeOptions) -> str:
    """Why a language model may not name this action for this case; empty where it may."""
    match action:
        case _ if is_observation(action):
            return "" if action.target == case.target else "it is about another target than the incident's own"
        case DeletePod():
            ours = any((pod.name, pod.uid) == (action.target.name, action.uid) for pod in case.snapshot.pods)
            near = (action.target.cluster, action.target.namespace) == (case.target.cluster, case.target.namespace)
            return "" if ours and near and _has_pods(case) else "it is about a pod that was not seen to belong to the target"
        case _ if action.target != case.target:
            return "it is about another target than the incident's own"
        case RestartWorkload():
            return "" if _has_pods(case) else "the workload was not measured, or is scaled to 0"
        case RollBackWorkload():
            known = any(one.revision == action.to_revision for one in _earlier(case))
            return "" if known and _has_pods(case) else f"revision {action.to_revision} is none of the earlier ones that were seen"
        case ScaleWorkload():
            return "" if action.replicas in _more(case, options) else "it may only add replicas, up to propose.scale_limit"
        case RestartUnit() | RestartContainer() | RestartComposeService():
            down = any(_restarts(action, unit) for unit in _down(case))
            return "" if down else "on a host it may only restart what was seen to be down"
        case _:
            return f"a language model may not name an action of the kind '{action.verb}'"


def _has_pods(case: Case) -> bool:
    workload = case.snapshot.workload
    return workload is not None and workload.desired > 0


def _earlier(case: Case) -> list[RevisionView]:
    """The revisions that it could go back to: there must be a current one, and its pods must be specified otherwise."""
    if not any(one.current for one in case.snapshot.revisions):
        return []
    return [one for one in case.snapshot.revisions if not one.current and not one.same][:10]


def _more(case: Case, options: ProposeOptions) -> range:
    """The numbers of replicas that may be named: more than there are, and none where an autoscaler holds them."""
    workload = case.snapshot.workload
    scales = case.target.kind in (Kind.DEPLOYMENT, Kind.STATEFULSET) and case.snapshot.autoscaler is None
    if workload is None or workload.desired < 1 or not scales:
        return range(0)
    return range(workload.desired + 1, options.scale_limit + 1)


def _down(case: Case) -> list[UnitView]:
    seen = [unit for unit in case.snapshot.units if unit_finding(unit).health is Health.UNHEALTHY]
    return [unit for unit in seen if not (_is_unit(unit) and why_not_restarted(unit.name))]


def _is_unit(unit: UnitView) -> bool:
    return unit_name(unit.name) == unit.name


def _of_unit(unit: UnitView) -> str:
    return f"systemctl restart {unit.name}" if _is_unit(unit) else f"docker restart {unit.name}"


def _restarts(action: RestartUnit | RestartContainer | RestartComposeService, unit: UnitView) -> bool:
    """Whether the action restarts the very thing that is down."""
    match action:
        case RestartUnit():
            return _is_unit(unit) and unit.name == unit_name(action.unit)
        case RestartContainer():
            return not _is_unit(unit) and unit.name == action.container
        case RestartComposeService():
            return bool(unit.service) and unit.service.rpartition("/")[2] == action.service and not action.project
