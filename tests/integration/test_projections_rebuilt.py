"""A rebuild while the stages write loses nothing, and a verification tells what really differs and nothing else."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from bus.handler import Reject
from schemas.event import Event
from schemas.events import VerificationFinished
from schemas.identity import new_id
from schemas.learning import FeedbackGiven
from schemas.words import Outcome, Verdict
from sql.database import Database
from sql.keys import BEGINNING
from sql.migrate import migrations
from sql.outbox import PAGE, unsettled
from sql.projections import ALL, NAMES, named
from sql.projections.aside import aside
from sql.projections.log import EVER
from sql.projections.projection import Projection
from sql.projections.rebuild import NotArchived, rebuild
from sql.projections.status import standings
from sql.projections.verify import Verified, verify
from stages.learn.stage import Learn
from tests.integration.histories import PLACES, Attempt, history, opened
from tests.integration.scene import KEYS, Scene, crowded

TRIED = (
    Attempt(playbook="book", decided="approved", automatic=False),
    Attempt(verdict=Verdict.FAILED, playbook="book"),
    Attempt(verb="scale", outcome=Outcome.FAILED, verdict=None, decided="rejected"),
)

_NIGHT = (
    """
INSERT INTO incidents (id, key, state, severity, cluster, kind, namespace, name, title, labels, services, firing, signals, opened_at)
SELECT 'i-' || n, key, 'CLOSED', severity, cluster, kind, namespace, name, title, labels, services, 0, 1, opened_at
  FROM incidents, generate_series(1, $1::int) AS n WHERE id = $2
""",
    """
INSERT INTO incident_alerts (incident, alert, anomaly, labels)
SELECT 'i-' || n, alert, anomaly, labels FROM incident_alerts, generate_series(1, $1::int) AS n WHERE incident = $2
""",
    """
