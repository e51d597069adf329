"""What an action writes: the one request that does it, built from the object as it is now and from nothing else.

Preflight sends it as a server-side dry run, apply sends the same for real.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import msgspec

from adapters.errors import AdapterError, Refused, TargetMissing
from adapters.kubernetes.availability import AVAILABLE, ROLLED_BACK, whole_revision, with_note
from adapters.kubernetes.client import MERGE_PATCH, Client
from adapters.kubernetes.marks import OPERATION, marked
from adapters.kubernetes.objects import ApiResources, ControllerRevision, Job, Metadata, Pod, Selector, Workload
from adapters.kubernetes.resources import (
    AUTOSCALERS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    PODS,
    REPLICASETS,
    Permission,
    path_of,
    resource_of,
)
from adapters.kubernetes.rollouts import revision_number
from adapters.kubernetes.trees import Tree, merge_patch
from adapters.kubernetes.views import POD_HASH, template_of
from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    HostAction,
    Investigate,
    RerunJob,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
    SetMemoryLimit,
    UncordonNode,
    rerun_name,
)
from schemas.target import Kind, Target
from schemas.text import clean

_JOB_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")


def subject_path(action: Action) -> str:
    """The path of the object that the action changes: the target itself, or the target's autoscaler. Raises TargetMissing."""
    if isinstance(action, SetAutoscalerBounds):
        return AUTOSCALERS.path(action.target.namespace, action.autoscaler)
    return path_of(action.target)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `wanted` is the object after it, as far as it can be said before the server has seen it."""

    method: str
    path: str
    body: Tree
    content: str = "application/json"
    wanted: Tree = {}

    async def rehearse(self, client: Client) -> Tree:
        """Sends it as a server-side dry run: admission, validation and preconditions run, nothing is kept.

        Returns the object as it would be. Raises what Client.request raises for a read.
        """
        return await self._send(client, dry=True)

    async def send(self, client: Client) -> Tree:
        """Sends it for real. Raises what Client.request raises for a write."""
        return await self._send(client, dry=False)

    async def _send(self, client: Client, *, dry: bool) -> Tree:
        body, query = self.body, {"fieldManager": "mendstream"}
        if self.method == "DELETE":  # the API server reads options of a delete from its body when there is one
            body, query = body | ({"dryRun": ["All"]} if dry else {}), {}
        elif dry:
            query["dryRun"] = "All"
        data = await client.request(
            self.method, self.path, query=query, body=body, content=self.content, timeout=client.write_seconds, write=not dry
        )
        answer = msgspec.json.decode(data) if data else {}
        return answer if isinstance(answer, dict) else {}


def permissions(action: Action) -> tuple[Permission, ...]:
    """Every permission that the action needs, reading included."""
    target = action.target
    resource = resource_of(target)
    place = target.namespace if resource.namespaced else ""

    def may(verb: str, of: Any = resource, subresource: str = "") -> Permission:
        return Permission(verb, of, place, target.name if of is resource and verb != "create" else "", subresource)

    match action:
        case Investigate():
            return (may("get"), *_looks_around(target, place))
        case DeletePod():
            return (may("get"), may("delete"))
        case EvictPod():
            return (may("get"), Permission("create", PODS, place, target.name, "eviction"))
        case RerunJob():
            return (may("get"), may("create"))
        case RollBackWorkload():
            revisions = REPLICASETS if target.kind is Kind.DEPLOYMENT else CONTROLLER_REVISIONS
            return (may("get"), may("list", revisions), may("patch"))
        case SetAutoscalerBounds():
            scaler = Permission("get", AUTOSCALERS, place, action.autoscaler)
            return (may("get"), scaler, scaler._replace(verb="patch"))
        case _:
            return (may("get"), may("patch"))


def _looks_around(target: Target, place: str) -> tuple[Permission, ...]:
    """What a look reads beside the target itself: the events, and the pods with their logs, where the target has any."""
    events = Permission("list", EVENTS, target.namespace or "default")
    if target.kind is Kind.NAMESPACE:
        return (events,)
    if target.kind is Kind.NODE:
        return (events, Permission("list", PODS))
    log = Permission("get", PODS, place, subresource="log")
    return (events, log) if target.kind is Kind.POD else (events, Permission("list", PODS, place), log)


def check_kind(action: Action) -> None:
    """Raises Refused when the action makes no sense for the kind of its target."""
    kind = action.target.kind
    fits: bool
    match action:
        case _ if isinstance(action, HostAction):
            fits = False
        case Investigate():
            fits = True
        case DeletePod() | EvictPod():
            fits = kind is Kind.POD
        case CordonNode() | UncordonNode():
            fits = kind is Kind.NODE
        case RerunJob():
            fits = kind is Kind.JOB
        case ScaleWorkload() | SetAutoscalerBounds():
            fits = kind in (Kind.DEPLOYMENT, Kind.STATEFULSET)
        case _:
            fits = kind.is_workload
    if not fits:
        raise Refused(f"invalid: {action.verb} is not possible for a {kind}")


async def change_of(client: Client, action: Action, live: Tree, *, operation: str, token: int) -> Change:
    """The request that does `action` to `live`, the object just read.

    Raises Refused when it would change nothing or makes no sense, TargetMissing when a revision is gone.
    """
    match action:
        case DeletePod():
            options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": action.uid}}
            return Change(method="DELETE", path=path_of(action.target), body=options)
        case EvictPod():
            return await _eviction(client, action)
        case RerunJob():
            refuse_unless_failed(action, live)
            return _rerun(action.target, live, operation, token)
        case _:
            wanted = await _wanted(client, action, live, operation)
            if wanted.get("spec") == live.get("spec"):
                raise Refused(f"invalid: {action.target} is already as {action.verb} would make it; nothing would change")
            return _patch(action, live, wanted, operation, token)


async def _wanted(client: Client, action: Action, live: Tree, operation: str) -> Tree:
    """The object as the action wants it, without marks, but with a note on the revision that it replaces: see `availability`."""
    wanted = copy.deepcopy(live)
    spec = wanted.setdefault("spec", {})
    if isinstance(action, RestartWorkload | SetMemoryLimit):
        _note(wanted, AVAILABLE, await _sound_revision(client, live))
    match action:
        case RestartWorkload():
            meta = spec["template"].setdefault("metadata", {})
            # The operation's id, where kubectl writes the time: repeating it changes nothing.
            meta["annotations"] = {**(meta.get("annotations") or {}), OPERATION: operation}
        case RollBackWorkload():
            templates = await _templates(client, action.target, live)
            spec["template"] = _template(action, templates)
            _note(wanted, ROLLED_BACK, _current(live, templates))
        case ScaleWorkload():
            if action.replicas < 0:
                raise Refused(f"invalid: {action.replicas} replicas")
            spec["replicas"] = action.replicas
        case SetMemoryLimit():
            _limit(spec, action)
        case SetAutoscalerBounds():
            _bounds(spec, action)
        case CordonNode():
            spec["unschedulable"] = True
        case UncordonNode():
            spec.pop("unschedulable", None)
        case _:
            raise Refused(f"invalid: {action.verb} does nothing in a Kubernetes cluster")
    return wanted


def _limit(spec: Tree, action: SetMemoryLimit) -> None:
    for container in spec["template"]["spec"]["containers"]:
        if container["name"] == action.container:
            resources = container.setdefault("resources", {})
            resources["limits"] = {**(resources.get("limits") or {}), "memory": action.memory}
            return
    raise Refused(f"invalid: {action.target} has no container {clean(action.container, 80)!r}")


def _bounds(spec: Tree, action: SetAutoscalerBounds) -> None:
    target, reference = action.target, spec.get("scaleTargetRef") or {}
    if (reference.get("kind"), reference.get("name")) != (str(target.kind), target.name):
        raise Refused(f"invalid: autoscaler {clean(action.autoscaler, 80)} does not scale {target}")
    if not 1 <= action.minimum <= action.maximum:
        raise Refused(f"invalid: {action.minimum} to {action.maximum} replicas are no bounds: 1 is the least, and the most is not less")
    if (spec.get("minReplicas", 1), spec.get("maxReplicas")) != (action.minimum, action.maximum):
        spec["minReplicas"], spec["maxReplicas"] = action.minimum, action.maximum


def refuse_unless_failed(action: RerunJob, live: Tree) -> None:
    """Raises Refused for a Job that has not failed: one that still runs, or has done its work, would do it twice."""
    status = msgspec.convert(live, Job).status
    if not status.has("Failed"):
        state = "has completed" if status.has("Complete") else "has not failed yet"
        raise Refused(f"invalid: {action.target} {state}: running it again would do its work twice")


def _note(wanted: Tree, key: str, revision: str) -> None:
    meta = wanted["metadata"]
    meta["annotations"] = with_note(meta.get("annotations") or {}, key, revision)


async def _sound_revision(client: Client, live: Tree) -> str:
    """The revision that all pods are of, where they are all available now and none has ever restarted; empty where that is not seen."""
    workload = msgspec.convert(live, Workload)
    name = whole_revision(workload)
    if not name:
        return ""
    try:
        pods = await client.read_all(PODS.path(workload.metadata.namespace), Pod, query=_selected(live))
    except AdapterError:
        return ""
    living = [pod for pod in pods if pod.metadata.deletion_timestamp is None]  # the pods themselves are ahead of the workload's counts
    restarted = any(status.restart_count for pod in living for status in pod.status.container_statuses or ())
    return name if all(pod.ready for pod in living) and not restarted else ""


def _current(live: Tree, numbers: Iterable[int]) -> str:
    """The number of the revision that the workload is at, which is the highest; empty while its controller has not seen it yet."""
    workload = msgspec.convert(live, Workload)
    return str(max(numbers)) if workload.status.observed_generation == workload.metadata.generation else ""


def _patch(action: Action, live: Tree, wanted: Tree, operation: str, token: int) -> Change:
    """A merge patch that holds only for the very object and version that was read: anything else answers 409."""
    meta = wanted["metadata"]
    meta["annotations"] = marked(meta.get("annotations") or {}, operation, token)
    patch = merge_patch(live, wanted)
    patch["metadata"] |= {"uid": live["metadata"]["uid"], "resourceVersion": live["metadata"]["resourceVersion"]}
    return Change(method="PATCH", path=subject_path(action), body=patch, content=MERGE_PATCH, wanted=wanted)


async def _templates(client: Client, target: Target, live: Tree) -> dict[int, Tree]:
    """The pod templates of the workload's revisions, by number."""
    uid, query = live["metadata"]["uid"], _selected(live)
    if target.kind is Kind.DEPLOYMENT:
        sets = await client.read_all(REPLICASETS.path(target.namespace), Workload, query=query)
        owned = [(revision_number(item), item.spec.template) for item in sets if _owned_by(item.metadata, uid)]
        return {number: template for number, template in owned if number is not None}
    revisions = await client.read_all(CONTROLLER_REVISIONS.path(target.namespace), ControllerRevision, query=query)
    return {item.revision: template_of(item) for item in revisions if _owned_by(item.metadata, uid)}


