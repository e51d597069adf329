"""Preflight: everything that can be found out about an action before it runs, found out by asking the API server.

Each check is passed, failed, or not checked with the reason; a question that was not answered never counts as passed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from adapters.errors import AdapterError, Refused, TargetMissing
from adapters.kubernetes.basis import basis_of
from adapters.kubernetes.blast import blast_radius
from adapters.kubernetes.changes import change_of, check_kind, permissions, subject_path
from adapters.kubernetes.client import READ_SECONDS, Client, parse
from adapters.kubernetes.errors import Busy, Conflict, Forbidden, NotFound
from adapters.kubernetes.facts import Surroundings
from adapters.kubernetes.gitops import gitops_check, gitops_of
from adapters.kubernetes.marks import token_of
from adapters.kubernetes.objects import AccessReview, Metadata
from adapters.kubernetes.owner import live_target, nearest_names
from adapters.kubernetes.resources import ACCESS_REVIEWS, Permission
from adapters.kubernetes.trees import Tree, difference
from adapters.ports import Preflight
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    Investigate,
    RerunJob,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
)
from schemas.evidence import GitOps
from schemas.preflight import BlastRadius, Check
from schemas.text import clean
from schemas.words import CheckResult, Tier

_REHEARSAL = "dry-run"
_BUDGET = "room in the disruption budget"


async def preflight(client: Client, action: Action) -> Preflight:
    """All checks, at once where they do not need each other. Changes nothing.

    A target that is not there is a failed check with the nearest names, and an empty UID. Raises Refused for an action that
    makes no sense for its target, and Transient when the API server gave no answer at all about the target. Of a look, which
    changes nothing, there is only to be known whether its target is there and may be seen.
    """
    check_kind(action)
    action = msgspec.structs.replace(action, target=live_target(action.target))
    reviews = asyncio.gather(*(_permission(client, permission) for permission in permissions(action)))
    try:
        target_check, live = await _target(client, action)
    except BaseException:
        reviews.cancel()
        await asyncio.gather(reviews, return_exceptions=True)
        raise
    uid = str(live["metadata"]["uid"]) if live else ""
    if isinstance(action, Investigate):
        touched = BlastRadius(score=0, tier=Tier.AUTO, data_impact="read only")
        return Preflight(target=action.target, uid=uid, checks=(target_check, *await reviews), blast=touched)
    around = Surroundings(client, action, live)
    granted, (dry_check, diff), surroundings = await asyncio.gather(reviews, _dry_run(client, action, live), around.measure())
    gitops, kept = _kept_by(action, live)
    return Preflight(
        target=action.target,
        uid=uid,
        checks=(target_check, *granted, dry_check, *_eviction_checks(surroundings.checks, dry_check), *kept),
        blast=blast_radius(action, surroundings.facts),
        diff=diff,
        inverse=_inverse(action, live, surroundings.revision) if live else None,
        basis=basis_of(action, live) if live else "",
        gitops=gitops,
    )


def _kept_by(action: Action, live: Tree | None) -> tuple[GitOps | None, tuple[Check, ...]]:
    """Who would revert the change: the GitOps tool of the object, and the checks that tell of it and of a controller above it."""
    if live is None or isinstance(action, DeletePod | EvictPod | RerunJob):
        return None, ()
    metadata = msgspec.convert(live["metadata"], Metadata)
    found, owner = gitops_of(metadata), metadata.controller
    checks = (gitops_check(action, found),)
    if owner is None:
        return found, checks
    detail = clean(f"controlled by {owner.kind} {owner.name}: whether its controller reverts this change shows afterwards", 300)
    return found, (*checks, Check(name="owner", result=CheckResult.NOT_CHECKED, detail=detail))


def _eviction_checks(checks: tuple[Check, ...], rehearsal: Check) -> tuple[Check, ...]:
    """The checks; where the API server refused an eviction because of a budget, the budget's own says so too."""
    if rehearsal.missing != _BUDGET:
        return checks
    refused = Check(name="disruption_budget", result=CheckResult.FAILED, detail=rehearsal.detail)
    return tuple(refused if check.name == refused.name else check for check in checks)


