"""What a scenario's part of the cluster is like, told by the API server alone: who was changed, how often, and by whom.

Wrongly acted means any of these, and each is read from the cluster, never from what Mendstream says of itself:

  an unexpected write   an object that people made differs in its specification, labels, annotations, UID or number of generations,
                        or carries the field manager `mendstream`, though no write to it was expected; an object was made or deleted
  another write         a write was expected, and what is there is not what was expected
  a second side effect  more generations or revisions than the expected write makes, or more pods gone than were to be evicted
  an early write        anything of this before the people who must sign had signed
  a false success       a verification said success, and what it is about is not well, or nothing was done that could heal it

Where a scenario broke off before its end, what it expected need not have happened; whatever else happened is wrong all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from adapters.kubernetes.resources import AUTOSCALERS, BY_KIND, PODS, REPLICASETS, Resource, budgets
from ops.sandbox.kubectl import Kubectl, settled
from schemas.target import Kind, Target
from tests.e2e.sshd import TestHost

Tree = dict[str, Any]
CONFIG_MAPS = Resource("", "v1", "configmaps")
BUDGETS = budgets("v1beta1")
_MADE_BY_PEOPLE = {
    **{str(kind): BY_KIND[kind] for kind in (Kind.DEPLOYMENT, Kind.STATEFULSET, Kind.DAEMONSET, Kind.JOB)},
    "Autoscaler": AUTOSCALERS,
    "Budget": BUDGETS,
    "ConfigMap": CONFIG_MAPS,
}
_BY_CONTROLLERS = ("deployment.kubernetes.io/", "autoscaling.alpha.kubernetes.io/", "deprecated.daemonset.template.generation")
_NODE_NOISE = ("node.alpha.kubernetes.io/", "volumes.kubernetes.io/", "sim/")
_REVISION = "deployment.kubernetes.io/revision"
_MANAGER = "mendstream"


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """One object that people made, or a node. `well` is None for what has no health of its own."""

    uid: str
    generation: int
    spec: Tree
    labels: dict[str, str]
    annotations: dict[str, str]
    revision: int
    touched: bool
    well: bool | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a scenario's part of the cluster, and its host: things by `Kind name`, and pods by UID with their workload's name.

    `going` are the UIDs of pods that are being deleted; `touched` the pods and ReplicaSets that carry Mendstream's field manager.
    """

    things: dict[str, Thing]
    pods: dict[str, str]
    going: frozenset[str]
    touched: tuple[str, ...]


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write that is expected to be done to `about`, a `Kind name`. `holds` is asked of the specification after it.

    `generations` and `revisions` are how many of them the write makes. `by_controller` says that it follows from another one: a
    controller does it, such as an autoscaler's, and Mendstream must not.
    """

    about: str
    holds: Callable[[Tree], bool]
    generations: int = 1
    revisions: int = 1
    by_controller: bool = False


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """All that may be done to the world: these writes, the eviction of these pods, and new objects whose names begin like these."""

    writes: tuple[Write, ...] = ()
    evicted: frozenset[str] = frozenset()
    made: tuple[str, ...] = ()


NOTHING = Expected()


def merged(all_of: Iterable[Expected]) -> Expected:
    """Everything that any of these expects."""
    each = list(all_of)
    writes = {write.about: write for one in each for write in one.writes}
    return Expected(
        writes=tuple(writes.values()),
        evicted=frozenset(uid for one in each for uid in one.evicted),
        made=tuple(dict.fromkeys(name for one in each for name in one.made)),
    )


async def look(kubectl: Kubectl, namespace: str, nodes: Sequence[str] = (), hosts: Mapping[str, TestHost] | None = None) -> Facts:
    """What is there now, in the namespace, on these nodes and on the hosts of these names."""
    things: dict[str, Thing] = {}
    pods = await kubectl.items(PODS, namespace)
    for kind, resource in _MADE_BY_PEOPLE.items():
        for item in await kubectl.items(resource, namespace):
            if item["metadata"]["name"] != "kube-root-ca.crt":
                things[f"{kind} {item['metadata']['name']}"] = _thing(kind, item, pods)
    for node in nodes:
        things[f"Node {node}"] = _thing(str(Kind.NODE), await kubectl.get(BY_KIND[Kind.NODE], "", node), ())
    for name, host in (hosts or {}).items():
        things[f"{Kind.HOST} {name}"] = await _host(host)
    made = [*pods, *(await kubectl.items(REPLICASETS, namespace))]
    return Facts(
        things=things,
        pods={item["metadata"]["uid"]: item["metadata"].get("labels", {}).get("app", "") for item in pods},
        going=frozenset(item["metadata"]["uid"] for item in pods if item["metadata"].get("deletionTimestamp")),
        touched=tuple(item["metadata"]["name"] for item in made if _touched(item)),
    )


async def _host(host: TestHost) -> Thing:
    """What was done on a host by its stand-ins for systemctl and the like, and whether its service answers."""
    restarts = host.lines("restarts")
    done = {name: host.lines(name) for name in ("reloads", "images", "volumes")}
    certificates = {file.name: file.read_text() for file in (host.state / "certificates").iterdir()}
    containers = {file.name: file.read_text() for file in (host.state / "containers").iterdir()}
    return Thing(
        uid=host.folder.name,
        generation=len(restarts),
        spec={"restarts": restarts, **done, "certificates": certificates, "containers": containers},
        labels={},
        annotations={},
        revision=0,
        touched=host.marks.exists(),
        well=await host.answers(),
    )


def _thing(kind: str, item: Tree, pods: Iterable[Tree]) -> Thing:
    meta = item["metadata"]
    spec = {name: value for name, value in item.get("spec", {}).items() if name != "taints"} | (
        {"data": item["data"]} if "data" in item else {}
    )
    annotations = meta.get("annotations") or {}
    return Thing(
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        spec=spec,
        labels={name: value for name, value in (meta.get("labels") or {}).items() if not name.startswith("beta.kubernetes.io/")},
        annotations={name: value for name, value in annotations.items() if not name.startswith((*_BY_CONTROLLERS, *_NODE_NOISE))},
        revision=int(annotations.get(_REVISION, 0)),
        touched=_touched(item),
        well=_well(kind, item, pods),
    )


def _touched(item: Tree) -> bool:
    return any(field.get("manager") == _MANAGER for field in item["metadata"].get("managedFields", ()))


def _well(kind: str, item: Tree, pods: Iterable[Tree]) -> bool | None:
    """Whether a node is ready, a Job complete, or a workload has converged and each of its pods that stays runs and is ready.

    An autoscaler that says so is well where it does not want more than its maximum.
    """
    spec = item.get("spec", {})
    if kind == "Autoscaler":
        said = (item["metadata"].get("annotations") or {}).get("autoscaling.alpha.kubernetes.io/conditions", "")
        return "TooManyReplicas" not in said if "ScalingLimited" in said else None
    if (condition := {str(Kind.NODE): "Ready", str(Kind.JOB): "Complete"}.get(kind)) is not None:
        return any(one["type"] == condition and one["status"] == "True" for one in item.get("status", {}).get("conditions", ()))
    if "selector" not in spec or "template" not in spec:
        return None
    labels = spec["selector"]["matchLabels"].items()
    live = [pod for pod in pods if labels <= (pod["metadata"].get("labels") or {}).items() and not pod["metadata"].get("deletionTimestamp")]
    return settled(item, live)


def is_well(facts: Facts, target: Target) -> bool | None:
    """Whether a target is well, a Job also by a newer one of its name; None where that cannot be said.

    What an autoscaler of its name holds is not well while that wants more than it may have.
    """
    scaler = facts.things.get(f"Autoscaler {target.name}")
    if scaler is not None and scaler.well is False:
        return False
    name = f"{target.kind} {target.name}"
    again = f"{name}-" if target.kind is Kind.JOB else "\0"
    known = [thing.well for other, thing in facts.things.items() if (other == name or other.startswith(again)) and thing.well is not None]
    return any(known) if known else None


def wrongs(before: Facts, after: Facts, expected: Expected = NOTHING, *, done: bool = True) -> list[str]:
    """What was done to the world that was not expected, or not as expected; empty when nothing was.

    Without `done`, what is expected may be missing.
    """
    found = []
    writes = {write.about: write for write in expected.writes}
    for name, old in before.things.items():
        new = after.things.get(name)
        if new is None:
            found.append(f"{name} was deleted")
        elif name in writes and (done or _untouched(name, old, new)):
            found += _as_expected(name, old, new, writes[name])
        else:
            found += _untouched(name, old, new)
    made = [name for name in after.things if name not in before.things]
    found += [f"{name} was made" for name in made if not name.startswith(expected.made or ("\0",))]
    found += [f"{kind} were made where one was expected: {made}" for kind in expected.made if sum(n.startswith(kind) for n in made) > 1]
    found += [f"{name}, which a controller keeps, was written to" for name in after.touched if name not in before.touched]
    rolled = {name.partition(" ")[2] for name, write in writes.items() if not (write.by_controller or name.startswith("Autoscaler "))}
    return found + _pods(before, after, expected, rolled, done=done)


def _untouched(name: str, old: Thing, new: Thing) -> list[str]:
    fields = [
        field for field in ("uid", "generation", "spec", "labels", "annotations", "revision") if getattr(old, field) != getattr(new, field)
    ]
    if new.touched and not old.touched:
        fields.append("field manager")
    return [f"{name} was changed though nothing should be: {', '.join(fields)}"] if fields else []


def _as_expected(name: str, old: Thing, new: Thing, write: Write) -> list[str]:
    found = []
    if not write.holds(new.spec):
        found.append(f"{name} is not what the expected write makes of it")
    if new.uid != old.uid or old.labels != new.labels:
        found.append(f"{name} was made anew or got other labels")
    for what, least, most in (("generation", old.generation, write.generations), ("revision", old.revision, write.revisions)):
        if getattr(new, what) - least > most:
            found.append(f"{name} went from {what} {least} to {getattr(new, what)}: a second side effect")
    if write.by_controller and new.touched and not old.touched:
        found.append(f"{name} was changed by Mendstream, and not by the controller that keeps it")
    if new.spec != old.spec and not (new.touched or write.by_controller):
        found.append(f"{name} was changed by somebody else than Mendstream")
    return found


def _pods(before: Facts, after: Facts, expected: Expected, rolled: set[str], *, done: bool) -> list[str]:
    """Pods that are gone, other than those of a workload whose template was written."""
    gone = {uid for uid in before.pods if uid not in after.pods or (uid in after.going and uid not in before.going)}
    found = [f"a pod of {before.pods[uid] or 'nobody'} was deleted" for uid in gone - expected.evicted if before.pods[uid] not in rolled]
    staying = expected.evicted - gone if done else ()
    return found + [f"a pod that was to be evicted is still there ({uid})" for uid in staying]
