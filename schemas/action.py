"""Typed actions: the only things that can ever be run. Text becomes one of these or it becomes nothing."""

from __future__ import annotations

import hashlib
import re
from typing import ClassVar

import msgspec

from schemas.target import Target
from schemas.text import clean
from schemas.words import Probe

_UNIT_SUFFIXES = tuple(
    f".{kind}"
    for kind in ("service", "socket", "timer", "mount", "automount", "swap", "target", "path", "slice", "scope", "device", "snapshot")
)
_RESTARTED = (".service", ".socket", ".timer")
# What these are there for is to end the host's run, to suspend it, or to open it to whoever sits before it.
_ENDS_HOST = re.compile(
    r"(?:systemd-(?:\S+-)?(?:reboot|poweroff|halt|kexec|exit|suspend|hibernate|sleep)"
    r"|reboot|poweroff|halt|kexec|suspend|hibernate|rescue|emergency|debug-shell|initrd-\S+)\.\S+"
)
NGINX = "nginx.service"
_POD_HASH = re.compile(r"-(?:[a-z0-9]{8,10}-[a-z0-9]{5}|[bcdfghjklmnpqrstvwxz2456789]{5}|\d+)$")


class BaseAction(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="do"):
    """One operation on one target. `verb` names its pattern; `scope` is read, write or admin."""

    verb: ClassVar[str]
    scope: ClassVar[str] = "write"

    target: Target


class Investigate(BaseAction, frozen=True, kw_only=True):
    """Look and report; changes nothing."""

    verb: ClassVar[str] = "investigate"
    scope: ClassVar[str] = "read"
    reason: str = ""


class RestartWorkload(BaseAction, frozen=True, kw_only=True):
    """Rolling restart of a Deployment, StatefulSet or DaemonSet."""

    verb: ClassVar[str] = "restart"


class RollBackWorkload(BaseAction, frozen=True, kw_only=True):
    """Back to the pod template of `to_revision` of a Deployment, StatefulSet or DaemonSet."""

    verb: ClassVar[str] = "rollback"
    to_revision: int


class ScaleWorkload(BaseAction, frozen=True, kw_only=True):
    """Set the number of replicas of a Deployment or StatefulSet."""

    verb: ClassVar[str] = "scale"
    replicas: int


class SetAutoscalerBounds(BaseAction, frozen=True, kw_only=True):
    """Set the fewest and the most replicas between which the horizontal pod autoscaler of a Deployment or StatefulSet chooses."""

    verb: ClassVar[str] = "bounds"
    autoscaler: str
    minimum: int
    maximum: int


class DeletePod(BaseAction, frozen=True, kw_only=True):
    """Delete one pod, by UID: a namesake that came later is left alone."""

    verb: ClassVar[str] = "delete"
    uid: str


class EvictPod(BaseAction, frozen=True, kw_only=True):
    """Evict one pod, by UID, through the eviction API, so that disruption budgets hold."""

    verb: ClassVar[str] = "evict"
    uid: str


class CordonNode(BaseAction, frozen=True, kw_only=True):
    verb: ClassVar[str] = "cordon"


class UncordonNode(BaseAction, frozen=True, kw_only=True):
    verb: ClassVar[str] = "uncordon"


class RerunJob(BaseAction, frozen=True, kw_only=True):
    """Make a new Job from the template of a failed one; the failed one stays."""

    verb: ClassVar[str] = "rerun"


class SetMemoryLimit(BaseAction, frozen=True, kw_only=True):
    """Set the memory limit of one container of a workload. `memory` is a Kubernetes quantity, such as `256Mi`."""

    verb: ClassVar[str] = "limit"
    container: str
    memory: str


class DiagnoseHost(BaseAction, frozen=True, kw_only=True):
    """Run probes on a host and report what they print; changes nothing. No `probes` means all of them."""

    verb: ClassVar[str] = "diagnose"
    scope: ClassVar[str] = "read"
    probes: tuple[Probe, ...] = ()


class RestartUnit(BaseAction, frozen=True, kw_only=True):
    """`systemctl restart UNIT` on a host. Raises ValueError for a unit that is never restarted, as `why_not_restarted` says."""

    verb: ClassVar[str] = "restart-unit"
    unit: str

    def __post_init__(self) -> None:
        if why := why_not_restarted(self.unit):
            raise ValueError(why)


