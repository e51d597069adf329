"""The judgement of before against after: a pure function over two snapshots, with a reason for each thing that was judged.

| after the action | before it            | result                                                                    |
|------------------|----------------------|---------------------------------------------------------------------------|
| healthy          | not healthy          | success                                                                   |
| healthy          | healthy              | success after a restart, degraded after anything else                     |
| healthy          | not known            | degraded: there is nothing to compare with                                |
| healthy, but containers restarted since | any | degraded: it does not run steadily                                   |
| healthy, but a metric got worse | not healthy | degraded: a regression, whatever the alert says                       |
| healthy, but the alert's own rule holds | any | degraded instead of success: it is looked at again, for a longer time |
| healthy          | a rollout under way  | degraded: it may have ended well by itself; a restart is a success        |
| healthy          | limited, and no replica was added | degraded: its load may have fallen by itself                 |
| not converged    | any                  | timeout; failed where it was healthy, or shows the fault that it showed   |
| only new pods are starting | any, and no more available | timeout: looked at again while its controller gives it time |
| broken or gone   | healthy              | failed: it got worse                                                      |
| only limited     | healthy              | degraded: that there is more load is not the action's doing               |
| only limited     | broken, or limited with fewer pods | degraded: better, but not healed                            |
| broken or gone   | broken               | failed; degraded where fewer pods are broken and more are available       |
| broken or gone   | not known            | degraded                                                                  |
| not measured     | any                  | degraded, or timeout where the look itself ran out of time; never trusted |
| any, a cordon    | any                  | degraded: it keeps new pods away and heals nothing                        |
| any              | any, an observation  | degraded: it only looked                                                  |
| any, but somebody took back what the action set | any | degraded: it says nothing of the action                      |

Limited is a workload whose autoscaler is at its maximum and wants more: for new bounds, and for alerts about that, it is not healthy.
Where nobody knows whether the action happened, no result is `failed`, and none is `success` without a trace of it.
What a success comes to after its hold-down is said in `stages.verify.relapse`.
"""

from __future__ import annotations

import msgspec

from schemas.action import (
    Action,
    CordonNode,
    DeletePod,
    EvictPod,
    RerunJob,
    RestartComposeService,
    RestartContainer,
    RestartUnit,
    RestartWorkload,
    UncordonNode,
    is_observation,
)
from schemas.diagnosis import ENOUGH_ROOM, Fault, Finding, live_pods, pod_finding
from schemas.evidence import Snapshot
from schemas.judgement import Judgement
from schemas.text import clean
from schemas.words import Ground, Health, Outcome, Verdict
from stages.verify.evidence import (
    faults_in,
    finding_of,
    has_more_room,
    is_eased,
    left_a_trace,
    left_unused,
    most_restarts_of_new,
    only_limited,
    restarts_since,
    same_fault,
    sensors_for,
    stays_broken,
)
from stages.verify.in_place import Place, Standing, place_of
from stages.verify.metrics import Circumstances, MetricsAssessment, judge_metrics
from stages.verify.options import Weights
from stages.verify.score import alert_share, change_share, parts_of, score_of, state_share, steadiness_share
from stages.verify.starting import only_starting, was_under_way

_CORDONS = (CordonNode, UncordonNode)
_BY_RULE = {None: "nobody could say whether its rule holds", True: "its own rule holds", False: "its own rule does not hold any more"}
_MORE_LOAD = "it was healthy before, and its pods are, but not its autoscaler"
_PODS_NAMED = 10
_CRASH_LOOP = 3  # restarts of a new pod, after which no patience changes the judgement
_UNITS = (RestartUnit, RestartContainer, RestartComposeService)
_RESTARTS = (RestartWorkload, DeletePod, EvictPod, *_UNITS)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be judged. `before` is None, or late, where nothing was measured before the action; `alerts` are the incident's.

    `firing` is how many of the incident's signals still fire, or None where that is not known; `fires` whether any of the alerts
    themselves holds by those who know their rules, None where nobody could say, and `asked` how many alerts they were asked about,
    0 where nobody was asked; `holding` and `gone` name those of which they say yes, and no.
    `timed_out` says that the look itself ran out of time, `elapsed` how many seconds after the end of the action it was.
    `room` is the share of Docker's file system that is enough.
    """

    action: Action
    outcome: Outcome
    before: Snapshot | None
    after: Snapshot
    alerts: tuple[str, ...] = ()
    firing: int | None = None
    asked: int = 0
    fires: bool | None = None
    holding: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    timed_out: bool = False
    elapsed: float | None = None
    room: float = ENOUGH_ROOM

    @property
    def cleared(self) -> bool | None:
        """Whether the alert is gone: by those who know its rule, else by what was told of it; None when nobody can say.

        A resolved notification alone does not count where they were asked and could not say: Alertmanager also sends one when it
        has not heard from Prometheus. Alerts that are gone clear no incident of which others fire.
        """
        if self.fires is not None:
            return not self.fires and (self.firing or 0) <= self.asked
        if self.firing is None or (self.asked and not self.firing):
            return None
        return self.firing == 0


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `settled` is false while waiting may still change it: then it counts only at the end of the warm-up.

    `parts` add up to the score.
    """

    settled: bool
    verdict: Verdict
    ground: Ground
    measured: bool
    health: Health
    summary: str
    judgements: tuple[Judgement, ...]
    score: float
    parts: dict[str, float]
    regressions: tuple[str, ...]
    cleared: bool | None
    relapse: bool = False


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    before: Finding
    after: Finding
    only_limited: bool
    place: Place
    metrics: MetricsAssessment
    restarts: int = 0
    same_fault: bool = False
    better: bool = False
    starting: bool = False
    traced: bool = False