def _selected(live: Tree) -> dict[str, str]:
    """The query for what the workload selects."""
    selector = msgspec.convert(live["spec"].get("selector") or {}, Selector).query()
    return {"labelSelector": selector} if selector else {}


def _template(action: RollBackWorkload, templates: dict[int, Tree]) -> Tree:
    """The pod template of the revision to go back to, as `kubectl rollout undo` takes it. Raises TargetMissing."""
    if action.to_revision not in templates:
        known = ", ".join(str(number) for number in sorted(templates)) or "none"
        raise TargetMissing(f"{action.target} has no revision {action.to_revision}; there are: {known}")
    return _without_hash(templates[action.to_revision])


def _owned_by(metadata: Metadata, uid: str) -> bool:
    return metadata.controller is not None and metadata.controller.uid == uid


def _without_hash(template: Tree) -> Tree:
    """A ReplicaSet's template without the label that its Deployment added."""
    template = copy.deepcopy(template)
    labels = (template.get("metadata") or {}).get("labels") or {}
    labels.pop(POD_HASH, None)
    return template


async def _eviction(client: Client, action: EvictPod) -> Change:
    """An eviction in the version of the policy API that this server's pods take."""
    version = await eviction_version(client)
    target = action.target
    body = {
        "apiVersion": f"policy/{version}",
        "kind": "Eviction",
        "metadata": {"name": target.name, "namespace": target.namespace},
        "deleteOptions": {"preconditions": {"uid": action.uid}},
    }
    return Change(method="POST", path=PODS.path(target.namespace, target.name, "eviction"), body=body)


async def eviction_version(client: Client) -> str:
    """`v1` or `v1beta1`, by discovery, asked for once."""
    if "eviction" not in client.discovered:
        core = await client.read("/api/v1", ApiResources)
        client.discovered["eviction"] = next((item.version for item in core.resources if item.name == "pods/eviction"), "") or "v1"
    return client.discovered["eviction"]


def _rerun(target: Target, live: Tree, operation: str, token: int) -> Change:
    spec = copy.deepcopy(live["spec"])
    spec.pop("selector", None)
    spec.pop("manualSelector", None)
    template_meta = spec["template"].setdefault("metadata", {})
    template_meta["labels"] = {key: value for key, value in (template_meta.get("labels") or {}).items() if key not in _JOB_LABELS}
    labels = {key: value for key, value in (live["metadata"].get("labels") or {}).items() if key not in _JOB_LABELS}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": rerun_name(target.name, operation),
            "namespace": target.namespace,
            "labels": labels,
            "annotations": marked({}, operation, token),
        },
        "spec": spec,
    }
    return Change(method="POST", path=JOBS.path(target.namespace), body=body, wanted=body)