INSERT INTO outbox (stage, input, outputs, settled)
SELECT 'ingest', 's-' || n, replace(replace($4, $3, 'e-' || n), $2, 'i-' || n), false FROM generate_series(1, $1::int) AS n
UNION ALL SELECT 'learn', 'e-' || n, '[]', true FROM generate_series(1, $1::int) AS n
""",
)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def happened(scene: Scene, incidents: int) -> list[Event]:
    """Incidents one after another, in two places."""
    return [event for number in range(incidents) for event in await history(scene, PLACES[number % 2], TRIED)]


async def learned(scene: Scene, events: Sequence[Event]) -> None:
    learn = Learn(scene.database, KEYS)
    for event in events:
        await scene.handle(learn, event)


async def verified(scene: Scene) -> dict[str, Verified]:
    return {name: await verify(scene.database, name) for name in NAMES}


async def test_what_the_stages_took_is_what_the_log_says_and_what_is_on_its_way_is_no_difference(scene: Scene) -> None:
    events = await happened(scene, 4)
    taken, waiting = events[:-9], events[-9:]
    await learned(scene, taken)
    await scene.archive(*events[5:])
    found = await verified(scene)
    assert {name: one.differing for name, one in found.items()} == dict.fromkeys(NAMES, 0)
    assert all(one.rows for one in found.values())
    assert found["lessons"].undecided == sum(type(event).__name__ in ("ExecutionFinished", "VerificationFinished") for event in waiting)
    await learned(scene, waiting)
    assert [(one.differing, one.undecided) for one in (await verified(scene)).values()] == [(0, 0)] * len(NAMES)


async def test_what_differs_is_told_row_by_row_and_a_rebuild_makes_it_equal(scene: Scene) -> None:
    events = await happened(scene, 3)
    await learned(scene, events)
    await scene.archive(*events)
    before = {projection.name: await scene.database.fetch(f"SELECT * FROM {projection.tables[-1]} ORDER BY 1, 2") for projection in ALL}
    for spoiled in (
        "UPDATE trust SET score = 77 WHERE pattern = 'restart:prod/shop/api'",
        "DELETE FROM lessons WHERE id = (SELECT max(id) FROM lessons)",
        "UPDATE recurrences SET count = count + 1",
        "INSERT INTO repairs VALUES ('nothing', 'restart', 9, 9, 0)",
        "DELETE FROM playbook_ledger",
        "UPDATE knowledge SET notes = '{forged}' WHERE id = (SELECT max(id) FROM knowledge)",
        "UPDATE diagnoses SET bearing = 'wrong' WHERE bearing = 'right'",
        "DELETE FROM declarations",
    ):
        await scene.database.fetch(spoiled)
    found = await verified(scene)
    assert found["lessons"].events == sum(type(event).__name__ in ("ExecutionFinished", "VerificationFinished") for event in events)
    (trust,) = found["trust"].differences
    assert trust.live is not None
    assert trust.built is not None
    assert (trust.table, trust.live["score"], trust.built["score"], trust.built["pattern"]) == ("trust", 77, 0, "restart:prod/shop/api")
    (lesson,), (repair,) = found["lessons"].differences, found["repairs"].differences
    assert (lesson.live, repair.built) == (None, None)
    assert [one.differing for one in found.values()] == [1, 6, 1, 2, 1, 1, 3, 6]
    assert len((await verify(scene.database, "playbooks", most=2)).differences) == 2
    for name in NAMES:
        assert (await rebuild(scene.database, name)).changed > 0
    assert [one.differing for one in (await verified(scene)).values()] == [0] * len(NAMES)
    for projection in ALL:
        assert await scene.database.fetch(f"SELECT * FROM {projection.tables[-1]} ORDER BY 1, 2") == before[projection.name]
    assert (await rebuild(scene.database, "trust")).changed == 0, "only rows that differ are written"


async def test_the_stages_go_on_through_rebuilds_and_lose_nothing(scene: Scene) -> None:
    events = await happened(scene, 8)
    await scene.archive(*events[::2])
    going, rebuilt = asyncio.Event(), 0

    async def rebuild_all() -> None:
        nonlocal rebuilt
        while not going.is_set():
            for name in NAMES:
                await rebuild(scene.database, name)
                rebuilt += 1

    rebuilding = asyncio.create_task(rebuild_all())
    await asyncio.gather(learned(scene, events), learned(scene, events[::-1]))
    going.set()
    await rebuilding
    assert rebuilt
    assert [(one.differing, one.undecided) for one in (await verified(scene)).values()] == [(0, 0)] * len(NAMES)
    counted = await scene.database.fetch("SELECT sum(successes) AS healed, sum(samples) AS tried FROM repairs")
    assert (counted[0]["healed"], counted[0]["tried"]) == (8, 24)


async def test_what_nobody_can_tell_again_is_waited_for_and_nothing_is_changed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn took an event of which only Redis has the bytes: a rebuild without it would lose its row."""
    monkeypatch.setattr("sql.projections.rebuild._PAUSE", 0.0)
    events = await happened(scene, 1)
    await learned(scene, events)
    await scene.archive(*events[:-1])
    await scene.database.fetch("DELETE FROM outbox WHERE stage <> 'learn'")
    await scene.database.fetch("UPDATE outbox SET kept_at = kept_at - interval '20 hours'")  # the archive may have been away for long
    await scene.database.fetch("UPDATE trust SET score = 77")
    with pytest.raises(NotArchived, match="look at the archive"):
        await rebuild(scene.database, "trust")
    assert [row["score"] for row in await scene.database.fetch("SELECT score FROM trust")] == [77, 77]
    await scene.archive(*events[-1:])
    assert (await rebuild(scene.database, "trust")).changed == 2


async def test_how_each_stands(scene: Scene) -> None:
    events = await happened(scene, 1)
    await learned(scene, events)
    await scene.archive(*events)
    await rebuild(scene.database, "trust")
    await verify(scene.database, "trust")
    async with scene.database.connection() as connection:
        found = {one.name: one for one in await standings(connection)}
    trust, lessons = found["trust"], found["lessons"]
    assert trust.rows == {"trust_ledger": 5, "trust": 2}
    assert (trust.events, trust.lag, trust.differing) == (7, 0.0, 0)
    assert None not in (trust.rebuilt_at, trust.verified_at)
    assert (lessons.rebuilt_at, lessons.verified_at, lessons.lag) == (None, None, 0.0)
    assert lessons.taken == next(event.id for event in reversed(events) if type(event).__name__ in lessons.types)


