"""A vote from anywhere: proven, counted by a real gate over a real Redis, and answered in one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
import pytest_asyncio

from bus import inspect
from bus.errors import BusUnavailable
from ops import votes
from ops.errors import NoSuchApproval, PartitionsChanged
from ops.partitions import require_partitions
from schemas.words import ApprovalState, Choice
from sql.approvals import signatures_of
from sql.database import Database
from tests.integration.bus.ground import until
from tests.integration.polling_place import PollingPlace, polling_place
from tests.integration.scene import row


@pytest_asyncio.fixture
async def place(redis_url: str, database: Database) -> AsyncIterator[PollingPlace]:
    async with polling_place(redis_url, database) as place:
        yield place


async def test_votes_are_counted_and_the_gates_answer_is_told(place: PollingPlace) -> None:
    waiting = await place.waiting()
    async with place.counting():
        first = await place.ballots.answered(waiting.id, Choice.SIGN, person="ann", origin="slack/U1", comment="go \x1b[31m")
        assert (first.refused, first.approved, first.missing) == (False, False, 1)
        assert first.said == "signed as ann: 1 more signature is needed to restart deployment shop/api"
        again = await place.ballots.answered(waiting.id, Choice.SIGN, person="ann", origin="slack/U1", comment="")
        assert again.refused
        assert again.said.startswith("the vote does not count: this person has signed already")
        said = await place.ballots.cast(waiting.id, Choice.SIGN, person="bob", origin="api/10.0.0.1", comment="")
        assert said == "signed as bob; approved: it will restart deployment shop/api"
        stopped = await place.ballots.answered(waiting.id, Choice.REJECT, person="bob", origin="api/10.0.0.1", comment="no")
        assert stopped.said == "rejected as bob: Mendstream makes no further attempt to restart deployment shop/api"
        late = await place.ballots.answered(waiting.id, Choice.SIGN, person="eve", origin="api/10.0.0.1", comment="")
    assert (late.refused, late.vote) == (True, "")
    assert late.said == "restart deployment shop/api is rejected already: it takes no more votes"
    async with place.database.connection() as connection:
        kept = {one.person: one for one in await signatures_of(connection, waiting.id)}
    assert (kept["ann"].origin, kept["ann"].comment, kept["ann"].told_by) == ("slack/U1", "go [31m", "api/test")
    assert (await row(place.scene, waiting.id)).state is ApprovalState.REJECTED


async def test_a_gate_that_is_away_is_said_and_the_vote_waits_for_it(place: PollingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(votes, "_PATIENCE", 0.05)
    waiting = await place.waiting()
    said = await place.ballots.cast(waiting.id, Choice.REJECT, person="ann", origin="cli/x", comment="")
    assert said == "the vote is cast; the gate has not answered yet"

    async def rejected() -> bool:
        return (await row(place.scene, waiting.id)).state is ApprovalState.REJECTED

    async with place.counting():
        await until(rejected)


async def test_a_vote_that_is_in_the_stream_is_cast_though_the_answer_cannot_be_read(
    place: PollingPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> NoReturn:
        raise BusUnavailable("Redis cannot be reached")

    waiting = await place.waiting()
    with monkeypatch.context() as patched:
        patched.setattr(inspect, "tail", away)
        answer = await place.ballots.answered(waiting.id, Choice.REJECT, person="ann", origin="cli/x", comment="")
    assert (answer.said, answer.counted, answer.refused) == ("the vote is cast; the gate has not answered yet", False, False)
    (entry,) = [one async for one in inspect.tail(place.bus, "votes")]
    assert entry.event is not None
    assert entry.event.id == answer.vote


async def test_what_cannot_be_voted_on_is_said_before_anything_is_cast(place: PollingPlace) -> None:
    with pytest.raises(NoSuchApproval, match="there is no approval nothing"):
        await place.ballots.cast("nothing", Choice.SIGN, person="ann", origin="cli/x", comment="")
    waiting = await place.waiting()
    await require_partitions(place.database, 4)
    with pytest.raises(PartitionsChanged):
        await place.ballots.cast(waiting.id, Choice.SIGN, person="ann", origin="cli/x", comment="")
