"""The past is told again, all of it, twice, to every group: nothing is done again, nothing is decided anew, nobody is told twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus import names
from bus.connect import connect
from bus.dead import DeadRow, Outcome, drop, letters
from bus.errors import GroupMissing
from bus.inspect import streams
from ops.errors import CommandFailed
from ops.replay import Progress, Replay, chosen, preview
from ops.wiring import STAGES
from schemas.codec import encode
from schemas.events import GroupOutage, SignalReceived
from schemas.identity import new_id
from schemas.learning import FeedbackGiven
from schemas.words import Choice, SignalStatus
from sql.database import Database
from sql.outages import OutageRow, begin_outage, end_outage
from tests.integration.bus.ground import running
from tests.integration.healing import eventually
from tests.integration.mend_process import SETTINGS, installation
from tests.integration.scene import KEYS
from tests.integration.whole import DROPPED, OPERATIONS, REJECTED, SIGNED, TARGETS, Whole
from tests.patience import PATIENCE

GROUPS = tuple(group for group in STAGES if group != "archive")


@pytest.fixture
async def whole(postgres_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Whole]:
    """One process with the connections of all stages, and with time to get one."""
    bus = await connect(redis_url, partitions=2, name="test")
    database = await Database(postgres_url, name="test", size=12, wait=PATIENCE).open()
    yield Whole(database, bus, tmp_path)
    await database.close()
    await bus.close()


async def lived(whole: Whole) -> None:
    """Incidents that healed, were repaired, or were not; that nobody can tell of or look at, that people signed, rejected and left.

    One of them is still open. Somebody rated one, let a dead letter go and left another; a group was out and is back.
    """
    await whole.tell(SignalStatus.FIRING, *TARGETS)
    await eventually(lambda: _has(whole.waiting, 3))
    waiting = await whole.waiting()
    for name, person, choice in ((SIGNED, "ana", Choice.SIGN), (SIGNED, "ben", Choice.SIGN), (REJECTED, "ana", Choice.REJECT)):
        await whole.bus.append([whole.vote(waiting[name], person, choice)])
    await eventually(lambda: _all_judged(whole))
    await eventually(lambda: _has(lambda: _dead(whole), 2))
    await _rated(whole)
    await _out_and_back(whole)
    await whole.tell(SignalStatus.RESOLVED, *TARGETS[1:])
    for seconds in (2000, 2000, 700):
        await whole.quiet()
        whole.later(seconds)
    await whole.quiet()
    (dropped,) = [row for row in await _dead(whole) if DROPPED in row.letter.key]
    assert (await drop(whole.bus, dropped)).outcome == Outcome.DONE


async def _dead(whole: Whole) -> list[DeadRow]:
    return [row async for row in letters(whole.bus)]


async def _rated(whole: Whole) -> None:
    """Somebody is content with what healed."""
    query = "SELECT id, incident FROM operations WHERE target LIKE '%/api-2' AND state = 'succeeded'"
    (row,) = await whole.database.fetch(query)
    said: dict[str, Any] = {"person": "ana", "rating": 5, "origin": "cli/test", "note": "well done", "operations": (row["id"],)}
    await whole.bus.append([KEYS.prove(FeedbackGiven(**whole.header(row["incident"], cause=""), **said))])


async def _out_and_back(whole: Whole) -> None:
    """A group settled nothing for a while: people are told, and told when it is over."""
    began = whole.now
    place: dict[str, Any] = {"group": "gate", "topic": "votes", "partition": 0}
    told: dict[str, Any] = {"group": "gate", "source_topic": "votes", "partition": 0, "since": began, "waiting": 7, "oldest": 301.0}
    row = OutageRow(id=new_id(began), **place, since=began, waiting=7, oldest=301.0)
    async with whole.database.transaction() as connection:
        await begin_outage(connection, row)
    await whole.bus.append([GroupOutage(**whole.header(id=row.id, cause=""), stopped=True, **told)])
    await eventually(lambda: _has(lambda: whole.database.fetch("SELECT FROM group_outages WHERE told_at IS NOT NULL"), 1))
    async with whole.database.transaction() as connection:
        await end_outage(connection, **place, at=whole.now)
    await whole.bus.append([GroupOutage(**whole.header(cause=row.id), stopped=False, **told)])


async def _has(look: Callable[[], Awaitable[Any]], count: int) -> bool:
    return len(await look()) == count


async def _all_judged(whole: Whole) -> bool:
    """Every execution has ended and is verified, that of the repair too; the other repair is not proposed."""
    rows = await whole.database.fetch("SELECT count(*) FILTER (WHERE o.state IN ('pending', 'running')) + "
        "count(*) FILTER (WHERE o.state IN ('succeeded', 'unknown') AND coalesce(v.awaits, 'none') <> '') AS open, count(*) AS all, "
        "(SELECT count(*) FROM repair_attempts WHERE ended_at IS NOT NULL) AS repairs "
        "FROM operations o LEFT JOIN verifications v ON v.operation = o.id")  # fmt: skip
    return bool(rows[0]["open"] == 0 and rows[0]["all"] >= OPERATIONS and rows[0]["repairs"] == 2)


def _count(state: dict[str, list[str]], table: str, **fields: Any) -> int:
    """How many rows of a table say all this."""
    return sum(all(row.get(name) == value for name, value in fields.items()) for row in map(msgspec.json.decode, state[table]))


@pytest.mark.slow
async def test_everything_is_told_twice_to_every_group_and_nothing_is_done_again(whole: Whole) -> None:
    async with whole.run():
        await lived(whole)
        before = await whole.state()
        assert len(before["effects"]) == len(before["operations"]) - 3, "all but what was refused, and what nobody answered"
        assert {"succeeded", "failed", "unknown"} == {msgspec.json.decode(row)["state"] for row in before["operations"]}
        told = Counter(line.partition(" ")[0] for line in before["event_log"])
        assert (told["RepairWanted"], told["RepairNotProposed"], told["FeedbackKept"], told["GroupOutage"]) == (2, 1, 1, 2)
        assert (_count(before, "feedback"), len(before["dead"]), told["DeadLettered"]) == (1, 1, 2)
        assert all(before[table] for table in ("failure_causes", "group_outages"))
        whole.world.mended = True  # what died would die again, as another dead letter, while its cause is there
        for _ in range(2):
            await _told_to_all(whole)
            assert await whole.state() == before
        await whole.database.fetch("DELETE FROM outbox")
        for _ in range(2):
            await _told_to_all(whole)
            assert await whole.state() == before, "with the kept outputs forgotten"
        await whole.database.fetch("DELETE FROM outbox")
        await whole.database.fetch("DELETE FROM notifications")
    whole.later(61 * 86400)
    async with whole.run():  # nobody remembers anything by himself either
        await whole.quiet()
        before = await whole.state()  # the timer of the open incident came up meanwhile
        await _told_to_all(whole, nothing_for=("notify",))
        assert await whole.state() == before, "long afterwards"


async def _told_to_all(whole: Whole, *, nothing_for: Sequence[str] = ()) -> None:
    """Everything is told to one group after the other. What any of them would do about it is seen: the log of events only grows."""
    fed = {group: (await whole.replay(group)).fed for group in GROUPS}
    await whole.quiet()
    assert [group for group in GROUPS if not fed[group]] == list(nothing_for)


class Reader:
    """A group that notes what it was given, and its bytes' ids."""

    def __init__(self, name: str, topics: Sequence[str]) -> None:
        self.name, self.topics = name, topics
        self.seen: list[str] = []

    async def handle(self, event: Any, context: Any) -> list[Any]:
        self.seen.append(event.id)
        return []


