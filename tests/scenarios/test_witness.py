"""The witness of the scenarios sees every kind of wrong act, and nothing in what is as expected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.target import Kind, Target
from tests.scenarios.witness import Expected, Facts, Thing, Write, _thing, is_well, merged, wrongs

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


def test_what_follows_from_a_write_is_done_by_its_controller_and_takes_no_pod() -> None:
    holds = SCALED.writes[0].holds
    follows = Expected(writes=(Write(about="Deployment web", holds=holds, revisions=0, by_controller=True),))
    assert wrongs(BEFORE, scaled(touched=False), follows) == []
    assert "not by the controller" in wrongs(BEFORE, scaled(), follows)[0]
    assert "not what the expected write makes" in wrongs(BEFORE, scaled(touched=False, spec={"replicas": 4}), follows)[0]
    assert "second side effect" in wrongs(BEFORE, scaled(touched=False, generation=3), follows)[0]
    assert "a pod of web was deleted" in wrongs(BEFORE, msgspec.structs.replace(scaled(touched=False), pods={"p2": "web"}), follows)


def test_the_bounds_of_an_autoscaler_take_no_pod() -> None:
    before = msgspec.structs.replace(BEFORE, things=BEFORE.things | {"Autoscaler web": msgspec.structs.replace(WEB, revision=0)})
    wider = msgspec.structs.replace(before.things["Autoscaler web"], spec={"maxReplicas": 5}, touched=True)
    after = msgspec.structs.replace(before, things=before.things | {"Autoscaler web": wider})
    expected = Expected(writes=(Write(about="Autoscaler web", holds=lambda spec: spec["maxReplicas"] == 5, revisions=0),))
    assert wrongs(before, after, expected) == []
    assert wrongs(before, msgspec.structs.replace(after, pods={"p2": "web"}), expected) == ["a pod of web was deleted"]


def test_the_field_manager_on_what_controllers_keep_is_wrong() -> None:
    assert len(wrongs(BEFORE, msgspec.structs.replace(BEFORE, touched=("web-abc",)))) == 1


def test_what_broke_off_need_not_have_done_what_was_expected_and_nothing_else() -> None:
    assert wrongs(BEFORE, BEFORE, SCALED, done=False) == []
    assert wrongs(BEFORE, scaled(), SCALED, done=False) == []
    assert len(wrongs(BEFORE, scaled(generation=3), SCALED, done=False)) == 1
    assert wrongs(BEFORE, BEFORE, Expected(evicted=frozenset({"p1"})), done=False) == []
    more = msgspec.structs.replace(BEFORE, things=BEFORE.things | {"Job x-1": WEB})
    assert len(wrongs(BEFORE, more, SCALED, done=False)) == 1


def test_all_that_several_alerts_expect_is_expected() -> None:
    both = merged([SCALED, Expected(evicted=frozenset({"p1"}), made=("Job x",)), SCALED])
    assert [write.about for write in both.writes] == ["Deployment web"]
    assert (both.evicted, both.made) == (frozenset({"p1"}), ("Job x",))


@pytest.mark.parametrize(("reason", "well"), [("TooManyReplicas", False), ("DesiredWithinRange", True), ("", None)])
def test_a_workload_is_not_well_while_its_autoscaler_wants_more_than_it_may_have(reason: str, well: bool | None) -> None:
    said = {"autoscaling.alpha.kubernetes.io/conditions": f'[{{"type":"ScalingLimited","reason":"{reason}"}}]'} if reason else {}
    scaler = _thing("Autoscaler", {"metadata": {"uid": "u", "annotations": said}, "spec": {"maxReplicas": 3}}, ())
    assert (scaler.well, scaler.annotations) == (well, {})
    things = {"Deployment web": msgspec.structs.replace(WEB, well=True), "Autoscaler web": scaler}
    web = Target(cluster="", kind=Kind.DEPLOYMENT, name="web")
    assert is_well(msgspec.structs.replace(BEFORE, things=things), web) is (well is not False)


def test_a_job_is_well_when_a_newer_one_of_its_name_is() -> None:
    job = Target(cluster="", kind=Kind.JOB, name="x")
    assert is_well(BEFORE, job) is None
    failed = {"Job x": msgspec.structs.replace(WEB, well=False)}
    assert is_well(msgspec.structs.replace(BEFORE, things=failed), job) is False
    again = failed | {"Job x-1": msgspec.structs.replace(WEB, well=True)}
    assert is_well(msgspec.structs.replace(BEFORE, things=again), job) is True
    assert is_well(msgspec.structs.replace(BEFORE, things=again), msgspec.structs.replace(job, kind=Kind.NODE)) is None
