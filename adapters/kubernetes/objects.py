"""The few fields of Kubernetes objects that are read here. Everything else in them is skipped while decoding."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
Template = dict[str, Any]


class Object(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The root of the structs below: field names in camel case, as the API has them."""


class OwnerReference(Object, frozen=True):
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class ManagedFields(Object, frozen=True):
    """Who wrote some of an object's fields."""

    manager: str = ""


class Metadata(Object, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: list[OwnerReference] | None = None
    managed_fields: list[ManagedFields] | None = None

    @property
    def controller(self) -> OwnerReference | None:
        """The one owner that manages this object."""
        return next((owner for owner in self.owner_references or () if owner.controller), None)


class Anything(Object, frozen=True):
    """Any object, for its metadata."""

    metadata: Metadata


class List(Object, Generic[T], frozen=True):
    """A list; `metadata` may name where it continues."""

    items: list[T] | None = None
    metadata: dict[str, Any] = {}

    @property
    def all(self) -> list[T]:
        return self.items or []


class Requirement(Object, frozen=True):
    key: str
    operator: str
    values: list[str] | None = None


class Selector(Object, frozen=True):
    match_labels: dict[str, str] | None = None
    match_expressions: list[Requirement] | None = None

    def query(self) -> str:
        """As the `labelSelector` parameter wants it; empty when it selects everything."""
        words = [f"{key}={value}" for key, value in (self.match_labels or {}).items()]
        for rule in self.match_expressions or ():
            match rule.operator:
                case "In" | "NotIn":
                    words.append(f"{rule.key} {rule.operator.lower()} ({','.join(rule.values or ())})")
                case "Exists":
                    words.append(rule.key)
                case _:
                    words.append(f"!{rule.key}")
        return ",".join(words)


class Condition(Object, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class RollingUpdate(Object, frozen=True):
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None
    partition: int | None = None


class Strategy(Object, frozen=True):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class WorkloadSpec(Object, frozen=True):
    template: Template
    selector: Selector | None = None
    replicas: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None
    strategy: Strategy | None = None
    update_strategy: Strategy | None = None
    volume_claim_templates: list[dict[str, Any]] | None = None


class WorkloadStatus(Object, frozen=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int | None = None
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    update_revision: str = ""
    current_revision: str = ""
    conditions: list[Condition] | None = None


class Workload(Object, frozen=True):
    """A Deployment, StatefulSet, DaemonSet or ReplicaSet."""

    metadata: Metadata
    spec: WorkloadSpec
    status: WorkloadStatus = WorkloadStatus()


class ControllerRevision(Object, frozen=True):
    metadata: Metadata
    revision: int
    data: dict[str, Any] | None = None


class ContainerState(Object, frozen=True):
    waiting: dict[str, Any] | None = None
    running: dict[str, Any] | None = None
    terminated: dict[str, Any] | None = None


class ContainerStatus(Object, frozen=True):
    name: str
    image: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class Resources(Object, frozen=True):
    limits: dict[str, int | float | str] | None = None
    requests: dict[str, int | float | str] | None = None


class ContainerSpec(Object, frozen=True):
    name: str
    image: str = ""
    resources: Resources = Resources()


class PodSpec(Object, frozen=True):
    containers: list[ContainerSpec]
    node_name: str = ""
    volumes: list[dict[str, Any]] | None = None


class PodStatus(Object, frozen=True):
    phase: str = "Unknown"
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None

    def condition(self, kind: str) -> Condition | None:
        return next((condition for condition in self.conditions or () if condition.type == kind), None)


class Pod(Object, frozen=True):
    metadata: Metadata
    spec: PodSpec
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Whether it serves: its Ready condition is true and it is not being deleted."""
        condition = self.status.condition("Ready")
        return condition is not None and condition.status == "True" and self.metadata.deletion_timestamp is None


class ServiceSpec(Object, frozen=True):
    selector: dict[str, str] | None = None


class Service(Object, frozen=True):
    metadata: Metadata
    spec: ServiceSpec = ServiceSpec()

    def selects(self, labels: dict[str, str]) -> bool:
        wanted = self.spec.selector
        return bool(wanted) and all(labels.get(key) == value for key, value in (wanted or {}).items())


class InvolvedObject(Object, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class Series(Object, frozen=True):
    count: int = 0
    last_observed_time: datetime | None = None


class Event(Object, frozen=True):
    metadata: Metadata
    involved_object: InvolvedObject
    reason: str = ""
    message: str = ""
    count: int | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: Series | None = None

    @property
    def last_at(self) -> datetime | None:
        series = self.series.last_observed_time if self.series else None
        return series or self.last_timestamp or self.event_time or self.metadata.creation_timestamp


class NodeSpec(Object, frozen=True):
    unschedulable: bool = False
    taints: list[dict[str, Any]] | None = None


class NodeStatus(Object, frozen=True):
    conditions: list[Condition] | None = None
    allocatable: dict[str, int | float | str] | None = None


class Node(Object, frozen=True):
    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions or ())


class BudgetSpec(Object, frozen=True):
    selector: Selector | None = None


class BudgetStatus(Object, frozen=True):
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class Budget(Object, frozen=True):
    metadata: Metadata
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether it covers a pod with these labels (`In`, `NotIn`, `Exists` and `DoesNotExist` included)."""
        selector = self.spec.selector
        if selector is None:
            return False
        return all(labels.get(key) == value for key, value in (selector.match_labels or {}).items()) and all(
            _holds(rule, labels) for rule in selector.match_expressions or ()
        )


def _holds(rule: Requirement, labels: dict[str, str]) -> bool:
    value = labels.get(rule.key)
    match rule.operator:
        case "In":
            return value in (rule.values or ())
        case "NotIn":
            return value not in (rule.values or ())
        case "Exists":
            return value is not None
        case _:
            return value is None


class ScaleReference(Object, frozen=True):
    kind: str
    name: str


class AutoscalerSpec(Object, frozen=True):
    scale_target_ref: ScaleReference
    max_replicas: int
    min_replicas: int | None = None


class AutoscalerStatus(Object, frozen=True):
    current_replicas: int = 0
    desired_replicas: int = 0


_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"


class Autoscaler(Object, frozen=True):
    """In version 1 of its API, which every server has: there its conditions stand in an annotation, as JSON."""

    metadata: Metadata
    spec: AutoscalerSpec
    status: AutoscalerStatus = AutoscalerStatus()

    @property
    def conditions(self) -> list[Condition]:
        """What its controller says of it; empty where it says nothing, or nothing that can be read."""
        try:
            return msgspec.json.decode((self.metadata.annotations or {}).get(_CONDITIONS, "[]"), type=list[Condition])
        except msgspec.MsgspecError:
            return []


class JobStatus(Object, frozen=True):
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: list[Condition] | None = None

    def has(self, kind: str) -> bool:
        return any(condition.type == kind and condition.status == "True" for condition in self.conditions or ())


class JobSpec(Object, frozen=True):
    suspend: bool = False


class Job(Object, frozen=True):
    metadata: Metadata
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class ReviewStatus(Object, frozen=True):
    allowed: bool = False
    reason: str = ""
    evaluation_error: str = ""


class AccessReview(Object, frozen=True):
    status: ReviewStatus = ReviewStatus()


class ApiVersion(Object, frozen=True):
    version: str


class ContainerUsage(Object, frozen=True):
    name: str
    usage: dict[str, str] = {}


class Usage(Object, frozen=True):
    """What the metrics API tells of a pod, by container, or of a node as a whole."""

    metadata: Metadata
    containers: list[ContainerUsage] | None = None
    usage: dict[str, str] = {}


class ApiGroup(Object, frozen=True):
    versions: list[ApiVersion]
    preferred_version: ApiVersion | None = None


class ApiResource(Object, frozen=True):
    name: str
    version: str = ""


class ApiResources(Object, frozen=True):
    resources: list[ApiResource]
