"""The witness of the scenarios sees every kind of wrong act, and nothing in what is as expected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.scenarios.witness import Expected, Facts, Thing, Write, wrongs

WEB = Thing(uid="u", generation=1, spec={"replicas": 2}, labels={"app": "web"}, annotations={}, revision=1, touched=False)
BEFORE = Facts(things={"Deployment web": WEB}, pods={"p1": "web", "p2": "web"}, going=frozenset(), touched=())
SCALED = Expected(writes=(Write(about="Deployment web", holds=lambda spec: spec["replicas"] == 3, revisions=0),))


def after(**fields: Any) -> Facts:
    """The same cluster with another deployment."""
    return msgspec.structs.replace(BEFORE, things={"Deployment web": msgspec.structs.replace(WEB, **fields)})


def scaled(**fields: Any) -> Facts:
    return after(**({"generation": 2, "spec": {"replicas": 3}, "touched": True} | fields))


def test_what_did_not_change_is_not_wrong() -> None:
    assert wrongs(BEFORE, BEFORE) == []
    assert wrongs(BEFORE, BEFORE, SCALED) == ["Deployment web is not what the expected write makes of it"]


def test_the_expected_write_is_not_wrong() -> None:
    assert wrongs(BEFORE, scaled(), SCALED) == []


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"spec": {"replicas": 3}},
        {"annotations": {"a": "b"}},
        {"labels": {}},
        {"uid": "v"},
        {"revision": 2},
        {"touched": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_is_wrong_where_none_is_expected(change: dict[str, Any]) -> None:
    assert len(wrongs(BEFORE, after(**change))) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generation": 3}, "second side effect"),
        ({"revision": 2}, "second side effect"),
        ({"spec": {"replicas": 4}}, "not what the expected write makes"),
        ({"touched": False}, "somebody else"),
        ({"uid": "v"}, "made anew"),
    ],
)
def test_another_write_than_the_expected_one_is_wrong(change: dict[str, Any], said: str) -> None:
    (wrong,) = wrongs(BEFORE, scaled(**change), SCALED)
    assert said in wrong


def test_deleting_and_making_objects_is_wrong() -> None:
    assert wrongs(BEFORE, msgspec.structs.replace(BEFORE, things={})) == ["Deployment web was deleted"]
    more = msgspec.structs.replace(BEFORE, things=BEFORE.things | {"Job x-1": WEB})
    assert wrongs(BEFORE, more) == ["Job x-1 was made"]
    assert wrongs(BEFORE, more, Expected(made=("Job x",))) == []
    twice = msgspec.structs.replace(BEFORE, things=more.things | {"Job x-2": WEB})
    assert len(wrongs(BEFORE, twice, Expected(made=("Job x",)))) == 1


def test_a_pod_that_goes_is_wrong_unless_it_was_to_be_evicted_or_its_template_changed() -> None:
    fewer = msgspec.structs.replace(BEFORE, pods={"p2": "web", "p3": "web"})
    going = msgspec.structs.replace(BEFORE, going=frozenset({"p1"}))
    for seen in (fewer, going):
        assert wrongs(BEFORE, seen) == ["a pod of web was deleted"]
        assert wrongs(BEFORE, seen, Expected(evicted=frozenset({"p1"}))) == []
        assert len(wrongs(BEFORE, seen, Expected(evicted=frozenset({"p2"})))) == 2
    rolled = msgspec.structs.replace(scaled(), pods={"p3": "web"})
    assert wrongs(BEFORE, rolled, SCALED) == []


def test_the_field_manager_on_what_controllers_keep_is_wrong() -> None:
    assert len(wrongs(BEFORE, msgspec.structs.replace(BEFORE, touched=("web-abc",)))) == 1
