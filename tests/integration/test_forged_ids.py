"""An event with the id of a real one that is still to come, about something that is done: the real one still gets its own answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.handler import Reject
from schemas.event import Delayed
from schemas.events import ApprovalDue, IncidentClosed, IncidentCloseDue, IncidentOpened, PeopleAsked
from schemas.words import Choice, Outcome, Severity
from sql.database import Database
from stages.failure_watch.stage import FailureWatch
from stages.verify.stage import VerifyStage
from tests.chaos.storm.effects import Effects, RecordingWorld
from tests.integration import ingest_scene
from tests.integration.scene import RESTART, TARGET, Scene, deployment, gate, only, row


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def test_verify_begins_although_a_forged_execution_had_the_id(scene: Scene, tmp_path: Path) -> None:
    stage = VerifyStage(scene.database, RecordingWorld(Effects(tmp_path), lambda: scene.now))
    done, real = scene.finished(), scene.finished()
    await scene.handle(stage, done)
    forged = msgspec.structs.replace(done, id=real.id)
    assert await scene.handle(stage, forged, backed=False) == []
    assert [type(output) for output in await scene.handle(stage, real)] == [Delayed]


async def _timer(scene: Scene, name: str) -> tuple[ApprovalDue, datetime]:
    """The timer of a new approval that waits, and when it is due."""
    target = deployment(name)
    proposal = scene.proposal(await scene.incident(target), msgspec.structs.replace(RESTART, target=target), severity=Severity.P0)
    (timer,) = [output for output in await scene.handle(gate(scene), proposal) if isinstance(output, Delayed)]
    assert isinstance(timer.event, ApprovalDue)
    return timer.event, timer.until


async def test_the_gate_reminds_people_although_a_forged_timer_had_the_id(scene: Scene) -> None:
    stage = gate(scene)
    rejected, _ = await _timer(scene, "api")
    waiting, until = await _timer(scene, "web")
    forged = msgspec.structs.replace(waiting, approval=rejected.approval)
    with pytest.raises(Reject, match="gate never told this"):
        await scene.handle(stage, forged)
    await scene.handle(stage, scene.vote(await row(scene, rejected.approval), "ana", Choice.REJECT))
    assert await scene.handle(stage, forged) == []
    scene.now = until
    assert only(await scene.handle(stage, waiting), PeopleAsked).subject == waiting.approval


async def test_the_gate_frees_the_target_although_a_forged_execution_had_the_id(scene: Scene) -> None:
    stage = gate(scene)
    first, second = scene.finished(), scene.finished()
    for event in (first, second):
        await scene.allow(event)
    ended = [msgspec.structs.replace(event, approval=event.operation) for event in (first, second)]
    await scene.back(ended[0])
    await scene.handle(stage, msgspec.structs.replace(ended[0], id=ended[1].id), backed=False)
    await scene.handle(stage, ended[1])
    assert (await row(scene, second.operation)).finished_at is not None


async def test_an_incident_is_closed_although_a_forged_timer_had_the_id(database: Database) -> None:
    scene = ingest_scene.Scene(database)
    web = ingest_scene.API | {"deployment": "web"}
    await scene.fire("f1")
    await scene.fire("f2", labels=web)
    _, first = ingest_scene.resolved(await scene.end("f1"))
    scene.now = first.until
    assert await scene.hear(first.event)
    _, second = ingest_scene.resolved(await scene.end("f2", labels=web))
    assert isinstance(second.event, IncidentCloseDue)
    assert await scene.hear(msgspec.structs.replace(second.event, incident=first.event.incident)) == []
    scene.now = second.until
    assert [type(event) for event in await scene.hear(second.event)] == [IncidentClosed]


async def test_failure_watch_asks_people_although_a_forged_failure_had_the_id(scene: Scene) -> None:
    watch = FailureWatch(scene.database)
    known, real = scene.finished(outcome=Outcome.FAILED), scene.finished(outcome=Outcome.FAILED)
    only(await scene.handle(watch, known), PeopleAsked)
    assert await scene.handle(watch, msgspec.structs.replace(known, id=real.id), backed=False) == []
    assert only(await scene.handle(watch, real), PeopleAsked).subject == real.id


async def test_an_idle_incident_is_looked_at_although_a_forged_event_had_the_id(scene: Scene) -> None:
    watch = FailureWatch(scene.database)
    over, is_open = await scene.incident(), await scene.incident(deployment("web"))
    about: dict[str, Any] = {
        "target": TARGET,
        "severity": Severity.P3,
        "title": "t",
        "alert": "a",
        "anomaly": "a",
        "recurrence": 0,
        "labels": {},
    }
    real = IncidentOpened(**scene.header(is_open), **about)
    await scene.resolve(over)
    assert await scene.handle(watch, msgspec.structs.replace(real, incident=over), backed=False) == []
    (timer,) = await scene.handle(watch, real)
    assert isinstance(timer, Delayed)
    assert timer.until > scene.now + timedelta(seconds=1)
