"""From Kubernetes objects to what was measured: pure functions, and the one place where their text is cleaned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from adapters.kubernetes.availability import Known, pods_by_revision
from adapters.kubernetes.objects import (
    Autoscaler,
    Budget,
    Condition,
    ContainerSpec,
    ContainerStatus,
    ControllerRevision,
    Event,
    Job,
    Node,
    OwnerReference,
    Pod,
    Template,
    Usage,
    Workload,
)
from adapters.kubernetes.quantities import exact, number_of
from adapters.kubernetes.rollouts import desired_of, revision_number
from schemas.evidence import (
    AutoscalerView,
    BudgetView,
    ConditionView,
    ContainerView,
    EventView,
    JobView,
    NodeView,
    OwnerView,
    PodView,
    RevisionView,
    WorkloadView,
)
from schemas.target import Kind
from schemas.text import clean, clean_labels
from schemas.usage import UsageView

POD_HASH = "pod-template-hash"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_EXCERPT = 300
_CONDITIONS = 12
_CONTAINERS = 16
_HASH = 16  # hexadecimal digits


def workload_view(workload: Workload, kind: Kind) -> WorkloadView:
    """A workload's counts, in pods; a DaemonSet's desired number is what the scheduler wants of it."""
    status, meta = workload.status, workload.metadata
    daemon = kind is Kind.DAEMONSET
    ready = status.number_ready if daemon else status.ready_replicas
    available = status.number_available if daemon else status.available_replicas
    annotations = {name: value for name, value in (meta.annotations or {}).items() if name != _APPLIED}
    return WorkloadView(
        uid=meta.uid,
        generation=meta.generation,
        observed_generation=status.observed_generation,
        desired=desired_of(workload, kind),
        updated=status.updated_number_scheduled if daemon else status.updated_replicas,
        ready=ready,
        available=available if available is not None else _served(status.observed_generation, ready, kind),
        revision=revision_number(workload) if kind is Kind.DEPLOYMENT else None,
        images=images_of(workload.spec.template),
        template=template_hash(workload.spec.template),
        memory_limits=memory_limits_of(workload.spec.template),
        labels=clean_labels(meta.labels or {}),
        annotations=clean_labels(annotations, entries=32, limit=_EXCERPT),
        progress_failed=_progress_failed(workload),
        progress_deadline=workload.spec.progress_deadline_seconds,
        conditions=condition_views(status.conditions),
    )


def _served(observed: int, ready: int, kind: Kind) -> int:
    """Available pods where the field is absent: none for a Deployment; an older StatefulSet controller counts ready ones only."""
    return ready if kind is Kind.STATEFULSET and observed else 0


def _progress_failed(workload: Workload) -> str:
    for condition in workload.status.conditions or ():
        stuck = condition.type == "Progressing" and condition.reason == "ProgressDeadlineExceeded"
        if stuck or (condition.type == "ReplicaFailure" and condition.status == "True"):
            return clean(f"{condition.reason}: {condition.message}", _EXCERPT)
    return ""


def images_of(template: Template) -> tuple[str, ...]:
    """The images of a pod template's containers, in order."""
    containers: list[dict[str, Any]] = (template.get("spec") or {}).get("containers") or []
    return tuple(clean(str(container.get("image", "")), 200) for container in containers[:_CONTAINERS])


def template_hash(template: Template) -> str:
    """A short hash of how the pods are specified: its annotations and labels, which a restart or a Deployment adds, are no part."""
    spec = msgspec.json.encode(template.get("spec") or {}, order="deterministic")
    return hashlib.sha256(spec).hexdigest()[:_HASH]


def memory_limits_of(template: Template) -> dict[str, int]:
    """The memory limits of a pod template's containers in bytes, by name, of those that have one."""
    containers: list[dict[str, Any]] = (template.get("spec") or {}).get("containers") or []
    limits = {str(one.get("name", "")): ((one.get("resources") or {}).get("limits") or {}) for one in containers[:_CONTAINERS]}
    sizes = {name: number_of(limit.get("memory")) for name, limit in limits.items()}
    return {clean(name, 64): size for name, size in sizes.items() if size is not None}