class RestartContainer(BaseAction, frozen=True, kw_only=True):
    """`docker restart CONTAINER` on a host."""

    verb: ClassVar[str] = "restart-container"
    container: str


class RestartComposeService(BaseAction, frozen=True, kw_only=True):
    """`docker compose restart SERVICE` on a host. `project` is a name in the settings of the host; empty: the only one there."""

    verb: ClassVar[str] = "restart-service"
    service: str
    project: str = ""


class TruncateContainerLog(BaseAction, frozen=True, kw_only=True):
    """Empty the log file of a container: its lines are gone for good, the container runs on."""

    verb: ClassVar[str] = "truncate-log"
    container: str


class RenewCertificates(BaseAction, frozen=True, kw_only=True):
    """`certbot renew` on a host: renews those certificates that are due, and runs the host's own hooks."""

    verb: ClassVar[str] = "renew-certificates"


class ReloadNginx(BaseAction, frozen=True, kw_only=True):
    """Let nginx read its configuration and certificates again, once `nginx -t` finds no fault in them."""

    verb: ClassVar[str] = "reload-nginx"


class PruneImages(BaseAction, frozen=True, kw_only=True):
    """`docker image prune` on a host: deletes the images without a name that no container uses."""

    verb: ClassVar[str] = "prune-images"
    scope: ClassVar[str] = "admin"


class PruneVolumes(BaseAction, frozen=True, kw_only=True):
    """`docker volume prune` on a host: deletes volumes that no container uses, with the data in them."""

    verb: ClassVar[str] = "prune-volumes"
    scope: ClassVar[str] = "admin"


class PruneSystem(BaseAction, frozen=True, kw_only=True):
    """`docker system prune` on a host: deletes stopped containers with what they wrote, unused networks, images without a name."""

    verb: ClassVar[str] = "prune-system"
    scope: ClassVar[str] = "admin"


HostAction = (
    DiagnoseHost
    | RestartUnit
    | RestartContainer
    | RestartComposeService
    | TruncateContainerLog
    | RenewCertificates
    | ReloadNginx
    | PruneImages
    | PruneVolumes
    | PruneSystem
)

Action = (
    Investigate
    | RestartWorkload
    | RollBackWorkload
    | ScaleWorkload
    | SetAutoscalerBounds
    | DeletePod
    | EvictPod
    | CordonNode
    | UncordonNode
    | RerunJob
    | SetMemoryLimit
    | HostAction
)


def is_observation(action: Action) -> bool:
    """Whether the action only looks: it counts as success and changes nothing."""
    return action.scope == "read"


def is_in_repository(action: Action) -> bool:
    """Whether the action changes what a repository of manifests says, so that a GitOps tool would take it back."""
    return isinstance(action, RollBackWorkload | ScaleWorkload | SetMemoryLimit | SetAutoscalerBounds)


def needs_grant(action: Action) -> bool:
    """Whether the action needs the grant of its approval, which is valid for a short time only: what changes a host does."""
    return isinstance(action, HostAction) and not is_observation(action)


def is_unit_name(name: str) -> bool:
    """Whether it is a systemd unit's name in full, such as `nginx.service`."""
    return name.endswith(_UNIT_SUFFIXES)


def unit_name(name: str) -> str:
    """A systemd unit's name in full, as systemctl completes it: `nginx` is `nginx.service`."""
    return name if is_unit_name(name) else f"{name}.service"


def why_not_restarted(name: str) -> str:
    """Why this unit is never restarted, as a sentence; empty where it may be. A restart of `reboot.target` reboots the host."""
    full = unit_name(name)
    if not full.endswith(_RESTARTED):
        return f"{clean(full, 128)} is never restarted: only a unit of type service, socket or timer is"
    if _ENDS_HOST.fullmatch(full):
        return f"{clean(full, 128)} is never restarted: it ends, suspends or opens the host it runs on"
    return ""


def parts_of(action: Action) -> tuple[str, ...]:
    """The names of units and containers of a host that must be seen to tell what became of the action."""
    part = NGINX if isinstance(action, ReloadNginx) else part_of(action)
    return (part,) if part else ()


def part_of(action: Action) -> str:
    """What on the target the action is about, such as a unit of a host; empty when it is about the target itself."""
    match action:
        case RestartUnit():
            return unit_name(action.unit)
        case RestartContainer() | TruncateContainerLog():
            return action.container
        case RestartComposeService():
            return f"{action.project}/{action.service}" if action.project else action.service
        case _:
            return ""


