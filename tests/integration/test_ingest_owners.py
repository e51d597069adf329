"""Pods join the incident of their owner, as far as the cluster says who that is."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from adapters.errors import TargetMissing, Transient
from adapters.worlds import Worlds
from schemas.target import Kind, Target
from sql.database import Database
from stages.ingest.options import IngestOptions
from stages.ingest.stage import Ingest
from tests.integration.ingest_scene import API, API_TARGET, Scene, opened, updated


class Cluster:
    """A world that knows one pod, and one autoscaler."""

    def __init__(self) -> None:
        self.asked: list[Target] = []
        self.silent = False

    async def owner(self, target: Target) -> Target:
        self.asked.append(target)
        if self.silent:
            await asyncio.Event().wait()
        if target.name == "lost":
            raise Transient("the connection was reset")
        if target.name not in ("api-canary-x", "load"):
            raise TargetMissing("no such pod")
        return API_TARGET


POD = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "api-canary-x"}


async def test_a_pod_joins_the_incident_of_its_owner(database: Database) -> None:
    cluster = Cluster()
    scene = Scene(database, Ingest(database, cluster))
    incident = opened(await scene.fire("f1", labels=API)).incident
    assert updated(await scene.fire("f2", labels=POD)).incident == incident
    await scene.fire("f3", labels=POD)
    await scene.end("f2", labels=POD)
    assert len(cluster.asked) == 1


async def test_an_alert_about_an_autoscaler_joins_the_incident_of_what_it_holds(database: Database) -> None:
    cluster = Cluster()
    scene = Scene(database, Ingest(database, cluster))
    incident = opened(await scene.fire("f1", labels=API)).incident
    named = {"alertname": "KubeHpaMaxedOut", "namespace": "shop", "horizontalpodautoscaler": "load"}
    assert updated(await scene.fire("f2", labels=named)).incident == incident
    assert [target.kind for target in cluster.asked] == [Kind.AUTOSCALER]
    gone = opened(await scene.fire("f3", labels=named | {"horizontalpodautoscaler": "gone"}))
    assert gone.target.kind is Kind.AUTOSCALER


async def test_a_repeated_signal_asks_no_cluster(database: Database) -> None:
    cluster = Cluster()
    scene = Scene(database, Ingest(database, cluster, IngestOptions(owner_memory=0.0)))
    await scene.fire("f1", labels=POD)
    await scene.fire("f1", labels=POD)
    assert len(cluster.asked) == 1


@pytest.mark.parametrize("trouble", ["gone", "silent", "lost"])
async def test_without_an_answer_the_pods_name_has_to_do(database: Database, trouble: str) -> None:
    cluster = Cluster()
    cluster.silent = trouble == "silent"
    scene = Scene(database, Ingest(database, cluster, IngestOptions(owner_timeout=0.05)))
    pods = ["lost", "api-7d9f8b6c5d-x2x4z"] if trouble == "lost" else ["api-7d9f8b6c5d-x2x4z", "api-7d9f8b6c5d-bbbbb"]
    first = opened(await scene.fire("f1", labels=POD | {"pod": pods[0]}))
    await scene.fire("f2", labels=POD | {"pod": pods[1]})
    assert first.target.kind is (Kind.POD if trouble == "lost" else Kind.DEPLOYMENT)
    assert len(await scene.everything()) == (2 if trouble == "lost" else 1)
    assert len(cluster.asked) == (2 if trouble == "gone" else 1)


class Hosts:
    """A world of two hosts, of which one is known by an address."""

    def __init__(self) -> None:
        self.asked: list[Target] = []

    async def owner(self, target: Target) -> Target:
        self.asked.append(target)
        if target.name not in ("10.0.0.5", "web-1"):
            raise TargetMissing("no such host")
        return msgspec.structs.replace(target, name="web-1")


async def test_an_alert_that_knows_a_host_by_its_address_joins_the_hosts_incident(database: Database) -> None:
    hosts = Hosts()
    scene = Scene(database, Ingest(database, hosts))
    by_address = {"alertname": "HostOutOfDiskSpace", "instance": "10.0.0.5:9100", "job": "node"}
    first = opened(await scene.fire("f1", labels=by_address))
    assert first.target == Target(cluster="hosts", kind=Kind.HOST, name="web-1")
    assert updated(await scene.fire("f2", labels={"alertname": "HostDown", "host": "web-1"})).incident == first.incident
    await scene.fire("f3", labels=by_address)
    assert len(hosts.asked) == 2


@pytest.mark.parametrize("address", ["10.0.0.6:9100", "10.0.0.7"])
async def test_an_address_of_no_host_or_of_several_stays_what_it_is(database: Database, address: str) -> None:
    scene = Scene(database, Ingest(database, Hosts()))
    first = opened(await scene.fire("f1", labels={"alertname": "HostDown", "instance": address}))
    assert first.target == Target(cluster="hosts", kind=Kind.HOST, name=address.split(":", maxsplit=1)[0])


async def test_a_host_where_the_settings_have_none_stays_what_it_is(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    worlds = Worlds(clusters={}, groups={})
    scene = Scene(database, Ingest(database, worlds))
    for fingerprint in ("f1", "f2"):
        await scene.fire(fingerprint, labels={"alertname": "HostDown", "instance": "10.0.0.5:9100"})
    (incident,) = await scene.everything()
    assert incident.target.name == "10.0.0.5"
    assert caplog.text.count("no host group") == 1
