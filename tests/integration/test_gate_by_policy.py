"""An operator's policy on a real Postgres: it decides, it is recorded with its version, and its cooldowns are exact."""

from __future__ import annotations

import asyncio
from textwrap import dedent
from typing import Any

import pytest

from ops.cli.gate import pages
from schemas.action import RestartWorkload
from schemas.event import Delayed
from schemas.events import ActionApproved, ActionHeld, ApprovalRequested, PeopleAsked
from schemas.words import Mode
from sql import approvals, decisions
from sql.database import Database
from stages.gate.policy_file import default_policy, read_policy
from stages.gate.rules import Policy
from stages.gate.stage import Gate
from tests.integration.scene import AUTO, KEYS, RESTART, Scene, crowded, deployment, only
from tests.integration.scene import gate as usual_gate
from tests.integration.scene import row as row_of


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def policy(rules: str) -> Policy:
    return read_policy("version: 1\nrules:\n" + dedent(rules), "policy.yaml")


def gate(scene: Scene, rules: str) -> Gate:
    return Gate(scene.database, AUTO, KEYS, policy=policy(rules))


async def decision(scene: Scene, proposal: str) -> decisions.DecisionRow:
    async with scene.database.connection() as connection:
        found = await decisions.get_decision(connection, proposal)
    assert found is not None
    return found


RULES = """
    - {name: risk, effect: {signatures: {low: 0, medium: 1, high: 1, critical: 2}}}
    - {name: shop-is-dear, match: {namespace: shop, labels: {team: pay}}, effect: {signatures: 3, roles: [dba]}, reason: 'it is {target}'}
    - {name: bank, match: {namespace: bank}, effect: {refuse: not there}}
"""


async def test_a_rule_of_the_operator_decides_and_is_recorded_with_the_version_of_its_file(scene: Scene) -> None:
    event = scene.proposal(await scene.incident(labels={"team": "pay"}))
    asked = only(await scene.handle(gate(scene, RULES), event), ApprovalRequested)
    assert (asked.signatures, asked.rule) == (3, "shop-is-dear")
    assert (await row_of(scene, asked.approval)).roles == ("dba",)
    kept = await decision(scene, event.id)
    assert (kept.rule, kept.policy) == ("shop-is-dear", policy(RULES).version)
    page = dict(pages(kept))
    assert page["decided"] == "3 people asked to sign (shop-is-dear)"
    assert page["because"] == "it is deployment shop/api"
    assert page["policy"] == f"policy.yaml, version {policy(RULES).version}"
    assert page["roles"] == "dba"
    assert "shop-is-dear (line 5): 3 signatures, with dba: it is deployment shop/api" in page["rules that spoke"]
    assert page["rules that did not"] == "bank (line 6): namespace is shop, not bank"
    assert page["labels"]["team"] == "pay"


async def test_a_rule_on_labels_sees_those_of_an_alert_that_joined(scene: Scene) -> None:
    incident = await scene.incident(labels={"team": "web"})
    assert await scene.incident(alert="Slow", labels={"team": "pay"}) == incident
    event = scene.proposal(incident)
    asked = only(await scene.handle(gate(scene, RULES), event), ApprovalRequested)
    assert (asked.signatures, asked.rule) == (3, "shop-is-dear")
    page = dict(pages(await decision(scene, event.id)))
    assert [labels["team"] for labels in page["labels of each alert"]] == ["web", "pay"]


async def test_without_a_policy_of_the_operator_the_one_that_comes_with_it_is_recorded(scene: Scene) -> None:
    event = scene.proposal(await scene.incident())
    only(await scene.handle(usual_gate(scene), event), ActionApproved)
    assert (await decision(scene, event.id)).policy == default_policy().version


@pytest.mark.parametrize(
    ("rules", "rule", "question"),
    [
        (
            "- {name: never, effect: {refuse: 'nobody restarts {target}'}}",
            "never",
            "The policy forbids 'restart deployment shop/api' (policy.yaml:3)",
        ),
        (
            "- {name: odd, match: {when: labels.team == 'x'}, effect: {signatures: 0}}",
            "policy_broken",
            "Correct the condition of that rule",
        ),
    ],
)
async def test_what_the_policy_refuses_or_has_no_answer_for_is_held_and_told_to_people(
    scene: Scene, rules: str, rule: str, question: str
) -> None:
    outputs = await scene.handle(gate(scene, rules), scene.proposal(await scene.incident()))
    held = only(outputs, ActionHeld)
    assert (held.rule, only(outputs, PeopleAsked).subject) == (rule, held.id)
    assert question in only(outputs, PeopleAsked).question
    assert "policy.yaml:3" in held.reason + only(outputs, PeopleAsked).question


async def test_a_rule_may_only_make_the_mode_stricter(scene: Scene) -> None:
    rules = "- {name: careful, effect: {mode: shadow, signatures: 0}}"
    held = only(await scene.handle(gate(scene, rules), scene.proposal(await scene.incident())), ActionHeld)
    assert (held.rule, held.mode) == ("shadow", Mode.SHADOW)


@pytest.mark.parametrize("per", ["everywhere", "target"])
async def test_the_cooldown_of_a_rule_is_exact_however_many_gates_decide_at_once(scene: Scene, postgres_url: str, per: str) -> None:
    rules = f"- {{name: slowly, match: {{namespace: shop}}, effect: {{signatures: 0, cooldown: {{actions: 2, seconds: 60, per: {per}}}}}}}"
    events = []
    for number in range(4):
        target = deployment(f"web{number}")
        events.append(scene.proposal(await scene.incident(target), RestartWorkload(target=target)))
    async with crowded(postgres_url) as crowd:
        tasks = [asyncio.create_task(scene.handle(gate(scene, rules), event)) for event in events]
        await crowd.wait_for(4)
    flat: list[Any] = [output for found in await asyncio.gather(*tasks) for output in found if not isinstance(output, Delayed)]
    approved = sum(isinstance(output, ActionApproved) for output in flat)
    asked = [output.rule for output in flat if isinstance(output, ApprovalRequested)]
    assert (approved, asked) == ((2, ["slowly"] * 2) if per == "everywhere" else (4, []))
    scene.later(61)
    target = deployment("later")
    only(
        await scene.handle(gate(scene, rules), scene.proposal(await scene.incident(target), RestartWorkload(target=target))), ActionApproved
    )


async def test_the_cooldown_of_a_rule_for_each_target_counts_its_own(scene: Scene) -> None:
    stage = gate(scene, "- {name: once, effect: {signatures: 0, cooldown: {actions: 1, seconds: 60, per: target}}}")
    incident = await scene.incident()
    approved = only(await scene.handle(stage, scene.proposal(incident)), ActionApproved)
    await scene.handle(stage, scene.finished(await row_of(scene, approved.approval)))
    assert only(await scene.handle(stage, scene.proposal(incident, RESTART)), ApprovalRequested).rule == "once"
    async with scene.database.connection() as connection:
        assert {row.cooled for row in await approvals.list_approvals(connection)} == {("once",)}
