"""An autoscaler at its maximum that wants more: what is found, and what becomes of actions and alerts that are about it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.kubernetes.objects import Autoscaler
from adapters.kubernetes.views import autoscaler_view
from schemas.action import Action, RestartWorkload, ScaleWorkload, SetAutoscalerBounds
from schemas.diagnosis import autoscaler_finding, speaks_of_maximum, wants_more, why_blind
from schemas.evidence import AutoscalerView, Snapshot
from schemas.target import Kind
from schemas.words import UNKNOWN_GROUNDS, Ground, Health, Outcome, Verdict
from stages.verify.judge import Assessment, Question, assess
from stages.verify.relapse import Held, assess_held
from tests.unit.snapshots import TARGET, autoscaler, held_by, pod, snapshot, without

BOUNDS = SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=5)
RESTART = RestartWorkload(target=TARGET)
MAXED = ("KubeHpaMaxedOut",)
CRASHING = ("KubePodCrashLooping",)


def seen(pods: int, scaler: AutoscalerView | None, *, state: str = "ok", generation: int = 1) -> Snapshot:
    """So many pods, all in one state, and their autoscaler."""
    name = f"{state}-{generation}"
    names = (f"{name}-{number}" if state != "ok" else f"p{number}" for number in range(pods))
    views = (pod(one, state) for one in names)
    return held_by(snapshot(*views, generation=generation, observed_generation=generation), scaler)


FULL = seen(3, autoscaler(3, 3, more=True))
WIDER = seen(5, autoscaler(5, 5), generation=2)
FULL_AGAIN = seen(5, autoscaler(5, 5, more=True), generation=2)


def judged(before: Snapshot, after: Snapshot, action: Action = BOUNDS, alerts: tuple[str, ...] = MAXED, **fields: Any) -> Assessment:
    return assess(Question(**({"outcome": Outcome.SUCCEEDED} | fields), action=action, before=before, after=after, alerts=alerts))


@pytest.mark.parametrize(
    ("scaler", "health", "said"),
    [
        (autoscaler(3, 3, more=True), Health.UNHEALTHY, "autoscaler api is at its maximum of 3 replicas and wants more"),
        (autoscaler(3, 5, more=True), Health.PROGRESSING, "had 3 replicas when it looked last"),
        (autoscaler(3, 5, desired=5), Health.PROGRESSING, "may have 5"),
        (autoscaler(5, 5), Health.HEALTHY, "has the 5 replicas that it wants"),
        (autoscaler(2, 5), Health.HEALTHY, "has the 2 replicas that it wants"),
        (autoscaler(3, 3, more=True, blind="no metrics returned"), Health.UNKNOWN, "does not tell how many replicas it wants: no metrics"),
        (autoscaler(3, 3, conditions=()), Health.UNKNOWN, "does not tell how many replicas it wants"),
    ],
)
def test_what_an_autoscaler_says(scaler: AutoscalerView, health: Health, said: str) -> None:
    found = autoscaler_finding(scaler)
    assert found.health is health
    assert said in found.reason


def test_its_conditions_are_read_as_version_1_of_the_api_has_them_and_what_is_no_list_of_them_says_nothing() -> None:
    limited = '[{"type":"ScalingLimited","status":"True","lastTransitionTime":"2026-01-01T12:00:00Z","reason":"TooManyReplicas"}]'
    few, within = limited.replace("TooMany", "TooFew"), limited.replace('"True"', '"False"')
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "api"}, "maxReplicas": 3}
    for text, more in ((limited, True), (few, False), (within, False), ("{}", None), ("[", None), ("", None), (None, None)):
        annotations = {} if text is None else {"autoscaling.alpha.kubernetes.io/conditions": text}
        view = autoscaler_view(msgspec.convert({"metadata": {"annotations": annotations}, "spec": spec}, Autoscaler))
        assert (wants_more(view), why_blind(view)) == (more, "")


@pytest.mark.parametrize("alert", ["KubeHpaMaxedOut", "HPAMaxedOut", "KubernetesHpaScaleMaximum", "autoscaler_at_max", "HpaScalingMaxed"])
def test_alerts_that_speak_of_it(alert: str) -> None:
    assert speaks_of_maximum(("Other", alert))


@pytest.mark.parametrize(
    "alert", ["KubeHpaReplicasMismatch", "KubePodCrashLooping", "ConnectionsMaxedOut", "HighLatency", "MaxHpaErrors", ""]
)
def test_alerts_that_do_not(alert: str) -> None:
    assert not speaks_of_maximum((alert,))


@pytest.mark.parametrize("alerts", [MAXED, ("HighLatency",), ()])
def test_a_higher_maximum_heals_when_the_autoscaler_has_what_it_wants(alerts: tuple[str, ...]) -> None:
    found = judged(FULL, WIDER, alerts=alerts)
    assert (found.verdict, found.ground, found.settled) == (Verdict.SUCCESS, Ground.HEALED, True), found.summary
    assert found.judgements[0].before == "autoscaler api is at its maximum of 3 replicas and wants more"


@pytest.mark.parametrize("alerts", [MAXED, ("HighLatency",), ()])
def test_one_that_is_not_enough_is_never_called_healed_and_is_looked_at_until_the_limit(alerts: tuple[str, ...]) -> None:
    found = judged(FULL, FULL_AGAIN, alerts=alerts)
    assert (found.verdict, found.ground, found.settled) == (Verdict.DEGRADED, Ground.BETTER, False)
    assert found.score < 0.5, "people are asked"
    assert "autoscaler api is at its maximum of 5 replicas and wants more" in found.summary


@pytest.mark.parametrize("scaler", [autoscaler(3, 5, more=True), autoscaler(3, 5, desired=5)])
def test_it_waits_for_the_autoscaler_to_look_again(scaler: AutoscalerView) -> None:
    for pods in (3, 5):
        found = judged(FULL, seen(pods, scaler, generation=2))
        assert (found.verdict, found.ground, found.settled) == (Verdict.TIMEOUT, Ground.NOT_CONVERGED, False), found.summary


def test_pods_that_are_added_must_be_well_too() -> None:
    pods = (*(pod(f"p{number}") for number in range(3)), pod("new", "crash"))
    for scaler in (autoscaler(4, 5), autoscaler(5, 5, more=True)):
        found = judged(FULL, held_by(snapshot(*pods, generation=2, observed_generation=2), scaler))
        assert found.verdict is Verdict.FAILED, found.summary


def test_a_load_that_fell_by_itself_was_not_healed_by_room_that_nobody_took() -> None:
    found = judged(FULL, seen(3, autoscaler(3, 5)))
    assert (found.verdict, found.ground) == (Verdict.DEGRADED, Ground.NOTHING_BEFORE)
    assert found.ground in UNKNOWN_GROUNDS


def test_one_that_was_not_at_its_limit_is_not_healed_by_more_room_and_more_load_is_no_fault_of_it() -> None:
    content = seen(3, autoscaler(3, 3))
    assert judged(content, seen(3, autoscaler(3, 5))).ground is Ground.HEALED_NOTHING
    for after in (FULL_AGAIN, seen(5, autoscaler(4, 5, desired=5), generation=2)):
        found = judged(content, after)
        assert (found.verdict, found.ground) == (Verdict.DEGRADED, Ground.HEALED_NOTHING), found.summary


@pytest.mark.parametrize("blind", [autoscaler(3, 5, blind="no metrics"), autoscaler(5, 5, conditions=())])
def test_an_autoscaler_that_cannot_tell_is_never_taken_for_a_content_one(blind: AutoscalerView) -> None:
    after = judged(FULL, seen(5, blind, generation=2))
    assert (after.verdict, after.ground, after.measured, after.settled) == (Verdict.DEGRADED, Ground.UNMEASURED, False, False)
    assert judged(seen(3, blind), WIDER).ground is Ground.NOTHING_BEFORE


CRASHED = {most: seen(3, autoscaler(3, 3, more=most), state="crash") for most in (False, True)}
RUNS = {most: seen(3, autoscaler(3, 3, more=most), generation=2) for most in (False, True)}


@pytest.mark.parametrize("alerts", [CRASHING, ("HighLatency",), ()])
def test_a_crash_that_is_healed_is_healed_at_the_maximum_as_well(alerts: tuple[str, ...]) -> None:
    for before in CRASHED.values():
        for after in RUNS.values():
            assert judged(before, after, RESTART, alerts).ground is Ground.HEALED


def test_an_alert_about_the_maximum_is_not_healed_by_a_restart_that_leaves_it_there_nor_is_the_restart_a_failure() -> None:
    for alerts in (MAXED, (*CRASHING, *MAXED)):
        found = judged(CRASHED[True], RUNS[True], RESTART, alerts)
        assert (found.verdict, found.ground) == (Verdict.DEGRADED, Ground.BETTER), found.summary
        assert judged(CRASHED[True], RUNS[False], RESTART, alerts).ground is Ground.HEALED
    same = judged(FULL, seen(3, autoscaler(3, 3, more=True), generation=2), RESTART)
    assert (same.verdict, same.ground) == (Verdict.FAILED, Ground.SAME_FAULT)


def test_where_the_autoscaler_could_not_be_seen_an_alert_about_it_is_not_healed() -> None:
    assert judged(CRASHED[True], without(RUNS[False], "autoscaler"), RESTART).ground is Ground.UNMEASURED
    assert judged(CRASHED[True], without(RUNS[False], "autoscaler"), RESTART, CRASHING).ground is Ground.HEALED
    assert judged(seen(3, None, state="crash"), seen(3, None, generation=2), RESTART).ground is Ground.HEALED


def test_a_daemon_set_has_none() -> None:
    target = msgspec.structs.replace(TARGET, kind=Kind.DAEMONSET)
    pair = (snapshot(pod("a", "crash"), target=target), snapshot(pod("b"), target=target, generation=2, observed_generation=2))
    assert judged(*pair, RestartWorkload(target=target)).ground is Ground.HEALED


def test_scaling_by_hand_is_judged_by_its_pods_unless_the_alert_is_about_the_maximum() -> None:
    scale = ScaleWorkload(target=TARGET, replicas=5)
    assert judged(FULL, FULL_AGAIN, scale, ("HighLatency",)).ground is Ground.HEALED_NOTHING
    assert judged(FULL, FULL_AGAIN, scale, MAXED).ground is Ground.BETTER


def held(after: Snapshot) -> Assessment:
    question = Question(action=BOUNDS, outcome=Outcome.SUCCEEDED, before=FULL, after=after, alerts=MAXED)
    return assess_held(question, Held(after=WIDER, gone=(), seconds=120))


@pytest.mark.parametrize("generation", [2, 3])
def test_a_limit_that_is_reached_again_within_the_hold_down_is_a_relapse(generation: int) -> None:
    assert held(WIDER).verdict is Verdict.SUCCESS
    found = held(seen(5, autoscaler(5, 5, more=True), generation=generation))
    assert (found.verdict, found.ground, found.relapse) == (Verdict.FAILED, Ground.RELAPSED, True), found.summary
