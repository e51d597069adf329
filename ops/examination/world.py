"""Clusters and hosts: reachable with these credentials, and what the identity in use may do there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from adapters.errors import AdapterError
from ops.clusters import cluster_names, ways_to_clusters
from ops.errors import SettingsWrong
from ops.examination.finding import Finding, Level, failed, fine, note, warning
from ops.settings import ClusterSettings, Settings
from schemas.action import Investigate
from schemas.target import Kind, Target
from schemas.words import CheckResult

if TYPE_CHECKING:
    from adapters.kubernetes.client import Client
    from adapters.kubernetes.resources import Permission

_PATIENCE = 8.0  # seconds


async def of_clusters(settings: Settings, sandbox: str) -> AsyncIterator[Finding]:
    """Each cluster: its version, and every permission that an action could need."""
    if sandbox:
        yield fine("clusters", f"{', '.join(cluster_names(settings, sandbox=True))}: the sandbox of the running `mend up`")
        return
    try:
        ways = ways_to_clusters(settings)
    except SettingsWrong as error:
        yield failed("clusters", error, "set kubeconfig or server, or KUBECONFIG")
        return
    if not ways and not settings.hosts:
        told = "there is neither a cluster nor a host to heal"
        yield warning("clusters", told, "set KUBECONFIG, add [clusters.NAME] or [hosts.NAME], or try `mend up --sandbox`")
    for name, way in ways.items():
        async for finding in _of_cluster(f"cluster {name}", way):
            yield finding


async def _of_cluster(about: str, way: ClusterSettings) -> AsyncIterator[Finding]:
    from adapters.kubernetes import ways

    try:
        if way.server:
            client = await ways.by_url(way.server)
        else:
            client = await (ways.by_kubeconfig(way.kubeconfig, way.context) if way.kubeconfig else ways.in_cluster())
    except AdapterError as error:
        yield failed(about, error, "correct the kubeconfig, its context or the server")
        return
    try:
        version = await client.read("/version", dict, timeout=_PATIENCE)
        yield fine(about, f"{client.server}, version {version.get('gitVersion', 'unknown')}")
        for finding in await _of_permissions(about, client):
            yield finding
    except AdapterError as error:
        yield failed(about, error, "check that the API server runs, that this machine reaches it, and the credentials")
    finally:
        await client.close()


async def _of_permissions(about: str, client: Client) -> list[Finding]:
    """What the identity may not do in every namespace; it may still be allowed in some."""
    from ops.examination.permissions import READS, WRITES

    needed = (*READS, *(permission for permission, _ in WRITES))
    answers = await asyncio.gather(*(_may(client, permission) for permission in needed))
    missing = [str(permission) for permission, allowed in zip(needed, answers, strict=True) if not allowed]
    if not missing:
        return [fine(about, f"all {len(needed)} permissions are granted in every namespace")]
    told = f"not granted in every namespace: {', '.join(missing)}"
    return [warning(about, told, "grant them by a ClusterRole, or by a Role in the namespaces to heal; actions that lack one are refused")]


async def _may(client: Client, permission: Permission) -> bool:
    import msgspec

    from adapters.kubernetes.resources import ACCESS_REVIEWS

    attributes = {
        "verb": permission.verb,
        "group": permission.resource.group,
        "resource": permission.resource.plural,
        "subresource": permission.subresource,
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    answer = msgspec.json.decode(await client.request("POST", ACCESS_REVIEWS.path(), body=body, timeout=_PATIENCE))
    return bool(answer.get("status", {}).get("allowed"))


async def of_hosts(settings: Settings) -> AsyncIterator[Finding]:
    """Each host: its key, the login, and what it lets this account see."""
    if not settings.hosts:
        return
    from adapters.ssh.world import host_groups
    from ops.clock import now

    worlds = host_groups(settings.hosts, clock=now)
    try:
        for name, options in settings.hosts.items():
            target = Target(cluster=options.group, kind=Kind.HOST, name=name)
            about = f"host {name}"
            try:
                found = await worlds[options.group].preflight(Investigate(target=target))
            except AdapterError as error:
                yield failed(about, error, f"check hosts.{name}: address, user, private_key_file and known_hosts")
                continue
            for check in found.checks:
                level = {CheckResult.PASSED: Level.FINE, CheckResult.FAILED: Level.WRONG}.get(check.result, Level.NOTE)
                mend = "" if level is Level.FINE else check.missing or f"check hosts.{name}"
                yield Finding(about=about, level=level, said=check.detail or check.name, mend=mend)
    finally:
        for world in worlds.values():
            await world.close()


def nothing_to_examine(reason: str) -> Finding:
    """In place of stores that nobody has started."""
    return note("stores", reason, "start `mend up`, or set redis.url and postgres.url")
