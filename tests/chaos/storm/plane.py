"""The part of a storm that blows over a real control plane: Deployments that stop being ready a while after their start.

Each restart of one is a new generation of it, which the API server counts: nobody else changes them.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from adapters.kubernetes.resources import DEPLOYMENTS
from ops.sandbox import Kubectl
from tests.chaos.storm.traffic import Telling, alert_of

CLUSTER = "kube"
_IMAGE = "sim/web:wedge-10s"
_WEDGED = 25.0
"""Seconds after which they are surely not ready any more."""


class Plane:
    """Some Deployments in a namespace of the storm's own."""

    def __init__(self, kubeconfig: str, kubectl: Kubectl, namespace: str, names: tuple[str, ...]) -> None:
        self.kubeconfig = kubeconfig
        self.names = names
        self._kubectl = kubectl
        self._namespace = namespace

    @classmethod
    @asynccontextmanager
    async def made(cls, count: int) -> AsyncIterator[Plane | None]:
        """Where MEND_TEST_KUBECONFIG names a control plane; None elsewhere. All of it is gone after the block."""
        kubeconfig = os.environ.get("MEND_TEST_KUBECONFIG", "")
        if not kubeconfig:
            yield None
            return
        kubectl, namespace = await Kubectl.at(kubeconfig=kubeconfig), f"storm-{secrets.token_hex(3)}"
        await kubectl.namespace(namespace)
        try:
            names = tuple(f"web-{number}" for number in range(count))
            for name in names:
                await kubectl.deploy(namespace, name, _IMAGE, replicas=1)
            yield cls(kubeconfig, kubectl, namespace, names)
        finally:
            await kubectl.end_namespace(namespace)
            await kubectl.close()

    def tellings(self, chance: random.Random, seconds: float) -> Iterator[Telling]:
        """One alert about each of them, once it is broken; that of the first one lasts."""
        for number, name in enumerate(self.names):
            labels = {
                "alertname": "KubePodNotReady",
                "severity": "info",
                "cluster": CLUSTER,
                "namespace": self._namespace,
                "deployment": name,
            }
            lasting = number == 0
            at = chance.uniform(min(_WEDGED, seconds / 2), seconds * 0.6 if lasting else seconds)
            yield from (telling for telling in alert_of(chance, labels, at, lasting=lasting) if telling.at <= seconds)

    async def effects(self) -> dict[str, int]:
        """How often each was restarted."""
        found = {}
        for name in self.names:
            deployment = await self._kubectl.get(DEPLOYMENTS, self._namespace, name)
            found[name] = deployment["metadata"]["generation"] - 1
        return found
