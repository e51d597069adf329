"""A policy on trial: what it would say about each action for the alerts of a payload, with nothing looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ops.cli.words import choice_of, known_word
from ops.errors import CommandFailed
from schemas import action as actions
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.words import CheckResult, IncidentState, Mode, SignalStatus, Tier

if TYPE_CHECKING:
    from ops.settings import Settings
    from schemas.action import Action
    from stages.gate.rules import Policy

_SCORES = {Tier.AUTO: 10, Tier.HUMAN: 40, Tier.DUAL: 70, Tier.BLOCKED: 95}
_UNMEASURED = "unmeasured"


def trials(
    policy: Policy, payload: bytes, settings: Settings, *, verbs: Sequence[str], tier: str, trust: int, mode: str
) -> list[dict[str, Any]]:
    """A row for each firing alert and action. Raises CommandFailed for a payload or a word that is none."""
    from adapters.alertmanager.webhook import InvalidPayload, parse

    try:
        alerts = parse(payload)
    except InvalidPayload as error:
        raise CommandFailed(f"the payload is none of Alertmanager's: {error}") from None
    reach = None if tier == _UNMEASURED else choice_of(Tier, tier)
    chosen = choice_of(Mode, mode) if mode else None
    for verb in verbs:
        known_word(verb, [kind.verb for kind in actions.Action.__args__], "action")
    firing = [alert.labels for alert in alerts if alert.status is SignalStatus.FIRING]
    return [row for labels in firing for row in _of_alert(policy, labels, settings, verbs, tier=reach, trust=trust, mode=chosen)]


def _of_alert(
    policy: Policy, labels: dict[str, str], settings: Settings, verbs: Sequence[str], *, tier: Tier | None, trust: int, mode: Mode | None
) -> Iterator[dict[str, Any]]:
    from ops.clock import now
    from ops.clusters import default_cluster
    from stages.gate.policy import Situation, rule_on
    from stages.ingest.rules import alert_of, severity_of
    from stages.ingest.targets import target_of, workload_by_name

    target = workload_by_name(target_of(labels, default_cluster=default_cluster(settings), options=settings.ingest))
    alert, severity = alert_of(labels), severity_of(labels)
    blast = None if tier is None else BlastRadius(score=_SCORES[tier], tier=tier)
    for action in _actions(target):
        if verbs and action.verb not in verbs:
            continue
        situation = Situation(
            action=action,
            severity=severity,
            now=now(),
            mode=mode or settings.gate.mode_of(target),
            incident=IncidentState.INVESTIGATING,
            related=True,
            proven=True,
            trust=trust,
            blast=blast,
            checks=(Check(name="assumed", result=CheckResult.PASSED),),
            labels=labels,
            alerts=(alert,),
        )
        ruling = rule_on(situation, settings.gate, policy)
        yield {
            "alert": alert,
            "target": str(target),
            "action": action.verb,
            "severity": severity.value,
            "risk": ruling.risk_after.value,
            "said": "held" if ruling.held else "runs alone" if ruling.needed == 0 else "asks people",
            "signatures": ruling.needed,
            "roles": ruling.roles,
            "rule": ruling.rule,
            "reason": ruling.reasons[0],
            "rules": ruling.applied,
        }


def _actions(target: Target) -> Iterator[Action]:
    """One of each kind that may be done to a target of this kind; what else such an action names decides nothing."""
    if target.kind is Kind.HOST:
        yield from (actions.DiagnoseHost(target=target), actions.RestartUnit(target=target, unit="unit.service"))
        yield from (actions.RestartContainer(target=target, container="c"), actions.RestartComposeService(target=target, service="s"))
        yield from (actions.TruncateContainerLog(target=target, container="c"), actions.RenewCertificates(target=target))
        yield from (actions.ReloadNginx(target=target), actions.PruneImages(target=target), actions.PruneVolumes(target=target))
        yield actions.PruneSystem(target=target)
        return
    yield actions.Investigate(target=target)
    if target.kind is Kind.NODE:
        yield from (actions.CordonNode(target=target), actions.UncordonNode(target=target))
    elif target.kind is Kind.JOB:
        yield actions.RerunJob(target=target)
    elif target.kind is Kind.POD:
        yield from (actions.DeletePod(target=target, uid=""), actions.EvictPod(target=target, uid=""))
    elif target.kind.is_workload:
        yield from (actions.RestartWorkload(target=target), actions.RollBackWorkload(target=target, to_revision=1))
        yield from (actions.ScaleWorkload(target=target, replicas=1), actions.SetMemoryLimit(target=target, container="c", memory="1Gi"))
        yield actions.SetAutoscalerBounds(target=target, autoscaler="a", minimum=1, maximum=2)
