"""The gate's rule book, as pure functions: from a situation to a ruling, with the reason of every step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from schemas.action import Action, describe, is_in_repository, is_observation
from schemas.evidence import GitOps, Snapshot
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import CheckResult, IncidentState, Mode, Risk, Severity, Source, Tier
from stages.gate.options import GateOptions, GitOpsPolicy
from stages.gate.policy_file import default_policy
from stages.gate.rules import UNMEASURED, Applied, Facts, Passed, Policy, Reading

_LOWER = {Risk.MEDIUM: Risk.LOW, Risk.HIGH: Risk.MEDIUM}
_OPEN = (IncidentState.INVESTIGATING, IncidentState.MITIGATING)
PEOPLE_RULES = ("blocked", "gitops", "preflight", "policy_broken")
"""The rules of holding that only people can do something about."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Automatic actions permitted within the cooldowns: on all targets, on this one, and those that each rule with a cooldown is about.

    `incidents` are those that were opened within the time of the storm brake.
    """

    everywhere: int
    here: int
    rules: dict[str, int] = {}
    incidents: int = 0


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision rests on; it is kept with the decision.

    `incident` is the state of the incident, or None for an unknown one; `related` whether the action's target is the incident's
    own, or is known to belong to it or to own it; `proven` whether the stage that proposes really told the proposal; `busy_with`
    the approval that has the target, or empty; `traffic` is None until it has been counted under the lock; `gitops` is what
    would revert the action; `person` whether a person proposes it, and proves to be that person; `outdated` whether everything was
    stopped after it was proposed; `objection` what a critic says against it. `labels` are those of the signal that opened the
    incident, `alert_labels` those of the first of each of its `alerts`, in the words of whoever wrote them; `silences` say which of
    them were silenced when they were looked at.
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
    source: Source = Source.TEMPLATE
    playbook: str = ""
    confidence: float = 0.0
    labels: dict[str, str] = {}
    alert_labels: tuple[dict[str, str], ...] = ()
    alerts: tuple[str, ...] = ()
    silences: tuple[str, ...] = ()


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's demand for signatures."""

    rule: str
    signatures: int
    reason: str


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate says of a situation: held, or to be signed by `needed` people, with every one of `roles` among them.

    `rule` decided it; the first reason is its own. `mode` is the strictest that anything asks for. `applied` and `passed` are the
    rules of the policy that spoke of it and those that did not; `policy` is the version of its file.
    """

    held: bool
    rule: str
    reasons: tuple[str, ...]
    risk_before: Risk
    risk_after: Risk
    needed: int
    mode: Mode = Mode.AUTO
    roles: tuple[str, ...] = ()
    policy: str = ""
    file: str = ""
    applied: tuple[Applied, ...] = ()
    passed: tuple[Passed, ...] = ()

    @property
    def automatic(self) -> bool:
        """Whether it may run without anybody's signature."""
        return not self.held and self.needed == 0

    @property
    def unattended(self) -> bool:
        """Whether it would run without a signature if the mode were not shadow: then the valves have a say."""
        return self.needed == 0 and (not self.held or self.rule == "shadow")

    @property
    def cooled(self) -> tuple[str, ...]:
        """The rules with a cooldown that are about it."""
        return tuple(one.rule for one in self.applied if one.cooldown is not None)


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


def rule_on(situation: Situation, options: GateOptions, policy: Policy | None = None) -> Ruling:
    """The ruling on a situation; without a policy by the one that comes with Mendstream.

    Nothing that was not measured or not checked counts in favour of acting alone, and no policy makes it less than the laws here ask.
    """
    policy = policy or default_policy()
    before = _risk(situation, options)
    after = lowered(before, situation.trust, options.trust_threshold)
    reading = policy.read(_facts(situation, before, after))
    mode = strictest(situation.mode, *(one.mode for one in reading.applied if one.mode is not None))
    demands = tuple(_demands(situation, options, mode, reading))
    needed = max(demand.signatures for demand in demands)
    deciding = next(demand for demand in demands if demand.signatures == needed)
    reasons = (deciding.reason, *(demand.reason for demand in demands if demand is not deciding))
    plain = Ruling(
        held=False,
        rule=deciding.rule,
        reasons=reasons,
        risk_before=before,
        risk_after=after,
        needed=needed,
        mode=mode,
        roles=tuple(dict.fromkeys(role for one in reading.applied for role in one.roles)),
        policy=policy.version,
        file=policy.file,
        applied=reading.applied,
        passed=reading.passed,
    )
    held = next(_holds(situation, options, plain, reading), None)
    return plain if held is None else msgspec.structs.replace(plain, held=True, rule=held[0], reasons=(held[1], *reasons))


