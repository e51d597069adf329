"""What is held and does not come back by itself is told to people, and what nobody is proven to have proposed holds nothing back."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.action import ScaleWorkload
from schemas.event import Event
from schemas.events import ActionApproved, ActionHeld, ApprovalRequested, ApprovalSigned, PeopleAsked, VoteRefused
from schemas.words import Mode, Source
from sql.database import Database
from stages.gate.options import GateOptions
from stages.gate.policy_file import read_policy
from stages.gate.stage import Gate
from tests.integration.scene import AUTO, KEYS, TARGET, Scene, gate, only, row
from tests.integration.test_gate_playbook import stored

SCALE = ScaleWorkload(target=TARGET, replicas=3)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def kinds(outputs: Any) -> list[type[Event]]:
    return [type(output) for output in outputs]


@pytest.mark.parametrize(("mode", "asked"), [(Mode.AUTO, True), (Mode.ASSIST, True), (Mode.SHADOW, False)])
async def test_people_are_asked_where_only_the_playbook_is_in_shadow(scene: Scene, mode: Mode, asked: bool) -> None:
    version = await stored(scene, "mode: shadow\n")
    fields: dict[str, Any] = {"playbook": "book", "playbook_version": version, "source": Source.PLAYBOOK}
    outputs = await scene.handle(gate(scene, GateOptions(mode=mode)), scene.proposal(await scene.incident(), **fields))
    assert only(outputs, ActionHeld).rule == "shadow"
    assert kinds(outputs) == [ActionHeld, PeopleAsked][: 1 + asked]


async def test_people_are_asked_where_only_a_rule_asks_for_shadow(scene: Scene) -> None:
    policy = read_policy("version: 1\nrules:\n- {name: careful, effect: {mode: shadow, signatures: 0}}\n", "policy.yaml")
    outputs = await scene.handle(Gate(scene.database, AUTO, KEYS, policy=policy), scene.proposal(await scene.incident()))
    assert only(outputs, PeopleAsked).subject == only(outputs, ActionHeld).id


async def test_people_are_asked_about_a_proposal_that_another_one_keeps_away(scene: Scene) -> None:
    incident = await scene.incident()
    first = only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved)
    outputs = await scene.handle(gate(scene), scene.proposal(incident, SCALE))
    assert (only(outputs, ActionHeld).rule, only(outputs, PeopleAsked).subject) == ("one_at_a_time", only(outputs, ActionHeld).id)
    assert first.approval in only(outputs, PeopleAsked).reason
    forged = await scene.handle(gate(scene), scene.proposal(incident, SCALE), backed=False)
    assert kinds(forged) == [ActionHeld], "nobody is asked about what nobody is proven to have proposed"


async def test_a_forged_proposal_keeps_the_genuine_one_away_neither_before_nor_after_it(scene: Scene) -> None:
    incident = await scene.incident()
    forged = only(await scene.handle(gate(scene), scene.proposal(incident, SCALE), backed=False), ApprovalRequested)
    assert kinds(await scene.handle(gate(scene), scene.proposal(incident, SCALE), backed=False)) == [ActionHeld], "only one waits"
    genuine = only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved)
    waiting = await row(scene, forged.approval)
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, "ann")), VoteRefused)
    assert refused.reason == f"approval {genuine.approval} for the same target is not finished"
    await scene.handle(gate(scene), scene.finished(await row(scene, genuine.approval)))
    only(await scene.handle(gate(scene), scene.vote(waiting, "ann")), ApprovalSigned)
