"""The two clusters that the Kubernetes tests run against: the sandbox, always, and a real control plane, where there is one.

`MEND_TEST_KUBECONFIG` names the kubeconfig of an administrator; a `limited.kubeconfig` beside it belongs to a user who may do
nothing but what a test's Role gives. Without it, the tests marked `cluster` are skipped, and say so.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio

from adapters.kubernetes import KubernetesWorld, connect
from adapters.kubernetes.resources import Resource
from ops.sandbox import Kubectl, Sandbox
from schemas.target import Target

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
_RULES: dict[tuple[str, str], list[str]] = {
    ("get", ""): ["pods", "pods/log", "services", "events"],
    ("list", ""): ["pods", "services", "events"],
    ("get", "apps"): ["deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"],
    ("list", "apps"): ["deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"],
    ("list", "policy"): ["poddisruptionbudgets"],
    ("list", "autoscaling"): ["horizontalpodautoscalers"],
    ("get", "autoscaling"): ["horizontalpodautoscalers"],
    ("patch", "autoscaling"): ["horizontalpodautoscalers"],
    ("patch", "apps"): ["deployments", "statefulsets", "daemonsets"],
    ("delete", ""): ["pods"],
}
_numbers = itertools.count(1)


def counted(pods: int, healthy: int | None = None) -> Callable[[dict[str, Any]], bool]:
    """Whether a disruption budget as it is now was looked at by its controller, with so many pods, and so many healthy ones.

    The API server itself writes all counts as 0 when the budget is made.
    """

    def holds(budget: dict[str, Any]) -> bool:
        status = budget.get("status") or {}
        seen = status.get("observedGeneration") == budget["metadata"]["generation"] and status.get("expectedPods") == pods
        return seen and healthy in (None, status.get("currentHealthy"))

    return holds


class Place:
    """One cluster with a namespace of the test's own. `speed` is how much faster than life its containers age."""

    def __init__(self, *, name: str, world: KubernetesWorld, kubectl: Kubectl, namespace: str, server: dict[str, Any]) -> None:
        self.name = name
        self.world = world
        self.kubectl = kubectl
        self.namespace = namespace
        self.server = server
        self.sandbox: Sandbox | None = None
        self._limited: list[KubernetesWorld] = []

    async def limited(self, *missing: tuple[str, str, str]) -> KubernetesWorld:
        """A world whose identity may do all that healing needs in the namespace, but for these (verb, resource, group)."""
        if self.sandbox is not None:
            for verb, resource, group in missing:
                self.sandbox.denied.add(f"{verb} {resource}.{group}" if group else f"{verb} {resource}")
            world = await connect(**self.server)
        else:
            rules = [
                {"verbs": [verb], "apiGroups": [group], "resources": [each for each in names if (verb, each, group) not in missing]}
                for (verb, group), names in _RULES.items()
            ]
            meta = {"name": "mend"}
            role = {"kind": "Role", "apiGroup": ROLES.group, "name": "mend"}
            subjects = [{"kind": "User", "apiGroup": ROLES.group, "name": "limited"}]
            await self.kubectl.create(ROLES, self.namespace, {"metadata": meta, "rules": [rule for rule in rules if rule["resources"]]})
            await self.kubectl.create(BINDINGS, self.namespace, {"metadata": meta, "roleRef": role, "subjects": subjects})
            world = await connect(kubeconfig=str(Path(self.server["kubeconfig"]).parent / "limited.kubeconfig"))
        self._limited.append(world)
        return world

    async def close(self) -> None:
        for world in [self.world, *self._limited]:
            await world.close()
        if self.sandbox is not None:
            self.sandbox.denied.clear()
        await self.kubectl.end_namespace(self.namespace)
        await self.kubectl.close()


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """The kubeconfig of the real control plane; skips, loudly, without one."""
    path = os.environ.get("MEND_TEST_KUBECONFIG", "")
    if not path:
        pytest.skip("MEND_TEST_KUBECONFIG is not set: start ../shared/kube/cluster and name its kubeconfig to run this test")
    return path


async def _place(server: dict[str, Any], name: str) -> Place:
    world, kubectl = await connect(**server), await Kubectl.at(**server)
    namespace = f"t{next(_numbers)}-{secrets.token_hex(3)}"
    await kubectl.namespace(namespace)
    return Place(name=name, world=world, kubectl=kubectl, namespace=namespace, server=server)


@pytest_asyncio.fixture(params=["sandbox", pytest.param("control-plane", marks=pytest.mark.cluster)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Each of the two clusters in turn, with a fresh namespace."""
    if request.param == "sandbox":
        async with Sandbox(seed=7) as sandbox:
            made = await _place({"server": sandbox.url}, "sandbox")
            made.sandbox = sandbox
            yield made
            await made.close()
        return
    made = await _place({"kubeconfig": request.getfixturevalue("kubeconfig")}, "control-plane")
    yield made
    await made.close()


@pytest_asyncio.fixture
async def real(kubeconfig: str) -> AsyncIterator[Place]:
    """The real control plane with a fresh namespace, for tests that are marked `cluster` themselves."""
    made = await _place({"kubeconfig": kubeconfig}, "control-plane")
    yield made
    await made.close()


@pytest.fixture
def namespace(real: Place) -> str:
    """A fresh namespace of the real control plane, deleted at the end."""
    return real.namespace


class Deploy(Protocol):
    """Deploys into the test's namespace of the real control plane: `await deploy("api", "sim/web:ok", replicas=2)`."""

    def __call__(self, name: str, image: str, **fields: Any) -> Awaitable[Target]: ...


@pytest.fixture
def deploy(real: Place) -> Deploy:
    """See Deploy; the fields are those of `Kubectl.deploy`."""

    async def make(name: str, image: str, **fields: Any) -> Target:
        return await real.kubectl.deploy(real.namespace, name, image, **fields)

    return make


@pytest.fixture
def kubectl(real: Place) -> Kubectl:
    """What a person would do to the real control plane."""
    return real.kubectl
