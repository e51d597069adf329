"""Each target goes to the world of its own name: never to another one that seems likely."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from adapters.errors import AdapterError, TargetMissing, UnknownCluster
from adapters.ports import Applied, Preflight
from adapters.ssh.options import HostOptions
from adapters.ssh.world import HostsWorld, host_groups
from adapters.worlds import Worlds
from schemas.action import Action, Investigate
from schemas.evidence import Snapshot
from schemas.preflight import BlastRadius
from schemas.target import Kind, Target
from schemas.words import Tier

NOW = datetime(2024, 1, 1, tzinfo=UTC)
HOST = HostOptions(address="192.0.2.1", user="mend", private_key_file="/nowhere/key")


class Recorder:
    """A world that writes down what it was asked."""

    def __init__(self, name: str, *, fault: Exception | None = None) -> None:
        self.name = name
        self.asked: list[tuple[str, object]] = []
        self._fault = fault

    async def owner(self, target: Target) -> Target:
        return msgspec.structs.replace(target, name=self.name)

    async def observe(self, target: Target, *, parts: Sequence[str] = ()) -> Snapshot:
        return Snapshot(target=target, at=NOW, sensors=(), node=self.name)

    async def preflight(self, action: Action) -> Preflight:
        return Preflight(target=action.target, uid=self.name, checks=(), blast=BlastRadius(score=0, tier=Tier.AUTO))

    async def apply(self, action: Action, *, operation: str, token: int, uid: str) -> Applied:
        self.asked.append(("apply", (operation, token, uid)))
        return Applied(output=self.name)

    async def find(self, action: Action, *, operation: str, uid: str, token: int = 0) -> bool | None:
        self.asked.append(("find", (operation, token, uid)))
        return None

    async def close(self) -> None:
        self.asked.append(("close", None))
        if self._fault is not None:
            raise self._fault


def pod(cluster: str) -> Target:
    return Target(cluster=cluster, kind=Kind.POD, name="api-1", namespace="shop")


def host(cluster: str, name: str = "web-1") -> Target:
    return Target(cluster=cluster, kind=Kind.HOST, name=name)


async def test_clusters_and_host_groups_are_told_apart_by_the_kind_of_target() -> None:
    cluster, group = Recorder("cluster"), Recorder("group")
    worlds = Worlds(clusters={"prod": cluster}, groups={"prod": group})
    assert (await worlds.observe(pod("prod"))).node == "cluster"
    assert (await worlds.observe(host("prod"))).node == "group"
    assert (await worlds.owner(host("prod"))).name == "group"


async def test_every_question_reaches_the_world_as_it_was_asked() -> None:
    first, second = Recorder("first"), Recorder("second")
    worlds = Worlds(clusters={"first": first, "second": second}, groups={})
    action = Investigate(target=pod("second"))
    assert (await worlds.preflight(action)).uid == "second"
    assert (await worlds.apply(action, operation="o", token=3, uid="u")).output == "second"
    assert await worlds.find(action, operation="o", uid="u", token=2) is None
    assert second.asked == [("apply", ("o", 3, "u")), ("find", ("o", 2, "u"))]
    assert first.asked == []


async def test_an_unknown_name_is_never_guessed() -> None:
    worlds = Worlds(clusters={"prod-eu": Recorder("a")}, groups={"dmz": Recorder("b")})
    with pytest.raises(UnknownCluster, match=r"no cluster 'prod-e' is in the settings; nearest: prod-eu\. Add it under \[clusters\]"):
        await worlds.observe(pod("prod-e"))
    with pytest.raises(UnknownCluster, match=r"no host group 'prod-eu' is in the settings; there are dmz"):
        await worlds.observe(host("prod-eu"))


async def test_an_empty_name_means_the_default() -> None:
    worlds = Worlds(
        clusters={"a": Recorder("a"), "b": Recorder("b")}, groups={"x": Recorder("x"), "y": Recorder("y")}, cluster="b", group="x"
    )
    assert (await worlds.observe(pod(""))).node == "b"
    assert (await worlds.observe(host(""))).node == "x"
    assert worlds.settled(pod("")).cluster == "b"
    assert worlds.settled(pod("a")).cluster == "a"


async def test_the_only_one_is_the_default_and_of_two_none_is() -> None:
    only = Worlds(clusters={"a": Recorder("a")}, groups={})
    assert (await only.observe(pod(""))).node == "a"
    with pytest.raises(UnknownCluster, match="names no host group and the settings no default one of none at all"):
        await only.observe(host(""))
    two = Worlds(clusters={"a": Recorder("a"), "b": Recorder("b")}, groups={})
    with pytest.raises(UnknownCluster, match="no default one of a, b"):
        await two.observe(pod(""))


def test_a_default_that_is_not_in_the_settings_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="default cluster 'c' is not in the settings"):
        Worlds(clusters={"a": Recorder("a")}, groups={}, cluster="c")


async def test_closing_closes_all_even_when_one_fails() -> None:
    bad, good, group = Recorder("bad", fault=AdapterError("stuck")), Recorder("good"), Recorder("group")
    with pytest.raises(AdapterError, match="stuck"):
        await Worlds(clusters={"bad": bad, "good": good}, groups={"group": group}).close()
    assert good.asked == group.asked == [("close", None)]


async def test_a_host_is_found_by_the_name_of_the_settings_only() -> None:
    world = HostsWorld({"web-1": HOST, "db-1": HOST}, clock=lambda: NOW)
    assert await world.owner(host("hosts")) == host("hosts")
    with pytest.raises(TargetMissing, match="nearest: web-1") as caught:
        await world.observe(host("hosts", "web-2"))
    assert caught.value.nearest == ("web-1",)
    with pytest.raises(TargetMissing):
        await world.owner(Target(cluster="hosts", kind=Kind.NODE, name="web-1"))
    await world.close()


async def test_hosts_are_grouped_by_their_settings() -> None:
    groups = host_groups({"web-1": HOST, "db-1": msgspec.structs.replace(HOST, group="dmz")}, clock=lambda: NOW)
    assert sorted(groups) == ["dmz", "hosts"]
    with pytest.raises(TargetMissing):
        await groups["dmz"].owner(host("dmz", "web-1"))
    assert await groups["dmz"].owner(host("dmz", "db-1"))
