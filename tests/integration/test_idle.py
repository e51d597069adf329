"""Open incidents in which nothing happens: each is put to people, or all of them together, and no severe one waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from bus.handler import Reject
from schemas.event import Delayed, Output
from schemas.events import ApprovalRequested, IncidentIdleDue, IncidentOpened, PeopleAsked
from schemas.words import Outcome, Severity
from sql import switch
from sql.database import Database
from sql.incidents import timeline
from stages.failure_watch.options import FailureWatchOptions
from stages.failure_watch.stage import FailureWatch
from tests.integration.scene import Scene, deployment, gate, only

IDLE = timedelta(seconds=FailureWatchOptions().idle)
WINDOW = timedelta(seconds=FailureWatchOptions().same_cause_window)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def asked(outputs: Sequence[Output]) -> list[PeopleAsked]:
    return [output for output in outputs if isinstance(output, PeopleAsked)]


async def opened(scene: Scene, name: str, severity: Severity = Severity.P2) -> IncidentOpened:
    target = deployment(name)
    incident = await scene.incident(target, severity)
    plain: dict[str, Any] = {"severity": severity, "title": "t", "alert": "a", "anomaly": "a@k"}
    return IncidentOpened(**scene.header(incident), target=target, **plain)


def timer(outputs: Sequence[Output]) -> tuple[IncidentIdleDue, datetime]:
    (found,) = (output for output in outputs if isinstance(output, Delayed))
    assert isinstance(found.event, IncidentIdleDue)
    return found.event, found.until


async def test_an_incident_in_which_nothing_happens_is_put_to_people(scene: Scene, watch: FailureWatch) -> None:
    event = await opened(scene, "api")
    due, until = timer(await scene.handle(watch, event))
    assert until == scene.now + IDLE
    scene.later(IDLE.total_seconds() / 2)
    busy = scene.finished(incident=event.incident, outcome=Outcome.FAILED, error="denied")
    await scene.handle(watch, busy)
    scene.later(IDLE.total_seconds() / 2)
    outputs = await scene.handle(watch, due)
    due, until = timer(outputs)
    assert (asked(outputs), until) == ([], scene.now + IDLE / 2), "something happened half way"
    scene.later(IDLE.total_seconds() / 2)
    outputs = await scene.handle(watch, due)
    (question,) = asked(outputs)
    assert "nothing has happened for 30 min" in question.reason
    assert "- 01-01 12:15 restart deployment shop/api: failed" in question.question
    due, until = timer(outputs)
    assert until == scene.now + IDLE
    await scene.resolve(event.incident)
    scene.later(IDLE.total_seconds())
    assert await scene.handle(watch, due) == []


async def idle(scene: Scene, watch: FailureWatch, *severities: Severity) -> dict[str, Sequence[Output]]:
    """What is told of incidents that became idle one after the other, a second between them."""
    events = []
    for number, severity in enumerate(severities):
        scene.later(1)
        event = await opened(scene, f"web{number}-{scene.now:%H%M%S}", severity)
        events.append((event.incident, timer(await scene.handle(watch, event))))
    found = {}
    for incident, (due, until) in events:
        scene.later((until - scene.now).total_seconds())
        found[incident] = await scene.handle(watch, due)
    return found


async def looked(scene: Scene, watch: FailureWatch, told: dict[str, Sequence[Output]], until: datetime) -> dict[str, Sequence[Output]]:
    """What was last told of each incident once all timers until this time have come, in their order."""
    told = dict(told)
    while (next_ := min((timer(outputs)[1], incident) for incident, outputs in told.items() if outputs))[0] <= until:
        scene.now = max(scene.now, next_[0])
        told[next_[1]] = await scene.handle(watch, timer(told[next_[1]])[0])
    return told


async def notes(scene: Scene, incident: str) -> list[str]:
    async with scene.database.connection() as connection:
        return [line.what for line in await timeline(connection, incident)]


def _again(told: dict[str, Sequence[Output]]) -> datetime:
    """When people are told of all together again, after the fourth of those that were told made them so."""
    return asked(list(told.values())[3])[0].at + WINDOW


async def test_many_idle_incidents_are_told_together_but_a_severe_one_at_once(scene: Scene, watch: FailureWatch) -> None:
    told = await idle(scene, watch, *[Severity.P2] * 4, Severity.P0, Severity.P3)
    counts = [len(asked(outputs)) for outputs in told.values()]
    assert counts == [1, 1, 1, 1, 1, 0], "three are told each, four as one; the others wait, but for one that is P0"
    group, severe = (asked(list(told.values())[place])[0] for place in (3, 4))
    assert "nothing happens in 4 open incidents" in group.reason
    assert all(incident in group.question for incident in list(told)[:4])
    assert (severe.severity, "nothing has happened for 30 min" in severe.reason) == (Severity.P0, True)
    last, again = list(told)[-1], _again(told)
    said = f"people are told of all such incidents together, next at {again:%H:%M} UTC"
    assert await notes(scene, last) == [f"nothing has happened for 30 min; {said}"]
    told = await looked(scene, watch, told, again - timedelta(seconds=1))
    assert [asked(outputs) for outputs in told.values()] == [[]] * 6, "all were looked at again, and nobody was asked again"
    assert (await notes(scene, last))[1:] == [f"nothing has happened for 60 min; {said}"]
    told = await looked(scene, watch, told, again)
    (together,) = (question for outputs in told.values() for question in asked(outputs))
    assert "nothing happens in 6 open incidents" in together.reason
    assert together.severity is Severity.P0
    assert all(incident in together.question for incident in told)
    lines = [(await notes(scene, incident))[-1] for incident in told if incident != together.incident]
    assert all("next at" in line for line in lines)


async def test_incidents_that_are_over_or_go_on_keep_no_new_one_quiet(scene: Scene, watch: FailureWatch) -> None:
    told = await idle(scene, watch, *[Severity.P2] * 5)
    first, *healed, _, fifth = told
    assert asked(told[fifth]) == []
    for incident in healed:
        await scene.resolve(incident)
    await scene.handle(watch, scene.finished(incident=first, outcome=Outcome.FAILED, error="denied"))
    (new,) = (await idle(scene, watch, Severity.P3)).values()
    (question,) = asked(new)
    assert "open incident about" in question.reason
    assert timer(new)[1] == scene.now + IDLE
    told = await looked(scene, watch, {fifth: told[fifth]}, timer(told[fifth])[1])
    (question,) = asked(told[fifth])
    assert "nothing has happened for 60 min in the open incident about" in question.reason, "what waited is told, by itself now"


async def test_what_is_idle_again_is_put_to_people_again(scene: Scene, watch: FailureWatch) -> None:
    """A severe incident waits for no window: not when it was told of before, and something happened since."""
    told = await idle(scene, watch, *[Severity.P2] * 4, Severity.P1)
    *_, severe = told
    assert len(asked(told[severe])) == 1
    scene.later(60)
    await scene.handle(watch, scene.finished(incident=severe, outcome=Outcome.FAILED, error="denied"))
    again = _again(told)
    told = await looked(scene, watch, {severe: told[severe]}, scene.now + IDLE)
    (question,) = asked(told[severe])
    assert "nothing has happened for 30 min" in question.reason
    assert scene.now < again


async def test_while_everything_is_stopped_nobody_is_asked_why_nothing_happens(scene: Scene, watch: FailureWatch) -> None:
    due, _ = timer(await scene.handle(watch, await opened(scene, "api")))
    async with scene.database.transaction() as connection:
        await switch.stop(connection, by="ana", reason="a test", at=scene.now)
    scene.later(IDLE.total_seconds() + 1)
    outputs = await scene.handle(watch, due)
    assert asked(outputs) == []
    assert timer(outputs)[1] == scene.now + IDLE


async def test_an_incident_that_waits_for_a_signature_is_left_to_the_gate(scene: Scene, watch: FailureWatch) -> None:
    event = await opened(scene, "api")
    due, _ = timer(await scene.handle(watch, event))
    requested = await scene.handle(gate(scene), scene.proposal(event.incident, severity=Severity.P0))
    assert only(requested, ApprovalRequested)
    scene.later(IDLE.total_seconds() + 1)
    outputs = await scene.handle(watch, due)
    assert asked(outputs) == []
    assert timer(outputs)[1] == scene.now + IDLE


async def test_a_timer_that_nobody_set_and_an_incident_that_nobody_opened_move_nothing(scene: Scene, watch: FailureWatch) -> None:
    event = await opened(scene, "api")
    for forged in (IncidentIdleDue(**scene.header(event.incident)), event):
        with pytest.raises(Reject, match="not genuine"):
            await scene.handle(watch, forged, backed=False)