async def test_what_was_there_before_these_ledgers_fills_them_as_the_log_would(scene: Scene) -> None:
    odd = (Attempt(measured=False), Attempt(verb="look"), Attempt(outcome=Outcome.UNKNOWN, automatic=False))
    events = [*await happened(scene, 2), *await history(scene, PLACES[0], odd), *await history(scene, PLACES[1], TRIED, ended=False)]
    await learned(scene, events)
    await scene.archive(*events)
    await scene.database.fetch("TRUNCATE repair_ledger, repairs, recurrence_ledger")
    await scene.database.fetch("UPDATE recurrences SET count = 99")
    async with scene.database.transaction() as connection:
        await connection.execute(dict(migrations())["0019_projections_filled.sql"])
    found = [await verify(scene.database, name) for name in ("repairs", "recurrence")]
    assert [one.differences for one in found] == [(), ()]
    assert all(one.rows for one in found)


def holding_nul(scene: Scene, event: Event) -> list[Event]:
    """The event once for each of its texts, as somebody tells it who puts a NUL into that."""
    texts = [name for name in event.__struct_fields__ if name not in ("id", "type", "at") and type(getattr(event, name)) is str]
    return [msgspec.structs.replace(event, id=new_id(scene.now), **{name: f"{getattr(event, name)}\0"}) for name in texts]


@pytest.mark.parametrize("projection", ALL, ids=NAMES)
async def test_what_holds_a_nul_stops_no_projection_and_teaches_nothing(scene: Scene, projection: Projection) -> None:
    events = await happened(scene, 1)
    given = FeedbackGiven(**scene.header(events[0].incident), person="ann", rating=4, origin="cli/test", note="fine")
    events.append(KEYS.prove(given))
    await learned(scene, events)
    forged = [copy for event in events for copy in holding_nul(scene, event)]
    told = next(one for one in forged if isinstance(one, VerificationFinished) and "\0" in one.operation)
    async with scene.database.transaction() as connection:
        kept = msgspec.json.encode([{"event": told}]).decode()
        await connection.execute("INSERT INTO outbox (stage, input, outputs, settled) VALUES ('verify', 'none', $1, false)", kept)
    await scene.archive(*events, *(one for one in forged if one is not told))
    assert (await verify(scene.database, projection.name)).differing == 0
    assert (await rebuild(scene.database, projection.name)).changed == 0
    with pytest.raises(Reject, match="NUL"):
        await scene.handle(Learn(scene.database, KEYS), told, backed=False)


def relabelled(scene: Scene, event: Event) -> Event:
    """A copy that claims to be earlier, and says something else of what the stores do not keep."""
    said = {
        "playbook": "other",
        "measured": False,
        "automatic": False,
        "person": "eve",
        "signers": ("eve",),
        "summary": "no",
        "error": "no",
    }
    known = {name: value for name, value in said.items() if name in event.__struct_fields__}
    return msgspec.structs.replace(event, id=new_id(scene.now), at=event.at - timedelta(days=1), **known)


async def test_a_copy_of_a_genuine_event_stands_in_for_none_in_a_rebuild(scene: Scene) -> None:
    events = await happened(scene, 2)
    await learned(scene, events)
    copies = [relabelled(scene, event) for event in events]
    await scene.archive(*events, *copies)
    for name in NAMES:
        assert (await verify(scene.database, name)).differences == (), name
        assert (await rebuild(scene.database, name)).changed == 0, name


async def test_what_the_stage_passed_by_is_told_where_rows_differ(scene: Scene) -> None:
    events = await happened(scene, 1)
    await scene.archive(*events)
    async with scene.database.connection() as connection:
        (lessons,) = [one for one in await standings(connection) if one.name == "lessons"]
    assert (lessons.lag or 0.0) > 0, "it took nothing, and is behind by all that there is"
    await scene.database.fetch("UPDATE event_log SET stored_at = now() - interval '2 hours'")
    found = await verified(scene)
    executions = sum(type(event).__name__ in ("ExecutionFinished", "VerificationFinished") for event in events)
    assert (found["lessons"].overlooked, found["lessons"].differing > 0) == (executions, True)
    await learned(scene, events)
    assert {one.overlooked for one in (await verified(scene)).values()} == {0}


