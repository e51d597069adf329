"""The gate's rule book, as pure functions: from a situation to a ruling, with the reason of every step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from schemas.action import Action, describe, is_in_repository, is_observation
from schemas.evidence import BlastRadius, Check, GitOps, Snapshot
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import CheckResult, IncidentState, Mode, Risk, Severity, Tier
from stages.gate.options import GateOptions, GitOpsPolicy

_LOWER = {Risk.MEDIUM: Risk.LOW, Risk.HIGH: Risk.MEDIUM}
_OPEN = (IncidentState.INVESTIGATING, IncidentState.MITIGATING)
PEOPLE_RULES = ("blocked", "gitops", "preflight")
"""The rules of holding that only people can do something about."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Automatic actions permitted within the cooldowns: on all targets, and on this one."""

    everywhere: int
    here: int


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision rests on; it is kept with the decision.

    `incident` is the state of the incident, or None for an unknown one; `related` whether the action's target is the incident's
    own, or is known to belong to it or to own it; `proven` whether the stage that proposes really told the proposal; `busy_with`
    the approval that has the target, or empty; `traffic` is None until it has been counted under the lock; `gitops` is what
    would revert the action; `person` whether a person proposes it, and proves to be that person;
    `outdated` whether everything was stopped after it was proposed; `objection` what a critic says against it.
    """

    action: Action
    severity: Severity
    now: datetime
    mode: Mode
    incident: IncidentState | None
    related: bool
    proven: bool
    named_risk: Risk | None = None
    trust: int = 0
    blast: BlastRadius | None = None
    checks: tuple[Check, ...] = ()
    busy_with: str = ""
    traffic: Traffic | None = None
    gitops: GitOps | None = None
    person: bool = False
    outdated: bool = False
    objection: str = ""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's demand for signatures."""

    rule: str
    signatures: int
    reason: str


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says of a situation: held, or to be signed by `needed` people. `rule` decided it; the first reason is its own."""

    held: bool
    rule: str
    reasons: tuple[str, ...]
    risk_before: Risk
    risk_after: Risk
    needed: int

    @property
    def automatic(self) -> bool:
        """Whether it may run without anybody's signature."""
        return not self.held and self.needed == 0

    @property
    def unattended(self) -> bool:
        """Whether it would run without a signature if the mode were not shadow: then the valves have a say."""
        return self.needed == 0 and (not self.held or self.rule == "shadow")


def lowered(risk: Risk, trust: int, threshold: int) -> Risk:
    """The risk after trust: one level lower from `threshold` on; low stays, critical never drops."""
    return _LOWER.get(risk, risk) if trust >= threshold else risk


def is_related(target: Target, incident: Target, seen: Snapshot | None, uid: str) -> bool:
    """Whether the action's target is the incident's own, or by what was `seen` belongs to it or owns it.

    A name says nothing of that: `api-gateway` is no part of `api`. A pod belongs to a workload when the workload was seen to
    have it, the very one with this `uid`; an autoscaler to what it holds; anything to what is in its own chain of owners. An alert
    that does not say of which kind its target is means what has exactly that name.
    """
    if target == incident or (incident.kind is Kind.UNKNOWN and target == msgspec.structs.replace(incident, kind=target.kind)):
        return True
    if seen is None or (target.cluster, target.namespace) != (incident.cluster, incident.namespace):
        return False
    return _belongs(target, incident, seen, uid) or _belongs(incident, target, seen, "")


def _belongs(part: Target, whole: Target, seen: Snapshot, uid: str) -> bool:
    if seen.target == part:
        return any((owner.kind, owner.name) == (whole.kind, whole.name) for owner in seen.owners)
    if seen.target == whole and part.kind is Kind.POD:
        return any(pod.name == part.name and uid in ("", pod.uid) for pod in seen.pods)
    if seen.target == whole and part.kind is Kind.AUTOSCALER:
        return seen.autoscaler is not None and seen.autoscaler.name == part.name
    return False


def worst(*severities: Severity) -> Severity:
    """The worst of some severities; P0 is the worst."""
    return min(severities)


def rule_on(situation: Situation, options: GateOptions) -> Ruling:
    """The ruling on a situation. Nothing that was not measured or not checked counts in favour of acting alone."""
    before = _risk(situation, options)
    after = lowered(before, situation.trust, options.trust_threshold)
    demands = tuple(_demands(situation, options, before, after))
    needed = max(demand.signatures for demand in demands)
    deciding = next(demand for demand in demands if demand.signatures == needed)
    reasons = (deciding.reason, *(demand.reason for demand in demands if demand is not deciding))
    held = next(_holds(situation, options, needed, deciding), None)
    if held is not None:
        return Ruling(held=True, rule=held[0], reasons=(held[1], *reasons), risk_before=before, risk_after=after, needed=needed)
    return Ruling(held=False, rule=deciding.rule, reasons=reasons, risk_before=before, risk_after=after, needed=needed)


def _risk(situation: Situation, options: GateOptions) -> Risk:
    """The risk before trust: the one that the source names, else that of the severity; what nothing proves may only name a higher one."""
    usual = options.risks.of(situation.severity)
    named = situation.named_risk or usual
    return named if situation.proven else max(named, usual, key=list(Risk).index)


