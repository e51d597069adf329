"""Signals open, join and end incidents, on a real Postgres."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from bus.handler import Reject, Retry
from schemas.event import Event
from schemas.events import IncidentClosed, IncidentCloseDue, IncidentOpened
from schemas.identity import new_id
from schemas.words import Disposition, IncidentState, Severity, SignalStatus
from sql import incidents, recurrence
from sql.database import Database
from sql.proof import Proof
from sql.recurrence import RecurrenceRow
from tests.integration.ingest_scene import API, API_TARGET, START, Scene, opened, resolved, updated


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def test_the_first_signal_opens_an_incident(scene: Scene) -> None:
    event = opened(await scene.fire())
    assert (event.target, event.severity, event.recurrence) == (API_TARGET, Severity.P2, 1)
    assert (event.alert, event.title, event.key) == (API["alertname"], "replicas are missing", API_TARGET.key)
    row = await scene.row(event.incident)
    assert (row.state, row.firing, row.alerts, row.labels) == (IncidentState.INVESTIGATING, 1, (API["alertname"],), API)
    assert row.is_open
    assert await scene.lines(event.incident) == [f"opened by {API['alertname']}, P2: replicas are missing"]


async def test_a_signal_delivered_twice_gives_the_same_outputs(scene: Scene) -> None:
    signal = scene.signal()
    assert await scene.hear(signal) == await scene.hear(signal)
    assert len(await scene.everything()) == 1


async def test_a_repeat_and_the_other_half_of_a_pair_count_once(scene: Scene) -> None:
    incident = opened(await scene.fire()).incident
    assert await scene.fire() == []
    assert (await scene.row(incident)).firing == 1
    resolved(await scene.end())
    assert await scene.end() == []
    assert await scene.fire() == []
    assert [row.state for row in await scene.everything()] == [IncidentState.RESOLVED]


async def test_a_pair_that_sends_at_the_same_moment_counts_once(scene: Scene) -> None:
    both = await asyncio.gather(scene.fire(), scene.fire())
    assert sorted(len(outputs) for outputs in both) == [0, 1]


async def test_signals_of_one_target_join_and_the_worst_severity_counts(scene: Scene) -> None:
    incident = opened(await scene.fire()).incident
    worse = updated(await scene.fire("f2", labels=API | {"alertname": "Down", "severity": "critical"}))
    milder = updated(await scene.fire("f3", labels=API | {"alertname": "Slow", "severity": "info"}))
    assert [worse.incident, milder.incident] == [incident, incident]
    assert [worse.severity, milder.severity] == [Severity.P0, Severity.P0]
    assert [worse.firing, milder.firing] == [2, 3]
    row = await scene.row(incident)
    assert (row.severity, row.firing, row.alerts) == (Severity.P0, 3, (API["alertname"], "Down", "Slow"))
    again = updated(await scene.fire("f4", labels=API | {"alertname": "Down", "severity": "info", "replica": "2"}))
    assert again.firing == 4
    kept = (API, API | {"alertname": "Down", "severity": "critical"}, API | {"alertname": "Slow", "severity": "info"})
    assert (await scene.row(incident)).alert_labels == kept, "the labels of the first signal of each alert"
    lines = ["Down joined, severity is now P0; 2 firing", "Slow joined; 3 firing", "Down joined; 4 firing"]
    assert (await scene.lines(incident))[1:] == lines


async def test_other_targets_have_incidents_of_their_own(scene: Scene) -> None:
    first = opened(await scene.fire())
    others = [{"deployment": "web"}, {"namespace": "prod"}, {"cluster": "east"}]
    more = [opened(await scene.fire(f"g{number}", labels=API | other)) for number, other in enumerate(others)]
    assert len({first.incident, *(event.incident for event in more)}) == 4
    assert more[2].target.cluster == "east"


async def test_the_last_signal_to_resolve_resolves_the_incident(scene: Scene) -> None:
    incident = opened(await scene.fire("f1")).incident
    await scene.fire("f2")
    one = updated(await scene.end("f1"))
    assert (one.status, one.firing) == (SignalStatus.RESOLVED, 1)
    event, due = resolved(await scene.end("f2", until=690))
    assert (event.incident, event.seconds, event.disposition) == (incident, 690, Disposition.SELF_RESOLVED)
    assert (due.event.incident, due.until) == (incident, scene.now + timedelta(seconds=600))
    assert (await scene.row(incident)).state is IncidentState.RESOLVED


async def test_a_resolved_incident_closes_after_its_quiet_time_and_only_once(scene: Scene) -> None:
    incident = opened(await scene.fire()).incident
    _, due = resolved(await scene.end())
    with pytest.raises(Retry, match="came early"):
        await scene.hear(due.event)
    forged = IncidentCloseDue(id=new_id(scene.now), incident=incident, key="k", at=scene.now, by="t", cause=due.event.cause)
    with pytest.raises(Reject, match="ingest never set this timer"):
        await scene.hear(forged)
    scene.now = due.until
    closed = await scene.hear(due.event)
    assert [type(event) for event in closed] == [IncidentClosed]
    assert await scene.hear(due.event) == closed
    row = await scene.row(incident)
    assert (row.state, row.closed_at) == (IncidentState.CLOSED, scene.now)
    assert (await scene.lines(incident))[-1] == "closed"


async def test_a_refire_opens_a_new_incident_and_is_counted(scene: Scene) -> None:
    first = opened(await scene.fire(since=0))
    async with scene.database.transaction() as connection:
        await incidents.mark_mitigating(connection, first.incident, automatic=True)
        await incidents.record_outcome(connection, first.incident, succeeded=True, effectiveness=5, notes="")
    ended = resolved(await scene.end(since=0, until=10))[0]
    assert ended.disposition is Disposition.AUTO_REPAIRED
    second = opened(await scene.fire(since=20))
    assert second.incident != first.incident
    assert (second.anomaly, second.recurrence) == (first.anomaly, 2)
    counted = await recurrence_after(scene, second, ended, first)
    assert (counted.count, counted.last_at) == (2, second.at)
    assert {word: n for word, n in counted.dispositions.items() if n} == {Disposition.AUTO_REPAIRED: 1}


async def recurrence_after(scene: Scene, first: IncidentOpened, *events: Event) -> RecurrenceRow:
    """How often the problem of the first event came, once these are taken."""
    async with scene.database.transaction() as connection:
        await recurrence.take(Proof(connection), [first, *events])
        found = await recurrence.get_recurrence(connection, first.anomaly)
    assert found is not None
    return found


async def test_an_alert_counts_once_for_each_incident(scene: Scene) -> None:
    event = opened(await scene.fire("f1"))
    joined = updated(await scene.fire("f2"))
    assert (await recurrence_after(scene, event, joined, event)).count == 1


@pytest.mark.parametrize(
    ("automatic", "rejected", "succeeded", "expected"),
    [
        (None, False, None, Disposition.SELF_RESOLVED),
        (None, True, None, Disposition.REJECTED),
        (True, False, None, Disposition.SELF_RESOLVED),
        (False, False, None, Disposition.SELF_RESOLVED),
        (True, True, None, Disposition.REJECTED),
        (True, False, True, Disposition.AUTO_REPAIRED),
        (False, False, True, Disposition.HUMAN_APPROVED),
        (True, True, True, Disposition.AUTO_REPAIRED),
        (True, False, False, Disposition.SELF_RESOLVED),
    ],
)
async def test_the_disposition_says_what_happened(
    scene: Scene, automatic: bool | None, rejected: bool, succeeded: bool | None, expected: Disposition
) -> None:
    incident = opened(await scene.fire()).incident
    async with scene.database.transaction() as connection:
        if automatic is not None:
            await incidents.mark_mitigating(connection, incident, automatic=automatic)
        if rejected:
            await incidents.mark_rejected(connection, incident)
        if succeeded is not None:
            await incidents.record_outcome(connection, incident, succeeded=succeeded, effectiveness=4, notes="a note")
    assert resolved(await scene.end())[0].disposition is expected
    assert (await scene.row(incident)).disposition is expected


@pytest.mark.parametrize(
    ("automatic", "rejected", "succeeded", "expected"),
    [
        (True, False, True, Disposition.AUTO_REPAIRED),
        (False, False, True, Disposition.HUMAN_APPROVED),
        (False, True, True, Disposition.HUMAN_APPROVED),
        (None, False, True, Disposition.SELF_RESOLVED),
        (True, False, False, Disposition.SELF_RESOLVED),
    ],
)
async def test_what_is_verified_after_the_alert_has_ended_becomes_the_disposition(
    scene: Scene, automatic: bool | None, rejected: bool, succeeded: bool, expected: Disposition
) -> None:
    """Verification takes minutes, and the alert may end before."""
    first = opened(await scene.fire("f1"))
    await scene.fire("f2", labels=API | {"alertname": "Slow"})
    async with scene.database.transaction() as connection:
        if automatic is not None:
            await incidents.mark_mitigating(connection, first.incident, automatic=automatic)
        if rejected:
            await incidents.mark_rejected(connection, first.incident)
    await scene.end("f1")
    end = resolved(await scene.end("f2"))[0]
    assert end.disposition is (Disposition.REJECTED if rejected else Disposition.SELF_RESOLVED), "nothing is verified yet"
    assert ("not verified to have repaired it" in (await scene.lines(first.incident))[-1]) is (automatic is not None)
    for _ in range(2):
        async with scene.database.transaction() as connection:
            await incidents.record_outcome(connection, first.incident, succeeded=succeeded, effectiveness=4, notes="")
    assert (await scene.row(first.incident)).disposition is expected


async def test_one_signed_action_makes_the_whole_incident_a_persons(scene: Scene) -> None:
    incident = opened(await scene.fire()).incident
    async with scene.database.transaction() as connection:
        await incidents.mark_mitigating(connection, incident, automatic=False)
        await incidents.mark_mitigating(connection, incident, automatic=True)
        await incidents.record_outcome(connection, incident, succeeded=True, effectiveness=5, notes="")
    assert (await scene.row(incident)).state is IncidentState.MITIGATING
    assert resolved(await scene.end())[0].disposition is Disposition.HUMAN_APPROVED


async def test_a_resolve_before_its_firing_opens_nothing(scene: Scene) -> None:
    assert await scene.end() == []
    assert await scene.fire() == []
    assert await scene.everything() == []
    opened(await scene.fire(since=700))


async def test_a_firing_older_than_what_is_known_opens_nothing(scene: Scene) -> None:
    opened(await scene.fire(since=100))
    assert await scene.fire(since=0) == []
    resolved(await scene.end(since=100, until=200))
    assert await scene.fire(since=50) == []
    assert len(await scene.everything()) == 1


async def test_a_late_resolve_of_an_earlier_occurrence_ends_nothing(scene: Scene) -> None:
    incident = opened(await scene.fire(since=0)).incident
    resolved(await scene.end(since=0, until=50))
    second = opened(await scene.fire(since=100)).incident
    assert await scene.end(since=1, until=50) == []
    assert (await scene.row(second)).firing == 1
    assert second != incident


async def test_a_repeated_resolve_ends_only_what_it_ended_before(scene: Scene) -> None:
    opened(await scene.fire(since=0))
    resolved(await scene.end(since=0, until=50))
    opened(await scene.fire(since=30))
    assert await scene.end(since=0, until=50) == []


async def test_a_new_occurrence_takes_the_place_of_one_whose_end_was_never_heard(scene: Scene) -> None:
    incident = opened(await scene.fire(since=0)).incident
    again = updated(await scene.fire(since=100))
    assert (again.incident, again.firing) == (incident, 1)
    resolved(await scene.end(since=100, until=200))
    assert await scene.end(since=0, until=50) == []


async def test_a_sender_that_moves_the_start_still_ends_the_alert(scene: Scene) -> None:
    """Alertmanager takes the earliest start when two Prometheus servers tell of one alert."""
    incident = opened(await scene.fire(since=5)).incident
    assert await scene.fire(since=0) == []
    resolved(await scene.end(since=0, until=60))
    assert (await scene.row(incident)).firing == 0


async def test_a_start_in_the_future_hides_neither_the_end_nor_the_next_start(scene: Scene) -> None:
    """Alertmanager takes the end, where it is told one, for a start that it is not told."""
    early = msgspec.structs.replace(scene.signal(), starts_at=START + timedelta(seconds=3600))
    opened(await scene.hear(early))
    resolved(await scene.end(since=30, until=60))
    opened(await scene.fire(since=100))


async def test_two_connections_that_open_at_once_make_one_incident(scene: Scene) -> None:
    outputs = await asyncio.gather(*[scene.fire(f"f{number}") for number in range(12)])
    kinds = sorted(type(event).__name__ for events in outputs for event in events)
    assert kinds == ["IncidentOpened"] + ["IncidentUpdated"] * 11
    (row,) = await scene.everything()
    assert (row.firing, row.signals) == (12, 12)


async def test_opening_while_the_last_signal_resolves_leaves_no_orphan(scene: Scene) -> None:
    for number in range(10):
        await scene.fire("old", since=number * 10)
        await asyncio.gather(scene.end("old", since=number * 10, until=number * 10 + 5), scene.fire(f"new{number}", since=number * 10))
        assert sum(row.firing for row in await scene.everything() if row.is_open) == 1
        assert all(row.firing == 0 for row in await scene.everything() if not row.is_open)
        await scene.end(f"new{number}", since=number * 10, until=number * 10 + 6)


async def test_a_storm_writes_a_short_timeline(scene: Scene) -> None:
    incident = opened(await scene.fire("f0")).incident
    for number in range(1, 30):
        await scene.fire(f"f{number}")
    assert len(await scene.lines(incident)) == 20
    assert (await scene.row(incident)).firing == 30