def rerun_name(job: str, operation: str) -> str:
    """The name of the Job that an operation makes of another: the same operation, the same name; 63 characters at most."""
    suffix = "".join(letter for letter in operation.lower() if letter.isalnum())[-10:] or "again"
    return f"{job[: 62 - len(suffix)].rstrip('-.')}-{suffix}"


def seen_after(action: Action, target: Target, operation: str) -> Target:
    """What shows how the operation ended, where `target` is what was looked at before: the Job that was made, else the same."""
    if not isinstance(action, RerunJob):
        return target
    return msgspec.structs.replace(action.target, name=rerun_name(action.target.name, operation))


def pattern_of(action: Action) -> str:
    """The action pattern that trust is kept for: `verb:resource`, the pod hash replaced by `*`.

    `restart:prod/shop/api`, `delete:prod/shop/api-*`, `restart-unit:hosts/web-1/nginx.service`. The cluster and the
    namespace belong to the resource: trust earned in one place lowers no risk in another.
    """
    target = action.target
    name = _POD_HASH.sub("-*", target.name) if isinstance(action, DeletePod | EvictPod) else target.name
    return f"{action.verb}:" + "/".join(word for word in (target.cluster, target.namespace, name, part_of(action)) if word)


def without_hash(name: str) -> str:
    """The name of a pod without what its controller appended to it: a hash, or a number."""
    return _POD_HASH.sub("", name)


def action_hash(action: Action, target_uid: str) -> str:
    """SHA-256, in hex, of the action with sorted fields and the UID of the very object that it was approved for."""
    body = msgspec.json.encode(action, order="sorted")
    return hashlib.sha256(body + b"\n" + target_uid.encode()).hexdigest()


def describe(action: Action) -> str:
    """One line for people: what would be done to what."""
    target = action.target
    match action:
        case RollBackWorkload():
            return f"roll back {target} to revision {action.to_revision}"
        case ScaleWorkload():
            return f"scale {target} to {action.replicas} replicas"
        case SetAutoscalerBounds():
            return f"let autoscaler {action.autoscaler} keep {target} between {action.minimum} and {action.maximum} replicas"
        case SetMemoryLimit():
            return f"set the memory limit of container {action.container} of {target} to {action.memory}"
        case RerunJob():
            return f"run {target} again"
        case _ if isinstance(action, HostAction):
            return f"{_on_host(action)} on {target}"
        case _:
            return f"{action.verb} {target}"


def no_way_back(action: Action) -> str:
    """Why nothing undoes an action that has no inverse, in a few words for people."""
    match action:
        case _ if is_observation(action):
            return "it changes nothing"
        case RestartWorkload() | RestartUnit() | RestartContainer() | RestartComposeService():
            return "a restart has no inverse"
        case DeletePod() | EvictPod():
            return "a pod that is gone does not come back as it was"
        case RerunJob():
            return "what a Job has done stays done"
        case RollBackWorkload():
            return "the revision that it leaves is not known"
        case SetMemoryLimit():
            return "there was no limit before, and none cannot be set"
        case RenewCertificates() | ReloadNginx():
            return "what was in use before is not kept"
        case TruncateContainerLog() | PruneImages() | PruneVolumes() | PruneSystem():
            return "what is deleted is gone"
        case _:
            return "it was so before"


def _on_host(action: HostAction) -> str:
    match action:
        case DiagnoseHost():
            return f"run {', '.join(action.probes or Probe)}"
        case RestartUnit():
            return f"restart unit {unit_name(action.unit)}"
        case RestartContainer():
            return f"restart container {action.container}"
        case RestartComposeService():
            return f"restart compose service {part_of(action)}"
        case TruncateContainerLog():
            return f"delete the log lines of container {action.container}"
        case RenewCertificates():
            return "renew the certificates that are due"
        case ReloadNginx():
            return "reload nginx"
        case _:
            return _PRUNED[type(action)]


_PRUNED: dict[type, str] = {
    PruneImages: "delete the images without a name that no container uses",
    PruneVolumes: "delete the volumes that no container uses, with their data,",
    PruneSystem: "delete stopped containers, unused networks and images without a name",
}