async def _permission(client: Client, permission: Permission) -> Check:
    """One SelfSubjectAccessReview: may the identity in use do this?"""
    attributes = {
        "verb": permission.verb,
        "group": permission.resource.group,
        "resource": permission.resource.plural,
        "subresource": permission.subresource,
        "namespace": permission.namespace,
        "name": permission.name,
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    what = str(permission)
    try:
        status = parse(await client.request("POST", ACCESS_REVIEWS.path(), body=body), AccessReview).status
    except AdapterError as error:
        return Check(name="permission", subject=what, result=CheckResult.NOT_CHECKED, detail=clean(f"{what}: {error}", 300))
    if status.allowed:
        return Check(name="permission", subject=what, result=CheckResult.PASSED, detail=what)
    if status.evaluation_error:
        detail = clean(f"{what}: {status.evaluation_error}", 300)
        return Check(name="permission", subject=what, result=CheckResult.NOT_CHECKED, detail=detail)
    return Check(name="permission", subject=what, result=CheckResult.FAILED, detail=f"the identity in use may not {what}", missing=what)


async def _target(client: Client, action: Action) -> tuple[Check, Tree | None]:
    """Whether the target is there, and the object itself."""
    target = action.target
    try:
        live = parse(await client.request("GET", subject_path(action), timeout=READ_SECONDS), dict)
    except TargetMissing as error:
        if isinstance(action, SetAutoscalerBounds):
            detail = clean(f"{target} has no autoscaler {action.autoscaler!r}: {error}", 300)
            return Check(
                name="target", result=CheckResult.FAILED, detail=detail, missing=clean(f"autoscaler {action.autoscaler}", 80)
            ), None
        nearest = await nearest_names(client, target)
        hint = f"; the nearest names are {', '.join(nearest)}" if nearest else ""
        reason = "was not found" if isinstance(error, NotFound) else f"is not there: {error}"
        return Check(name="target", result=CheckResult.FAILED, detail=clean(f"{target} {reason}{hint}", 500), missing=str(target)), None
    except Forbidden as error:
        return Check(name="target", result=CheckResult.NOT_CHECKED, detail=clean(str(error), 300)), None
    uid = live["metadata"]["uid"]
    if isinstance(action, DeletePod | EvictPod) and action.uid != uid:
        detail = f"{target} was replaced by a namesake: it has UID {uid}, the action names {clean(action.uid, 64)}"
        return Check(name="target", result=CheckResult.FAILED, detail=detail), live
    what = f"autoscaler {action.autoscaler} of {target}" if isinstance(action, SetAutoscalerBounds) else str(target)
    return Check(name="target", result=CheckResult.PASSED, detail=f"{what} has UID {uid}"), live


async def _dry_run(client: Client, action: Action, live: Tree | None) -> tuple[Check, str]:
    """A server-side dry run of the very request, and what it would change."""
    if live is None:
        return Check(name="dry_run", result=CheckResult.NOT_CHECKED, detail="the target could not be read"), ""
    annotations = live["metadata"].get("annotations") or {}
    try:
        for last in (False, False, True):
            try:
                change = await change_of(client, action, live, operation=_REHEARSAL, token=token_of(annotations))
                answer = await change.rehearse(client)
                break
            except Conflict:
                if last or change.method != "PATCH":
                    raise
                live = parse(await client.request("GET", subject_path(action)), dict)
    except (Refused, TargetMissing, Conflict) as error:
        return Check(name="dry_run", result=CheckResult.FAILED, detail=clean(str(error), 500)), ""
    except Busy as error:
        if not isinstance(action, EvictPod):
            return Check(name="dry_run", result=CheckResult.NOT_CHECKED, detail=clean(str(error), 300)), ""
        return Check(name="dry_run", result=CheckResult.FAILED, detail=clean(str(error), 300), missing=_BUDGET), ""
    except AdapterError as error:
        return Check(name="dry_run", result=CheckResult.NOT_CHECKED, detail=clean(str(error), 300)), ""
    return Check(name="dry_run", result=CheckResult.PASSED, detail="the API server accepts the request"), _diff(action, live, answer)


def _diff(action: Action, live: Tree, answer: Tree) -> str:
    target = action.target
    if isinstance(action, DeletePod | EvictPod):
        return f"- {target} (UID {live['metadata']['uid']})"
    if isinstance(action, RerunJob):
        return f"+ job {target.namespace}/{answer['metadata']['name']}"
    return difference(live, answer)


def _inverse(action: Action, live: Tree, revision: int | None) -> Action | None:
    """The action that undoes this one, or None: a restarted or deleted pod does not come back as it was."""
    target, spec = action.target, live.get("spec") or {}
    match action:
        case ScaleWorkload():
            return ScaleWorkload(target=target, replicas=int(spec.get("replicas", 1)))
        case RollBackWorkload():
            return RollBackWorkload(target=target, to_revision=revision) if revision is not None else None
        case CordonNode() if not spec.get("unschedulable"):
            return UncordonNode(target=target)
        case UncordonNode() if spec.get("unschedulable"):
            return CordonNode(target=target)
        case SetAutoscalerBounds():
            old_bounds = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
            return SetAutoscalerBounds(target=target, autoscaler=action.autoscaler, minimum=old_bounds[0], maximum=old_bounds[1])
        case SetMemoryLimit():
            old = _memory_limit(spec, action.container)
            return SetMemoryLimit(target=target, container=action.container, memory=old) if old else None
        case _:
            return None


def _memory_limit(spec: Tree, name: str) -> str:
    containers: list[dict[str, Any]] = spec["template"]["spec"]["containers"]
    found = next((item for item in containers if item["name"] == name), {})
    return str(((found.get("resources") or {}).get("limits") or {}).get("memory", ""))
