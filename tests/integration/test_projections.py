"""Laws of projections: the same events in any order, any number of times, by any number of writers at once, give the same rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.event import Event
from schemas.target import Target
from schemas.words import Ground, Outcome, Verdict
from sql.database import Database
from sql.projections import ALL
from sql.projections.projection import Projection
from tests.integration.histories import PLACES, Attempt, history
from tests.integration.scene import Scene

attempts = st.builds(
    Attempt,
    verb=st.sampled_from(["restart", "restart", "restart", "scale", "look"]),
    outcome=st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.UNKNOWN]),
    verdict=st.sampled_from([Verdict.SUCCESS, Verdict.FAILED, Verdict.DEGRADED, None]),
    measured=st.sampled_from([True, True, False]),
    automatic=st.booleans(),
    playbook=st.sampled_from(["book", "book", ""]),
    decided=st.sampled_from(["", "approved", "rejected"]),
    seconds=st.integers(0, 3),
    copied=st.booleans(),
    ground=st.sampled_from([None, Ground.HEALED, Ground.STAYED_WELL, Ground.SAME_FAULT, Ground.HEALED_NOTHING]),
    demanded=st.booleans(),
    ratings=st.lists(st.tuples(st.sampled_from(["ann", "Ann", "bob"]), st.sampled_from([1, 3, 5])), max_size=2).map(tuple),
)
incidents = st.lists(st.tuples(st.sampled_from(PLACES), st.booleans(), st.lists(attempts, min_size=1, max_size=4)), min_size=1, max_size=4)
TABLES = [table for projection in ALL for table in projection.tables]
STORES = ("incidents", "incident_alerts", "operations", "verifications", "approvals", "feedback", "outbox", "event_log")


async def cleared(database: Database, *tables: str) -> None:
    await database.fetch(f"TRUNCATE {', '.join(tables)} CASCADE")


async def rows(database: Database, projection: Projection) -> list[list[str]]:
    """Every row of the projection's tables, as text."""
    return [
        sorted(row[0] for row in await database.fetch(f"SELECT t::text FROM (SELECT * FROM {table}) AS t")) for table in projection.tables
    ]


async def taken(database: Database, projection: Projection, batches: Sequence[Sequence[Event]]) -> list[list[str]]:
    """The rows after these batches were taken by as many writers at once."""

    async def take(batch: Sequence[Event]) -> None:
        async with database.connection() as connection:
            for event in batch:
                await projection.take(connection, [event])

    await cleared(database, *projection.tables)
    await asyncio.gather(*(take(batch) for batch in batches))
    return await rows(database, projection)


@pytest.mark.slow
@pytest.mark.parametrize("projection", ALL, ids=[projection.name for projection in ALL])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(drawn=incidents, seed=st.integers(0, 2**32), writers=st.integers(2, 3))
async def test_any_order_any_repetition_and_any_writers_give_the_same_rows(
    database: Database, projection: Projection, drawn: Sequence[tuple[Target, bool, Sequence[Attempt]]], seed: int, writers: int
) -> None:
    await cleared(database, *STORES, *TABLES)
    scene, chance = Scene(database), random.Random(seed)
    events: list[Event] = []
    for target, another, tried in drawn:
        events += await history(scene, target, tried, another=another)
    if chance.random() < 0.5:
        await cleared(database, "told_events")  # as for what was told before ids were kept: of a copy nobody knows that it is one
    async with database.connection() as connection:
        await projection.take(connection, events)
    expected = await rows(database, projection)
    shuffled = [*events, *chance.sample(events, k=len(events) // 2)]
    chance.shuffle(shuffled)
    assert await taken(database, projection, [shuffled]) == expected
    assert await taken(database, projection, [shuffled[start::writers] for start in range(writers)]) == expected
