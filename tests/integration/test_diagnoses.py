"""Diagnoses, debates and declarations: folded from verifications, whatever order they come in, and shown with the incident."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from ops.cli.learned import declared_line, diagnosis_line
from ops.facts.dossier import story_of
from schemas.action import RestartWorkload
from schemas.events import VerificationFinished
from schemas.identity import new_id
from schemas.judgement import Demand
from schemas.preflight import BlastRadius
from schemas.words import Debate, Ground, Mode, Severity, Source, Tier, Verdict
from sql import approvals, declarations, diagnoses
from sql.database import Database
from sql.declarations import Reach, reach_of
from sql.diagnoses import DebateRecord, Record, record_of_critics, record_of_sources
from sql.playbook_confidence import rated_playbooks
from sql.proof import Proof
from stages.gate.options import GateOptions
from stages.gate.stage import Gate
from stages.learn.stage import Learn
from tests.integration.scene import KEYS, Scene, deployment


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def judged(scene: Scene, verdict: Verdict, *, name: str, ground: Ground, **fields: Any) -> VerificationFinished:
    """The verification of an action that was proposed on a diagnosis; `fields` are those of the proposal."""
    action = RestartWorkload(target=deployment(name))
    incident = await scene.incident(action.target)
    blast = BlastRadius(score=5, tier=Tier.AUTO, pods=2, downtime=4.0)
    proposal = scene.proposal(incident, action=action, blast=blast, severity=Severity.P3, **fields)
    outputs = await scene.handle(Gate(scene.database, GateOptions(mode=Mode.AUTO), KEYS), proposal)
    async with scene.database.connection() as connection:
        row = await approvals.get_approval(connection, outputs[0].approval)  # type: ignore[union-attr]
    finished = scene.finished(row)
    demands = (Demand(said="evidence.pods.ready == 2", held=verdict is Verdict.SUCCESS),)
    scene.later(1)
    event = scene.verified(finished, verdict, ground=ground, demands=demands, touched=3, playbook=fields.get("playbook", ""))
    await scene.back(finished)
    await scene.back(event)
    return event


MODEL: dict[str, Any] = {"source": Source.MODEL, "provider": "llm", "root_cause": "it leaks\nmemory"}


async def several(scene: Scene) -> list[VerificationFinished]:
    objected = {**MODEL, "debate": Debate.OBJECTED, "objection": "the critic objects: it does not leak"}
    return [
        await judged(scene, Verdict.SUCCESS, name="a", ground=Ground.HEALED, **MODEL, debate=Debate.AGREED),
        await judged(scene, Verdict.FAILED, name="b", ground=Ground.SAME_FAULT, **objected),
        await judged(scene, Verdict.SUCCESS, name="c", ground=Ground.HEALED, **objected),
        await judged(scene, Verdict.TIMEOUT, name="d", ground=Ground.NOT_CONVERGED, playbook="p1"),
    ]


async def test_any_order_and_repetition_gives_the_same_record(scene: Scene) -> None:
    events = await several(scene)
    forged = msgspec.structs.replace(events[1], id=new_id(scene.now), verdict=Verdict.SUCCESS)
    elsewhere = msgspec.structs.replace(events[0], id=new_id(scene.now), incident=events[1].incident)
    late = msgspec.structs.replace(events[0], id=new_id(scene.now), at=scene.now, ground=Ground.STAYED_WELL)
    told = [*events, forged, elsewhere, late]
    found = []
    for number, order in enumerate(itertools.islice(itertools.permutations(told), 0, 5040, 700)):
        async with scene.database.transaction() as connection:
            if number % 2:
                await diagnoses.take(Proof(connection), order)
                await declarations.take(Proof(connection), order)
            for event in (*order, order[0]):
                await diagnoses.take(Proof(connection), [event])
                await declarations.take(Proof(connection), [event])
            tables = [await connection.fetch(f"SELECT * FROM {table} ORDER BY operation") for table in ("diagnoses", "declarations")]
            found.append([[dict(row.items()) for row in rows] for rows in tables])
            await connection.execute("TRUNCATE diagnoses, declarations")
    assert all(one == found[0] for one in found)
    assert [row["event"] for row in found[0][0]] == [event.id for event in sorted(events, key=lambda one: one.operation)]


async def test_the_record_of_each_source_and_of_its_critic_is_counted_and_shown(scene: Scene) -> None:
    events = await several(scene)
    for event in events:
        await scene.handle(Learn(scene.database), event)
    async with scene.database.connection() as connection:
        assert await record_of_sources(connection) == [
            Record(source="model", provider="llm", right=2, wrong=1, unknown=0),
            Record(source="template", provider="templates", right=0, wrong=0, unknown=1),
        ]
        assert await record_of_critics(connection) == [
            DebateRecord(provider="llm", critic=Debate.AGREED, right=1, wrong=0, unknown=0),
            DebateRecord(provider="llm", critic=Debate.OBJECTED, right=1, wrong=1, unknown=0),
        ]
        assert await reach_of(connection, ["", "p1", "p2"]) == {
            "": Reach(operations=3, measured=3, farther=3),
            "p1": Reach(operations=1, measured=1, farther=1),
            "p2": Reach(operations=0, measured=0, farther=0),
        }
        assert await rated_playbooks(connection, [events[3].operation]) == ["p1"]
    story = await story_of(scene.database, events[1].incident)
    assert [diagnosis_line(one) for one in story.diagnoses] == [
        "wrong: it leaks memory (model llm); a critic objected, borne out: the critic objects: it does not leak"
    ]
    assert [line for one in story.declarations for line in declared_line(one)] == [
        "held: restart deployment shop/b",
        "did not hold: evidence.pods.ready == 2",
        "reach foreseen: 2 pods and 4.0 s of downtime; 3 pods were gone or replaced: farther than foreseen",
    ]


async def test_what_nobody_is_known_to_have_proposed_is_no_source(scene: Scene) -> None:
    incident = await scene.incident()
    gate = Gate(scene.database, GateOptions(mode=Mode.AUTO), KEYS)
    (asked, *_) = await scene.handle(gate, scene.proposal(incident, severity=Severity.P3, **MODEL), backed=False)
    async with scene.database.connection() as connection:
        row = await approvals.get_approval(connection, asked.approval)  # type: ignore[union-attr]
    finished = scene.finished(row)
    await scene.back(finished)
    await scene.handle(Learn(scene.database), scene.verified(finished))
    async with scene.database.connection() as connection:
        assert await record_of_sources(connection) == []
