"""What a success comes to after its hold-down: the fault that comes back turns it into a failure. A pure function.

| at the look after the hold-down                      | result                                                       |
|------------------------------------------------------|--------------------------------------------------------------|
| healthy, no restarts since                           | as it is judged then: success, or degraded by a metric       |
| healthy, but containers restarted since              | failed, a relapse                                            |
| healthy, but an alert that was gone holds again      | failed, a relapse                                            |
| healthy, but another alert holds by its own rule     | degraded: it is looked at again, for a longer time           |
| broken                                               | failed, a relapse                                            |
| not converged                                        | looked at again, and at the limit failed, a relapse          |
| only pods that are new since are starting            | looked at again, and at the limit timeout                    |
| any of these, somebody changed it since, other fault | degraded: it says nothing of the action                      |
| any of these, what the action set was taken back     | degraded: it says nothing of the action                      |
| gone                                                 | degraded: somebody deleted it since                          |
| not measured                                         | looked at again, and at the limit degraded or timeout        |

An unready pod may just be starting, as after an autoscaler's decision: so what has not converged is given the time to, and a pod
that was not there when it was healed tells of no relapse by that alone.
"""

from __future__ import annotations

import msgspec

from schemas.evidence import Snapshot
from schemas.text import clean
from schemas.words import Ground, Health, Outcome, Verdict
from stages.verify.evidence import left_a_trace, restarts_since, same_fault, unit_restarts_since
from stages.verify.judge import Assessment, Question, assess
from stages.verify.options import Weights
from stages.verify.score import REGRESSIONS, score_of
from stages.verify.starting import only_starting

_LOST = ("state", "change")
"""The parts of the score of which nothing is left in a relapse."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The look that first found it healed: what was seen, which alerts were gone by then, and how many seconds ago that was."""

    after: Snapshot
    gone: tuple[str, ...]
    seconds: float


def assess_held(question: Question, held: Held, weights: Weights | None = None) -> Assessment:
    """The assessment of a look after the hold-down. Raises nothing."""
    weights = weights or Weights()
    found = assess(question, weights)
    if not found.measured:
        why = f"healed at first, but nothing could be measured {_ago(held)}"
        return _with(found, found.verdict, Ground.UNMEASURED, why, settled=False)
    if found.health is Health.ABSENT:
        return _with(found, Verdict.DEGRADED, Ground.CHANGED_SINCE, "healed at first, but somebody deleted it since", settled=True)
    if found.ground is Ground.CHANGED_SINCE:
        return _with(found, found.verdict, found.ground, f"healed at first, and now {found.summary}", settled=found.settled)
    came_back = _came_back(question, held, found)
    if came_back is None:
        settled = found.settled and not found.regressions
        well = found.health is Health.HEALTHY
        why = f"{found.summary}, and so {_ago(held)}" if well else f"healed at first, and now {found.summary}"
        return _with(found, found.verdict, found.ground, why, settled=settled)
    settled = found.health is not Health.PROGRESSING
    if _changed(question, held):
        why = f"healed at first, then somebody changed it, and it fails in another way: {came_back}"
        return _with(found, Verdict.DEGRADED, Ground.CHANGED_SINCE, why, settled=settled)
    if question.outcome is Outcome.UNKNOWN and not (question.before and left_a_trace(question.before, question.after, question.action)):
        why = f"healthy at first, but it came back ({came_back}), and nobody knows whether the action happened"
        return _with(found, Verdict.DEGRADED, Ground.ACTION_UNKNOWN, why, settled=settled)
    return _relapsed(found, f"it came back {_ago(held)}: {came_back}", weights, settled=settled)


def _ago(held: Held) -> str:
    return f"{held.seconds:.0f} s later"


def _came_back(question: Question, held: Held, found: Assessment) -> str | None:
    """What is not well any more, in a few words; None when all is as at the first look."""
    starting = found.ground is Ground.STARTING and only_starting(held.after, question.after)
    if found.health is not Health.HEALTHY and not starting:
        return found.judgements[0].reason
    restarts = restarts_since(held.after, question.after) + unit_restarts_since(held.after, question.after, question.action)
    if restarts:
        return f"healthy at this moment, but restarted {restarts} times since"
    again = [name for name in question.holding if name in held.gone]
    return f"an alert that was gone fires again: {again[0]}" if again else None


def _changed(question: Question, held: Held) -> bool:
    """Whether somebody changed the workload since, and it shows none of the faults of before the action."""
    earlier, later = held.after.workload, question.after.workload
    if earlier is None or later is None or (earlier.uid, earlier.generation) == (later.uid, later.generation):
        return False
    same = question.before is not None and same_fault(question.before, question.after, question.action, question.alerts, question.room)
    return not same and not _restarted_as_before(question, held)


def _restarted_as_before(question: Question, held: Held) -> bool:
    """Whether pods of before the change have restarted: that is no doing of the change."""
    known = {pod.uid for pod in held.after.pods}
    kept = msgspec.structs.replace(question.after, pods=tuple(pod for pod in question.after.pods if pod.uid in known))
    return restarts_since(held.after, kept) > 0


def _relapsed(found: Assessment, why: str, weights: Weights, *, settled: bool) -> Assessment:
    regressions = (*found.regressions, "it was healed and did not stay so")
    parts = {name: 0.0 if name in _LOST else part for name, part in found.parts.items()}
    parts[REGRESSIONS] = round(parts.get(REGRESSIONS, 0.0) - weights.regression, 4)
    judged = _with(found, Verdict.FAILED, Ground.RELAPSED, why, settled=settled)
    return msgspec.structs.replace(judged, relapse=True, regressions=regressions, parts=parts, score=score_of(parts))


def _with(found: Assessment, verdict: Verdict, ground: Ground, why: str, *, settled: bool) -> Assessment:
    return msgspec.structs.replace(found, verdict=verdict, ground=ground, summary=clean(why, 600), settled=settled)
