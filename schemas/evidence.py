"""What was measured: typed observations of the world, each with where it came from and how long it took."""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.target import Target
from schemas.usage import UsageView
from schemas.words import Worse


class ContainerView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One container of a pod as its kubelet reports it; `memory_limit` and `memory_request` are bytes, None where none is set.

    `message` is the kubelet's own sentence about what it waits for.
    """

    name: str
    image: str
    ready: bool
    restarts: int
    waiting: str = ""
    terminated: str = ""
    last_terminated: str = ""
    exit_code: int | None = None
    memory_limit: int | None = None
    memory_request: int | None = None
    message: str = ""


class PodView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One pod. `reason` says why it is in its phase, such as Evicted or Unschedulable; `message` is their own sentence.

    Of the many pods of a large workload only the first keep the sentences; what is counted and judged is known of all.
    """

    name: str
    uid: str
    phase: str
    ready: bool
    reason: str = ""
    node: str = ""
    owner: str = ""
    created_at: datetime | None = None
    deleting: bool = False
    message: str = ""
    containers: tuple[ContainerView, ...] = ()


class RevisionView(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a workload. `available` counts its pods now.

    `was_available`: True when it is known that all its pods were available once, False when its rollout is known to have failed or
    an earlier action rolled back from it, None when nothing is known; `availability` says from what. `same` says that its pods are
    specified as those of the current revision, as after a restart: going back to it changes nothing. `template` is a short hash of
    how its pods are specified.
    """

    revision: int
    name: str
    created_at: datetime | None = None
    images: tuple[str, ...] = ()
    replicas: int = 0
    available: int = 0
    current: bool = False
    same: bool = False
    was_available: bool | None = None
    availability: str = ""
    template: str = ""


class ConditionView(msgspec.Struct, frozen=True, kw_only=True):
    """One condition of an object, in the words of its controller."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node that the target is, or that pods of it are on. `ready` is None where it may not be read; `pods` counts the target's."""

    name: str
    ready: bool | None = None
    exists: bool = True
    cordoned: bool = False
    pods: int = 0
    conditions: tuple[ConditionView, ...] = ()


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A disruption budget over the target's pods: `allowed` may be disrupted now; `healthy`, `needed` and `expected` are pods."""

    name: str
    allowed: int
    healthy: int = 0
    needed: int = 0
    expected: int = 0

    @property
    def deadlocked(self) -> bool:
        """Whether it allows no disruption even when every pod is healthy."""
        return self.expected > 0 and self.needed >= self.expected


class AutoscalerView(msgspec.Struct, frozen=True, kw_only=True):
    """The horizontal pod autoscaler that holds the target's number of replicas; `conditions` are what its controller says of it."""

    name: str
    uid: str
    minimum: int
    maximum: int
    current: int = 0
    desired: int = 0
    conditions: tuple[ConditionView, ...] = ()

    @property
    def maxed(self) -> bool:
        """Whether it can give no more pods."""
        return max(self.current, self.desired) >= self.maximum


class GitOps(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps an object as a repository says: `tool` is Argo CD or Flux; `application` may be unknown, and then empty."""

    tool: str
    application: str = ""

    def __str__(self) -> str:
        return f"{self.tool} application {self.application}" if self.application else self.tool


class OwnerView(msgspec.Struct, frozen=True, kw_only=True):
    """One step up the chain of controllers, such as a pod's ReplicaSet."""

    kind: str
    name: str
    uid: str


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment, StatefulSet or DaemonSet; `desired` and the other counts are pods.

    `template` is a short hash of how its pods are specified, whatever the annotations of its pod template: see `RevisionView`.
    `memory_limits` are those of the containers in its pod template, in bytes by name, where there is one. `progress_deadline` is how
    long its controller waits for progress before it calls a rollout stuck (`progress_failed`), in seconds, where it has such a limit.
    """

    uid: str
    generation: int
    observed_generation: int
    desired: int
    updated: int
    ready: int
    available: int
    revision: int | None = None
    images: tuple[str, ...] = ()
    memory_limits: dict[str, int] = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    progress_failed: str = ""
    progress_deadline: int | None = None
    conditions: tuple[ConditionView, ...] = ()
    template: str = ""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A Job; `active`, `succeeded` and `failed` are pods. `complete` and `has_failed` are said by its controller, and then for good."""

    uid: str
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    suspended: bool = False
    conditions: tuple[ConditionView, ...] = ()

    @property
    def complete(self) -> bool:
        return self._condition("Complete") is not None

    @property
    def has_failed(self) -> bool:
        return self._condition("Failed") is not None

    @property
    def why_failed(self) -> str:
        """Its controller's reason, such as BackoffLimitExceeded; empty where it has not failed or none is told."""
        failed = self._condition("Failed")
        return failed.reason if failed else ""

    def _condition(self, kind: str) -> ConditionView | None:
        return next((one for one in self.conditions if one.type == kind and one.status == "True"), None)


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One Kubernetes event about the target or something it owns."""

    reason: str
    message: str
    about: str
    count: int = 1
    last_at: datetime | None = None


class UnitView(msgspec.Struct, frozen=True, kw_only=True):
    """A systemd unit or a container on a host. `active` and `sub` are systemd's words, or the container's state.

    service  the compose service that a container belongs to, as `project/service`; else empty
    type     systemd's type of a service, such as `oneshot`
    result   how its last run ended, in systemd's words: `success` also where none is known; empty where it was not told
    status   the exit status or the signal that ended the last run of its main process, None where none is known to have ended
    stays    whether it counts as active once its process has ended (RemainAfterExit)
    timed    whether a timer starts it
    """

    name: str
    active: str
    sub: str = ""
    since: str = ""
    restarts: int = 0
    service: str = ""
    type: str = ""
    result: str = ""
    status: int | None = None
    stays: bool = False
    timed: bool = False

    @property
    def ends(self) -> bool:
        """Whether it runs to its end, so that not to be active is how it should be between its runs."""
        return not self.stays and (self.type == "oneshot" or self.timed)


class FileSystemView(msgspec.Struct, frozen=True, kw_only=True):
    """One local file system of a host; sizes in bytes, `inodes` in pieces. `docker`: Docker keeps its data on it, by the settings."""

    mount: str
    size: int
    available: int
    inodes: int = 0
    inodes_available: int = 0
    docker: bool = False

    @property
    def room(self) -> float | None:
        """The share that is free, 0 to 1, of bytes or of inodes, whichever is less; None where its size is not known."""
        shares = [free / whole for free, whole in ((self.available, self.size), (self.inodes_available, self.inodes)) if whole > 0]
        return min(shares) if self.size > 0 else None


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """A host's resources; memory in bytes. What was not measured is None or empty."""

    load_1: float | None = None
    load_5: float | None = None
    load_15: float | None = None
    processors: int | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    swap_total: int | None = None
    swap_free: int | None = None
    file_systems: tuple[FileSystemView, ...] = ()


METRIC_SENSOR = "metric:"
"""How the names of sensors begin that ask Prometheus."""

ALERT_SENSOR = "alert:"
"""How the names of sensors begin that ask whether an alert still fires."""


class Sensor(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's run: `error` is empty when it succeeded."""

    name: str
    seconds: float
    error: str = ""


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """What is usual for a metric at one time, in its unit, from its own history; `season` is weekly, daily or trend."""

    lower: float
    upper: float
    expected: float
    season: str


class MetricView(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the target at one time; `value` is None where it was not measured, and `note` says why.

    worse            the direction in which it gets worse
    ideal            its value when all is well, such as no restarts; None for what a healthy target uses as well
    use              whether a target that is down has little of it as well, so that less is not always better
    noise            a difference that says nothing, in the unit
    age              seconds between the oldest of the samples that it is made of and the look; None where that is not known
    history_seconds  how much of its past is known
    baseline         what is usual at that time; None with too little history, which `note` says
    """

    name: str
    query: str
    value: float | None
    unit: str
    worse: Worse
    ideal: float | None = None
    use: bool = False
    noise: float = 0.0
    age: float | None = None
    history_seconds: float = 0.0
    baseline: Band | None = None
    note: str = ""


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one alert of the incident fires; None where that is not known, and a sensor that failed says why.

    rule      whether its rule in Prometheus holds, pending included
    heard     whether an Alertmanager has it as firing, silenced or not; no only from one that was seen to have it and ran on since
    fires     both together: yes when one says so, no only when Prometheus was not away and nobody says yes
    heard_by  the runs of the Alertmanagers that have it, by the time of their start as they tell it
    note      why it is not known to be over, though no Alertmanager has it
    silences  what silences it in an Alertmanager: by whom, until when and why
    """

    name: str
    rule: bool | None = None
    heard: bool | None = None
    fires: bool | None = None
    heard_by: tuple[str, ...] = ()
    note: str = ""
    silences: tuple[str, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What all sensors together saw of one target at one time. A sensor that failed leaves its part empty and says why.

    `owners` is the chain of controllers above the target, the nearest first; `nodes` are those that its pods are on; `usage` is
    asked for in an investigation only.
    """

    target: Target
    at: datetime
    sensors: tuple[Sensor, ...]
    exists: bool | None = None
    workload: WorkloadView | None = None
    job: JobView | None = None
    pods: tuple[PodView, ...] = ()
    revisions: tuple[RevisionView, ...] = ()
    events: tuple[EventView, ...] = ()
    services: tuple[str, ...] = ()
    units: tuple[UnitView, ...] = ()
    host: HostView | None = None
    logs: dict[str, str] = {}
    node: str = ""
    node_ready: bool | None = None
    late: bool = False
    nodes: tuple[NodeView, ...] = ()
    budgets: tuple[BudgetView, ...] = ()
    autoscaler: AutoscalerView | None = None
    gitops: GitOps | None = None
    owners: tuple[OwnerView, ...] = ()
    metrics: tuple[MetricView, ...] = ()
    alerts: tuple[AlertView, ...] = ()
    usage: tuple[UsageView, ...] = ()

    @property
    def last_available(self) -> RevisionView | None:
        """The newest other revision than the current one that is known to have been fully available; None when none is known."""
        known = [one for one in self.revisions if one.was_available and not one.current and not one.same]
        return max(known, key=lambda one: one.revision, default=None)

    def saw(self, sensor: str) -> bool:
        """Whether the sensor of that name ran and succeeded: only then its empty part says that there is nothing."""
        return any(one.name == sensor and not one.error for one in self.sensors)

    @property
    def measured(self) -> bool:
        """Whether any sensor of the target itself succeeded; Prometheus and Alertmanager alone do not tell its state."""
        return any(not sensor.error for sensor in self.sensors if not sensor.name.startswith((METRIC_SENSOR, ALERT_SENSOR)))


def amount(value: float, unit: str) -> str:
    """A metric's value with its unit, for people."""
    if unit == "ratio":
        return f"{value * 100:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    return f"{value:.4g}" if unit == "1" else f"{value:.4g} {unit}"