async def _groups_made(whole: Whole, reader: Reader) -> None:
    """The reader ran once: there are its group and its stream in both partitions."""
    async with running(whole.bus, reader):
        await eventually(lambda: _has(lambda: streams(whole.bus), 2))


async def _logged(whole: Whole, count: int) -> list[SignalReceived]:
    """Signals in the log, in the order in which they were told, and in no stream."""
    events = []
    for number in range(count):
        whole.later(1)
        header: dict[str, Any] = {"id": new_id(whole.now), "key": f"k{number}", "at": whole.now, "by": "ingest/test"}
        events.append(SignalReceived(**header, fingerprint="f", status=SignalStatus.FIRING, starts_at=whole.now, labels={}, source="test"))
    await whole.archive(*reversed(events))
    return events


async def test_a_slice_goes_to_one_group_in_its_order_and_is_continued_where_it_was_interrupted(whole: Whole) -> None:
    events = await _logged(whole, 250)
    reader, other = Reader("ingest", ("signals",)), Reader("gate", ("signals",))
    past = chosen("ingest", since=events[10].at, until=events[-1].at)
    async with whole.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_log") == 0
    (row,) = await preview(whole.database, past)
    assert (row.type, row.events, row.first, row.last) == ("SignalReceived", 239, events[10].at, events[-2].at)

    def interrupt(progress: Progress) -> None:
        if progress.fed == 100:
            raise KeyboardInterrupt

    await _groups_made(whole, reader)
    words: dict[str, Any] = {"who": "person/ana", "clock": lambda: whole.now}
    first = Replay(whole.bus, whole.database, "ingest", past, tell=interrupt, **words)
    with pytest.raises(KeyboardInterrupt):
        await first.run()
    assert first.progress.last == events[109].id
    rest = chosen("ingest", until=events[-1].at, after=first.progress.last)
    second = Replay(whole.bus, whole.database, "ingest", rest, **words)
    async with running(whole.bus, reader, other):
        assert (await second.run()).fed == 139
        await whole.quiet()
    assert sorted(reader.seen) == sorted(event.id for event in events[10:-1])
    assert other.seen == []
    audit = await whole.database.fetch("SELECT who, what, state, output FROM audit_log ORDER BY output")
    assert [tuple(row)[:3] for row in audit] == [
        ("person/ana", "replay to ingest", "withdrawn"),
        ("person/ana", "replay to ingest", "success"),
    ]
    assert first.progress.last in audit[0]["output"]