_Result = tuple[Verdict, Ground, str]


def assess(question: Question, weights: Weights | None = None) -> Assessment:
    """The assessment of one look. Raises nothing."""
    facts = _facts(question)
    measured = facts.after.health is not Health.UNKNOWN
    verdict, ground, why = _verdict(question, facts)
    regressions = _regressions(question, facts)
    cleared = question.cleared
    fires = "; the alert still fires" if cleared is False and ground is not Ground.STILL_FIRING else ""
    parts = parts_of(_shares(question, facts), len(regressions), weights or Weights()) if measured else {}
    return Assessment(
        settled=_settled(question, facts, ground),
        verdict=verdict,
        ground=ground,
        measured=measured,
        health=facts.after.health,
        summary=clean(f"{why}: {facts.after.reason}{fires}", 600),
        judgements=_judgements(question, facts),
        score=score_of(parts),
        parts=parts,
        regressions=regressions,
        cleared=cleared,
    )


def _facts(question: Question) -> _Facts:
    action, alerts, room, before = question.action, question.alerts, question.room, question.before
    after, limited = finding_of(question.after, action, alerts, room), only_limited(question.after, action, alerts)
    unknown = Finding(Health.UNKNOWN, "nothing was measured before")
    earlier = unknown if before is None or before.late else finding_of(before, action, alerts, room)
    circumstances = Circumstances(
        healthy_before=earlier.health is Health.HEALTHY, healthy_after=after.health is Health.HEALTHY, elapsed=question.elapsed
    )
    metrics, place = judge_metrics(before, question.after, circumstances), place_of(action, before, question.after)
    known = _Facts(
        before=earlier,
        after=after,
        only_limited=limited,
        place=place,
        metrics=metrics,
    )
    if before is None or before.late:
        return known
    faults, left = faults_in(before), faults_in(question.after)
    fewer = _available(question.after) < _available(before)
    starting = only_starting(before, question.after) and not (fewer and earlier.health is Health.HEALTHY)
    if starting and after.health is Health.UNHEALTHY:  # by what the new pods are to replace, or to relieve
        after = Finding(Health.PROGRESSING, after.reason)
    return msgspec.structs.replace(
        known,
        after=after,
        starting=starting,
        restarts=restarts_since(before, question.after),
        same_fault=same_fault(before, question.after, action, alerts, room),
        better=(sum(left.values()) < sum(faults.values()) and _available(question.after) > _available(before))
        or has_more_room(before, question.after, action)
        or is_eased(before, question.after, action, alerts),
        traced=left_a_trace(before, question.after, action),
    )


def _settled(question: Question, facts: _Facts, ground: Ground) -> bool:
    """Whether waiting would change nothing: it has converged, or it is broken in a way that does not pass."""
    if is_observation(question.action) or facts.after.health is Health.ABSENT or not _is_measurable(question):
        return True
    if isinstance(question.action, _CORDONS):
        return facts.after.health is not Health.UNKNOWN and facts.place.standing is not Standing.UNSEEN
    if facts.after.health is Health.HEALTHY:
        return facts.restarts == 0 and not facts.metrics.regressions and ground not in (Ground.STILL_FIRING, Ground.UNMEASURED)
    if facts.after.health is not Health.UNHEALTHY:
        return False
    if stays_broken(question.after, question.action):
        return True
    return question.before is not None and most_restarts_of_new(question.before, question.after) >= _CRASH_LOOP


def _is_measurable(question: Question) -> bool:
    """Whether any sensor tells what the action does: where none does, waiting shows no more."""
    return bool(sensors_for(question.action, question.after.target.kind))