def strictest(*modes: Mode) -> Mode:
    """shadow before assist before auto."""
    return min(modes, key=list(Mode).index)


def _risk(situation: Situation, options: GateOptions) -> Risk:
    """The risk before trust: the one that the source names, else that of the severity; what nothing proves may only name a higher one."""
    usual = options.risks.of(situation.severity)
    named = situation.named_risk or usual
    return named if situation.proven else max(named, usual, key=list(Risk).index)


def _facts(situation: Situation, before: Risk, after: Risk) -> Facts:
    """What a policy may know of it, and the words for its reasons. Of what nothing proves, the blast radius is nobody's word."""
    action, target = situation.action, situation.action.target
    blast = situation.blast if situation.proven else None
    source = "named by its source" if before is situation.named_risk else f"severity {situation.severity.value}"
    trusted = f", {after.value} by a trust of {situation.trust}" if after is not before else ""
    open_checks = [check for check in situation.checks if check.result is not CheckResult.PASSED]
    return Facts(
        severity=situation.severity,
        cluster=target.cluster,
        namespace=target.namespace,
        name=target.name,
        kind=target.kind.value,
        action=action.verb,
        risk=after,
        tier=blast.tier.value if blast else UNMEASURED,
        score=blast.score if blast else -1,
        trust=situation.trust,
        mode=situation.mode,
        source=situation.source,
        playbook=situation.playbook,
        confidence=situation.confidence,
        labels=(situation.labels, *(labels for labels in situation.alert_labels if labels != situation.labels)),
        alerts=situation.alerts,
        now=situation.now,
        proven=situation.proven,
        related=situation.related,
        checked=bool(situation.checks) and not open_checks,
        said={
            "action": action.verb,
            "risk": f"{before.value} ({source}){trusted}",
            "blast": f"{blast.score} of 100, tier {blast.tier.value}" if blast else "not measured",
            "checks": "; ".join(_said(check) for check in open_checks) if situation.checks else "no preflight check was run",
            "severity": situation.severity.value,
            "tier": blast.tier.value if blast else UNMEASURED,
            "target": clean(str(target), 200),
            "namespace": target.namespace,
            "trust": str(situation.trust),
            "mode": situation.mode.value,
        },
    )


def _holds(situation: Situation, options: GateOptions, ruling: Ruling, reading: Reading) -> Iterator[tuple[str, str]]:
    """The rules that keep the action from being put to anybody, each with its reason; the first one decides."""
    what, blast = describe(situation.action), situation.blast
    if situation.incident is None:
        yield "incident_unknown", "its incident is not known here: nothing is decided about it"
    elif situation.incident not in _OPEN and not situation.person:  # what was done may be taken back when the problem is over
        yield "incident_over", f"its incident is {situation.incident.value}: only an open one accepts proposals"
    if blast is not None and blast.tier is Tier.BLOCKED and not is_observation(situation.action):
        yield "blocked", f"its blast radius is in the blocked tier (score {blast.score} of 100): nobody can approve it"
    yield from _forbidden(reading)
    if situation.gitops is not None and options.gitops is GitOpsPolicy.REFUSE and is_in_repository(situation.action):
        yield "gitops", f"{situation.gitops} keeps it as its repository says and would revert this; the settings refuse that"
    failed = [check for check in situation.checks if check.result is CheckResult.FAILED]
    if failed and not is_observation(situation.action):  # a look sees what it may, and says what it may not
        yield "preflight", "; ".join(_said(check) for check in failed)
    if situation.busy_with:
        yield "one_at_a_time", f"approval {situation.busy_with} for the same target is not finished"
    if ruling.mode is Mode.SHADOW:
        needed = ruling.needed
        would = "it would have run by itself" if needed == 0 else f"{needed} {_people(needed)} would have been asked to sign"
        yield "shadow", f"in shadow mode nothing runs; {would} ({ruling.rule}): {what}"