@pytest.mark.parametrize("name", ["repairs", "recurrence"])
async def test_a_key_of_which_nothing_is_left_has_no_row(scene: Scene, name: str) -> None:
    await learned(scene, await happened(scene, 1))
    projection = named(name)
    ledger, folded = projection.tables
    keys = [row[0] for row in await scene.database.fetch(f"SELECT DISTINCT anomaly FROM {folded}")]
    assert keys
    await scene.database.fetch(f"TRUNCATE {ledger}")
    async with scene.database.transaction() as connection:
        await projection.fold_all(connection, dict.fromkeys(keys, BEGINNING))
    assert await scene.database.fetch(f"SELECT * FROM {folded}") == []


async def without_archive(scene: Scene, incidents: int) -> None:
    """So many incidents that ingest has told of and learn has taken; the log has none of the events."""
    event = await opened(scene, await scene.incident())
    values = (incidents, event.incident, event.id, msgspec.json.encode([{"event": event}]).decode())
    async with scene.database.transaction() as connection:
        for query, count in zip(_NIGHT, (2, 2, 4), strict=True):
            await connection.execute(query, *values[:count])


async def test_after_a_night_without_the_archive_the_rows_are_right(scene: Scene) -> None:
    await without_archive(scene, 20_000)
    rebuilt = await rebuild(scene.database, "recurrence")
    found = await verify(scene.database, "recurrence")
    assert [row["count"] for row in await scene.database.fetch("SELECT count FROM recurrences")] == [20_000]
    assert (rebuilt.changed, found.differing, found.undecided) == (20_001, 0, 0)


async def test_what_is_not_archived_is_read_in_pages_and_takes_no_more_memory_for_being_more(scene: Scene) -> None:
    await without_archive(scene, 5000)
    async with scene.database.transaction() as connection:
        pages = [len(page) async for page in unsettled(connection, EVER, ["IncidentOpened"])]
        others = [page async for page in unsettled(connection, EVER, ["IncidentResolved"])]
    assert (pages, others) == ([PAGE] * (5000 // PAGE), [])
    tracemalloc.start()
    try:
        await rebuild(scene.database, "recurrence")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000, "bytes; all of them at once take twice as much"


async def test_what_is_told_is_taken_before_writers_wait_and_under_the_lock_what_is_new(scene: Scene, postgres_url: str) -> None:
    known = await happened(scene, 1)
    await learned(scene, known)
    await scene.database.fetch("UPDATE trust SET score = 77")
    async with crowded(postgres_url, "LOCK TABLE trust IN ROW EXCLUSIVE MODE") as crowd:
        rebuilding = asyncio.create_task(rebuild(scene.database, "trust"))
        await crowd.wait_for(1)
        await scene.database.fetch("UPDATE outbox SET settled = true")
        new = await happened(scene, 1)
    await rebuilding
    rebuilt = await scene.database.fetch("SELECT * FROM trust ORDER BY pattern")
    await scene.database.fetch("UPDATE outbox SET settled = true")
    await learned(scene, new)
    assert await scene.database.fetch("SELECT * FROM trust ORDER BY pattern") == rebuilt
    await scene.archive(*known, *new)
    assert (await rebuild(scene.database, "trust")).changed == 0


async def test_what_is_folded_before_the_end_is_folded_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sql.projections.projection._TOUCHED_AT_ONCE", 1)
    monkeypatch.setattr("sql.projections.log.PAGE", 5)
    events = await happened(scene, 2)
    await learned(scene, events)
    await scene.archive(*events)
    for projection in ALL:
        assert (await rebuild(scene.database, projection.name)).changed == 0, projection.name
    async with aside(scene.database, named("knowledge")) as build:
        await build.add(events)
        assert await build.connection.fetchval("SELECT count(*) FROM pg_temp.knowledge") == 6, "it waits for no end"
