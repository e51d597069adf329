"""Each action is judged by what it is for: a container by its health check, a Job by the new one, a chore by the room it made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.ssh.compose import joined
from adapters.ssh.subject import State
from schemas.action import (
    CordonNode,
    PruneImages,
    PruneSystem,
    PruneVolumes,
    ReloadNginx,
    RenewCertificates,
    RerunJob,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    TruncateContainerLog,
    UncordonNode,
)
from schemas.diagnosis import unit_finding
from schemas.evidence import HostView, Snapshot, UnitView
from schemas.words import UNKNOWN_GROUNDS, Ground, Health, Outcome, Verdict
from stages.verify.judge import Assessment, Question, assess
from tests.unit.snapshots import HOST, disks, host, job, node, pod, snapshot, unit

CORDON = CordonNode(target=node(ready=True).target)
RERUN = RerunJob(target=job().target)
RESTART_WEB = RestartContainer(target=HOST, container="web")
MAKES_ROOM = [
    TruncateContainerLog(target=HOST, container="web"),
    PruneImages(target=HOST),
    PruneVolumes(target=HOST),
    PruneSystem(target=HOST),
]


def judged(action: Any, before: Snapshot | None, after: Snapshot, **fields: Any) -> Assessment:
    return assess(Question(**({"action": action, "outcome": Outcome.SUCCEEDED} | fields), before=before, after=after))


def said(found: Assessment) -> tuple[Verdict, Ground, bool]:
    return found.verdict, found.ground, found.settled


# containers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("active", "check", "health"),
    [
        ("running", "", Health.HEALTHY),
        ("running", "healthy", Health.HEALTHY),
        ("running", "starting", Health.PROGRESSING),
        ("running", "unhealthy", Health.UNHEALTHY),
        ("exited", "unhealthy", Health.UNHEALTHY),
        ("restarting", "", Health.PROGRESSING),
        ("active", "running", Health.HEALTHY),
        ("failed", "failed", Health.UNHEALTHY),
    ],
)
def test_a_container_is_as_well_as_its_health_check_says(active: str, check: str, health: Health) -> None:
    found = unit_finding(unit("web", active, check))
    assert found.health is health
    assert active in found.reason
    assert check in found.reason


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (("exited", ""), ("running", "healthy"), Verdict.SUCCESS),
        (("running", "unhealthy"), ("running", "healthy"), Verdict.SUCCESS),
        (("exited", ""), ("running", "unhealthy"), Verdict.FAILED),
        (("running", "unhealthy"), ("running", "unhealthy"), Verdict.FAILED),
        (("running", "healthy"), ("running", "unhealthy"), Verdict.FAILED),
        (("exited", ""), ("running", "starting"), Verdict.TIMEOUT),
    ],
)
def test_a_container_that_runs_and_is_not_healthy_is_not_healed(before: tuple[str, str], after: tuple[str, str], verdict: Verdict) -> None:
    found = judged(RESTART_WEB, host(unit("web", *before)), host(unit("web", *after)))
    assert found.verdict is verdict, found.summary
    assert found.settled is (verdict is not Verdict.TIMEOUT)


BACKUP = RestartUnit(target=HOST, unit="backup.service")
"""What is restarted by it runs to its end: a oneshot, or what a timer starts."""


def run(active: str, sub: str, result: str = "success", status: int | None = 0, **fields: Any) -> UnitView:
    """backup.service, a oneshot unless told otherwise, as systemd tells of its last run."""
    return unit("backup.service", active, sub, **({"type": "oneshot", "result": result, "status": status} | fields))


@pytest.mark.parametrize(
    ("seen", "health", "reason"),
    [
        (run("inactive", "dead"), Health.HEALTHY, "inactive (dead), its last run ended well"),
        (run("inactive", "dead", type="simple", timed=True), Health.HEALTHY, "inactive (dead), its last run ended well"),
        (run("active", "exited", stays=True), Health.HEALTHY, "active (exited)"),
        (run("activating", "start", status=None), Health.PROGRESSING, "activating (start)"),
        (run("failed", "failed", "exit-code", 1), Health.UNHEALTHY, "failed (failed), its last run ended with exit-code (status 1)"),
        (run("failed", "failed", "timeout", 15), Health.UNHEALTHY, "failed (failed), its last run ended with timeout (status 15)"),
        (run("inactive", "dead", "exit-code", 1), Health.UNHEALTHY, "inactive (dead), its last run ended with exit-code (status 1)"),
        (run("inactive", "dead", stays=True), Health.UNHEALTHY, "inactive (dead)"),
        (run("inactive", "dead", type="simple"), Health.UNHEALTHY, "inactive (dead)"),
        (run("inactive", "dead", type="notify"), Health.UNHEALTHY, "inactive (dead)"),
        (run("failed", "failed", "exit-code", 1, type="simple", timed=True), Health.UNHEALTHY, "failed (failed), its last run ended with"),
        (run("inactive", "dead", status=None), Health.UNKNOWN, "inactive (dead), no run of it is known"),
        (run("inactive", "dead", "", None), Health.UNKNOWN, "inactive (dead), no run of it is known"),
        (run("inactive", "dead", status=1), Health.UNKNOWN, "inactive (dead), its last run ended with status 1, which counts"),
        (run("inactive", "dead", "exec-condition", 1), Health.UNKNOWN, "inactive (dead), its last run was skipped by its own condition"),
    ],
)
def test_a_unit_that_runs_to_its_end_is_as_well_as_its_last_run_ended(seen: UnitView, health: Health, reason: str) -> None:
    found = unit_finding(seen)
    assert found.health is health
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        (run("inactive", "dead", since="later"), Verdict.SUCCESS),
        (run("active", "exited", stays=True, since="later"), Verdict.SUCCESS),
        (run("failed", "failed", "exit-code", 1, since="later"), Verdict.FAILED),
        (run("activating", "start", status=None, since="later"), Verdict.TIMEOUT),
        (run("inactive", "dead", status=None), Verdict.DEGRADED),
        (run("inactive", "dead", type="simple", since="later"), Verdict.FAILED),
    ],
)
def test_a_unit_that_runs_to_its_end_is_healed_by_a_run_that_ended_well(after: UnitView, verdict: Verdict) -> None:
    found = judged(BACKUP, host(run("failed", "failed", "exit-code", 1)), host(after))
    assert found.verdict is verdict, found.summary


def state(*views: UnitView) -> State:
    return joined("api", [State(uid=str(number), view=view, busy=False, changed="") for number, view in enumerate(views)])


def test_a_service_is_as_bad_as_the_worst_of_its_containers() -> None:
    fine, starts, bad = unit("api-1", "running", "healthy"), unit("api-2", "running", "starting"), unit("api-3", "running", "unhealthy")
    assert state(fine, starts, bad).view.sub == state(bad, starts, fine).view.sub == "unhealthy"
    assert state(fine, starts).view.sub == "starting"
    action = RestartComposeService(target=HOST, service="api")
    found = judged(
        action, host(unit("shop-api-1", "exited")), host(unit("shop-api-1", "running", "starting"), unit("shop-api-2", "exited"))
    )
    assert found.verdict is Verdict.FAILED


def test_a_unit_is_not_taken_for_a_container_of_its_name() -> None:
    down = host(unit("web", "running"), unit("web.service", "failed"))
    assert judged(RestartUnit(target=HOST, unit="web"), down, down).verdict is Verdict.FAILED
    only = host(unit("web", "running"))
    assert not judged(RestartUnit(target=HOST, unit="web"), down, only).measured
    assert not judged(RESTART_WEB, down, host(unit("web.service", "active"))).measured


def test_a_unit_that_is_down_as_before_has_the_same_fault() -> None:
    down = host(unit("web.service", "failed"))
    assert judged(RestartUnit(target=HOST, unit="web"), down, down).ground is Ground.SAME_FAULT


# Jobs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (job("Complete"), (Verdict.SUCCESS, Ground.HEALED, True)),
        (job("Failed"), (Verdict.FAILED, Ground.SAME_FAULT, True)),
        (job(), (Verdict.TIMEOUT, Ground.NOT_CONVERGED, False)),
        (job(exists=False, job=None), (Verdict.DEGRADED, Ground.UNMEASURED, False)),
    ],
)
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.UNKNOWN])
def test_a_job_that_was_run_again_is_judged_by_how_the_new_one_ended(
    after: Snapshot, expected: tuple[Verdict, Ground, bool], outcome: Outcome
) -> None:
    assert said(judged(RERUN, job("Failed"), after, outcome=outcome)) == expected


def test_the_alert_about_the_job_that_failed_holds_as_long_as_that_one_stays() -> None:
    found = judged(RERUN, job("Failed"), job("Complete"), firing=1, asked=1, fires=True)
    assert said(found) == (Verdict.SUCCESS, Ground.HEALED, True)
    assert found.cleared is False
    assert "the alert still fires" in found.summary


def test_pods_of_a_job_that_has_completed_say_nothing_against_it() -> None:
    ended = (pod("a", "crash", phase="Failed"), pod("b", "unready", phase="Succeeded"))
    assert judged(RERUN, job("Failed"), job("Complete", pods=ended)).verdict is Verdict.SUCCESS


# cordon -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [False, True])
def test_a_cordon_is_done_as_wanted_and_heals_nothing(*, ready: bool) -> None:
    for outcome in (Outcome.SUCCEEDED, Outcome.UNKNOWN):
        found = judged(CORDON, node(ready=False), node(ready=ready, cordoned=True), outcome=outcome, firing=1)
        assert said(found) == (Verdict.DEGRADED, Ground.CONTAINED, True)
        assert found.measured
    assert Ground.CONTAINED in UNKNOWN_GROUNDS


def test_a_cordon_that_is_ended_heals_nothing_either() -> None:
    found = judged(UncordonNode(target=CORDON.target), node(ready=False, cordoned=True), node(ready=True))
    assert said(found) == (Verdict.DEGRADED, Ground.CONTAINED, True)
    kept = judged(UncordonNode(target=CORDON.target), node(ready=False, cordoned=True), node(ready=True, cordoned=True))
    assert kept.ground is Ground.CHANGED_SINCE


@pytest.mark.parametrize("ready", [False, True])
def test_a_cordon_that_somebody_took_back_is_no_failure_of_it(*, ready: bool) -> None:
    assert judged(CORDON, node(ready=False), node(ready=ready)).ground is Ground.CHANGED_SINCE
    assert judged(CORDON, node(ready=False), node(ready=ready), outcome=Outcome.UNKNOWN).ground is Ground.ACTION_UNKNOWN


# chores -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", MAKES_ROOM, ids=lambda action: action.verb)
@pytest.mark.parametrize(
    ("before", "after", "verdict", "ground"),
    [
        (0.04, 0.30, Verdict.SUCCESS, Ground.HEALED),
        (0.04, 0.08, Verdict.DEGRADED, Ground.BETTER),
        (0.04, 0.04, Verdict.FAILED, Ground.SAME_FAULT),
        (0.04, 0.045, Verdict.FAILED, Ground.SAME_FAULT),
        (0.40, 0.60, Verdict.DEGRADED, Ground.HEALED_NOTHING),
    ],
)
def test_what_makes_room_is_judged_by_the_room_where_docker_keeps_its_data(
    action: Any, before: float, after: float, verdict: Verdict, ground: Ground
) -> None:
    unrelated = unit("backup.service", "failed"), unit("backup.service", "active")
    for then, now in (unrelated, unrelated[::-1]):
        found = judged(action, host(then, host=disks(before)), host(now, host=disks(after)))
        assert said(found) == (verdict, ground, True), found.summary


@pytest.mark.parametrize(
    ("room", "verdict", "ground"),
    [
        (0.05, Verdict.SUCCESS, Ground.HEALED),
        (0.08, Verdict.SUCCESS, Ground.HEALED),
        (0.09, Verdict.DEGRADED, Ground.BETTER),
        (0.03, Verdict.DEGRADED, Ground.HEALED_NOTHING),
    ],
)
def test_how_much_room_is_enough_is_a_setting(room: float, verdict: Verdict, ground: Ground) -> None:
    found = judged(PruneImages(target=HOST), host(host=disks(0.04)), host(host=disks(0.08)), room=room)
    assert said(found) == (verdict, ground, True), found.summary


def test_what_was_short_of_the_room_wanted_and_is_so_still_is_the_same_fault() -> None:
    found = judged(PruneImages(target=HOST), host(host=disks(0.3)), host(host=disks(0.3)), room=0.5)
    assert found.ground is Ground.SAME_FAULT


@pytest.mark.parametrize("action", MAKES_ROOM, ids=lambda action: action.verb)
def test_room_elsewhere_is_not_what_it_made(action: Any) -> None:
    found = judged(action, host(host=disks(0.04, other=0.02)), host(host=disks(0.04, other=0.9)))
    assert found.verdict is Verdict.FAILED
    found = judged(action, host(host=disks(0.04)), host(host=disks(0.3, other=0.02)))
    assert found.verdict is Verdict.SUCCESS


def test_a_file_system_without_inodes_has_no_room() -> None:
    full, free = disks(0.5, inodes=1000, inodes_available=10), disks(0.5, inodes=1000, inodes_available=900)
    assert judged(PruneImages(target=HOST), host(host=full), host(host=free)).verdict is Verdict.SUCCESS
    assert judged(PruneImages(target=HOST), host(host=full), host(host=full)).verdict is Verdict.FAILED


@pytest.mark.parametrize("view", [None, HostView(), msgspec.structs.replace(disks(0.5), file_systems=disks(0.5).file_systems[:1])])
def test_where_dockers_file_system_was_not_seen_nobody_knows(view: HostView | None) -> None:
    found = judged(PruneImages(target=HOST), host(host=disks(0.04)), host(host=view))
    assert (found.measured, found.ground) == (False, Ground.UNMEASURED)


@pytest.mark.parametrize(
    ("after", "verdict", "measured"),
    [
        (host(unit("nginx.service", "active", "running"), unit("backup.service", "failed")), Verdict.DEGRADED, True),
        (host(unit("nginx.service", "failed"), unit("nginx", "running")), Verdict.FAILED, True),
        (host(unit("backup.service", "active"), unit("nginx", "running")), Verdict.DEGRADED, False),
    ],
)
def test_a_reload_is_judged_by_nginx(after: Snapshot, verdict: Verdict, *, measured: bool) -> None:
    before = host(unit("nginx.service", "active", "running"), unit("backup.service", "failed"))
    found = judged(ReloadNginx(target=HOST), before, after)
    assert (found.verdict, found.measured) == (verdict, measured), found.summary


@pytest.mark.parametrize("after", [host(), host(unit("nginx.service", "failed")), snapshot(target=HOST)])
def test_nothing_here_tells_whether_certificates_are_good(after: Snapshot) -> None:
    found = judged(RenewCertificates(target=HOST), host(unit("nginx.service", "failed")), after)
    assert said(found) == (Verdict.DEGRADED, Ground.UNMEASURED, True), "waiting tells no more"
    assert (found.measured, found.score) == (False, 0.0)
