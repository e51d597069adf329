"""The judgement of before against after: each row of its table, and laws that no pair of snapshots breaks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import (
    Action,
    DeletePod,
    Investigate,
    RestartComposeService,
    RestartUnit,
    RestartWorkload,
    RollBackWorkload,
    ScaleWorkload,
    SetAutoscalerBounds,
)
from schemas.evidence import Band, MetricView, Sensor, Snapshot
from schemas.target import Kind, Target
from schemas.words import UNKNOWN_GROUNDS, Ground, Health, Outcome, Verdict, Worse
from stages.verify.judge import Assessment, Question, assess
from stages.verify.options import Weights
from tests.unit.snapshots import HOST, NOW, TARGET, autoscaler, held_by, host, pod, revision, snapshot, unit

RESTART = RestartWorkload(target=TARGET)
ROLL_BACK = RollBackWorkload(target=TARGET, to_revision=1)
UNMEASURED = Snapshot(target=TARGET, at=NOW, sensors=(Sensor(name="workload", seconds=8, error="timeout"),))
GONE = Snapshot(target=TARGET, at=NOW, sensors=(Sensor(name="events", seconds=0.1),), exists=False)

REVISIONS = (revision(2, "api:2", current=True), revision(1, "api:1"))
OK = snapshot(pod("a"), pod("b"), revisions=REVISIONS)
NEW_OK = snapshot(pod("c"), pod("d"), generation=2, observed_generation=2, images=("api:1",))
CRASH = snapshot(pod("a", "crash"), pod("b", "crash"), revisions=REVISIONS)
NEW_CRASH = snapshot(pod("c", "crash"), pod("d", "crash"), generation=2, observed_generation=2)
HALF = snapshot(pod("c", "crash", restarts=1), pod("d"), generation=2, observed_generation=2)
OOM = snapshot(pod("c", "oom"), pod("d", "oom"), generation=2, observed_generation=2)
WEDGED = snapshot(pod("a", "unready"))
NEW_WEDGED = snapshot(pod("c", "unready"), generation=2, observed_generation=2)
NEVER_READY = snapshot(pod("c", "unready"), generation=2, observed_generation=2, progress_failed="ProgressDeadlineExceeded")
UNSEEN = snapshot(pod("a"), generation=2)
HALF_WAY = snapshot(pod("c"), pod("a", "unready"), generation=2, observed_generation=2, updated=1)
STARTING = snapshot(pod("c", "pending"), generation=2, observed_generation=2)
FLAPPED = snapshot(pod("c", restarts=2), generation=2, observed_generation=2)


def judged(before: Snapshot | None, after: Snapshot, action: Action = RESTART, **fields: Any) -> Assessment:
    return assess(Question(**({"action": action, "outcome": Outcome.SUCCEEDED} | fields), before=before, after=after))


@pytest.mark.parametrize(
    ("before", "after", "action", "verdict"),
    [
        (CRASH, NEW_OK, RESTART, Verdict.SUCCESS),
        (CRASH, NEW_OK, ROLL_BACK, Verdict.SUCCESS),
        (WEDGED, NEW_OK, RESTART, Verdict.SUCCESS),
        (GONE, NEW_OK, RESTART, Verdict.SUCCESS),
        (OK, NEW_OK, RESTART, Verdict.SUCCESS),
        (OK, NEW_OK, ROLL_BACK, Verdict.DEGRADED),
        (OK, OK, ScaleWorkload(target=TARGET, replicas=2), Verdict.DEGRADED),
        (CRASH, FLAPPED, RESTART, Verdict.DEGRADED),
        (None, NEW_OK, RESTART, Verdict.DEGRADED),
        (UNMEASURED, NEW_OK, RESTART, Verdict.DEGRADED),
        (msgspec.structs.replace(OK, late=True), OK, RESTART, Verdict.DEGRADED),
        (CRASH, NEW_CRASH, RESTART, Verdict.FAILED),
        (CRASH, OOM, RESTART, Verdict.FAILED),
        (CRASH, HALF, RESTART, Verdict.DEGRADED),
        (OK, NEW_CRASH, RESTART, Verdict.FAILED),
        (OK, GONE, RESTART, Verdict.FAILED),
        (None, NEW_CRASH, RESTART, Verdict.DEGRADED),
        (WEDGED, NEW_WEDGED, RESTART, Verdict.TIMEOUT),
        (WEDGED, NEVER_READY, RESTART, Verdict.FAILED),
        (CRASH, UNSEEN, RESTART, Verdict.TIMEOUT),
        (CRASH, STARTING, RESTART, Verdict.TIMEOUT),
        (OK, STARTING, RESTART, Verdict.FAILED),
        (OK, UNMEASURED, RESTART, Verdict.DEGRADED),
        (OK, OK, Investigate(target=TARGET), Verdict.DEGRADED),
        (CRASH, CRASH, Investigate(target=TARGET), Verdict.DEGRADED),
        (WEDGED, NEW_OK, ScaleWorkload(target=TARGET, replicas=2), Verdict.SUCCESS),
        (WEDGED, NEW_OK, ScaleWorkload(target=TARGET, replicas=5), Verdict.DEGRADED),
        (snapshot(pod("a")), OK, ScaleWorkload(target=TARGET, replicas=2), Verdict.DEGRADED),
    ],
)
def test_each_row_of_the_table(before: Snapshot | None, after: Snapshot, action: Action, verdict: Verdict) -> None:
    found = judged(before, after, action)
    assert found.verdict is verdict, found.summary
    assert found.measured is (after is not UNMEASURED)


@pytest.mark.parametrize(
    ("after", "settled"),
    [
        (NEW_OK, True),
        (GONE, True),
        (UNSEEN, False),
        (HALF_WAY, False),
        (STARTING, False),
        (NEW_WEDGED, False),
        (FLAPPED, False),
        (HALF, False),
        (NEW_CRASH, True),
        (snapshot(pod("c", "pull"), generation=2, observed_generation=2), False),
        (snapshot(pod("c", "pull"), progress_failed="ProgressDeadlineExceeded"), True),
        (UNMEASURED, False),
    ],
)
def test_it_is_settled_when_waiting_would_change_nothing(after: Snapshot, settled: bool) -> None:
    assert judged(CRASH, after).settled is settled


def test_old_pods_that_are_still_there_keep_it_unsettled() -> None:
    after = snapshot(pod("c"), pod("a"), desired=1, updated=1, generation=2, observed_generation=2)
    assert not judged(CRASH, after).settled
    leaving = snapshot(pod("c"), pod("a", deleting=True), desired=1, updated=1, generation=2, observed_generation=2)
    assert judged(CRASH, leaving).settled


def test_restarts_count_from_the_action_on() -> None:
    before = snapshot(pod("a", restarts=7), pod("b", "crash"))
    assert judged(before, snapshot(pod("a", restarts=7), pod("b"))).verdict is Verdict.SUCCESS
    found = judged(before, snapshot(pod("a", restarts=9), pod("b")))
    assert found.verdict is Verdict.DEGRADED
    assert "2 container restarts since the action" in found.regressions


def test_nothing_is_trusted_where_nobody_knows_whether_the_action_happened() -> None:
    unknown: dict[str, Any] = {"outcome": Outcome.UNKNOWN}
    assert judged(CRASH, CRASH, **unknown).verdict is Verdict.DEGRADED
    assert judged(CRASH, snapshot(pod("a"), pod("b")), **unknown).verdict is Verdict.DEGRADED
    assert judged(CRASH, NEW_OK, **unknown).verdict is Verdict.SUCCESS
    assert judged(CRASH, NEW_CRASH, **unknown).verdict is Verdict.FAILED


def test_a_look_that_ran_out_of_time_is_a_timeout_and_not_measured() -> None:
    found = judged(CRASH, UNMEASURED, timed_out=True)
    assert found.verdict is Verdict.TIMEOUT
    assert not found.measured


def test_a_deleted_pod_must_be_gone() -> None:
    target = Target(cluster="prod", namespace="shop", kind=Kind.POD, name="a")
    delete = DeletePod(target=target, uid="uid-a")
    assert judged(WEDGED, snapshot(pod("c")), delete).verdict is Verdict.SUCCESS
    still = judged(WEDGED, snapshot(pod("a")), delete)
    assert not still.settled
    assert still.verdict is Verdict.TIMEOUT


@pytest.mark.parametrize(
    ("after", "verdict", "settled"),
    [
        (host(unit("nginx.service", "active", "running")), Verdict.SUCCESS, True),
        (host(unit("nginx.service", "failed", "failed")), Verdict.FAILED, True),
        (host(unit("nginx.service", "activating")), Verdict.TIMEOUT, False),
        (host(), Verdict.DEGRADED, False),
    ],
)
def test_a_unit_is_judged_by_its_own_state(after: Snapshot, verdict: Verdict, settled: bool) -> None:
    action = RestartUnit(target=HOST, unit="nginx.service")
    found = judged(host(unit("nginx.service", "failed", "failed")), after, action)
    if verdict is Verdict.FAILED:
        assert found.judgements[0].health is Health.UNHEALTHY
    assert (found.verdict, found.settled) == (verdict, settled)


def test_a_compose_service_is_judged_by_all_of_its_containers() -> None:
    action = RestartComposeService(target=HOST, service="web")
    down = host(unit("shop-web-1", "exited"), unit("shop-web-2", "running"), unit("webhook", "exited"))
    up = host(unit("shop-web-1", "running"), unit("shop-web-2", "running"), unit("webhook", "exited"))
    assert judged(down, up, action).verdict is Verdict.SUCCESS
    assert judged(down, down, action).verdict is Verdict.FAILED


def test_a_container_with_a_name_of_its_own_is_found_by_its_compose_labels() -> None:
    action = RestartComposeService(target=HOST, service="web", project="shop")
    others = unit("front", "exited", service="blog/web"), unit("back", "exited", service="shop/webhook")
    down, up = (host(unit("frontend", active, service="shop/web"), *others) for active in ("exited", "running"))
    assert judged(down, up, action).verdict is Verdict.SUCCESS
    assert judged(down, down, action).verdict is Verdict.FAILED


def test_what_is_told_of_the_alert_moves_only_the_score() -> None:
    firing, cleared, unknown = (judged(CRASH, NEW_OK, firing=number) for number in (2, 0, None))
    assert [one.cleared for one in (firing, cleared, unknown)] == [False, True, None]
    assert {one.verdict for one in (firing, cleared, unknown)} == {Verdict.SUCCESS}
    assert firing.score < unknown.score < cleared.score == 1.0
    assert "still fires" in firing.summary


@pytest.mark.parametrize("before", [CRASH, OK])
def test_no_success_is_called_while_the_alert_holds_by_its_own_rule(before: Snapshot) -> None:
    asked: dict[str, Any] = {"firing": 0, "asked": 1}
    found = judged(before, NEW_OK, fires=True, **asked)
    assert (found.verdict, found.ground, found.cleared) == (Verdict.DEGRADED, Ground.STILL_FIRING, False)
    assert found.ground in UNKNOWN_GROUNDS
    assert not found.settled, "its rule may look back"
    assert found.summary == "healthy, but the alert still fires by its own rule: 2 of 2 pods available"
    for fires in (False, None):
        well = judged(before, NEW_OK, fires=fires, **asked)
        assert (well.verdict, well.settled) == (Verdict.SUCCESS, True)


def test_an_alert_that_holds_changes_nothing_of_what_is_no_success() -> None:
    asked: dict[str, Any] = {"firing": 1, "asked": 1, "fires": True}
    for before, after, action in ((CRASH, NEW_CRASH, RESTART), (OK, NEW_OK, ROLL_BACK), (CRASH, FLAPPED, RESTART), (None, NEW_OK, RESTART)):
        plain, found = judged(before, after, action), judged(before, after, action, **asked)
        assert (found.verdict, found.ground, found.settled) == (plain.verdict, plain.ground, plain.settled)


def test_a_rollout_that_was_under_way_is_no_fault_that_was_healed() -> None:
    bounds = SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=5)
    after = held_by(NEW_OK, autoscaler(2, 5))
    rolling = snapshot(pod("a"), pod("b"), pod("c", "pending"), desired=2, updated=1, ready=2, available=2, revisions=REVISIONS)
    starting = snapshot(pod("a"), pod("b"), pod("c", "unready"), desired=2, updated=1, ready=2, available=2, revisions=REVISIONS)
    unseen = snapshot(pod("a"), pod("b"), generation=2, revisions=REVISIONS)
    for before in (rolling, starting, unseen):
        found = judged(held_by(before, autoscaler(2, 2)), after, bounds)
        assert (found.verdict, found.ground) == (Verdict.DEGRADED, Ground.NOTHING_BEFORE), found.summary
        assert judged(before, after, RESTART).verdict is Verdict.SUCCESS
    assert judged(rolling, after, ROLL_BACK).ground is Ground.NOTHING_BEFORE
    assert judged(starting, after, ROLL_BACK).ground is Ground.HEALED, "new pods that do not become ready are what a rollback mends"
    stuck = snapshot(pod("a"), pod("b"), pod("c", "crash"), desired=2, updated=1, ready=2, available=2)
    short = snapshot(pod("a"), pod("b", "unready"))
    for before in (stuck, short):
        assert judged(held_by(before, autoscaler(2, 2)), after, bounds).ground is Ground.HEALED


def test_what_failed_scores_under_a_half_and_what_healed_above() -> None:
    assert judged(CRASH, NEW_CRASH).score < 0.5
    assert judged(WEDGED, NEVER_READY, firing=1).score < 0.5
    assert judged(CRASH, NEW_OK, firing=1).score > 0.5
    assert judged(OK, UNMEASURED).score == 0.0


def metric(value: float | None, name: str = "memory_ratio", **fields: Any) -> MetricView:
    return MetricView(**({"name": name, "query": "q", "unit": "ratio", "worse": Worse.UP} | fields), value=value)


def with_metrics(seen: Snapshot, *metrics: MetricView) -> Snapshot:
    return msgspec.structs.replace(seen, metrics=metrics)


USUAL = Band(lower=0.2, upper=0.5, expected=0.3, season="daily")


def test_a_metric_that_got_worse_is_a_regression_though_the_alert_is_gone() -> None:
    before, after = with_metrics(WEDGED, metric(0.4)), with_metrics(NEW_OK, metric(0.9, baseline=USUAL))
    well, worse = judged(WEDGED, NEW_OK, firing=0), judged(before, after, firing=0)
    assert (worse.verdict, worse.ground, worse.cleared) == (Verdict.DEGRADED, Ground.REGRESSED, True)
    assert worse.summary.startswith("healthy, but memory_ratio has left what is usual: 90 %, 40 % before")
    assert worse.score < well.score == 1.0
    assert (worse.parts["metrics"], worse.parts["regressions"]) == (0.0, -0.1)
    assert not worse.settled, "a start may need more for a while"
    assert any(one.about == "metric memory_ratio" and one.health is Health.UNHEALTHY for one in worse.judgements)


def test_an_unchanged_but_healthy_metric_is_not_punished() -> None:
    same = metric(0.0, "restarts_15m", ideal=0.0), metric(0.3, baseline=USUAL)
    found = judged(with_metrics(WEDGED, *same), with_metrics(NEW_OK, *same), firing=0)
    assert (found.verdict, found.score, found.regressions) == (Verdict.SUCCESS, 1.0, ())
    assert found.parts["metrics"] > 0


def test_metrics_that_say_nothing_change_nothing() -> None:
    plain = judged(WEDGED, NEW_OK)
    found = judged(with_metrics(WEDGED, metric(None)), with_metrics(NEW_OK, metric(None, note="Prometheus did not answer")))
    assert (found.verdict, found.score, found.parts) == (plain.verdict, plain.score, plain.parts)
    assert any("Prometheus did not answer" in one.reason for one in found.judgements)


def test_good_metrics_alone_do_not_make_a_target_measured() -> None:
    found = judged(with_metrics(OK, metric(0.9)), with_metrics(UNMEASURED, metric(0.3, baseline=USUAL)))
    assert (found.verdict, found.measured, found.score, found.parts) == (Verdict.DEGRADED, False, 0.0, {})


@pytest.mark.parametrize(
    ("fields", "cleared"),
    [
        ({"firing": None}, None),
        ({"firing": 0}, True),
        ({"firing": 1}, False),
        ({"firing": 1, "asked": 1, "fires": False}, True),
        ({"firing": 0, "asked": 1, "fires": True}, False),
        ({"firing": 0, "asked": 1, "fires": None}, None),
        ({"firing": 2, "asked": 1, "fires": None}, False),
        ({"firing": 2, "asked": 1, "fires": False}, False),
        ({"firing": 2, "asked": 2, "fires": False}, True),
        ({"firing": None, "asked": 1, "fires": False}, True),
    ],
)
def test_whether_the_alert_is_gone_is_for_those_to_say_who_know_its_rule(fields: dict[str, Any], cleared: bool | None) -> None:
    found = judged(CRASH, NEW_OK, **fields)
    assert found.cleared is cleared
    shown = [one.health for one in found.judgements if one.about == "alert"]
    expected = {True: Health.HEALTHY, False: Health.UNHEALTHY, None: Health.UNKNOWN}[cleared]
    assert shown == ([] if fields == {"firing": None} else [expected])


def test_the_weights_are_settings() -> None:
    question = Question(action=RESTART, outcome=Outcome.SUCCEEDED, before=CRASH, after=NEW_OK, firing=1)
    assert assess(question).parts == {"state": 0.5, "change": 0.2, "steadiness": 0.2, "alert": 0.0}
    alert_only = Weights(state=0, change=0, steadiness=0, alert=3)
    assert assess(question, alert_only).score == 0.0
    assert assess(msgspec.structs.replace(question, firing=0), alert_only).parts == {"alert": 1.0}
    with pytest.raises(ValueError, match="negative"):
        Weights(state=-1)
    with pytest.raises(ValueError, match="may not all be 0"):
        Weights(state=0, change=0, steadiness=0, alert=0)


STATES = st.sampled_from(["ok", "unready", "crash", "oom", "pull", "config", "pending", "unschedulable"])
PODS = st.lists(st.builds(pod, st.sampled_from("abcdef"), STATES, deleting=st.booleans()), max_size=4)
SNAPSHOTS = st.builds(
    lambda pods, seen, wanted: snapshot(*pods, observed_generation=seen, desired=wanted), PODS, st.integers(0, 1), st.integers(0, 4)
)
ACTIONS = st.sampled_from([RESTART, ROLL_BACK, ScaleWorkload(target=TARGET, replicas=2), Investigate(target=TARGET)])


@given(st.none() | SNAPSHOTS, SNAPSHOTS, ACTIONS, st.sampled_from([Outcome.SUCCEEDED, Outcome.UNKNOWN]), st.none() | st.integers(0, 3))
def test_laws_of_every_judgement(before: Snapshot | None, after: Snapshot, action: Action, outcome: Outcome, firing: int | None) -> None:
    found = judged(before, after, action, outcome=outcome, firing=firing)
    assert 0 <= found.score <= 1
    assert found.judgements
    assert all(one.reason for one in found.judgements)
    if found.verdict is Verdict.SUCCESS:
        assert found.measured
        assert found.judgements[0].health is Health.HEALTHY
        assert before is not None
    if isinstance(action, Investigate) or not found.measured:
        assert found.verdict in (Verdict.DEGRADED, Verdict.TIMEOUT)
    if before is None:
        assert found.verdict is not Verdict.FAILED
    assert judged(before, after, action, outcome=outcome, firing=firing) == found


SHARES = st.floats(0, 1)
METRICS = st.lists(st.tuples(SHARES, SHARES), max_size=3).map(lambda pairs: list(enumerate(pairs)))
AMOUNTS = st.floats(0, 5)
WEIGHTS = st.builds(
    Weights, state=st.floats(0.1, 5), change=AMOUNTS, steadiness=AMOUNTS, alert=AMOUNTS, metrics=AMOUNTS, regression=st.floats(0, 1)
)


@given(SNAPSHOTS, SNAPSHOTS, METRICS, st.none() | st.integers(0, 2), WEIGHTS)
def test_more_regressions_never_raise_the_score_and_never_make_a_success(
    before: Snapshot, after: Snapshot, metrics: list[tuple[int, tuple[float, float]]], firing: int | None, weights: Weights
) -> None:
    then = [metric(pair[0], f"m{place}", ideal=0.0, noise=0.01) for place, pair in metrics]
    now = [metric(pair[1], f"m{place}", ideal=0.0, noise=0.01) for place, pair in metrics]
    worse = (metric(0.0, "worse", ideal=0.0), metric(1.0, "worse", ideal=0.0))

    def found(*more: MetricView) -> Assessment:
        pair = [with_metrics(seen, *views, *more[place : place + 1]) for place, (seen, views) in enumerate(((before, then), (after, now)))]
        return assess(Question(action=RESTART, outcome=Outcome.SUCCEEDED, before=pair[0], after=pair[1], firing=firing), weights)

    without, with_one_more = found(), found(*worse)
    assert with_one_more.score <= without.score
    assert with_one_more.verdict is not Verdict.SUCCESS
    assert len(with_one_more.regressions) == len(without.regressions) + 1
    assert without.score == pytest.approx(min(max(sum(without.parts.values()), 0), 1), abs=0.001)


@given(st.none() | SNAPSHOTS, ACTIONS, METRICS, st.none() | st.integers(0, 2), st.booleans())
def test_what_was_not_measured_is_never_a_success_nor_a_failure(
    before: Snapshot | None, action: Action, metrics: list[tuple[int, tuple[float, float]]], firing: int | None, timed_out: bool
) -> None:
    after = with_metrics(UNMEASURED, *(metric(pair[1], f"m{place}", ideal=0.0) for place, pair in metrics))
    found = judged(before, after, action, firing=firing, timed_out=timed_out)
    assert found.verdict in (Verdict.DEGRADED, Verdict.TIMEOUT)
    assert (found.measured, found.score) == (False, 0.0)
    assert found.ground in UNKNOWN_GROUNDS
