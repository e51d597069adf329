"""Whose is it: the live spelling of a target, and the workload behind a pod, found by controller references and never by guessing."""

from __future__ import annotations

import asyncio
import difflib
import re
from typing import NoReturn

from adapters.errors import AdapterError, TargetMissing
from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import NotFound
from adapters.kubernetes.objects import Anything, Autoscaler, Metadata, OwnerReference
from adapters.kubernetes.resources import BY_KIND, REPLICASETS, Resource, path_of
from schemas.target import Kind, Target

_WORKLOADS = (Kind.DEPLOYMENT, Kind.STATEFULSET, Kind.DAEMONSET)
_NAMED = (*_WORKLOADS, Kind.JOB, Kind.POD)
_POD_OF_SET = re.compile(r"(?P<owner>.+)-[a-z0-9]{5}")
_ORDINAL = re.compile(r"(?P<owner>.+)-\d+")
_NEAREST = 3


async def find_owner(client: Client, target: Target) -> Target:
    """The workload that owns a pod or is held by an autoscaler, and any other target with its name as the cluster spells it.

    A pod that is gone is still traced where its name has its controller's name in it and that controller exists.
    Raises TargetMissing with the nearest names, Forbidden or Transient.
    """
    spelled = live_target(target)
    if spelled.kind is Kind.UNKNOWN:
        return await _by_name(client, spelled)
    try:
        if spelled.kind is Kind.AUTOSCALER:
            return await _held_by(client, spelled)
        found = await client.read(path_of(spelled), Anything)
    except NotFound:
        gone = await _owner_of_gone_pod(client, spelled) if spelled.kind is Kind.POD else None
        return gone or await _missing(client, spelled)
    if spelled.kind is Kind.POD:
        return await _controller(client, spelled, found.metadata)
    return spelled


def live_target(target: Target) -> Target:
    """The target as Kubernetes can spell it: names there are lower case and without blanks, in labels of alerts not always."""
    return Target(cluster=target.cluster, kind=target.kind, name=target.name.strip().lower(), namespace=target.namespace.strip().lower())


def _named(target: Target, kind: Kind, name: str) -> Target:
    return Target(cluster=target.cluster, kind=kind, name=name, namespace=target.namespace)


async def _by_name(client: Client, target: Target) -> Target:
    """The Deployment, StatefulSet, DaemonSet, Job or pod of that name, in this order; a pod leads to its owner."""
    kinds = _NAMED if target.namespace else (Kind.NODE,)
    candidates = [_named(target, kind, target.name) for kind in kinds]
    found = await asyncio.gather(*(_metadata(client, candidate) for candidate in candidates), return_exceptions=True)
    for candidate, metadata in zip(candidates, found, strict=True):
        if isinstance(metadata, Metadata):
            return await _controller(client, candidate, metadata) if candidate.kind is Kind.POD else candidate
    for failure in found:  # a kind that could not be asked about may be the one: its absence is not known
        if isinstance(failure, BaseException):
            raise failure
    return await _owner_of_gone_pod(client, target) or await _missing(client, target)


async def _metadata(client: Client, target: Target) -> Metadata | None:
    try:
        return (await client.read(path_of(target), Anything)).metadata
    except NotFound:
        return None


async def _controller(client: Client, pod: Target, metadata: Metadata) -> Target:
    """Up the chain of controllers: pod → ReplicaSet → Deployment, pod → StatefulSet, DaemonSet or Job; a bare pod is its own."""
    owner = metadata.controller
    if owner is None:
        return pod
    if owner.kind == "ReplicaSet":
        owner = await _owner_of_set(client, pod.namespace, owner.name)
    known = {str(kind): kind for kind in (*_WORKLOADS, Kind.JOB)}
    return _named(pod, known[owner.kind], owner.name) if owner and owner.kind in known else pod


async def _held_by(client: Client, autoscaler: Target) -> Target:
    """The Deployment or StatefulSet that the autoscaler scales; of anything else, it is its own."""
    held = (await client.read(path_of(autoscaler), Autoscaler)).spec.scale_target_ref
    known = {str(kind): kind for kind in (Kind.DEPLOYMENT, Kind.STATEFULSET)}
    return _named(autoscaler, known[held.kind], held.name) if held.kind in known else autoscaler


async def _owner_of_set(client: Client, namespace: str, name: str) -> OwnerReference | None:
    try:
        found = await client.read(REPLICASETS.path(namespace, name), Anything)
    except NotFound:
        return None
    return found.metadata.controller


async def _owner_of_gone_pod(client: Client, pod: Target) -> Target | None:
    """The owner of a pod that no longer exists, by the name that its controller gave it, if such a controller is there."""
    if not pod.namespace:
        return None
    if match := _POD_OF_SET.fullmatch(pod.name):
        owner = await _owner_of_set(client, pod.namespace, match["owner"])
        if owner is not None and owner.kind == Kind.DEPLOYMENT:
            return _named(pod, Kind.DEPLOYMENT, owner.name)
        daemon = _named(pod, Kind.DAEMONSET, match["owner"])
        if await _metadata(client, daemon) is not None:
            return daemon
    if match := _ORDINAL.fullmatch(pod.name):
        numbered = _named(pod, Kind.STATEFULSET, match["owner"])
        if await _metadata(client, numbered) is not None:
            return numbered
    return None


async def _missing(client: Client, target: Target) -> NoReturn:
    """Raises TargetMissing with the names that come nearest."""
    nearest = await nearest_names(client, target)
    hint = f"; the nearest names are {', '.join(nearest)}" if nearest else ""
    raise TargetMissing(f"{target} was not found{hint}", nearest)


async def nearest_names(client: Client, target: Target) -> tuple[str, ...]:
    """Up to three names of things like the target in its place, the nearest first; none where they may not be listed."""
    kinds = _WORKLOADS if target.kind.is_workload or target.kind is Kind.UNKNOWN else (target.kind,)
    lists = await asyncio.gather(*(_names(client, BY_KIND[kind], target.namespace) for kind in kinds if kind in BY_KIND))
    names = list(dict.fromkeys(name for names in lists for name in names))
    return tuple(difflib.get_close_matches(target.name, names, n=_NEAREST, cutoff=0.6))


async def _names(client: Client, resource: Resource, namespace: str) -> list[str]:
    try:
        listed = await client.read_all(resource.path(namespace if resource.namespaced else ""), Anything)
    except AdapterError:
        return []
    return [item.metadata.name for item in listed]