def _forbidden(reading: Reading) -> Iterator[tuple[str, str]]:
    """What the policy allows nobody; a condition without an answer might have forbidden it."""
    if reading.broken:
        yield "policy_broken", reading.broken
    yield from ((one.rule, one.reason) for one in reading.applied if one.refuse)


def _demands(situation: Situation, options: GateOptions, mode: Mode, reading: Reading) -> Iterator[Demand]:
    """What the laws, the policy and the valves ask for, in the order in which equal ones decide."""
    looks = is_observation(situation.action)
    if not situation.proven and not looks:
        reason = "nothing proves that the proposal was told by propose: what it says of itself is its own claim"
        yield Demand(rule="unproven", signatures=2, reason=reason)
    asked = [one for one in reading.applied if one.signatures is not None]
    for one in asked:
        yield Demand(rule=one.rule, signatures=one.signatures or 0, reason=one.reason)
    if not asked:
        yield Demand(rule="no_rule", signatures=1, reason="no rule of the policy says how many people sign it, so one does")
    if looks:
        return
    blast = situation.blast if situation.proven else None
    if blast is not None and blast.unmeasured:
        # The score counts such parts as the most that they could be; people are told, the tier decides.
        parts = clean(", ".join(blast.unmeasured), 300)
        yield Demand(rule="blast_unmeasured", signatures=0, reason=f"not measured, and counted at the worst: {parts}")
    if situation.objection:
        yield Demand(rule="objection", signatures=1, reason=situation.objection)
    if mode is Mode.ASSIST:
        yield Demand(rule="assist", signatures=1, reason="in assist mode a person signs every change")
    if situation.outdated:
        yield Demand(rule="stopped", signatures=1, reason="Mendstream was stopped after it was proposed: a person looks before it is run")
    yield from _valve_demands(situation, options, reading)


def _valve_demands(situation: Situation, options: GateOptions, reading: Reading) -> Iterator[Demand]:
    for window in options.freeze:
        if window.freezes(situation.action.target, situation.now):
            yield Demand(
                rule="freeze", signatures=1, reason=f"a freeze window holds automatic actions: {window.reason or 'no reason given'}"
            )
    if situation.silences:
        reason = f"{'; '.join(situation.silences)}: nothing runs by itself about what is silenced"
        yield Demand(rule="silenced", signatures=1, reason=clean(reason, 600))
    if situation.traffic is None:
        return
    if is_storm(situation.traffic, options):
        yield Demand(
            rule="storm", signatures=1, reason=f"{storm_said(situation.traffic, options)}: nothing runs by itself until it is over"
        )
    for rule, count, cooldown, where in (
        ("cooldown", situation.traffic.everywhere, options.cooldown, "anywhere"),
        ("target_cooldown", situation.traffic.here, options.target_cooldown, "on this target"),
    ):
        if count >= cooldown.actions:
            reason = f"{count} automatic actions {where} in {cooldown.seconds:g} s: the limit is {cooldown.actions}"
            yield Demand(rule=rule, signatures=1, reason=reason)
    for one in reading.applied:
        if one.cooldown is not None and (count := situation.traffic.rules.get(one.rule, 0)) >= one.cooldown.actions:
            where = "on this target" if one.cooldown.per == "target" else "of this rule"
            reason = f"{count} automatic actions {where} in {one.cooldown.seconds:g} s: the rule {one.rule} allows {one.cooldown.actions}"
            yield Demand(rule=one.rule, signatures=1, reason=reason)


def is_storm(traffic: Traffic, options: GateOptions) -> bool:
    """Whether there are more new incidents than the storm brake allows."""
    return traffic.incidents > options.storm.incidents


def storm_said(traffic: Traffic, options: GateOptions) -> str:
    """The storm, in words."""
    storm = options.storm
    return f"{traffic.incidents} new incidents in {storm.seconds / 60:g} min, where more than {storm.incidents} are a storm"


def _said(check: Check) -> str:
    """One check in words: its name, how it ended, what is missing."""
    said = "failed" if check.result is CheckResult.FAILED else "could not be run"
    missing = f": missing {check.missing}" if check.missing else ""
    detail = f" ({check.detail})" if check.detail else ""
    return clean(f"the check {check.name} {said}{missing}{detail}", 500)


def _people(count: int) -> str:
    return "person" if count == 1 else "people"
