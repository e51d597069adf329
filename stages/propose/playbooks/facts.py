"""What is known of a case: what one look says, and what only propose can tell, such as whether a fault began with a new revision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from schemas.action import SetMemoryLimit
from schemas.diagnosis import wants_more
from schemas.facts import Value, facts_of
from schemas.target import Kind
from stages.propose.capacity import raise_limit
from stages.propose.case import Case
from stages.propose.investigation import faults_of, investigate
from stages.propose.options import ProposeOptions
from stages.propose.rollout import began_with_revision, changed_recently, last_good


def known(case: Case, labels: Mapping[str, str], options: ProposeOptions) -> dict[str, Value]:
    """Every fact of `schemas.facts.FACTS` that was measured, and the labels."""
    found = facts_of(case.snapshot, labels)
    for part in (_of_rollout, _of_capacity):
        found |= {f"evidence.{name}": value for name, value in part(case, options)}
    if "evidence.well" in found and case.target.kind.is_workload:
        found["evidence.restart.may_help"] = _restart_may_help(case, found)
    return found


def _of_rollout(case: Case, options: ProposeOptions) -> Iterator[tuple[str, Value]]:
    if not case.snapshot.revisions:
        return
    window = timedelta(seconds=options.rollout_window)
    rollout = began_with_revision(case.snapshot, case.opened_at, window)
    yield "rollout.began", rollout is not None
    yield "rollout.recent", changed_recently(case.snapshot, case.opened_at, window)
    good = rollout.good if rollout else last_good(case.snapshot)
    if good is not None:
        yield "rollout.good", good.revision


def _of_capacity(case: Case, options: ProposeOptions) -> Iterator[tuple[str, Value]]:
    """What could be given more of, within what the settings allow."""
    scaler, workload = case.snapshot.autoscaler, case.snapshot.workload
    if scaler is not None and scaler.maxed and wants_more(scaler) and scaler.maximum + options.autoscaler_step <= options.autoscaler_limit:
        yield "autoscaler.more", scaler.maximum + options.autoscaler_step
    if scaler is None and workload is not None and case.target.kind is not Kind.DAEMONSET and workload.desired > 0:
        more = workload.desired + options.scale_step
        if more <= options.scale_limit:
            yield "workload.more", more
    raised = raise_limit(case, options, otherwise=investigate(case, "no limit")).action
    if isinstance(raised, SetMemoryLimit):
        yield "memory.container", raised.container
        yield "memory.doubled", raised.memory


def _restart_may_help(case: Case, found: Mapping[str, Value]) -> bool:
    faults = faults_of(case)
    blamed = bool(found.get("evidence.rollout.began")) or bool(found.get("evidence.lost.pods"))
    return not found["evidence.well"] and not blamed and bool(faults) and all(fault.heals_by_restart for fault in faults)