async def test_a_replay_waits_for_who_is_behind(whole: Whole) -> None:
    await _logged(whole, 250)
    heard: list[Progress] = []
    behind = asyncio.Event()

    def tell(progress: Progress) -> None:
        heard.append(msgspec.structs.replace(progress))
        if progress.silent:
            behind.set()

    past = chosen("ingest", until=whole.now + timedelta(seconds=1))
    replay = Replay(
        whole.bus, whole.database, "ingest", past, who="person/ana", clock=lambda: whole.now, most_behind=50, silent=0.2, tell=tell
    )
    reader = Reader("ingest", ("signals",))
    with pytest.raises(GroupMissing, match="ingest has no consumer group on signals, partition 0: start its process once"):
        await replay.run()
    assert await streams(whole.bus) == [], "nothing was fed"
    await _groups_made(whole, reader)
    feeding = asyncio.create_task(replay.run())
    async with asyncio.timeout(PATIENCE):
        await behind.wait()
    assert [(one.fed, one.waits_for, one.silent) for one in heard[-2:]] == [(100, "ingest", False), (100, "ingest", True)]
    async with running(whole.bus, reader):
        async with asyncio.timeout(PATIENCE):
            assert (await feeding).fed == 250
        await whole.quiet()
    assert len(reader.seen) == 250


@pytest.mark.parametrize(
    ("group", "which", "said"),
    [
        ("archive", {}, "nothing to gain"),
        ("learning", {}, "did you mean learn"),
        ("learn", {"topics": ("signals",)}, "does not read signals"),
        ("gate", {"types": ("LessonLearned",)}, "would never see a LessonLearned"),
        ("gate", {"types": ("Voted",)}, "is no event type"),
    ],
)
def test_what_a_group_would_never_see_is_refused(group: str, which: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandFailed, match=said):
        chosen(group, **which)


async def test_the_command_tells_what_it_would_do_and_does_it_when_told_to(whole: Whole, redis_url: str, postgres_url: str) -> None:
    events = await _logged(whole, 3)
    stores: dict[str, Any] = {"MEND_REDIS_URL": redis_url, "MEND_POSTGRES_URL": postgres_url, "MEND_REDIS_PARTITIONS": "2"}
    slice_ = ("replay", "--to", "ingest", "--since", events[1].at.isoformat(), "--until", "2200-01-01", "--type", "SignalReceived")
    with installation(SETTINGS) as mend:
        told = await asyncio.to_thread(mend.said, *slice_, **stores)
        assert "2 events for ingest" in told
        assert "Nothing was done" in told
        assert await streams(whole.bus) == []
        await _groups_made(whole, Reader("ingest", ("signals",)))
        command = told.splitlines()[-1].split()[1:]
        done = await asyncio.to_thread(mend.json, *command, **stores)
        assert (done["events"], done["last"]) == (2, events[2].id)
        wrong = await asyncio.to_thread(mend.wrong, "replay", "--to", "archive", **stores)
        assert "nothing to gain" in wrong
        assert "is no time" in await asyncio.to_thread(mend.wrong, "replay", "--to", "gate", "--since", "noon", **stores)
    entries = await whole.bus.channel(0).call("XRANGE", names.stream(0, "signals"), "-", "+")
    assert [fields for _, fields in entries] == [[b"e", encode(event), b"g", b"ingest"] for event in events[1:]]
