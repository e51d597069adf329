"""Trust in Postgres: any order and repetition of events gives the same rows, and so does a rebuild from the event log."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import msgspec
import pytest

from schemas.action import RestartWorkload
from schemas.event import Event
from schemas.events import ActionRejected
from schemas.identity import new_id
from schemas.words import Outcome, Verdict
from sql import lessons, playbook_statistics, trust
from sql.database import Database
from sql.projections import UnknownProjection
from sql.projections.rebuild import rebuild
from sql.proof import Proof
from tests.integration.scene import RESTART, Crowd, Scene, deployment

PATTERN = "restart:prod/shop/api"
DAY = 86400.0


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def history(scene: Scene) -> list[Event]:
    """success, rejection, success, success: a score of 2 in this order, by event time."""
    events: list[Event] = []
    for verdict in (Verdict.SUCCESS, None, Verdict.SUCCESS, Verdict.SUCCESS):
        scene.later(10)
        if verdict:
            events.append(scene.verified(scene.finished(), verdict))
        else:
            events.append(ActionRejected(**scene.header(), approval="a", action=RESTART, person="eve"))
    return events


async def rows(database: Database) -> tuple[list[trust.TrustRow], list[trust.LedgerRow]]:
    async with database.connection() as connection:
        return await trust.list_trust(connection), await trust.ledger(connection, PATTERN)


async def take(scene: Scene, event: Event) -> trust.TrustMove | None:
    await scene.back(event)
    async with scene.database.transaction() as connection:
        return await trust.apply(Proof(connection), event)


async def test_every_order_and_repetition_gives_the_same_rows(scene: Scene) -> None:
    events = history(scene)
    expected = None
    for order in itertools.permutations(events):
        for event in (*order, order[0], order[2]):
            await take(scene, event)
        found = await rows(scene.database)
        expected = expected or found
        assert found == expected
        await scene.database.fetch("TRUNCATE trust, trust_ledger")
    assert expected is not None
    assert [(row.pattern, row.score, row.successes, row.rejections) for row in expected[0]] == [(PATTERN, 2, 3, 1)]


async def test_events_at_the_same_time_are_all_counted(scene: Scene) -> None:
    events = [scene.verified(scene.finished()) for _ in range(12)]
    moves = await asyncio.gather(*(take(scene, event) for event in (*events, *events)))
    assert sum(move is not None for move in moves) == 12
    async with scene.database.connection() as connection:
        assert await trust.score(connection, PATTERN, at=scene.now, half_life=DAY) == 12
        assert await trust.score(connection, "restart:prod/shop/other", at=scene.now, half_life=DAY) == 0


async def aged(scene: Scene, *, days: float = 0.0) -> int:
    """The score with a half-life of one day, so many days from now."""
    async with scene.database.connection() as connection:
        return await trust.score(connection, PATTERN, at=scene.now + timedelta(days=days), half_life=DAY)


async def test_trust_ages_by_its_half_life_and_renewed_trust_adds_to_what_is_left(scene: Scene) -> None:
    for _ in range(8):
        await take(scene, scene.verified(scene.finished()))
    assert [await aged(scene, days=days) for days in (-1, 0, 0.08, 0.1, 1, 2, 3, 4, 5, 100_000)] == [8, 8, 8, 7, 4, 2, 1, 1, 0, 0]
    scene.later(DAY)
    await take(scene, scene.verified(scene.finished()))
    assert [await aged(scene), await aged(scene, days=1)] == [5, 3]
    scene.later(1)
    await take(scene, scene.finished(outcome=Outcome.FAILED))
    assert await aged(scene) == 0


async def test_aged_trust_is_the_same_in_every_order_and_after_a_rebuild(scene: Scene) -> None:
    events = history(scene)
    found = set()
    for order in itertools.permutations(events):
        for event in (*order, order[1]):
            await take(scene, event)
        found.add((await aged(scene), await aged(scene, days=1)))
        await scene.database.fetch("TRUNCATE trust, trust_ledger")
    await scene.archive(*events)
    await rebuild(scene.database, "trust")
    found.add((await aged(scene), await aged(scene, days=1)))
    assert found == {(2, 1)}


async def test_a_move_tells_the_score_before_and_after(scene: Scene) -> None:
    first, second = scene.verified(scene.finished()), scene.verified(scene.finished())
    move = await take(scene, first)
    assert move == trust.TrustMove(pattern=PATTERN, before=0, after=1, kind=trust.Move.SUCCESS)
    assert await take(scene, first) is None
    scene.later(1)
    failed = await take(scene, scene.finished(outcome=Outcome.FAILED))
    assert failed is not None
    assert (failed.before, failed.after) == (1, 0)
    assert await take(scene, second) is not None


async def test_a_success_that_the_store_does_not_bear_out_raises_no_trust(scene: Scene) -> None:
    genuine = scene.verified(scene.finished())
    assert await take(scene, genuine) is not None
    failed = scene.verified(scene.finished(), Verdict.FAILED)
    await scene.back(failed)
    other = RestartWorkload(target=deployment("other"))
    unheard = scene.verified(scene.finished())
    await scene.back(unheard)
    forged = [
        scene.verified(scene.finished()),
        msgspec.structs.replace(genuine, id=new_id(scene.now)),
        msgspec.structs.replace(genuine, id=new_id(scene.now), action=other),
        msgspec.structs.replace(failed, id=new_id(scene.now), verdict=Verdict.SUCCESS),
        msgspec.structs.replace(unheard, id=new_id(scene.now), action=other),
    ]
    async with scene.database.transaction() as connection:
        assert [await trust.apply(Proof(connection), event) for event in forged] == [None] * len(forged)
    await scene.archive(genuine, failed, *forged)
    assert (await rebuild(scene.database, "trust")).rows == 1
    found, _ = await rows(scene.database)
    assert [(row.pattern, row.successes) for row in found] == [(PATTERN, 2)], "the genuine one, and what verify told and nobody took yet"


async def test_a_setback_that_the_store_does_not_bear_out_takes_no_trust(scene: Scene) -> None:
    rejected = ActionRejected(**scene.header(), approval="a", action=RESTART, person="eve")
    scene.later(10)
    genuine = scene.verified(scene.finished())
    for event in (rejected, genuine):
        assert await take(scene, event) is not None
    scene.later(10)
    forged: list[Event] = [
        scene.finished(outcome=Outcome.FAILED),
        scene.finished(outcome=Outcome.FAILED, operation=genuine.operation),
        scene.verified(scene.finished(), Verdict.FAILED),
        msgspec.structs.replace(genuine, id=new_id(scene.now), verdict=Verdict.FAILED),
        msgspec.structs.replace(genuine, id=new_id(scene.now), verdict=Verdict.FAILED, relapse=True),
        msgspec.structs.replace(rejected, id=new_id(scene.now), at=scene.now),
        msgspec.structs.replace(rejected, id=new_id(scene.now), approval="b"),
    ]
    async with scene.database.transaction() as connection:
        assert [await trust.apply(Proof(connection), event) for event in forged] == [None] * len(forged)
    await scene.archive(genuine, rejected, *forged)
    await rebuild(scene.database, "trust")
    found, _ = await rows(scene.database)
    assert [(row.score, row.successes, row.failures, row.rejections) for row in found] == [(1, 1, 0, 1)]


async def test_a_rebuild_gives_what_the_log_says_and_keeps_what_is_not_archived_yet(scene: Scene) -> None:
    events = history(scene)
    for event in events:
        await take(scene, event)
    before = await rows(scene.database)
    await scene.archive(*events[:3])
    await scene.database.fetch("UPDATE trust SET score = 77")
    await scene.database.fetch("DELETE FROM trust_ledger WHERE event = $1", events[0].id)
    rebuilt = await rebuild(scene.database, "trust")
    assert (rebuilt.events, rebuilt.rows) == (3, 1)
    assert await rows(scene.database) == before
    await rebuild(scene.database, "trust")
    assert await rows(scene.database) == before


async def test_a_rebuild_drops_what_the_log_contradicts(scene: Scene) -> None:
    event = scene.verified(scene.finished(), Verdict.DEGRADED)
    await scene.archive(event)
    insert = "INSERT INTO trust_ledger (event, pattern, at, kind, told_by, about) VALUES ($1, $2, $3, 'success', 'x', 'y')"
    await scene.database.fetch(insert, event.id, PATTERN, event.at)
    assert (await rebuild(scene.database, "trust")).rows == 0
    assert await rows(scene.database) == ([], [])


async def test_readers_see_the_live_rows_while_a_rebuild_runs_and_writers_lose_nothing(scene: Scene, postgres_url: str) -> None:
    events = history(scene)
    await scene.archive(*events)
    for event in events:
        await take(scene, event)
    late = scene.verified(scene.finished())
    await scene.back(late)
    holder = await Database(postgres_url, size=1).open()
    async with holder.transaction() as connection:
        await trust.apply(Proof(connection), late)
        rebuilding = asyncio.create_task(rebuild(scene.database, "trust"))
        await Crowd(connection).wait_for(1)
        assert (await rows(scene.database))[0][0].score == 2
    await rebuilding
    assert (await rows(scene.database))[0][0].score == 3
    await holder.close()


async def test_lessons_and_playbooks_are_rebuilt_too(scene: Scene) -> None:
    incident = await scene.incident()
    done = scene.finished(incident=incident, playbook="book")
    scene.later(5)
    judged = scene.verified(done, playbook="book")
    await scene.back(judged)
    for order in ((done, judged), (judged, done, judged)):
        await scene.database.fetch("TRUNCATE lessons, playbook_ledger, playbook_trust")
        async with scene.database.transaction() as connection:
            for event in order:
                await lessons.take(Proof(connection), [event])
            await playbook_statistics.take(Proof(connection), [judged])
        live = await contents(scene)
        await scene.archive(done)
        await rebuild(scene.database, "lessons")
        await rebuild(scene.database, "playbooks")
        assert await contents(scene) == live
    await scene.archive(judged)
    await scene.database.fetch("TRUNCATE lessons, playbook_ledger, playbook_trust")
    assert (await rebuild(scene.database, "lessons")).rows == 1
    assert (await rebuild(scene.database, "playbooks")).rows == 1
    assert await contents(scene) == live


async def test_a_rebuild_takes_no_lesson_from_what_the_store_does_not_bear_out(scene: Scene) -> None:
    genuine = scene.verified(scene.finished(), playbook="book")
    await scene.back(genuine)
    scene.later(10)
    forged: list[Event] = [
        scene.verified(scene.finished(), playbook="book"),
        msgspec.structs.replace(genuine, id=new_id(scene.now), at=scene.now, verdict=Verdict.FAILED),
        scene.finished(outcome=Outcome.FAILED),
        scene.finished(outcome=Outcome.FAILED, operation=genuine.operation),
    ]
    await scene.archive(genuine, *forged)
    assert (await rebuild(scene.database, "lessons")).rows == 1
    assert (await rebuild(scene.database, "playbooks")).rows == 1
    (entry,), (book,), _ = await contents(scene)
    assert (entry["verdict"], entry["execution"], book["event"]) == ("success", "", genuine.id)


async def contents(scene: Scene) -> list[list[dict[str, object]]]:
    tables = ("lessons", "playbook_ledger", "playbook_trust")
    return [[dict(row) for row in await scene.database.fetch(f"SELECT * FROM {table}")] for table in tables]


async def test_a_projection_that_there_is_not_is_said_to_be_none(scene: Scene) -> None:
    with pytest.raises(UnknownProjection, match="trust, playbooks, repairs"):
        await rebuild(scene.database, "trusst")


async def test_an_event_of_another_version_does_not_stop_a_rebuild(scene: Scene) -> None:
    events = history(scene)
    await scene.archive(*(msgspec.structs.replace(event, v=99) for event in events[:1]), *events[1:])
    assert (await rebuild(scene.database, "trust")).events == 3
