"""How often a problem came and how it ended: counted from what the stages tell, however late they tell it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.events import IncidentResolved, IncidentUpdated
from schemas.identity import new_id
from schemas.words import Disposition, Ground, Outcome, Severity, SignalStatus, Verdict
from sql import recurrence
from sql.database import Database
from sql.past import recurrence_of
from sql.proof import Proof
from stages.learn.stage import Learn
from tests.integration.histories import opened, resolved
from tests.integration.scene import TARGET, Scene

ANOMALY = f"KubePodCrashLooping {TARGET.key}"


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def learn(database: Database) -> Learn:
    return Learn(database)


async def ends(scene: Scene) -> dict[Disposition, int]:
    async with scene.database.connection() as connection:
        row = await recurrence.get_recurrence(connection, ANOMALY)
    assert row is not None
    assert row.count == 1
    return {how: count for how, count in row.dispositions.items() if count}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Disposition.AUTO_REPAIRED),
        ({"automatic": False}, Disposition.HUMAN_APPROVED),
        ({"verdict": Verdict.FAILED}, Disposition.SELF_RESOLVED),
        ({"verdict": Verdict.DEGRADED}, Disposition.SELF_RESOLVED),
        ({"measured": False}, Disposition.SELF_RESOLVED),
        ({"ground": Ground.STILL_FIRING}, Disposition.SELF_RESOLVED),
        ({"outcome": Outcome.UNKNOWN}, Disposition.SELF_RESOLVED),
    ],
)
@pytest.mark.parametrize("late", [True, False])
async def test_what_is_verified_after_the_end_counts_as_how_it_ended(
    scene: Scene, learn: Learn, fields: dict[str, Any], expected: Disposition, late: bool
) -> None:
    incident = await scene.incident()
    done = scene.finished(incident=incident, automatic=fields.get("automatic", True))
    scene.later(5)
    judged = scene.verified(done, **fields)
    told = [await opened(scene, incident), done, judged, await resolved(scene, incident)]
    for event in told if late else reversed(told):
        await scene.handle(learn, event)
    assert await ends(scene) == {expected: 1}


async def test_a_success_that_did_not_last_is_no_repair(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    healed = scene.finished(incident=incident)
    scene.later(5)
    for event in (await opened(scene, incident), healed, scene.verified(healed)):
        await scene.handle(learn, event)
    scene.later(60)
    again = scene.finished(incident=incident, outcome=Outcome.FAILED)
    await scene.handle(learn, again)
    await scene.handle(learn, await resolved(scene, incident))
    assert await ends(scene) == {Disposition.SELF_RESOLVED: 1}


async def test_what_ingest_did_not_note_is_not_counted(scene: Scene) -> None:
    incident = await scene.incident()
    genuine = await resolved(scene, incident)
    fields: dict[str, Any] = {"target": TARGET, "severity": Severity.P2, "status": SignalStatus.FIRING, "firing": 2}
    forged = [
        msgspec.structs.replace(genuine, id=new_id(scene.now), disposition=Disposition.AUTO_REPAIRED),
        IncidentResolved(**scene.header("no incident"), target=TARGET, disposition=Disposition.REJECTED, seconds=1.0),
        IncidentUpdated(**scene.header(incident), alert="Made up", **fields),
    ]
    async with scene.database.transaction() as connection:
        await recurrence.take(Proof(connection), [await opened(scene, incident), *forged])
    assert await ends(scene) == {}
    assert len(await scene.database.fetch("SELECT FROM recurrences")) == 1


async def test_a_problem_that_came_just_now_is_counted_before_anybody_took_it(scene: Scene, learn: Learn) -> None:
    for number in range(3):
        incident = await scene.incident()
        async with scene.database.connection() as connection:
            found = await recurrence_of(connection, incident)
        assert found is not None
        assert (found.count, found.dispositions[Disposition.SELF_RESOLVED]) == (number + 1, number)
        for event in (await opened(scene, incident), await resolved(scene, incident)):
            await scene.handle(learn, event)
        scene.later(60)


async def test_a_storm_about_one_incident_is_decided_about_once(scene: Scene, learn: Learn) -> None:
    incident = await scene.incident()
    fields: dict[str, Any] = {"target": TARGET, "severity": Severity.P2, "alert": "KubePodCrashLooping", "firing": 2}
    told = [IncidentUpdated(**scene.header(incident), status=SignalStatus.FIRING, **fields) for _ in range(20)]
    for event in (*told, IncidentUpdated(**scene.header(incident), status=SignalStatus.RESOLVED, **fields)):
        await scene.handle(learn, event)
    decided = await scene.database.fetch("SELECT FROM outbox WHERE stage = 'learn'")
    assert len(decided) == 1
    assert await ends(scene) == {}