def _holds(situation: Situation, options: GateOptions, needed: int, deciding: Demand) -> Iterator[tuple[str, str]]:
    """The rules that keep the action from being put to anybody, each with its reason; the first one decides."""
    what, blast = describe(situation.action), situation.blast
    if situation.incident is None:
        yield "incident_unknown", "its incident is not known here: nothing is decided about it"
    elif situation.incident not in _OPEN and not situation.person:  # what was done may be taken back when the problem is over
        yield "incident_over", f"its incident is {situation.incident.value}: only an open one accepts proposals"
    if blast is not None and blast.tier is Tier.BLOCKED and not is_observation(situation.action):
        yield "blocked", f"its blast radius is in the blocked tier (score {blast.score} of 100): nobody can approve it"
    if situation.gitops is not None and options.gitops is GitOpsPolicy.REFUSE and is_in_repository(situation.action):
        yield "gitops", f"{situation.gitops} keeps it as its repository says and would revert this; the settings refuse that"
    failed = [check for check in situation.checks if check.result is CheckResult.FAILED]
    if failed and not is_observation(situation.action):  # a look sees what it may, and says what it may not
        yield "preflight", "; ".join(_said(check) for check in failed)
    if situation.busy_with:
        yield "one_at_a_time", f"approval {situation.busy_with} for the same target is not finished"
    if situation.mode is Mode.SHADOW:
        would = "it would have run by itself" if needed == 0 else f"{needed} {_people(needed)} would have been asked to sign"
        yield "shadow", f"in shadow mode nothing runs; {would} ({deciding.rule}): {what}"


def _demands(situation: Situation, options: GateOptions, before: Risk, after: Risk) -> Iterator[Demand]:
    if is_observation(situation.action):
        yield Demand(rule="observation", signatures=0, reason="it only looks and changes nothing")
        return
    if situation.action.verb in options.signed:
        yield Demand(rule="signed", signatures=1, reason=f"a person signs every action of the kind '{situation.action.verb}'")
    if not situation.proven:
        reason = "nothing proves that the proposal was told by propose: what it says of itself is its own claim"
        yield Demand(rule="unproven", signatures=2, reason=reason)
    source = "named by its source" if before is situation.named_risk else f"severity {situation.severity.value}"
    trusted = f", {after.value} by a trust of {situation.trust}" if after is not before else ""
    yield Demand(rule="risk", signatures=options.signatures.of(after), reason=f"risk {before.value} ({source}){trusted}")
    yield from _blast_demands(situation.blast if situation.proven else None)
    yield from _check_demands(situation.checks)
    if situation.objection:
        yield Demand(rule="objection", signatures=1, reason=situation.objection)
    if not situation.related:
        yield Demand(rule="other_target", signatures=1, reason="its target is not the one that the incident is about")
    if situation.mode is Mode.ASSIST:
        yield Demand(rule="assist", signatures=1, reason="in assist mode a person signs every change")
    if situation.outdated:
        yield Demand(rule="stopped", signatures=1, reason="Mendstream was stopped after it was proposed: a person looks before it is run")
    yield from _valve_demands(situation, options)


def _blast_demands(blast: BlastRadius | None) -> Iterator[Demand]:
    if blast is None:
        yield Demand(rule="blast_unmeasured", signatures=1, reason="its blast radius was not measured")
        return
    yield Demand(rule="blast", signatures=blast.tier.signatures, reason=f"blast radius {blast.score} of 100, tier {blast.tier.value}")
    if blast.unmeasured:
        # The score counts such parts as the most that they could be; people are told, the tier decides.
        parts = clean(", ".join(blast.unmeasured), 300)
        yield Demand(rule="blast_unmeasured", signatures=0, reason=f"not measured, and counted at the worst: {parts}")


def _check_demands(checks: tuple[Check, ...]) -> Iterator[Demand]:
    open_checks = [check for check in checks if check.result is not CheckResult.PASSED]
    if not checks:
        yield Demand(rule="not_checked", signatures=1, reason="no preflight check was run")
    elif open_checks:
        yield Demand(rule="not_checked", signatures=1, reason="; ".join(_said(check) for check in open_checks))


def _valve_demands(situation: Situation, options: GateOptions) -> Iterator[Demand]:
    for window in options.freeze:
        if window.holds(situation.now):
            yield Demand(
                rule="freeze", signatures=1, reason=f"a freeze window holds automatic actions: {window.reason or 'no reason given'}"
            )
    if situation.traffic is None:
        return
    for rule, count, cooldown, where in (
        ("cooldown", situation.traffic.everywhere, options.cooldown, "anywhere"),
        ("target_cooldown", situation.traffic.here, options.target_cooldown, "on this target"),
    ):
        if count >= cooldown.actions:
            reason = f"{count} automatic actions {where} in {cooldown.seconds:g} s: the limit is {cooldown.actions}"
            yield Demand(rule=rule, signatures=1, reason=reason)


def _said(check: Check) -> str:
    """One check in words: its name, how it ended, what is missing."""
    said = "failed" if check.result is CheckResult.FAILED else "could not be run"
    missing = f": missing {check.missing}" if check.missing else ""
    detail = f" ({check.detail})" if check.detail else ""
    return clean(f"the check {check.name} {said}{missing}{detail}", 500)


def _people(count: int) -> str:
    return "person" if count == 1 else "people"
