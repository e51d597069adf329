"""The templates: what to do by the kind of alert, corrected by what is really seen. A pure function, one remedy for each row.

Seen facts come before words. What has healed is left alone, what a restart cannot heal is not restarted, and a fault that
began with a new revision is rolled back whatever the alert is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from schemas.action import RerunJob, RestartWorkload, RollBackWorkload
from schemas.diagnosis import Fault, fault_of, live_pods, workload_finding
from schemas.target import Kind
from schemas.words import Health
from stages.propose.capacity import raise_limit, scale_for_resources, scale_up
from stages.propose.case import Case, Suggestion
from stages.propose.hosts import suggest_for_host
from stages.propose.investigation import counted, faults_of, investigate
from stages.propose.nodes import suggest_for_node, suggest_off_lost_node
from stages.propose.options import ProposeOptions
from stages.propose.rollout import Rollout, began_with_revision, changed_recently, current_revision, last_good
from stages.propose.symptoms import Symptom, symptom_of

Remedy = Callable[[Case, ProposeOptions], Suggestion]

_BREAKS_SERVICE = frozenset({Fault.CRASH, Fault.MEMORY, Fault.PULL, Fault.CONFIG, Fault.UNSCHEDULED})
_ADVICE = {
    Fault.PULL: "Does the image exist, and may this cluster pull it? Correct the image or the pull secret",
    Fault.CONFIG: "Which ConfigMap or Secret, or which key in it, is missing? Supply it",
    Fault.UNSCHEDULED: "No node has room or a fitting label for it: add capacity, or lower the request",
}


def suggest(case: Case, options: ProposeOptions) -> Suggestion:
    """The remedy of the first row that fits `case`; Investigate where none does. Raises nothing."""
    kind = case.target.kind
    if (other := _OTHER_KINDS.get(kind)) is not None:
        return other(case)
    if not kind.is_workload:
        return investigate(case, f"No template changes a {kind}.", question=f"What should be done about {case.target}?")
    if case.snapshot.workload is None:
        return investigate(
            case, "The workload could not be measured, so nothing is changed.", question=f"What is wrong with {case.target}?"
        )
    if case.snapshot.workload.desired == 0:
        return investigate(case, "It is scaled to 0 replicas: there is nothing to heal.")
    faults = faults_of(case)
    rollout = began_with_revision(case.snapshot, case.opened_at, timedelta(seconds=options.rollout_window))
    if rollout is not None:
        return _back(case, rollout, faults)
    if (moved := suggest_off_lost_node(case)) is not None:
        return moved
    if incurable := next((fault for fault in faults if not fault.heals_by_restart), None):
        return _incurable(case, incurable, faults[incurable])
    symptom = symptom_of(case.alerts, case.labels)
    if symptom not in (Symptom.CRASH, Symptom.ERROR) and _BREAKS_SERVICE & faults.keys():
        symptom = Symptom.CRASH
    return _REMEDIES[symptom](case, options)


def _back(case: Case, rollout: Rollout, faults: Counter[Fault]) -> Suggestion:
    good, bad = rollout.good, rollout.bad
    cause = f"revision {bad.revision} ({', '.join(bad.images)}) does not work"
    stays = "Kubernetes does not replace the broken pod of a StatefulSet after a roll back: if it stays, it must be deleted by hand."
    return Suggestion(
        action=RollBackWorkload(target=case.target, to_revision=good.revision),
        reasons=(
            f"No pod of revision {bad.revision} ({', '.join(bad.images)}) works: {counted(faults)}.",
            f"The fault began with that revision: {rollout.why}.",
            f"Revision {good.revision} ({', '.join(good.images)}) is the last one that gives no sign of the fault.",
            *((stays,) if case.target.kind is Kind.STATEFULSET else ()),
        ),
        confidence=0.9,
        root_cause=cause,
    )


def _incurable(case: Case, fault: Fault, pods: int) -> Suggestion:
    reason = (
        f"{pods} of its pods: each {fault}. A restart cannot heal that, and nothing ties it to a new revision that could be rolled back."
    )
    return investigate(
        case, f"{reason}{_said(case, fault)}", question=f"{_ADVICE[fault]} for {case.target}.{_said(case, fault)}", confidence=0.8
    )


def _said(case: Case, fault: Fault) -> str:
    """What the cluster itself says of the fault, such as the key that is missing."""
    pods = [pod for pod in live_pods(case.snapshot) if fault_of(pod) is fault]
    said = [container.message for pod in pods for container in pod.containers if container.waiting and container.message]
    said += [pod.message for pod in pods if pod.message]
    return f" Kubernetes says: {said[0]}." if said else ""


def _restart(case: Case, options: ProposeOptions) -> Suggestion:
    finding = workload_finding(case.snapshot)
    if finding.health is Health.HEALTHY:
        return investigate(case, f"It has healed meanwhile: {finding.reason}. Nothing is changed.", confidence=0.9)
    faults = faults_of(case)
    if not faults:
        return investigate(
            case, f"No pod shows a fault that a restart heals: {finding.reason}.", question=f"What keeps {case.target} from running?"
        )
    memory = Fault.MEMORY in faults
    restart = Suggestion(
        action=RestartWorkload(target=case.target),
        reasons=(
            f"What is seen: {counted(faults)}.",
            "No change of images explains it, so new pods of the same revision may do better.",
            *(("A restart frees memory but raises no limit: it may be killed again.",) if memory else ()),
        ),
        confidence=0.4 if memory else 0.6,
    )
    return raise_limit(case, options, otherwise=restart) if memory else restart


def _roll_back(case: Case, options: ProposeOptions) -> Suggestion:
    good, current = last_good(case.snapshot), current_revision(case.snapshot)
    finding = workload_finding(case.snapshot)
    recent = changed_recently(case.snapshot, case.opened_at, timedelta(seconds=options.rollout_window))
    if finding.health is Health.HEALTHY and not (recent and good):
        return investigate(case, f"Its pods are healthy ({finding.reason}) and its images are not new: the errors come from elsewhere.")
    if good is None or current is None:
        return investigate(
            case,
            f"There is no earlier revision with other images to go back to ({finding.reason}).",
            question=f"What makes {case.target} fail?",
        )
    since = "The current images are new." if recent else "The current images are not new, so this is a guess."
    return Suggestion(
        action=RollBackWorkload(target=case.target, to_revision=good.revision),
        reasons=(
            f"The alert speaks of errors; its state: {finding.reason}.",
            f"{since} Revision {good.revision} ({', '.join(good.images)}) ran before revision {current.revision}.",
        ),
        confidence=0.7 if recent else 0.3,
    )


def _nothing(case: Case, _: ProposeOptions) -> Suggestion:
    finding = workload_finding(case.snapshot)
    known = finding.health is Health.HEALTHY
    return investigate(
        case,
        f"No template fits the alert {', '.join(case.alerts[:3]) or 'without a name'}; its state: {finding.reason}.",
        question="" if known else f"What should be done about {case.target}?",
    )


def _rerun(case: Case) -> Suggestion:
    """A Job that has failed is run again, once; whether it has failed is for the preflight to say."""
    if symptom_of(case.alerts, case.labels) not in (Symptom.CRASH, Symptom.ERROR):
        return investigate(case, "No template fits this alert about a Job.", question=f"What should be done about {case.target}?")
    if scheduler := next((owner.name for owner in case.snapshot.owners if owner.kind == "CronJob"), ""):
        why = f"CronJob {scheduler} makes the next one by itself: running this one again may do its work twice."
        return investigate(case, why, question=f"Is the next run of {scheduler} soon enough?")
    return Suggestion(
        action=RerunJob(target=case.target),
        reasons=(
            "The alert says that it has failed; it does not run again by itself.",
            "A new Job of the same template does; this one stays.",
        ),
        confidence=0.4,
    )


_OTHER_KINDS: dict[Kind, Callable[[Case], Suggestion]] = {Kind.HOST: suggest_for_host, Kind.NODE: suggest_for_node, Kind.JOB: _rerun}
_REMEDIES: dict[Symptom, Remedy] = {
    Symptom.CRASH: _restart,
    Symptom.ERROR: _roll_back,
    Symptom.LATENCY: scale_up,
    Symptom.RESOURCE: scale_for_resources,
    Symptom.OTHER: _nothing,
}
