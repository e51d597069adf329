"""Whether an operation left its mark on an object: on the object itself, or where the object's past is kept.

`kubectl rollout undo` gives a Deployment the annotations back that it had in the old revision, so the marks of later operations
vanish from the Deployment. The Deployment's controller had copied them to the ReplicaSet of that time, which keeps them. So the
ReplicaSets are asked too, and a Deployment with an older token than one of them has had its annotations restored.

What is left: an undo within the moment before the controller has copied a mark, and annotations that a person removed everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

from adapters.kubernetes.client import Client
from adapters.kubernetes.errors import Forbidden
from adapters.kubernetes.marks import carries, token_of
from adapters.kubernetes.objects import Workload
from adapters.kubernetes.resources import REPLICASETS


class Trace(NamedTuple):
    """`done`: the operation left its mark, None where that cannot be told. `token` is the highest fencing token seen."""

    done: bool | None
    token: int


async def trace(client: Client, deployment: Workload, operation: str, token: int = 0) -> Trace:
    """What a Deployment and its ReplicaSets say of an operation whose lowest token is `token`, 0 where that is not known.

    Raises what `Client.read` raises for a read, but Forbidden.
    """
    own = deployment.metadata.annotations or {}
    newest, done = token_of(own), carries(own, operation, token)
    if done:
        return Trace(True, newest)
    try:
        past = [item.metadata.annotations or {} for item in await _sets(client, deployment)]
    except Forbidden:
        return Trace(None, newest)
    said = [carries(annotations, operation, token) for annotations in past]
    highest = max((token_of(annotations) for annotations in past), default=0)
    if any(said):
        return Trace(True, max(newest, highest))
    restored = highest > newest and highest >= token  # what the Deployment forgot is older than the operation otherwise
    doubtful = done is None or None in said or restored
    return Trace(None if doubtful else False, max(newest, highest))


async def _sets(client: Client, deployment: Workload) -> list[Workload]:
    meta, selector = deployment.metadata, deployment.spec.selector
    query = {"labelSelector": text} if selector and (text := selector.query()) else {}
    listed = await client.read_all(REPLICASETS.path(meta.namespace), Workload, query=query)
    return [item for item in listed if (owner := item.metadata.controller) is not None and owner.uid == meta.uid]