def _verdict(question: Question, facts: _Facts) -> _Result:
    """The result by the table above, and why in a few words."""
    if is_observation(question.action):
        return Verdict.DEGRADED, Ground.ONLY_LOOKED, "it was only looked at"
    if isinstance(question.action, _CORDONS) and facts.after.health is not Health.UNKNOWN:
        return _when_cordoned(question, facts)
    if facts.place.standing is Standing.TAKEN_BACK and facts.after.health not in (Health.UNKNOWN, Health.ABSENT):
        return _when_taken_back(question, facts)
    match facts.after.health:
        case Health.UNKNOWN:
            return (Verdict.TIMEOUT if question.timed_out else Verdict.DEGRADED), Ground.UNMEASURED, "nothing could be measured"
        case Health.HEALTHY:
            return _when_healthy(question, facts)
        case Health.PROGRESSING:
            verdict, ground, why = _when_unfinished(facts)
        case _:
            verdict, ground, why = _when_broken(facts)
    if verdict is Verdict.FAILED and question.outcome is Outcome.UNKNOWN and not facts.traced:
        return Verdict.DEGRADED, Ground.ACTION_UNKNOWN, f"{why}, and nobody knows whether the action happened"
    return verdict, ground, why


def _when_cordoned(question: Question, facts: _Facts) -> _Result:
    """A node that takes no pods, or takes them again, is what was wanted of it, whatever else the node does: nothing is healed by it."""
    match facts.place.standing:
        case Standing.IN_PLACE:
            return Verdict.DEGRADED, Ground.CONTAINED, "done as wanted, which by itself heals nothing"
        case Standing.TAKEN_BACK:
            return _when_taken_back(question, facts)
        case Standing.UNSEEN:
            return Verdict.DEGRADED, Ground.UNMEASURED, facts.place.reason


def _when_taken_back(question: Question, facts: _Facts) -> _Result:
    if question.outcome is Outcome.UNKNOWN:
        return Verdict.DEGRADED, Ground.ACTION_UNKNOWN, f"nothing shows that the action happened ({facts.place.reason})"
    how = "healthy, but" if facts.after.health is Health.HEALTHY else "not what the action left:"
    return Verdict.DEGRADED, Ground.CHANGED_SINCE, f"{how} {facts.place.reason}"


def _when_healthy(question: Question, facts: _Facts) -> _Result:
    """Healthy now: a success only where it can be said that the action, and nothing else, may have made it so."""
    if facts.restarts:
        return Verdict.DEGRADED, Ground.RESTARTING, f"healthy, but its containers restarted {facts.restarts} times since"
    if worse := facts.metrics.regressions:
        more = f" and {len(worse) - 1} more" if len(worse) > 1 else ""
        return Verdict.DEGRADED, Ground.REGRESSED, f"healthy, but {worse[0]}{more}"
    if facts.before.health is Health.UNKNOWN:
        return Verdict.DEGRADED, Ground.NOTHING_BEFORE, "healthy, with nothing from before to compare with"
    if question.outcome is Outcome.UNKNOWN and not facts.traced:
        return Verdict.DEGRADED, Ground.ACTION_UNKNOWN, "healthy, but nothing shows that the action happened"
    if why := _by_itself(question, facts):
        return Verdict.DEGRADED, Ground.NOTHING_BEFORE, f"healthy, but {why}"
    if facts.before.health is Health.HEALTHY and not isinstance(question.action, _RESTARTS):
        return Verdict.DEGRADED, Ground.HEALED_NOTHING, "it was healthy before, so this healed nothing"
    if facts.place.standing is Standing.UNSEEN:
        return Verdict.DEGRADED, Ground.UNMEASURED, f"healthy, but {facts.place.reason}"
    if question.fires and not isinstance(question.action, RerunJob):  # its alert is about the Job that failed, and that one stays
        return Verdict.DEGRADED, Ground.STILL_FIRING, "healthy, but the alert still fires by its own rule"
    if facts.before.health is Health.HEALTHY:
        return Verdict.SUCCESS, Ground.STAYED_WELL, "healthy before and after"
    return Verdict.SUCCESS, Ground.HEALED, "healed"


def _by_itself(question: Question, facts: _Facts) -> str:
    """What may have made it well, in a few words, rather than the action; empty where nothing is known to."""
    if (
        facts.before.health is Health.PROGRESSING
        and not isinstance(question.action, _RESTARTS)
        and was_under_way(question.before, question.action)
    ):
        return "a rollout was under way before, which may have ended well by itself"
    if question.before is not None and left_unused(question.before, question.after, question.action):
        return "its autoscaler added nothing, so its load may have fallen by itself"
    return ""


