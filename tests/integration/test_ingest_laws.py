"""Laws of incidents: whatever arrives in whatever order and however often, the counts are true."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import SignalReceived
from sql import recurrence
from sql.database import Database
from sql.outbox import unsettled
from sql.projections.log import EVER
from sql.proof import Proof
from tests.integration.ingest_scene import API, Scene

WEB = API | {"deployment": "web", "severity": "critical"}

# A signal by its fingerprint, its start, and its end or none; times in seconds.
signals = st.tuples(st.sampled_from(["f1", "f2", "f3"]), st.integers(0, 3), st.none() | st.integers(1, 5)).map(
    lambda drawn: (drawn[0], drawn[1] * 10, None if drawn[2] is None else drawn[1] * 10 + drawn[2] * 7)
)


def made(scene: Scene, drawn: Sequence[tuple[str, int, int | None]]) -> list[SignalReceived]:
    return [
        scene.signal(fingerprint, since, until=until, labels=WEB if fingerprint == "f3" else API) for fingerprint, since, until in drawn
    ]


async def check_counts(database: Database) -> None:
    """An open incident has as many firing signals as it says, a resolved one none; a fingerprint is open once."""
    wrong = await database.fetch(
        "SELECT i.id FROM incidents i WHERE i.firing <> (SELECT count(*) FROM signals s WHERE s.open AND s.incident = i.id)"
        " OR (i.state IN ('INVESTIGATING', 'MITIGATING')) <> (i.firing > 0)"
    )
    assert wrong == []
    async with database.transaction() as connection:
        async for told in unsettled(connection, EVER):
            await recurrence.take(Proof(connection), told)
    recurrences = await database.fetch(
        "SELECT anomaly FROM recurrences r WHERE count <> (SELECT count(*) FROM incident_alerts a WHERE a.anomaly = r.anomaly)"
        " OR auto_repaired + human_approved + rejected + self_resolved <> (SELECT count(*) FROM incident_alerts a"
        " JOIN incidents i ON i.id = a.incident WHERE a.anomaly = r.anomaly AND i.disposition IS NOT NULL)"
    )
    assert recurrences == []


async def cleared(database: Database) -> None:
    await database.fetch("TRUNCATE incidents, signals, incident_alerts, recurrences, recurrence_ledger, incident_timeline, outbox")


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(signals, min_size=1, max_size=14), at_once=st.booleans())
async def test_counts_are_true_in_any_order(database: Database, drawn: list[tuple[str, int, int | None]], at_once: bool) -> None:
    await cleared(database)
    scene = Scene(database)
    events = made(scene, drawn)
    if at_once:
        await asyncio.gather(*[scene.hear(event) for event in [*events, *events]])
    else:
        for event in events:
            first = await scene.hear(event)
            assert await scene.hear(event) == first
    await check_counts(database)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(signals, min_size=1, max_size=10))
async def test_when_everything_has_ended_every_incident_has(database: Database, drawn: list[tuple[str, int, int | None]]) -> None:
    await cleared(database)
    scene = Scene(database)
    ends = [(fingerprint, since, 1000) for fingerprint, since, _ in drawn]
    for event in made(scene, [*drawn, *ends]):
        await scene.hear(event)
    await check_counts(database)
    assert [row for row in await scene.everything() if row.is_open] == []
