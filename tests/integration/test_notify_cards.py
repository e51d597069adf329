"""Cards as things happen: one for each incident, edited, answered, found again after a restart, and lost by nothing that is down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from adapters.errors import Busy, MessageGone, Transient, Unsendable
from adapters.ports import Card
from bus.handler import Reject, Retry
from schemas.event import Event
from schemas.events import DeadLettered, ExecutionStarted, IncidentUpdated
from schemas.words import Language, Severity, SignalStatus
from sql.approvals import ApprovalRow
from sql.cards import claim_card, leave_card
from sql.database import Database
from stages.notify.options import NotifyOptions
from stages.notify.stage import Notify
from tests.integration.scene import TARGET, Scene, gate
from tests.integration.test_notify import Fake, asked, events


class Board(Fake):
    """A channel that keeps cards in memory, and fails while it has an error."""

    def __init__(self, name: str = "board", language: Language = Language.ENGLISH) -> None:
        super().__init__(name)
        self.language = language
        self.cards: dict[str, Card] = {}
        self.replies: list[tuple[str, str, bool]] = []
        self.edits = 0
        self.enter = asyncio.Event()
        self.enter.set()

    async def _work(self) -> None:
        await self.enter.wait()
        self.tries += 1
        if self.error:
            raise self.error

    async def post(self, card: Card) -> str:
        await self._work()
        self.cards[f"m{len(self.cards)}"] = card
        return f"m{len(self.cards) - 1}"

    async def edit(self, message: str, card: Card) -> None:
        await self._work()
        if message not in self.cards:
            raise MessageGone("somebody has deleted it")
        self.cards[message] = card
        self.edits += 1

    async def reply(self, message: str, lines: Sequence[str], *, loud: bool) -> None:
        await self._work()
        if message not in self.cards:
            raise MessageGone("somebody has deleted it")
        self.replies.append((message, lines[0], loud))


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.fixture
def board() -> Board:
    return Board()


async def waiting(scene: Scene) -> tuple[ApprovalRow, Event]:
    """An approval that waits for one signature, and the news of it."""
    incident = await scene.incident()
    outputs = await scene.handle(gate(scene), scene.proposal(incident, severity=Severity.P2))
    return (await _row(scene)), next(event for event in outputs if isinstance(event, Event) and event.incident)


async def _row(scene: Scene) -> ApprovalRow:
    from sql.approvals import list_approvals

    async with scene.database.connection() as connection:
        return (await list_approvals(connection))[0]


def redrawn(scene: Scene, row: ApprovalRow) -> ExecutionStarted:
    about: dict[str, Any] = {"operation": "o", "approval": row.id, "action": row.action, "attempt": 1, "token": 1}
    return ExecutionStarted(**scene.header(row.incident), **about)


async def test_one_card_is_posted_edited_and_answered(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    row, wanted = await waiting(scene)
    await scene.handle(stage, wanted)
    assert board.replies == [("m0", "APPROVAL WANTED: restart deployment shop/api", True)]
    assert [button.text for button in board.cards["m0"].buttons] == ["Sign", "Reject"]
    (approved,) = await scene.handle(gate(scene), scene.vote(row, "ann"))
    assert isinstance(approved, Event)
    await scene.handle(stage, approved)
    assert board.cards["m0"].title == "P3 · approved"
    assert len(board.replies) == 1, "the card itself says so"
    done = scene.finished(row)
    await scene.handle(stage, done)
    await scene.handle(stage, scene.verified(done))
    assert list(board.cards) == ["m0"]
    assert board.cards["m0"].title == "P3 · HEALED"
    assert board.cards["m0"].buttons == ()
    assert [line for _, line, _ in board.replies[1:]] == [
        "DONE, NOT YET VERIFIED: restart deployment shop/api, in 1.5 s",
        "HEALED: restart deployment shop/api",
    ]


async def test_an_edit_finds_its_card_after_a_restart_and_what_is_delivered_again_posts_no_second_one(scene: Scene, board: Board) -> None:
    row, wanted = await waiting(scene)
    await scene.handle(Notify(scene.database, [board]), wanted)
    await scene.handle(Notify(scene.database, [board]), wanted)
    assert (len(board.cards), len(board.replies), board.edits) == (1, 1, 0)
    await scene.handle(Notify(scene.database, [board]), scene.finished(row))
    assert (len(board.cards), len(board.replies), board.edits) == (1, 2, 1)


async def test_two_workers_at_once_post_one_card(scene: Scene, board: Board) -> None:
    row, wanted = await waiting(scene)
    board.enter.clear()
    first = asyncio.create_task(scene.handle(Notify(scene.database, [board]), wanted))
    await scene.handle(gate(scene), scene.vote(row, "ann"))
    done = scene.finished(row)
    await scene.back(done)
    second = Notify(scene.database, [board])
    while True:  # until the first one has the right to write it
        async with scene.database.connection() as connection:
            if await connection.fetchval("SELECT true FROM cards"):
                break
        await asyncio.sleep(0)
    with pytest.raises(Retry, match="board: its card is being written"):
        await scene.handle(second, done)
    board.enter.set()
    await first
    await scene.handle(second, done)
    assert list(board.cards) == ["m0"]
    assert board.cards["m0"].title == "P3 · DONE, NOT YET VERIFIED"


async def test_the_right_to_write_a_card_ends_by_itself(scene: Scene) -> None:
    async with scene.database.connection() as connection:
        gone = await claim_card(connection, "i", "board", seconds=0.0, at=scene.now)
        assert gone is not None
        held = await claim_card(connection, "i", "board", seconds=60.0, at=scene.now)
        assert held is not None
        await leave_card(connection, gone)
        assert await claim_card(connection, "i", "board", seconds=60.0, at=scene.now) is None, "who lost it gives back nothing"
        await leave_card(connection, held)
        assert await claim_card(connection, "i", "board", seconds=60.0, at=scene.now) is not None


async def test_a_card_that_somebody_deleted_is_posted_anew(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    row, wanted = await waiting(scene)
    await scene.handle(stage, wanted)
    board.cards = {"other": board.cards["m0"]}
    await scene.handle(stage, scene.finished(row))
    assert set(board.cards) == {"other", "m1"}
    assert board.replies[-1][0] == "m1"


async def test_an_answer_to_a_card_that_somebody_deleted_is_given_to_a_new_one(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    row, wanted = await waiting(scene)
    await scene.handle(stage, redrawn(scene, row))
    board.cards = {"other": board.cards["m0"]}
    assert await scene.handle(stage, wanted) == []
    assert set(board.cards) == {"other", "m1"}
    assert [message for message, _, _ in board.replies] == ["m1"]


async def test_each_channel_speaks_its_language(scene: Scene) -> None:
    english, chinese, lines = Board("a"), Board("b", Language.CHINESE), Fake("lines")
    stage = Notify(scene.database, [english, chinese, lines], NotifyOptions(language=Language.CHINESE))
    _, wanted = await waiting(scene)
    await scene.handle(stage, wanted)
    assert english.cards["m0"].title == "P3 · approval wanted (0 of 1 signatures)"
    assert chinese.cards["m0"].title == "P3 · 等待核准（0/1 人已簽核）"
    assert chinese.replies[0][1] == "需要核准：重新啟動 deployment shop/api"
    assert lines.messages[0][1][0] == "需要核准：重新啟動 deployment shop/api"


async def test_news_that_nobody_is_told_redraw_the_card_and_only_if_it_changes(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    row, wanted = await waiting(scene)
    await scene.handle(stage, wanted)
    updated = IncidentUpdated(
        **scene.header(row.incident), target=TARGET, severity=Severity.P1, alert="a", status=SignalStatus.FIRING, firing=2
    )
    await scene.handle(stage, updated)
    assert (board.edits, board.tries) == (0, 2)
    async with scene.database.connection() as connection:
        await connection.execute("UPDATE incidents SET severity = 'P1'")
    await scene.handle(stage, redrawn(scene, row))
    assert (board.edits, len(board.replies)) == (1, 1)
    assert board.cards["m0"].title.startswith("P1 · ")


async def test_a_redraw_does_not_wait_for_a_channel_that_is_down(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    row, wanted = await waiting(scene)
    board.error = Transient("away")
    with pytest.raises(Retry):
        await scene.handle(stage, wanted)
    assert await scene.handle(stage, redrawn(scene, row)) == []


async def test_a_board_that_is_down_delays_no_other_channel_and_loses_no_message(scene: Scene, board: Board) -> None:
    up = Fake("up")
    stage = Notify(scene.database, [board, up])
    board.error = Transient("away")
    row, wanted = await waiting(scene)
    done = scene.finished(row)
    for event in (wanted, done):
        with pytest.raises(Retry, match="board: away"):
            await scene.handle(stage, event)
    assert [delivery for delivery, _ in up.messages] == [wanted.id, done.id]
    board.error = None
    scene.later(2)
    for event in (wanted, done):
        assert await scene.handle(stage, event) == []
    assert (len(board.cards), len(board.replies), len(up.messages)) == (1, 2, 2)


async def test_who_wants_to_be_left_alone_is_left_alone_for_so_long(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    _, wanted = await waiting(scene)
    board.error = Busy("429", after=37)
    with pytest.raises(Retry) as caught:
        await scene.handle(stage, wanted)
    assert caught.value.after == 37
    board.error = None
    scene.later(36)
    with pytest.raises(Retry) as caught:
        await scene.handle(stage, wanted)
    assert (caught.value.after, board.tries) == (1, 1)
    scene.later(1)
    assert await scene.handle(stage, wanted) == []
    board.error = Transient("away")
    with pytest.raises(Retry) as caught:
        await scene.handle(stage, asked(scene))
    assert caught.value.after == 2, "that it was busy is no failure that counts"


async def test_a_message_that_a_channel_will_never_have_is_its_own_dead_letter_and_keeps_nothing_up(scene: Scene, board: Board) -> None:
    up, down = Fake("up"), Fake("down")
    stage = Notify(scene.database, [board, up, down])
    _, wanted = await waiting(scene)
    board.error, down.error = Unsendable("board will not have it: invalid_blocks"), Transient("away")
    with pytest.raises(Retry):
        await scene.handle(stage, wanted)
    board.error = None
    assert await scene.handle(Notify(scene.database, [board, up]), asked(scene)) == [], "the next message passes"
    down.error = None
    scene.later(2)
    tries = board.tries
    with pytest.raises(Reject, match=r"not told to everybody in time: board: board will not have it: invalid_blocks\. Mend the channel"):
        await scene.handle(stage, wanted)
    assert (board.tries, len(up.messages), len(down.messages)) == (tries, 2, 1)
    assert await scene.handle(stage, wanted) == [], "replayed, it goes to the one channel that does not have it"
    assert (len(board.cards), len(up.messages), len(down.messages)) == (1, 2, 1)


async def test_more_than_may_wait_for_a_channel_are_dead_letters_at_once_and_the_others_go_on(scene: Scene) -> None:
    up, down = Fake("up"), Fake("down")
    stage = Notify(scene.database, [up, down], NotifyOptions(most_waiting=3))
    down.error = Transient("away")
    events = [asked(scene) for _ in range(5)]
    for event in events[:3]:
        with pytest.raises(Retry):
            await scene.handle(stage, event)
    for event in events[3:]:
        with pytest.raises(Reject, match="down: 3 messages wait for it already: away"):
            await scene.handle(stage, event)
    with pytest.raises(Retry):
        await scene.handle(stage, events[0])
    assert len(up.messages) == 5
    down.error = None
    scene.later(2)
    for event in events:
        assert await scene.handle(stage, event) == [], "what waited is sent, and so is what is replayed"
    assert (len(up.messages), len(down.messages)) == (5, 5)


async def test_what_another_worker_took_over_waits_here_no_more(scene: Scene) -> None:
    down = Fake("down")
    stage = Notify(scene.database, [down], NotifyOptions(most_waiting=1, longest_wait=10))
    down.error = Transient("away")
    with pytest.raises(Retry):
        await scene.handle(stage, asked(scene))
    with pytest.raises(Reject):
        await scene.handle(stage, asked(scene))
    scene.later(400)
    with pytest.raises(Retry):
        await scene.handle(stage, asked(scene))


async def test_a_channel_that_the_settings_do_not_name_any_more_is_no_obstacle(scene: Scene) -> None:
    event = asked(scene)
    await scene.handle(Notify(scene.database, [Fake("old")]), event)
    fresh = Fake("new")
    assert await scene.handle(Notify(scene.database, [fresh]), event) == []
    assert len(fresh.messages) == 1


async def test_an_old_message_waits_for_its_turn_too(scene: Scene, board: Board) -> None:
    """Such as a dead letter that is replayed days later while the card is being written."""
    row, wanted = await waiting(scene)
    async with scene.database.connection() as connection:
        held = await claim_card(connection, row.incident, board.name, seconds=60.0, at=scene.now)
        assert held is not None
        scene.later(4 * 86_400)
        with pytest.raises(Retry):
            await scene.handle(Notify(scene.database, [board]), wanted)
        await leave_card(connection, held)
    assert await scene.handle(Notify(scene.database, [board]), wanted) == []


async def test_without_the_store_people_are_told_without_a_card(scene: Scene, board: Board) -> None:
    _, wanted = await waiting(scene)
    stage = Notify(scene.database, [board])
    await scene.database.close()
    assert await scene.handle(stage, wanted, backed=False) == []
    assert board.cards == {}
    assert board.messages[0][1][0] == "APPROVAL WANTED: restart deployment shop/api"


async def test_what_belongs_to_no_incident_is_told_as_it_is(scene: Scene, board: Board) -> None:
    stage = Notify(scene.database, [board])
    letter = next(event for event in events(scene).values() if isinstance(event, DeadLettered))
    own = msgspec.structs.replace(letter, incident="", group="failure_watch")
    for event in (own, scene.finished(incident="no such incident")):
        await scene.handle(stage, event)
    assert board.cards == {}
    assert len(board.messages) == 2
