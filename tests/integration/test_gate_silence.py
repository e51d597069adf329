"""An alert that people have silenced gets no automatic action, and whoever is asked is told why."""

from __future__ import annotations

import pytest

from schemas.action import Investigate
from schemas.events import ActionApproved, ApprovalRequested
from schemas.evidence import AlertView
from schemas.words import Severity
from sql import decisions
from sql.database import Database
from sql.evidence import store_snapshot
from tests.integration.scene import TARGET, Scene, gate, only
from tests.unit.snapshots import snapshot

FIRES = AlertView(name="PodDown", heard=True, fires=True)
SILENCED = AlertView(name="Slow", heard=True, fires=True, silences=("by ana until 2026-01-01T13:00:00Z: \x1b[31mknown",))


@pytest.fixture
async def scene(database: Database) -> Scene:
    scene = Scene(database)
    async with database.transaction() as connection:
        for name, alerts in (("fires", (FIRES,)), ("silenced", (FIRES, SILENCED))):
            await store_snapshot(connection, id=name, incident="", phase="proposal", snapshot=snapshot(target=TARGET, alerts=alerts))
    return scene


async def test_about_what_is_silenced_nothing_runs_alone_and_people_are_told_why(scene: Scene) -> None:
    event = scene.proposal(await scene.incident(), evidence="silenced")
    asked = only(await scene.handle(gate(scene), event), ApprovalRequested)
    assert (asked.rule, asked.signatures) == ("silenced", 1)
    async with scene.database.connection() as connection:
        decision = await decisions.get_decision(connection, event.id)
    assert decision is not None
    assert decision.reasons[0].startswith("Slow is silenced in Alertmanager (by ana until 2026-01-01T13:00:00Z: ")
    assert "\x1b" not in decision.reasons[0]


async def test_what_fires_unsilenced_runs_as_ever(scene: Scene) -> None:
    assert only(await scene.handle(gate(scene), scene.proposal(await scene.incident(), evidence="fires")), ActionApproved).automatic


async def test_a_silence_takes_no_signature_away_and_lets_it_look(scene: Scene) -> None:
    incident = await scene.incident()
    look = scene.proposal(incident, Investigate(target=TARGET), evidence="silenced")
    assert only(await scene.handle(gate(scene), look), ActionApproved).automatic
    asked = only(await scene.handle(gate(scene), scene.proposal(incident, evidence="silenced", severity=Severity.P0)), ApprovalRequested)
    assert asked.signatures == 2
