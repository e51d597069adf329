"""Metrics for autoscalers, as heapster serves them: the load of a workload, shared by those of its pods that are ready.

The control plane asks the service `heapster` in `kube-system` for the use of pods. What answers here is a small server on this
machine, behind a pod of that service. The load stands in an annotation of the workload, the pods are asked of the API server, and
all that becomes of it is the autoscaler's own doing. Several runs may serve one control plane at the same time: each answers for
every namespace, and takes only itself away again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from adapters.kubernetes.errors import Conflict
from adapters.kubernetes.resources import DEPLOYMENTS, PODS, SERVICES, Resource
from ops.sandbox.kubectl import Kubectl

Tree = dict[str, Any]
LOAD = "sim/load"
"""The annotation of a Deployment: how much cpu is asked of all of its pods together, in thousandths of a core."""

_ENDPOINTS = Resource("", "v1", "endpoints")
_SYSTEM, _NAME = "kube-system", "heapster"
_LABELS = {"app": _NAME}
_PATH = "/apis/metrics/v1alpha1/namespaces/{namespace}/pods"


def address() -> str:
    """An address of this machine that a control plane may be sent to, as loopback may not; empty where there is none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("198.51.100.1", 9))  # sends nothing: it only tells which address would be used
        own = ipaddress.ip_address(probe.getsockname()[0])
        if not (own.is_loopback or own.is_link_local or own.is_unspecified):
            return str(own)
    return ""


@contextlib.asynccontextmanager
async def serving(kubeconfig: str) -> AsyncIterator[None]:
    """Serves metrics to the control plane's autoscalers. Raises OSError where this machine has no address for it."""
    host = address()
    if not host:
        raise OSError("this machine has loopback addresses only, and no control plane asks there for metrics: give it another one")
    app, kubectl = web.Application(), await Kubectl.at(kubeconfig=kubeconfig)

    async def answer(request: web.Request) -> web.Response:
        return await _answer(kubectl, request.match_info["namespace"], request.query.get("labelSelector", ""))

    app.router.add_get(_PATH, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        port = int(runner.addresses[0][1])
        try:
            await _behind_the_service(kubectl, host, port)
            yield
        finally:
            await kubectl.delete(PODS, _SYSTEM, f"{_NAME}-{port}")
    finally:
        await runner.cleanup()
        await kubectl.close()


async def _behind_the_service(kubectl: Kubectl, host: str, port: int) -> None:
    """Makes the server one of the pods of the service. Those whose server is gone go as well: a run that was killed leaves one."""
    with contextlib.suppress(Conflict):
        ports = [{"port": 80, "targetPort": "http"}]
        await kubectl.create(SERVICES, _SYSTEM, {"metadata": {"name": _NAME}, "spec": {"selector": _LABELS, "ports": ports}})
    for pod in await kubectl.items(PODS, _SYSTEM, f"app={_NAME}"):
        if not await _listens(host, pod["spec"]["containers"][0]["ports"][0]["containerPort"]):
            await kubectl.delete(PODS, _SYSTEM, pod["metadata"]["name"])
    name = f"{_NAME}-{port}"
    container = {"name": _NAME, "image": f"sim/{_NAME}:ok", "ports": [{"name": "http", "containerPort": port}]}
    await kubectl.create(PODS, _SYSTEM, {"metadata": {"name": name, "labels": _LABELS}, "spec": {"containers": [container]}})
    await kubectl.wait(_is_ready, PODS, _SYSTEM, name)
    # The simulated kubelet gives every pod the same address, and keeps one that is there.
    await kubectl.patch(PODS, _SYSTEM, name, {"status": {"podIP": host, "podIPs": [{"ip": host}]}}, part="status")
    await kubectl.wait(lambda item: _leads_to(item, host, port), _ENDPOINTS, _SYSTEM, _NAME)


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _answer(kubectl: Kubectl, namespace: str, labels: str) -> web.Response:
    """What each ready pod uses: an equal share of the load. None are told of, where no load is given to the workload."""
    workloads, pods = await asyncio.gather(kubectl.items(DEPLOYMENTS, namespace, labels), kubectl.items(PODS, namespace, labels))
    loads = [int(load) for one in workloads if (load := (one["metadata"].get("annotations") or {}).get(LOAD))]
    ready = [pod for pod in pods if _is_ready(pod) and not pod["metadata"].get("deletionTimestamp")] if loads else []
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    items = [_use(pod, sum(loads) // len(ready), at) for pod in ready]
    return web.json_response({"kind": "PodMetricsList", "apiVersion": "metrics/v1alpha1", "metadata": {}, "items": items})


def _use(pod: Tree, share: int, at: str) -> Tree:
    containers = [{"name": pod["spec"]["containers"][0]["name"], "usage": {"cpu": f"{share}m"}}]
    return {"metadata": {"name": pod["metadata"]["name"]}, "timestamp": at, "window": "1s", "containers": containers}


def _is_ready(pod: Tree) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def _leads_to(endpoints: Tree, host: str, port: int) -> bool:
    return any(
        host in [one["ip"] for one in subset.get("addresses", ())] and port in [one["port"] for one in subset["ports"]]
        for subset in endpoints.get("subsets") or ()
    )
