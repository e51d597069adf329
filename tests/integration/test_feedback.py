"""What people say of how an incident was handled: proven, kept, and what it moves, by the terminal's way and by the API's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from bus.handler import Reject
from ops.tokens import Role
from schemas.action import ScaleWorkload
from schemas.events import TrustChanged
from schemas.identity import new_id
from schemas.learning import FeedbackGiven, FeedbackKept
from schemas.words import Verdict
from sql import feedback, incidents, trust
from sql.database import Database
from sql.knowledge_search import search
from sql.projections.rebuild import rebuild
from stages.learn.stage import Learn
from stages.proofs import ProofKeys
from tests.integration.bus.ground import running
from tests.integration.desk import Desk, desk, listing, problem
from tests.integration.scene import KEYS, TARGET, Scene, only
from tests.patience import PATIENCE

PATTERN = "restart:prod/shop/api"


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def learn(database: Database) -> Learn:
    return Learn(database, KEYS)


@pytest_asyncio.fixture
async def api(redis_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(redis_url, database) as made:
        yield made


async def healed(scene: Scene, learn: Learn) -> tuple[str, str]:
    """An incident in which one restart was verified as a success, and the operation."""
    incident = await scene.incident()
    event = scene.verified(scene.finished(incident=incident))
    await scene.handle(learn, event)
    scene.later(10)
    return incident, event.operation


def rated(scene: Scene, incident: str, rating: int, *operations: str, person: str = "ann", note: str = "") -> FeedbackGiven:
    scene.later(1)
    given = FeedbackGiven(**scene.header(incident), person=person, rating=rating, origin="cli/test", note=note, operations=operations)
    return KEYS.prove(given)


async def score(scene: Scene) -> tuple[int, int]:
    """The score of the pattern as folded, and as it is read from the ledger."""
    async with scene.database.connection() as connection:
        row = await trust.get_trust(connection, PATTERN)
        assert row is not None
        return row.score, await trust.score(connection, PATTERN, at=scene.now, half_life=1e9)


async def test_a_good_rating_adds_trust_a_bad_one_takes_it_and_three_moves_nothing(scene: Scene, learn: Learn) -> None:
    incident, operation = await healed(scene, learn)
    outputs = await scene.handle(learn, rated(scene, incident, 4, operation, note="fine\x1b[31m"))
    changed, kept = only(outputs, TrustChanged), only(outputs, FeedbackKept)
    assert (changed.before, changed.after, changed.reason) == (1, 2, "ann rated it 4 of 5")
    assert (kept.counts, kept.effects) == (True, (f"trust of {PATTERN} 1 → 2",))
    assert [type(one) for one in await scene.handle(learn, rated(scene, incident, 3, operation, person="bob"))] == [FeedbackKept]
    assert await score(scene) == (2, 2)
    outputs = await scene.handle(learn, rated(scene, incident, 2, operation, person="eve"))
    assert (only(outputs, TrustChanged).after, await score(scene)) == (0, (0, 0))
    async with scene.database.connection() as connection:
        said = await feedback.feedback_of(connection, incident)
        lines = [line.what for line in await incidents.timeline(connection, incident)]
    assert [(one.person, one.rating, one.note, one.counts) for one in said] == [
        ("ann", 4, "fine[31m", True),
        ("bob", 3, "", True),
        ("eve", 2, "", True),
    ]
    assert "ann rated it 4 of 5: fine[31m" in lines


async def test_of_one_person_the_newest_rating_counts_in_whatever_order_and_after_a_rebuild(scene: Scene, learn: Learn) -> None:
    incident, operation = await healed(scene, learn)
    said = [rated(scene, incident, rating, operation, person=name) for rating, name in ((2, "ann"), (5, "Ann "), (4, "bob"))]
    for order in itertools.permutations(said):
        for event in (*order, *order):
            await scene.database.fetch("DELETE FROM outbox WHERE input = $1", event.id)
            await scene.handle(learn, event)
        assert await score(scene) == (3, 3)
        async with scene.database.connection() as connection:
            assert [row.counts for row in await feedback.feedback_of(connection, incident)] == [False, True, True]
        await scene.database.fetch("DELETE FROM trust_ledger WHERE kind IN ('praise', 'blame', 'indifference')")
        await scene.database.fetch("DELETE FROM feedback")
    for event in said:
        await scene.database.fetch("DELETE FROM outbox WHERE input = $1", event.id)
        await scene.handle(learn, event)
    forged = [
        msgspec.structs.replace(said[2], id=new_id(scene.now), rating=1),
        msgspec.structs.replace(said[2], rating=1),
    ]
    await scene.archive(*said, forged[0])
    async with scene.database.transaction() as connection:
        assert await feedback.trust_entries(connection, forged) == []
    assert (await rebuild(scene.database, "trust")).events == 4
    assert await score(scene) == (3, 3)


async def test_an_older_rating_that_comes_late_counts_for_nothing_and_says_so(scene: Scene, learn: Learn) -> None:
    incident, operation = await healed(scene, learn)
    older, newer = rated(scene, incident, 1, operation), rated(scene, incident, 3, operation)
    assert only(await scene.handle(learn, newer), FeedbackKept).counts
    kept = only(await scene.handle(learn, older), FeedbackKept)
    assert (kept.counts, kept.effects, await score(scene)) == (False, (), (1, 1))


async def test_where_nothing_was_done_feedback_moves_no_trust_and_is_kept(scene: Scene, learn: Learn) -> None:
    other, operation = await healed(scene, learn)
    incident = await scene.incident(msgspec.structs.replace(TARGET, name="idle"))
    for claimed in ((), (operation,)):
        given = rated(scene, incident, 1, *claimed)
        assert [type(one) for one in await scene.handle(learn, given)] == [FeedbackKept]
    assert (await score(scene))[0] == 1
    async with scene.database.connection() as connection:
        assert [row.rating for row in await feedback.feedback_of(connection, incident)] == [1, 1]
        assert await feedback.begun_for(connection, incident) == ()
        assert await feedback.begun_for(connection, other) == (operation,)


async def test_feedback_that_nobody_proved_is_a_dead_letter_and_moves_nothing(scene: Scene, learn: Learn) -> None:
    incident, operation = await healed(scene, learn)
    genuine = rated(scene, incident, 5, operation)
    stranger = ProofKeys(b"another key, of somebody else").prove(genuine)
    for forged in (
        msgspec.structs.replace(genuine, rating=1),
        msgspec.structs.replace(genuine, person="bob"),
        msgspec.structs.replace(genuine, proof=""),
        stranger,
    ):
        with pytest.raises(Reject, match="not genuine"):
            await scene.handle(learn, msgspec.structs.replace(forged, id=genuine.id))
    with pytest.raises(Reject, match="not genuine"):
        await scene.handle(Learn(scene.database), genuine)
    with pytest.raises(Reject, match="there is no incident"):
        await scene.handle(learn, rated(scene, new_id(scene.now), 5))
    assert (await score(scene))[0] == 1


async def test_a_person_rates_by_the_api_and_learn_answers(api: Desk) -> None:
    learn = Learn(api.database, KEYS)
    incident, _ = await healed(api.scene, learn)
    path = f"/v1/incidents/{incident}/feedback"
    await api.let_in("ann", Role.OPERATOR)
    await api.let_in("vic", Role.VIEWER)
    async with running(api.bus, learn, clock=lambda: api.scene.now):
        said = await api.post(path, "ann", json={"rating": 5, "note": "quick", "override": "nothing"})
    assert said.status_code == 200, said.text
    assert (said.json()["said"], said.json()["counts"]) == (f"rated 5 of 5 as ann: trust of {PATTERN} 1 → 2", True)
    async with api.database.connection() as connection:
        (row,) = await feedback.feedback_of(connection, incident)
    assert (row.person, row.note, row.instead, row.origin) == ("ann", "quick", "nothing", "api/10.0.0.1")
    problem(await api.post(path, "vic", json={"rating": 5}), 403)
    problem(await api.post(path, "ann"), 400)
    assert problem(await api.post(path, "ann", json={"rating": 6}), 400).field == "$.rating"
    problem(await api.post("/v1/incidents/none/feedback", "ann", json={"rating": 5}), 404)
    api.application = api.built(listing("bob"))
    problem(await api.post(path, "ann", json={"rating": 5}), 403)


async def test_a_failed_verification_after_a_good_rating_begins_again_at_zero(scene: Scene, learn: Learn) -> None:
    incident, operation = await healed(scene, learn)
    await scene.handle(learn, rated(scene, incident, 5, operation))
    scene.later(1)
    await scene.handle(learn, scene.verified(scene.finished(incident=incident), Verdict.FAILED))
    assert await score(scene) == (0, 0)


@pytest.mark.parametrize("last", [0, 1])
async def test_a_newer_rating_replaces_the_older_one_whatever_either_is_about(scene: Scene, learn: Learn, last: int) -> None:
    """Neither the order in which they come nor a rebuild makes a difference; `last` is about so many operations."""
    incident, operation = await healed(scene, learn)
    scaled = scene.verified(scene.finished(incident=incident, action=ScaleWorkload(target=TARGET, replicas=3)))
    await scene.handle(learn, scaled)
    said = [
        rated(scene, incident, 4, operation, scaled.operation),
        rated(scene, incident, 5, scaled.operation),
        rated(scene, incident, 5, *(operation,)[:last]),
    ]
    for order in itertools.permutations(said):
        for event in order:
            await scene.database.fetch("DELETE FROM outbox WHERE input = $1", event.id)
            await scene.handle(learn, event)
        rows = await scene.database.fetch("SELECT pattern, score FROM trust ORDER BY pattern")
        assert [row["score"] for row in rows] == [1 + last, 1], order
        await scene.database.fetch("DELETE FROM feedback")
        await scene.database.fetch("DELETE FROM trust_ledger WHERE kind = 'praise'")
    for event in said:
        await scene.database.fetch("DELETE FROM outbox WHERE input = $1", event.id)
        await scene.handle(learn, event)
    await scene.archive(*said)
    assert (await rebuild(scene.database, "trust")).changed == 0


async def test_who_rates_waits_for_no_verification(scene: Scene, learn: Learn) -> None:
    """Neither does it hold up one: what both change, they change in one order."""
    incident, operation = await healed(scene, learn)
    async with scene.database.transaction() as connection:
        assert await incidents.hold_open(connection, incident) is not None
        given = rated(scene, incident, 5, operation)
        async with asyncio.timeout(PATIENCE):
            assert only(await scene.handle(learn, given), FeedbackKept).counts


async def test_what_was_noted_and_done_instead_is_found_to_its_last_word(scene: Scene, learn: Learn) -> None:
    incident, operation = await healed(scene, learn)
    given = rated(scene, incident, 3, operation, note="again " * 160 + "flywheel")
    await scene.handle(learn, KEYS.prove(msgspec.structs.replace(given, instead="drained the turbine")))
    async with scene.database.connection() as connection:
        for word in ("flywheel", "turbine"):
            assert [one.entry.id for one in await search(connection, word)] == [operation], word
