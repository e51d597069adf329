"""Kubernetes as a World: looking, checking, doing once and finding out whether it was done, through kubernetes_asyncio.

`connect` makes one; nothing heavy is imported before it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from adapters.kubernetes.world import KubernetesWorld


def _now() -> datetime:
    return datetime.now(UTC)


async def connect(*, kubeconfig: str = "", context: str = "", server: str = "", clock: Callable[[], datetime] = _now) -> KubernetesWorld:
    """A world for one cluster: by `server` (a plain URL, such as the sandbox's), else by `kubeconfig`, else as a pod in it.

    No request is made: a cluster that is away shows when it is asked. Raises adapters.errors.WrongSettings, whose message
    says what is wrong and what to do, and adapters.errors.Transient when the credentials are not to be had now.
    """
    from adapters.kubernetes import ways

    if server:
        return KubernetesWorld(await ways.by_url(server), clock=clock)
    if kubeconfig:
        return KubernetesWorld(await ways.by_kubeconfig(kubeconfig, context), clock=clock)
    return KubernetesWorld(await ways.in_cluster(), clock=clock)


__all__ = ["KubernetesWorld", "connect"]