def _when_unfinished(facts: _Facts) -> _Result:
    if facts.starting:
        return Verdict.TIMEOUT, Ground.STARTING, "its new pods are still being started"
    if facts.before.health is Health.HEALTHY and facts.only_limited:
        return Verdict.DEGRADED, Ground.HEALED_NOTHING, _MORE_LOAD
    if facts.before.health is Health.HEALTHY:
        return Verdict.FAILED, Ground.WORSE, "it was healthy before and did not come back in time"
    if facts.same_fault and not facts.better:
        return Verdict.FAILED, Ground.SAME_FAULT, "it shows the same fault as before"
    return Verdict.TIMEOUT, Ground.NOT_CONVERGED, "it did not converge in time"


def _when_broken(facts: _Facts) -> _Result:
    if facts.before.health is Health.HEALTHY and facts.only_limited:
        return Verdict.DEGRADED, Ground.HEALED_NOTHING, _MORE_LOAD
    if facts.before.health is Health.HEALTHY:
        return Verdict.FAILED, Ground.WORSE, "it got worse"
    if facts.before.health is Health.UNKNOWN:
        return Verdict.DEGRADED, Ground.NOTHING_BEFORE, "broken, with nothing from before to compare with"
    if facts.better:
        return Verdict.DEGRADED, Ground.BETTER, "better, but not healed"
    if facts.same_fault:
        return Verdict.FAILED, Ground.SAME_FAULT, "still broken in the same way"
    return Verdict.FAILED, Ground.OTHER_FAULT, "still broken, in another way"


def _regressions(question: Question, facts: _Facts) -> tuple[str, ...]:
    """What is worse than before the action."""
    before = question.before
    if before is None or before.late or facts.after.health is Health.UNKNOWN:
        return facts.metrics.regressions if before is not None and not before.late else ()
    found = []
    if facts.restarts:
        found.append(f"{facts.restarts} container restarts since the action")
    if _available(question.after) < _available(before):
        found.append(f"{_available(question.after)} pods available, {_available(before)} before")
    known = faults_in(before)
    found += [f"pods of which each {fault}: {count}, none before" for fault, count in _broken(question.after).items() if not known[fault]]
    if before.node_ready and question.after.node_ready is False:
        found.append("the node is not ready any more")
    return (*found, *facts.metrics.regressions)


def _broken(snapshot: Snapshot) -> dict[Fault, int]:
    return {fault: count for fault, count in faults_in(snapshot).items() if fault.is_broken}


def _shares(question: Question, facts: _Facts) -> dict[str, float | None]:
    """The share of each part of the score."""
    health = facts.after.health
    faulty = [sum(faults_in(snapshot).values()) if snapshot else 0 for snapshot in (question.before, question.after)]
    return {
        "state": state_share(health),
        "change": None if facts.starting else change_share(health, *faulty),
        "steadiness": steadiness_share(health, facts.restarts),
        "alert": alert_share(question.cleared),
        "metrics": facts.metrics.share,
    }


def _judgements(question: Question, facts: _Facts) -> tuple[Judgement, ...]:
    """One line for the target, each pod that is not well, the restarts, the alert and each metric."""
    about = str(question.after.target)
    lines = [
        Judgement(about=about, health=facts.after.health, reason=facts.after.reason, before=facts.before.reason, after=facts.after.reason)
    ]
    unwell = [(pod, pod_finding(pod)) for pod in live_pods(question.after) if pod_finding(pod).health is not Health.HEALTHY]
    lines += [Judgement(about=f"pod {pod.name}", health=finding.health, reason=finding.reason) for pod, finding in unwell[:_PODS_NAMED]]
    if facts.restarts:
        lines.append(Judgement(about="restarts", health=Health.UNHEALTHY, reason="containers restarted since", after=str(facts.restarts)))
    return (*lines, *_alert(question), *facts.metrics.judgements)


def _alert(question: Question) -> tuple[Judgement, ...]:
    if question.firing is None and not question.asked:
        return ()
    health = {None: Health.UNKNOWN, True: Health.HEALTHY, False: Health.UNHEALTHY}[question.cleared]
    told = [] if question.firing is None else [f"{question.firing} signals fire"]
    if question.asked:
        told.append(_BY_RULE[question.fires])
    return (Judgement(about="alert", health=health, reason=", ".join(told)),)


def _available(snapshot: Snapshot) -> int:
    return snapshot.workload.available if snapshot.workload else sum(pod.ready for pod in snapshot.pods)