def replicaset_views(sets: list[Workload], current: int | None, known: Mapping[str, Known]) -> tuple[RevisionView, ...]:
    """A Deployment's revisions, newest first; `current` is the revision that its annotation names, `known` what is known of them."""
    numbered = [(number, item) for item in sets if (number := revision_number(item)) is not None]
    pods = next((item.spec.template.get("spec") for number, item in numbered if number == current), None)
    views = [
        RevisionView(
            revision=number,
            name=item.metadata.name,
            created_at=item.metadata.creation_timestamp,
            images=images_of(item.spec.template),
            template=template_hash(item.spec.template),
            replicas=item.status.replicas,
            available=item.status.available_replicas or 0,
            current=number == current,
            same=number != current and pods is not None and item.spec.template.get("spec") == pods,
            **_known(known, item.metadata.name),
        )
        for number, item in numbered
    ]
    return tuple(sorted(views, key=lambda view: view.revision, reverse=True))


def _known(known: Mapping[str, Known], name: str) -> dict[str, Any]:
    found = known.get(name)
    return {"was_available": found.available, "availability": found.why} if found else {}


def controller_revision_views(
    revisions: list[ControllerRevision], pods: list[Pod], current: str, known: Mapping[str, Known]
) -> tuple[RevisionView, ...]:
    """A StatefulSet's or DaemonSet's revisions, newest first; `current` names one, else it is the newest."""
    counts = pods_by_revision(pods)
    newest = max((item.revision for item in revisions), default=0)
    named = any(item.metadata.name == current for item in revisions)
    is_current = {item.metadata.name: item.metadata.name == current if named else item.revision == newest for item in revisions}
    now = next((template_of(item).get("spec") for item in revisions if is_current[item.metadata.name]), None)
    views = [
        RevisionView(
            revision=item.revision,
            name=item.metadata.name,
            created_at=item.metadata.creation_timestamp,
            images=images_of(template_of(item)),
            template=template_hash(template_of(item)),
            replicas=counts.get(item.metadata.name, (0, 0))[1],
            available=counts.get(item.metadata.name, (0, 0))[0],
            current=is_current[item.metadata.name],
            same=not is_current[item.metadata.name] and now is not None and template_of(item).get("spec") == now,
            **_known(known, item.metadata.name),
        )
        for item in revisions
    ]
    return tuple(sorted(views, key=lambda view: view.revision, reverse=True))


def template_of(revision: ControllerRevision) -> Template:
    """The pod template that a ControllerRevision keeps, without the patch directive around it."""
    template: Template = dict(((revision.data or {}).get("spec") or {}).get("template") or {})
    template.pop("$patch", None)
    return template


def usage_views(item: Usage) -> tuple[UsageView, ...]:
    """What a node uses, or each container of a pod."""
    name = item.metadata.name
    if item.containers is None:
        return (_usage_view(name, "", item.usage),)
    return tuple(_usage_view(name, clean(each.name, 80), each.usage) for each in item.containers)


def _usage_view(of: str, container: str, usage: dict[str, str]) -> UsageView:
    cpu = exact(usage.get("cpu"))
    return UsageView(of=of, container=container, cpu=None if cpu is None else float(cpu), memory=number_of(usage.get("memory")))


def pod_view(pod: Pod) -> PodView:
    owner = pod.metadata.controller
    statuses = {status.name: status for status in pod.status.container_statuses or ()}
    waiting = [status for status in pod.status.init_container_statuses or () if not _done(status)]
    specs = {spec.name: spec for spec in pod.spec.containers}
    specified = [statuses.get(spec.name) or ContainerStatus(name=spec.name, image=spec.image) for spec in pod.spec.containers]
    scheduled = pod.status.condition("PodScheduled")
    unscheduled = scheduled if scheduled and scheduled.status == "False" else Condition(type="", status="")
    return PodView(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        phase=clean(pod.status.phase, 32),
        ready=pod.ready,
        reason=clean(pod.status.reason or unscheduled.reason, 64),
        message=clean(pod.status.message or unscheduled.message, _EXCERPT),
        node=pod.spec.node_name,
        owner=owner.name if owner else "",
        created_at=pod.metadata.creation_timestamp,
        deleting=pod.metadata.deletion_timestamp is not None,
        containers=tuple(container_view(status, specs.get(status.name)) for status in [*waiting, *specified]),
    )


