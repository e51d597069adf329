"""Whose pods they are, where the ReplicaSets between a Deployment and its pods may not be listed."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import Forbidden
from adapters.kubernetes.look import Look
from adapters.kubernetes.objects import Pod, Workload
from adapters.kubernetes.sensors import observe
from schemas.action import RestartWorkload
from schemas.words import Health
from stages.verify.evidence import finding_of
from tests.unit.snapshots import NOW, TARGET

REFUSED = "the identity in use may not list replicasets in shop"


class Allows:
    """An API server with one Deployment and these pods, on which ReplicaSets may not be listed, nor anything else."""

    page = 500

    def __init__(self, *pods: Pod) -> None:
        self._pods = list(pods)
        self.discovered: dict[str, str] = {}

    async def read(self, path: str, kind: Any, **_: Any) -> Any:
        if path.endswith(f"/deployments/{TARGET.name}"):
            selector = {"matchLabels": {"app": "api"}}
            template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "web", "image": "api:1"}]}}
            body = {"metadata": {"name": TARGET.name, "uid": "uid-api"}, "spec": {"selector": selector, "template": template}}
            return msgspec.convert(body, Workload)
        raise Forbidden(f"the identity in use may not get {path}")

    async def read_all(self, path: str, kind: Any, **_: Any) -> list[Any]:
        if path.endswith("/pods"):
            return self._pods
        raise Forbidden(REFUSED if path.endswith("/replicasets") else f"the identity in use may not list {path}")


def pod_of(owner: str, hashed: str | None, *, kind: str = "ReplicaSet") -> Pod:
    labels = {"app": "api"} | ({"pod-template-hash": hashed} if hashed else {})
    references = [{"kind": kind, "name": owner, "uid": f"uid-{owner}", "controller": True}]
    spec = {"containers": [{"name": "web", "image": "api:1"}]}
    metadata = {"name": f"{owner}-x", "uid": owner, "labels": labels, "ownerReferences": references}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Pod)


@pytest.mark.parametrize(
    ("pod", "own"),
    [
        (pod_of("api-6c9d", "6c9d"), True),
        (pod_of("api-canary-6c9d", "6c9d"), False),
        (pod_of("api-6c9d", "6c9d", kind="StatefulSet"), False),
    ],
)
async def test_a_pod_is_known_by_the_name_that_a_deployment_gives_its_sets(pod: Pod, own: bool) -> None:
    look = Look(cast("Client", Allows(pod)), TARGET)
    assert bool(await look.pods()) is own
    await look.end()


@pytest.mark.parametrize("stranger", [pod_of("adopted", None), pod_of("api-adopted", None), pod_of("api-adopted", "6c9d")])
async def test_a_pod_whose_owner_cannot_be_told_makes_the_pods_not_seen(stranger: Pod) -> None:
    """It may be one of the target's: neither is it counted, nor are the others taken for all that there are."""
    found = await observe(cast("Client", Allows(pod_of("api-6c9d", "6c9d"), stranger)), TARGET, at=NOW)
    assert found.pods == ()
    error = next(sensor.error for sensor in found.sensors if sensor.name == "pods")
    assert REFUSED in error
    assert stranger.metadata.name in error
    assert finding_of(found, RestartWorkload(target=TARGET)).health is Health.UNKNOWN
