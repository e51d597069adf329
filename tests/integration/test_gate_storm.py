"""The storm brake on a real Postgres: with too many incidents nothing runs alone, and people are told of it once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schemas.action import Investigate, RestartWorkload
from schemas.event import Delayed
from schemas.events import ActionApproved, ActionProposed, ApprovalRequested, PeopleAsked
from schemas.words import Mode
from sql.database import Database
from sql.errors import StoreUnavailable
from stages.gate.options import GateOptions, StormBrake
from tests.integration.scene import Scene, crowded, deployment, gate, only

OPTIONS = GateOptions(mode=Mode.AUTO, storm=StormBrake(incidents=4, seconds=600))


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def proposals(scene: Scene, count: int) -> list[ActionProposed]:
    """As many incidents, each with a restart that would run alone."""
    found = []
    for number in range(count):
        target = deployment(f"web{number}-{scene.now:%H%M}")
        found.append(scene.proposal(await scene.incident(target), RestartWorkload(target=target)))
    return found


async def test_in_a_storm_nothing_runs_alone_and_people_are_told_once_however_many_gates_decide(scene: Scene, postgres_url: str) -> None:
    events = await proposals(scene, 5)
    async with crowded(postgres_url) as crowd:
        tasks = [asyncio.create_task(scene.handle(gate(scene, OPTIONS), event)) for event in events[:4]]
        await crowd.wait_for(4)
    outputs = await asyncio.gather(*tasks, scene.handle(gate(scene, OPTIONS), events[4]))
    flat: list[Any] = [output for found in outputs for output in found if not isinstance(output, Delayed)]
    assert not any(isinstance(output, ActionApproved) for output in flat)
    assert [output.rule for output in flat if isinstance(output, ApprovalRequested)] == ["storm"] * 5
    page = only(flat, PeopleAsked)
    assert page.reason.startswith("5 new incidents in 10 min, where more than 4 are a storm")


async def test_as_many_as_are_allowed_are_no_storm(scene: Scene) -> None:
    for event in await proposals(scene, 4):
        assert only(await scene.handle(gate(scene, OPTIONS), event), ActionApproved).automatic


async def test_after_a_storm_it_goes_on_and_the_next_one_is_told_again(scene: Scene) -> None:
    *_, event = await proposals(scene, 5)
    only(await scene.handle(gate(scene, OPTIONS), event), PeopleAsked)
    scene.later(601)
    *_, event = await proposals(scene, 4)
    only(await scene.handle(gate(scene, OPTIONS), event), ActionApproved)
    scene.later(61)
    *_, event = await proposals(scene, 4)
    only(await scene.handle(gate(scene, OPTIONS), event), PeopleAsked)


async def test_looking_goes_on_in_a_storm(scene: Scene) -> None:
    await proposals(scene, 5)
    target = deployment("web")
    look = scene.proposal(await scene.incident(target), Investigate(target=target))
    assert only(await scene.handle(gate(scene, OPTIONS), look), ActionApproved).automatic


async def test_while_the_store_is_away_nothing_is_decided(scene: Scene) -> None:
    *_, event = await proposals(scene, 1)
    await scene.back(event)
    await scene.database.close()
    with pytest.raises(StoreUnavailable):
        await scene.handle(gate(scene, OPTIONS), event, backed=False)
