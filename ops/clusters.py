"""Which clusters and host groups there are to heal, and how to reach them. Nothing here imports a driver before a world is opened."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ops.clock import now
from ops.errors import NoCluster, SettingsWrong
from ops.settings import ClusterSettings, Settings
from ops.settings.environment import variable_of

if TYPE_CHECKING:
    from adapters.ports import World
    from adapters.worlds import Worlds

_log = logging.getLogger("mend.clusters")
UNNAMED = "default"
"""The name of the one cluster that is not named in the settings."""

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def cluster_names(settings: Settings, *, sandbox: bool = False) -> tuple[str, ...]:
    """The names of the Kubernetes clusters that targets may be in."""
    if sandbox:
        return (default_cluster(settings) or UNNAMED,)
    if settings.clusters:
        return tuple(settings.clusters)
    return (settings.default_cluster or UNNAMED,) if _way_to_unnamed() is not None else ()


def default_cluster(settings: Settings) -> str:
    """The cluster of an alert that names none; empty where there are several and the settings choose none."""
    if settings.default_cluster:
        return settings.default_cluster
    if not settings.clusters:
        return UNNAMED
    return next(iter(settings.clusters)) if len(settings.clusters) == 1 else ""


def _way_to_unnamed() -> ClusterSettings | None:
    """How to reach the cluster that is not in the settings: KUBECONFIG, ~/.kube/config, or the pod's service account."""
    named = os.environ.get("KUBECONFIG", "")
    if named:
        return ClusterSettings(kubeconfig=named)
    usual = Path("~/.kube/config").expanduser()
    if usual.exists():
        return ClusterSettings(kubeconfig=str(usual))
    if os.environ.get("KUBERNETES_SERVICE_HOST") and _SERVICE_ACCOUNT.exists():
        return ClusterSettings()
    return None


def ways_to_clusters(settings: Settings) -> dict[str, ClusterSettings]:
    """How to reach each cluster: one without kubeconfig and server is the one of this machine. Raises SettingsWrong."""
    if not settings.clusters:
        way = _way_to_unnamed()
        return {settings.default_cluster or UNNAMED: way} if way else {}
    unnamed = _way_to_unnamed()
    ways = {}
    for name, cluster in settings.clusters.items():
        if cluster.kubeconfig or cluster.server:
            ways[name] = cluster
        elif unnamed is not None:
            ways[name] = msgspec.structs.replace(unnamed, context=cluster.context)
        else:
            raise SettingsWrong([f"clusters.{name} says neither kubeconfig nor server, and this machine has no KUBECONFIG"])
    return ways


async def open_worlds(settings: Settings, *, sandbox: str = "", clock: Callable[[], datetime] = now) -> Worlds:
    """The worlds of the settings, or the sandbox at this URL and nothing else. No request is made yet.

    A cluster whose credentials are not to be had now is asked for them again whenever something is wanted of it.
    Raises NoCluster, SettingsWrong, and adapters.errors.WrongSettings for a kubeconfig that cannot be used.
    """
    from adapters.worlds import Worlds

    if sandbox:
        (name,) = cluster_names(settings, sandbox=True)
        world = await _cluster("sandbox", ClusterSettings(server=sandbox), clock)
        return Worlds(clusters={name: world}, groups={}, cluster=name)
    ways = require_something_to_heal(settings)
    clusters = await _clusters(ways, clock)
    return Worlds(clusters=clusters, groups=_host_groups(settings, clock), cluster=default_cluster(settings) if clusters else "")


def require_something_to_heal(settings: Settings) -> dict[str, ClusterSettings]:
    """How to reach each cluster, checked as far as that goes without reaching it. Raises NoCluster and SettingsWrong."""
    ways = ways_to_clusters(settings)
    if not ways and not settings.hosts:
        raise NoCluster(
            "there is nothing to heal: set KUBECONFIG, or name a cluster under [clusters.NAME] or a host under [hosts.NAME] in mend.toml;"
            " `mend up --sandbox` heals a small simulated cluster"
        )
    chosen = default_cluster(settings)
    if ways and chosen and chosen not in ways:
        raise SettingsWrong([f"default_cluster is {chosen!r}, and [clusters] has only {', '.join(sorted(ways))}"])
    return ways


def require_files_of_hosts(settings: Settings) -> None:
    """Lets only hosts pass whose key and known_hosts can be read here; no host is asked. Raises SettingsWrong."""
    wrong = []
    for host, options in settings.hosts.items():
        for field, reason in options.unusable_files():
            path = ("hosts", host, field)
            wrong.append(f"{'.'.join(path)} ({variable_of(path)}): {reason}")
    if wrong:
        raise SettingsWrong(wrong)


async def _clusters(ways: Mapping[str, ClusterSettings], clock: Callable[[], datetime]) -> dict[str, World]:
    """All at once, for each may take seconds. When one is wrong, those that were opened are closed, and its error is raised."""
    opened = await asyncio.gather(*(_cluster(name, way, clock) for name, way in ways.items()), return_exceptions=True)
    wrong = [one for one in opened if isinstance(one, BaseException)]
    worlds = [one for one in opened if not isinstance(one, BaseException)]
    if wrong:
        for world in worlds:
            await world.close()
        raise wrong[0]
    return dict(zip(ways, worlds, strict=True))


async def _cluster(name: str, way: ClusterSettings, clock: Callable[[], datetime]) -> World:
    from adapters.errors import Transient
    from adapters.kubernetes import connect
    from adapters.late import LateWorld

    kubeconfig = os.path.expanduser(way.kubeconfig)  # noqa: PTH111, ASYNC240 - may be a list of paths; nothing is read

    async def opened() -> World:
        return await connect(kubeconfig=kubeconfig, context=way.context, server=way.server, clock=clock)

    try:
        return await opened()
    except Transient as error:
        _log.warning("cluster %s is tried again when it is asked something: %s", name, error)
        return LateWorld(opened)


def _host_groups(settings: Settings, clock: Callable[[], datetime]) -> Mapping[str, World]:
    if not settings.hosts:
        return {}
    from adapters.ssh.world import host_groups

    return host_groups(settings.hosts, clock=clock)