def in_short(pod: PodView) -> PodView:
    """The pod without its sentences: all that is counted and judged, and no more."""
    containers = tuple(msgspec.structs.replace(container, message="") for container in pod.containers)
    return msgspec.structs.replace(pod, message="", containers=containers)


def _done(status: ContainerStatus) -> bool:
    ended = status.state.terminated
    return ended is not None and ended.get("exitCode") == 0


def container_view(status: ContainerStatus, spec: ContainerSpec | None) -> ContainerView:
    """`exit_code` is that of the newest end, if it ever ended."""
    resources = spec.resources if spec else None
    state, last = status.state, status.last_state
    ended = state.terminated or last.terminated or {}
    code = ended.get("exitCode")
    return ContainerView(
        name=status.name,
        image=clean(status.image, 200),
        ready=status.ready,
        restarts=status.restart_count,
        waiting=_reason(state.waiting),
        terminated=_reason(state.terminated),
        last_terminated=_reason(last.terminated),
        exit_code=code if isinstance(code, int) else None,
        memory_limit=number_of((resources.limits or {}).get("memory")) if resources else None,
        memory_request=number_of((resources.requests or {}).get("memory")) if resources else None,
        message=clean(str((state.waiting or {}).get("message") or ""), _EXCERPT),
    )


def condition_views(conditions: list[Condition] | None) -> tuple[ConditionView, ...]:
    return tuple(
        ConditionView(
            type=clean(each.type, 64),
            status=clean(each.status, 16),
            reason=clean(each.reason, 64),
            message=clean(each.message, _EXCERPT),
            since=each.last_transition_time,
        )
        for each in (conditions or ())[:_CONDITIONS]
    )


def job_view(job: Job) -> JobView:
    status = job.status
    return JobView(
        uid=job.metadata.uid,
        active=status.active,
        succeeded=status.succeeded,
        failed=status.failed,
        suspended=job.spec.suspend,
        conditions=condition_views(status.conditions),
    )


def node_view(node: Node, pods: int) -> NodeView:
    """A node, with `pods` of the target's on it."""
    conditions = condition_views(node.status.conditions)
    return NodeView(name=node.metadata.name, ready=node.ready, cordoned=node.spec.unschedulable, pods=pods, conditions=conditions)


def budget_view(budget: Budget) -> BudgetView:
    status = budget.status
    return BudgetView(
        name=budget.metadata.name,
        allowed=status.disruptions_allowed,
        healthy=status.current_healthy,
        needed=status.desired_healthy,
        expected=status.expected_pods,
    )


def autoscaler_view(found: Autoscaler) -> AutoscalerView:
    return AutoscalerView(
        name=found.metadata.name,
        uid=found.metadata.uid,
        minimum=found.spec.min_replicas or 1,
        maximum=found.spec.max_replicas,
        current=found.status.current_replicas,
        desired=found.status.desired_replicas,
        conditions=condition_views(found.conditions),
    )


def owner_view(owner: OwnerReference) -> OwnerView:
    return OwnerView(kind=clean(owner.kind, 64), name=clean(owner.name, 253), uid=clean(owner.uid, 64))


def _reason(state: dict[str, Any] | None) -> str:
    return clean(str(state.get("reason") or "Unknown"), 64) if state else ""


def event_view(event: Event) -> EventView:
    about = event.involved_object
    return EventView(
        reason=clean(event.reason, 64),
        message=clean(event.message, _EXCERPT),
        about=clean(f"{about.kind.lower()}/{about.name}", 280),
        count=event.count or (event.series.count if event.series else 0) or 1,
        last_at=event.last_at,
    )
