"""A policy as a file: every fault has its line, conditions are checked and bounded, and no policy gets around what holds always."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.located_yaml import LIMIT
from schemas.preflight import BlastRadius, Check
from schemas.words import CheckResult, Mode, Risk, Severity, Source, Tier
from stages.gate.policy import Ruling, Traffic, rule_on
from stages.gate.policy_file import LAWS, PolicyWrong, default_policy, read_policy
from stages.gate.rules import Policy
from tests.unit.test_gate_policy import AUTO, LOOK, NOW, RESTART, situation, situations

ROOT = Path(__file__).parents[2]


def policy(rules: str) -> Policy:
    return read_policy("version: 1\nrules:\n" + dedent(rules), "policy.yaml")


def rule(text: str, **changes: Any) -> Ruling:
    return rule_on(situation(**changes), AUTO, policy(text))


def wrong(text: str) -> str:
    with pytest.raises(PolicyWrong) as caught:
        read_policy(text, "policy.yaml")
    return str(caught.value)


def test_the_rules_that_come_with_it_are_the_file_that_one_can_read() -> None:
    text = (ROOT / "stages" / "gate" / "default_policy.yaml").read_text("utf-8")
    assert default_policy() == read_policy(text, "default_policy.yaml")
    names = [one.name for one in default_policy().rules]
    assert names == ["observation", "signed", "risk", "blast", "blast_unmeasured", "not_checked", "other_target"]
    assert rule_on(situation(), AUTO) == rule_on(situation(), AUTO, default_policy())
    changed = read_policy(text.replace("critical: 2", "critical: 3"), "default_policy.yaml")
    assert rule_on(situation(severity=Severity.P0), AUTO, changed).needed == 3
    assert changed.version != default_policy().version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "policy.yaml:1: the file is empty"),
        ("rules: [", "policy.yaml:1: this is no YAML"),
        ("- a", "policy.yaml:1: a policy has `version: 1` and a list of `rules`"),
        ("version: 2\nrules: []", "policy.yaml:1: the version of the form of a policy is 1"),
        ("version: 1\nversion: 1\nrules: []", "policy.yaml:2: the field 'version' is there twice"),
        ("version: 1\nrules: !!python/object:os.system x", "policy.yaml:2: the tag"),
        ("version: 1\nrules:\n- name: a\n", "policy.yaml:3: object missing required field"),
        ("version: 1\nrules:\n- name: a\n  efect: {}\n", "policy.yaml:4: there is no field 'efect' here; did you mean effect?"),
        ("version: 1\nrules:\n- name: a\n  effect:\n    signature: 1\n", "policy.yaml:5: there is no field 'signature' here; did you mean"),
        ("version: 1\nrules:\n- name: a\n  match:\n    severity: P9\n  effect: {signatures: 1}\n", "policy.yaml:5: "),
        (
            "version: 1\nrules:\n- name: a\n  match: {action: rollbak}\n  effect: {signatures: 1}\n",
            "policy.yaml:4: there is no action 'rollbak'",
        ),
        ("version: 1\nrules:\n- name: a\n  match: {kind: Deploy}\n  effect: {signatures: 1}\n", "did you mean Deployment?"),
        ("version: 1\nrules:\n- name: A b\n  effect: {signatures: 1}\n", "policy.yaml:3: a name has up to 60"),
        (
            "version: 1\nrules:\n- name: unproven\n  effect: {signatures: 0}\n",
            "policy.yaml:3: 'unproven' is the name of something that holds",
        ),
        (
            "version: 1\nrules:\n- {name: a, effect: {signatures: 1}}\n- {name: a, effect: {signatures: 1}}\n",
            "policy.yaml:4: there is a rule 'a'",
        ),
        ("version: 1\nrules:\n- name: a\n  effect: {}\n", "policy.yaml:4: the rule demands nothing"),
        ("version: 1\nrules:\n- name: a\n  effect: {signatures: -1}\n", "policy.yaml:4: expected 0 to 20 signatures"),
        (
            "version: 1\nrules:\n- name: a\n  effect:\n    signatures: {low: 0, auto: 1}\n",
            "policy.yaml:5: expected a number, one for each risk",
        ),
        ("version: 1\nrules:\n- name: a\n  line: 7\n  effect: {signatures: 1}\n", "policy.yaml:4: there is no field 'line' here"),
        (
            "version: 1\nrules:\n- name: a\n  effect: {signatures: 1}\n  reason: '{severity.value}'\n",
            "policy.yaml:5: in braces there may stand",
        ),
        ("version: 1\nrules:\n- name: a\n  effect: {signatures: 1}\n  reason: 'a {'\n", "policy.yaml:5: its braces do not fit together"),
        (
            "version: 1\nrules:\n- name: a\n  match:\n    when: severity ==\n  effect: {signatures: 1}\n",
            "policy.yaml:5: the condition is no CEL",
        ),
        (
            "version: 1\nrules:\n- name: a\n  match: {when: sevrity == 'P0'}\n  effect: {signatures: 1}\n",
            "the condition speaks of 'sevrity'",
        ),
        ("version: 1\nrules:\n- name: a\n  match: {when: exec(name)}\n  effect: {signatures: 1}\n", "there is no function 'exec'"),
        ("version: 1\nrules:\n- name: a\n  match: {time: {cron: x, duration: 1}}\n  effect: {signatures: 1}\n", "'x' is no time to begin"),
        (
            "version: 1\nrules:\n- name: a\n  match: {labels: {team: x}}\n  effect: {signatures: 0}\n  last: true\n",
            "policy.yaml:6: who writes an alert chooses its labels",
        ),
    ],
)
def test_every_fault_has_its_line_and_says_what_to_do(text: str, said: str) -> None:
    assert said in wrong(text)


def test_all_faults_are_told_at_once() -> None:
    text = "version: 1\nrules:\n- {name: A, effect: {signatures: 1}}\n- {name: b, effect: {signatures: 99}}\n"
    assert [line.split(":")[1] for line in wrong(text).splitlines()] == ["3", "4"]


@pytest.mark.parametrize(
    "text",
    [
        "x" * (LIMIT + 1),
        "version: 1\nrules: " + "[" * 40 + "]" * 40,
        "version: 1\nrules: [" + "1," * 21_000 + "1]",
        "version: 1\nrules:\n" + "".join(f"- {{name: a{n}, effect: {{signatures: 1}}}}\n" for n in range(501)),
        "a: &a [1,1]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}' if n else '*a'] * 9)}]\n" for n in range(9)),
    ],
    ids=["long", "deep", "wide", "many rules", "a billion laughs"],
)
def test_a_file_is_bounded(text: str) -> None:
    assert wrong(text).startswith("policy.yaml:")


@given(st.text(max_size=200))
def test_law_a_text_that_is_no_policy_is_told_with_its_line(text: str) -> None:
    assert wrong(text).startswith("policy.yaml:")


def test_the_strictest_rule_counts_and_the_first_of_equal_ones_decides() -> None:
    ruling = rule(
        """
        - {name: low, effect: {signatures: 1}}
        - {name: high, match: {severity: P3}, effect: {signatures: 2}}
        - {name: also-high, effect: {signatures: 2}, reason: "of {severity} in {namespace}: {risk}"}
        - {name: not-this, match: {namespace: [bank, "pay-*"]}, effect: {signatures: 9}}
        """
    )
    assert (ruling.needed, ruling.rule) == (2, "high")
    assert "of P3 in shop: low (severity P3)" in ruling.reasons
    assert [one.rule for one in ruling.applied] == ["low", "high", "also-high"]
    assert [(one.rule, one.line, one.why) for one in ruling.passed] == [("not-this", 7, "namespace is shop, not bank or pay-*")]


@pytest.mark.parametrize(
    "match",
    [
        "severity: [P2, P3]",
        "namespace: 'sh*'",
        "cluster: prod",
        "name: api",
        "kind: Deployment",
        "labels: {team: 'pay*'}",
        "action: [restart, 'restart-*']",
        "risk: low",
        "tier: auto",
        "mode: auto",
        "source: playbook",
        "playbook: 'wedged-*'",
        "{proven: true, related: true, checked: true}",
        "time: {cron: '0 12 * * THU', duration: 60}",
        "when: labels.team.startsWith('pay') && score < 10 && now.getHours() == 12 && 'Crash' in alerts",
    ],
)
def test_a_rule_is_matched_by_what_is_known_of_the_action(match: str) -> None:
    text = f"- {{name: it, match: {match if match[0] == '{' else '{' + match + '}'}, effect: {{signatures: 3}}}}\n"
    about: dict[str, Any] = {"labels": {"team": "payments"}, "source": Source.PLAYBOOK, "playbook": "wedged-pod", "alerts": ("Crash",)}
    assert rule(text, **about).rule == "it"
    other: dict[str, Any] = {
        "action": msgspec.structs.replace(LOOK, target=msgspec.structs.replace(LOOK.target, cluster="c", namespace="n", name="x")),
        "severity": Severity.P0,
        "labels": {"team": "x"},
        "mode": Mode.ASSIST,
        "blast": None,
        "now": NOW + timedelta(minutes=1),
        "proven": False,
    }
    if "kind" not in match:
        assert rule(text, **other).rule != "it"


@pytest.mark.parametrize(
    "match",
    ["labels: {team: pay, tier: '1'}", "when: has(labels.team) && labels.team == 'pay' && labels.tier == '1'", "labels: {first: 'x'}"],
)
def test_a_rule_on_labels_is_about_what_any_one_alert_says(match: str) -> None:
    text = f"- {{name: it, match: {{{match}}}, effect: {{signatures: 3}}}}\n"
    first, second = {"first": "x", "team": "web"}, {"team": "pay", "tier": "1"}
    assert rule(text, labels=first, alert_labels=(first, second)).needed == 3
    apart = {"team": "pay", "tier": "2"}, {"team": "web", "tier": "1"}
    assert rule(text, labels=apart[0], alert_labels=apart).needed == 1, "of two alerts together is of none"


def test_a_condition_that_has_no_answer_for_a_later_alert_holds_the_action() -> None:
    text = "- {name: it, match: {when: labels.team == 'pay'}, effect: {signatures: 3}}\n"
    assert rule(text, labels={"team": "web"}, alert_labels=({"team": "web"}, {})).rule == "policy_broken"


@pytest.mark.parametrize("match", ["labels: {safe: '*'}", "when: has(labels.safe)", "when: '\"Safe\" in alerts'"])
def test_a_rule_on_alerts_that_wants_nobody_takes_no_signature_away(match: str) -> None:
    ruling = rule(f"- {{name: it, match: {{{match}}}, effect: {{signatures: 0}}}}\n", labels={"safe": "yes"}, alerts=("Safe",))
    assert [one.rule for one in ruling.applied] == ["it"]
    assert (ruling.needed, ruling.rule) == (1, "no_rule")


def test_a_missing_label_does_not_match() -> None:
    assert rule("- {name: it, match: {labels: {team: '*'}}, effect: {signatures: 3}}\n").needed == 1


def test_what_no_rule_speaks_of_needs_a_person() -> None:
    ruling = rule("- {name: other, match: {namespace: bank}, effect: {signatures: 0}}\n")
    assert (ruling.needed, ruling.rule, ruling.automatic) == (1, "no_rule", False)


def test_after_a_last_rule_none_is_read() -> None:
    text = "- {name: first, match: {risk: low}, effect: {signatures: 0}, last: true}\n- {name: second, effect: {signatures: 5}}\n"
    assert rule(text).automatic
    assert rule(text).passed[0].why == "not read after first"
    assert rule(text, severity=Severity.P0).needed == 5


def test_a_rule_refuses_with_its_reason() -> None:
    ruling = rule("- {name: no-night, effect: {refuse: 'nothing is done to {target}'}}\n- {name: all, effect: {signatures: 0}}\n")
    assert (ruling.held, ruling.rule) == (True, "no-night")
    assert ruling.reasons[0] == "nothing is done to deployment shop/api"


def test_a_rule_makes_the_mode_stricter_and_never_laxer() -> None:
    text = "- {name: calm, effect: {mode: MODE, signatures: 0}}\n"
    assert rule(text.replace("MODE", "assist")).rule == "assist"
    assert rule(text.replace("MODE", "shadow")).rule == "shadow"
    lax = rule(text.replace("MODE", "auto"), mode=Mode.ASSIST)
    assert (lax.mode, lax.needed) == (Mode.ASSIST, 1)


def test_roles_need_at_least_one_signature() -> None:
    ruling = rule("- {name: dba, effect: {roles: [dba, sre]}}\n- {name: more, effect: {roles: [sre], signatures: 0}}\n")
    assert (ruling.roles, ruling.needed) == (("dba", "sre"), 1)


def test_a_cooldown_of_a_rule_asks_a_person() -> None:
    text = "- {name: slowly, effect: {signatures: 0, cooldown: {actions: 2, seconds: 60}}}\n"
    assert rule(text, traffic=Traffic(everywhere=0, here=0, rules={"slowly": 1})).automatic
    ruling = rule(text, traffic=Traffic(everywhere=0, here=0, rules={"slowly": 2}))
    assert (ruling.needed, ruling.rule) == (1, "slowly")
    assert ruling.cooled == ("slowly",)


@pytest.mark.parametrize(
    "when", ["labels.team == 'x'", "1 / score == 1", "size(name)", "name.matches(labels.pattern)", "timestamp(name) < now"]
)
def test_a_condition_without_an_answer_holds_the_action(when: str) -> None:
    blast = BlastRadius(score=0, tier=Tier.AUTO)
    ruling = rule(f'- {{name: it, match: {{when: "{when}"}}, effect: {{signatures: 0}}}}\n', labels={"pattern": "("}, blast=blast)
    assert (ruling.held, ruling.rule) == (True, "policy_broken")
    assert ruling.reasons[0].startswith("policy.yaml:3: the condition of the rule it has no answer for this action: ")


@pytest.mark.parametrize(
    "when",
    [
        "name == '" + "x" * 1000 + "'",
        "[1].all(x, [1].all(y, x == y))",
        "[1].map(x, [1].map(y, x)) == []",
        "[1]. map ( // x\\n name, [1].map( // y\\n kind, 1)) == []",
        "(" * 400 + "true" + ")" * 400,
    ],
    ids=["long", "nested", "built", "hidden", "deep"],
)
def test_a_condition_is_bounded(when: str) -> None:
    assert "condition" in wrong(f'version: 1\nrules:\n- {{name: a, match: {{when: "{when}"}}, effect: {{signatures: 1}}}}\n')


def test_a_regular_expression_ends_whatever_an_alert_says() -> None:
    text = "- {name: it, match: {when: \"labels.team.matches('^(a+)+$')\"}, effect: {signatures: 3}}\n"
    assert rule(text, labels={"team": "a" * 4000 + "b"}).needed == 1


LAXEST = policy("- {name: all, effect: {signatures: 0}, last: true}\n")


@given(case=situations)
def test_law_no_policy_gets_around_what_holds_always(case: Any) -> None:
    ruling = rule_on(case, AUTO, LAXEST)
    if case.action != RESTART:
        return
    if case.blast is not None and case.blast.tier is Tier.BLOCKED:
        assert ruling.held
    if not case.proven:
        assert ruling.needed >= 2
    if case.mode is Mode.ASSIST:
        assert ruling.needed >= 1
    if case.mode is Mode.SHADOW or case.busy_with or any(check.result is CheckResult.FAILED for check in case.checks):
        assert ruling.held


def test_the_names_of_what_holds_always_are_no_rules() -> None:
    assert not {one.name for one in default_policy().rules} & set(LAWS)


def test_the_risk_that_is_matched_is_that_after_trust() -> None:
    text = "- {name: it, match: {risk: low}, effect: {signatures: 0}}\n- {name: rest, match: {risk: medium}, effect: {signatures: 2}}\n"
    assert rule(text, named_risk=Risk.MEDIUM, trust=5).automatic
    assert rule(text, named_risk=Risk.MEDIUM, trust=4).needed == 2


def test_time_is_matched_by_the_time_of_the_decision() -> None:
    text = "- {name: night, match: {time: {cron: '0 22 * * *', duration: 28800, zone: Europe/Berlin}}, effect: {signatures: 2}}\n"
    checks = (Check(name="permission", result=CheckResult.PASSED),)
    assert rule(text, now=datetime(2026, 1, 1, 22, tzinfo=UTC), checks=checks).rule == "night"
    assert rule(text, checks=checks).rule == "no_rule"
