"""The gate's rule book: its tables, and the laws that hold for every situation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.action import Action, CordonNode, EvictPod, Investigate, RestartWorkload, SetAutoscalerBounds
from schemas.evidence import OwnerView, Snapshot
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind, Target
from schemas.words import CheckResult, IncidentState, Mode, Risk, Severity, Tier
from stages.gate.options import Cooldown, GateOptions
from stages.gate.policy import Ruling, Situation, Traffic, is_related, lowered, rule_on
from stages.gate.windows import FreezeWindow
from tests.unit.snapshots import autoscaler, held_by, pod, snapshot

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a Thursday
TARGET = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
RESTART = RestartWorkload(target=TARGET)
LOOK = Investigate(target=TARGET)
PASSED = (Check(name="permission", result=CheckResult.PASSED),)
AUTO = GateOptions(mode=Mode.AUTO)
RISKS = (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL)
TIERS = (Tier.AUTO, Tier.HUMAN, Tier.DUAL)


def situation(**changes: object) -> Situation:
    plain = Situation(
        action=RESTART,
        severity=Severity.P3,
        now=NOW,
        mode=Mode.AUTO,
        incident=IncidentState.INVESTIGATING,
        related=True,
        proven=True,
        blast=BlastRadius(score=5, tier=Tier.AUTO),
        checks=PASSED,
        traffic=Traffic(everywhere=0, here=0),
    )
    return msgspec.structs.replace(plain, **changes)


def rule(options: GateOptions = AUTO, **changes: object) -> Ruling:
    return rule_on(situation(**changes), options)


@pytest.mark.parametrize(
    ("severity", "risk", "signatures"),
    [(Severity.P0, Risk.CRITICAL, 2), (Severity.P1, Risk.CRITICAL, 2), (Severity.P2, Risk.MEDIUM, 1), (Severity.P3, Risk.LOW, 0)],
)
def test_severity_makes_the_risk_and_the_risk_the_signatures(severity: Severity, risk: Risk, signatures: int) -> None:
    ruling = rule(severity=severity)
    assert (ruling.risk_before, ruling.risk_after, ruling.needed, ruling.rule) == (risk, risk, signatures, "risk")
    assert ruling.automatic is (signatures == 0)


@pytest.mark.parametrize(("named", "signatures"), [(Risk.LOW, 0), (Risk.MEDIUM, 1), (Risk.HIGH, 1), (Risk.CRITICAL, 2)])
def test_a_named_risk_wins_over_the_severity(named: Risk, signatures: int) -> None:
    assert rule(severity=Severity.P2, named_risk=named).needed == signatures


@pytest.mark.parametrize(
    ("risk", "trust", "after"),
    [
        (Risk.MEDIUM, 4, Risk.MEDIUM),
        (Risk.MEDIUM, 5, Risk.LOW),
        (Risk.HIGH, 5, Risk.MEDIUM),
        (Risk.HIGH, 500, Risk.MEDIUM),
        (Risk.LOW, 5, Risk.LOW),
        (Risk.CRITICAL, 500, Risk.CRITICAL),
    ],
)
def test_trust_of_five_lowers_risk_by_one_level(risk: Risk, trust: int, after: Risk) -> None:
    ruling = rule(named_risk=risk, trust=trust)
    assert (ruling.risk_before, ruling.risk_after) == (risk, after)


@pytest.mark.parametrize(("tier", "signatures"), [(Tier.AUTO, 0), (Tier.HUMAN, 1), (Tier.DUAL, 2)])
def test_the_blast_tier_raises_the_signatures(tier: Tier, signatures: int) -> None:
    ruling = rule(blast=BlastRadius(score=60, tier=tier))
    assert ruling.needed == signatures
    assert ruling.rule == ("blast" if signatures else "risk")


def test_nobody_can_approve_the_blocked_tier_in_any_mode() -> None:
    for mode in Mode:
        ruling = rule(mode=mode, blast=BlastRadius(score=95, tier=Tier.BLOCKED))
        assert (ruling.held, ruling.rule) == (True, "blocked")


def test_a_failed_check_holds_and_names_what_is_missing() -> None:
    failed = Check(name="permission", result=CheckResult.FAILED, missing="patch deployments.apps in shop")
    ruling = rule(checks=(*PASSED, failed))
    assert (ruling.held, ruling.rule) == (True, "preflight")
    assert ruling.reasons[0] == "the check permission failed: missing patch deployments.apps in shop"


@pytest.mark.parametrize(
    "checks", [(), (*PASSED, Check(name="server_dry_run", result=CheckResult.NOT_CHECKED, detail="the API server was away"))]
)
def test_what_was_not_checked_never_counts_as_passed(checks: tuple[Check, ...]) -> None:
    ruling = rule(checks=checks)
    assert (ruling.needed, ruling.rule, ruling.automatic) == (1, "not_checked", False)


def test_a_blast_radius_that_was_not_measured_needs_a_person() -> None:
    ruling = rule(blast=None)
    assert (ruling.needed, ruling.rule) == (1, "blast_unmeasured")


def test_parts_that_were_not_measured_are_named_and_the_tier_decides() -> None:
    ruling = rule(blast=BlastRadius(score=20, tier=Tier.AUTO, unmeasured=("downtime",)))
    assert ruling.automatic
    assert "not measured, and counted at the worst: downtime" in ruling.reasons


def test_another_target_than_the_incidents_needs_a_person() -> None:
    assert (rule(related=False).needed, rule(related=False).rule) == (1, "other_target")


def test_a_proposal_that_nothing_proves_needs_a_person() -> None:
    assert (rule(proven=False).needed, rule(proven=False).rule) == (2, "unproven")


@pytest.mark.parametrize("named", [*Risk, None])
@pytest.mark.parametrize("severity", list(Severity))
def test_a_proposal_that_nothing_proves_cannot_name_itself_harmless(named: Risk | None, severity: Severity) -> None:
    ruling = rule(severity=severity, named_risk=named, proven=False, blast=BlastRadius(score=0, tier=Tier.AUTO))
    assert ruling.needed == 2
    assert RISKS.index(ruling.risk_before) >= RISKS.index(AUTO.risks.of(severity))
    assert "blast radius was not measured" in " ".join(ruling.reasons)


POD = Target(cluster="prod", namespace="shop", kind=Kind.POD, name="api-7d9f8c6b5-x2x4z")
OF_WORKLOAD = snapshot(pod(POD.name, uid="uid-1"), target=TARGET)
OWNERS = (OwnerView(kind="ReplicaSet", name="api-7d9f8c6b5", uid="r"), OwnerView(kind="Deployment", name="api", uid="d"))
OF_POD = snapshot(target=POD, owners=OWNERS)


def other(**changed: Any) -> Target:
    return msgspec.structs.replace(TARGET, **changed)


@pytest.mark.parametrize("seen", [OF_WORKLOAD, OF_POD], ids=["of the workload", "of the pod"])
def test_what_was_seen_to_belong_together_is_related(seen: Snapshot) -> None:
    assert is_related(POD, TARGET, seen, "uid-1")
    assert is_related(TARGET, POD, seen, "uid-of-the-deployment")


def test_an_autoscaler_and_the_very_workload_that_it_was_seen_to_hold_are_related() -> None:
    seen = held_by(OF_WORKLOAD, autoscaler(1, 3, name="load"))
    assert is_related(TARGET, other(kind=Kind.AUTOSCALER, name="load"), seen, "")
    assert not is_related(TARGET, other(kind=Kind.AUTOSCALER, name="api"), seen, "")
    assert not is_related(other(name="cart"), other(kind=Kind.AUTOSCALER, name="load"), seen, "")
    assert not is_related(TARGET, other(kind=Kind.AUTOSCALER, name="load"), OF_WORKLOAD, "")


@pytest.mark.parametrize("seen", [None, OF_WORKLOAD, OF_POD])
@pytest.mark.parametrize(
    "target",
    [other(name="api-gateway"), other(name="api-7d9f8c6b5-bbbbb", kind=Kind.POD), other(kind=Kind.STATEFULSET), other(namespace="bank")],
    ids=str,
)
def test_a_name_relates_nothing(target: Target, seen: Snapshot | None) -> None:
    assert not is_related(target, TARGET, seen, "uid-1")
    assert not is_related(TARGET, target, seen, "uid-1")


def test_only_the_very_pod_that_was_seen_is_related() -> None:
    assert not is_related(POD, TARGET, OF_WORKLOAD, "uid-of-a-namesake")
    assert not is_related(POD, TARGET, None, "uid-1")
    assert not is_related(msgspec.structs.replace(POD, cluster="test"), TARGET, OF_WORKLOAD, "uid-1")


def test_an_alert_that_names_no_kind_means_what_has_exactly_its_name() -> None:
    assert is_related(TARGET, TARGET, None, "")
    assert is_related(TARGET, other(kind=Kind.UNKNOWN), None, "")
    assert not is_related(other(name="api-gateway"), other(kind=Kind.UNKNOWN), None, "")


@pytest.mark.parametrize(
    "action",
    [
        SetAutoscalerBounds(target=TARGET, autoscaler="api", minimum=1, maximum=9),
        CordonNode(target=Target(cluster="prod", kind=Kind.NODE, name="n1")),
        EvictPod(target=msgspec.structs.replace(TARGET, kind=Kind.POD, name="api-x"), uid="u"),
    ],
    ids=lambda action: action.verb,
)
def test_a_person_signs_what_reaches_beyond_the_workload_however_trusted_it_is(action: Action) -> None:
    ruling = rule(action=action, trust=99)
    assert (ruling.needed, ruling.rule, ruling.automatic) == (1, "signed", False)


def test_assist_has_a_person_sign_every_change_but_lets_it_look() -> None:
    assert (rule(mode=Mode.ASSIST).needed, rule(mode=Mode.ASSIST).rule) == (1, "assist")
    look = rule(mode=Mode.ASSIST, action=LOOK, severity=Severity.P0, checks=(), blast=None)
    assert (look.automatic, look.rule) == (True, "observation")
    failed = (Check(name="permission", result=CheckResult.FAILED, missing="get pods/log in shop"),)
    assert rule(mode=Mode.ASSIST, action=LOOK, checks=failed).automatic
    assert rule(mode=Mode.ASSIST, action=RESTART, checks=failed).held


def test_shadow_says_what_would_have_been_done() -> None:
    alone = rule(mode=Mode.SHADOW)
    assert (alone.held, alone.rule, alone.needed) == (True, "shadow", 0)
    assert "it would have run by itself (risk): restart deployment shop/api" in alone.reasons[0]
    assert "2 people would have been asked to sign (risk)" in rule(mode=Mode.SHADOW, severity=Severity.P0).reasons[0]
    assert rule(mode=Mode.SHADOW, action=LOOK).held


@pytest.mark.parametrize("state", [IncidentState.RESOLVED, IncidentState.CLOSED])
def test_only_an_open_incident_accepts_proposals(state: IncidentState) -> None:
    assert (rule(incident=state).held, rule(incident=state).rule) == (True, "incident_over")
    assert rule(incident=None).rule == "incident_unknown"
    assert rule(incident=IncidentState.MITIGATING).automatic


def test_one_operation_at_a_time_for_a_target() -> None:
    assert (rule(busy_with="other").held, rule(busy_with="other").rule) == (True, "one_at_a_time")


@pytest.mark.parametrize(
    ("traffic", "deciding"),
    [
        (Traffic(everywhere=9, here=2), "risk"),
        (Traffic(everywhere=10, here=0), "cooldown"),
        (Traffic(everywhere=3, here=3), "target_cooldown"),
        (Traffic(everywhere=10, here=3), "cooldown"),
    ],
)
def test_a_cooldown_turns_an_automatic_action_into_a_request(traffic: Traffic, deciding: str) -> None:
    ruling = rule(traffic=traffic)
    assert (ruling.rule, ruling.needed, ruling.held) == (deciding, 0 if deciding == "risk" else 1, False)


def test_a_freeze_window_asks_people() -> None:
    window = FreezeWindow(cron="0 12 1 1 *", duration=3600, reason="year's end")
    ruling = rule(GateOptions(mode=Mode.AUTO, freeze=(window,)))
    assert (ruling.rule, ruling.needed) == ("freeze", 1)
    assert "year's end" in ruling.reasons[0]


def test_the_mode_of_a_namespace_comes_before_the_global_one() -> None:
    options = GateOptions(mode=Mode.AUTO, namespaces={"shop": Mode.ASSIST, "prod/shop": Mode.SHADOW})
    assert options.mode_of(TARGET) is Mode.SHADOW
    assert options.mode_of(msgspec.structs.replace(TARGET, cluster="test")) is Mode.ASSIST
    assert options.mode_of(msgspec.structs.replace(TARGET, namespace="bank")) is Mode.AUTO


def test_the_defaults_are_those_of_the_rule_book() -> None:
    options = GateOptions()
    assert (options.mode, options.expiry, options.grant, options.trust_threshold) == (Mode.ASSIST, 3600, 600, 5)
    assert options.cooldown == Cooldown(actions=10, seconds=600)
    assert options.target_cooldown == Cooldown(actions=3, seconds=300)


situations = st.builds(
    Situation,
    action=st.sampled_from([RESTART, LOOK]),
    severity=st.sampled_from(list(Severity)),
    now=st.just(NOW),
    mode=st.sampled_from(list(Mode)),
    incident=st.sampled_from(list(IncidentState)),
    named_risk=st.none() | st.sampled_from(RISKS),
    trust=st.integers(0, 20),
    blast=st.none() | st.builds(BlastRadius, score=st.integers(0, 100), tier=st.sampled_from(list(Tier))),
    checks=st.lists(st.builds(Check, name=st.just("c"), result=st.sampled_from(list(CheckResult))), max_size=3).map(tuple),
    related=st.booleans(),
    proven=st.booleans(),
    busy_with=st.sampled_from(["", "other"]),
    traffic=st.none() | st.builds(Traffic, everywhere=st.integers(0, 20), here=st.integers(0, 20)),
)


@given(risk=st.sampled_from(RISKS), trust=st.integers(0, 100), threshold=st.integers(1, 20))
def test_law_trust_never_raises_risk_and_critical_never_drops(risk: Risk, trust: int, threshold: int) -> None:
    after = lowered(risk, trust, threshold)
    assert RISKS.index(risk) - RISKS.index(after) in (0, 1)
    assert risk is not Risk.CRITICAL or after is Risk.CRITICAL


@given(case=situations, more=st.integers(0, 20))
def test_law_more_trust_never_needs_more_signatures(case: Situation, more: int) -> None:
    trusted = msgspec.structs.replace(case, trust=case.trust + more)
    assert rule_on(trusted, AUTO).needed <= rule_on(case, AUTO).needed
    assert rule_on(trusted, AUTO).held is rule_on(case, AUTO).held


@given(case=situations, tiers=st.tuples(st.sampled_from(TIERS), st.sampled_from(TIERS)))
def test_law_more_blast_never_needs_fewer_signatures(case: Situation, tiers: tuple[Tier, Tier]) -> None:
    small, large = sorted(tiers, key=TIERS.index)
    needed = [rule_on(msgspec.structs.replace(case, blast=BlastRadius(score=1, tier=tier)), AUTO).needed for tier in (small, large)]
    assert needed[0] <= needed[1]


@given(case=situations)
def test_law_only_what_is_safe_in_every_way_runs_alone(case: Situation) -> None:
    ruling = rule_on(case, AUTO)
    if ruling.automatic:
        assert case.incident in (IncidentState.INVESTIGATING, IncidentState.MITIGATING)
        assert case.mode is not Mode.SHADOW
    if ruling.automatic and case.action == RESTART:
        assert case.mode is Mode.AUTO
        assert case.blast is not None
        assert case.blast.tier is Tier.AUTO
        assert case.checks
        assert all(check.result is CheckResult.PASSED for check in case.checks)
        assert case.related
        assert case.proven
        assert not case.busy_with
        assert ruling.risk_after is Risk.LOW


@given(case=situations)
def test_law_the_first_reason_is_always_there(case: Situation) -> None:
    assert rule_on(case, AUTO).reasons[0]


def test_an_observation_is_not_slowed_by_valves() -> None:
    action: Action = LOOK
    frozen = GateOptions(mode=Mode.AUTO, freeze=(FreezeWindow(cron="0 0 * * *", duration=86400),))
    assert rule(frozen, action=action, traffic=Traffic(everywhere=99, here=99)).automatic
