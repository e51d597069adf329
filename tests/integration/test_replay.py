"""The past is told again, all of it, twice, to every group: nothing is done again, nothing is decided anew, nobody is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus import names
from bus.connect import Bus, connect
from bus.errors import GroupMissing
from bus.handler import Stage
from bus.inspect import delayed, streams
from ops.archive import Archive
from ops.errors import CommandFailed
from ops.replay import Progress, Replay, chosen, preview
from ops.settings.model import ArchiveSettings
from ops.wiring import STAGES
from schemas.codec import encode
from schemas.events import SignalReceived
from schemas.identity import new_id
from schemas.words import ApprovalState, Choice, Mode, SignalStatus
from sql.approvals import ApprovalRow, list_approvals
from sql.database import Database
from stages.execute.options import ExecuteOptions
from stages.execute.stage import ExecuteStage
from stages.failure_watch.stage import FailureWatch
from stages.ingest.stage import Ingest
from stages.learn.stage import Learn
from stages.notify.stage import Notify
from stages.propose.stage import ProposeStage
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.chaos.storm.effects import Effects, RecordingWorld
from tests.integration.bus.ground import QUICK, running
from tests.integration.healing import eventually
from tests.integration.mend_process import SETTINGS, installation
from tests.integration.scene import Scene, gate
from tests.patience import PATIENCE

GROUPS = tuple(group for group in STAGES if group != "archive")
STATE = (
    *(
        "approvals",
        "approval_signatures",
        "decisions",
        "operations",
        "verifications",
        "proposals",
        "signals",
        "incidents",
        "incident_alerts",
    ),
    *("incident_timeline", "recurrences", "trust_ledger", "trust", "lessons", "playbooks", "playbook_ledger", "playbook_trust", "failures"),
    *("questions", "evidence", "recurrence_ledger", "repair_ledger", "repairs", "knowledge_ledger", "knowledge", "diagnoses"),
    *("declarations", "playbook_sources", "feedback", "repair_attempts"),
)
"""All that stages have decided, done and learned."""
SIGNED, REJECTED, LATE = "api-signed", "api-rejected", "api-late"
TARGETS = ("api-1", "api-2", "slow-1", "blind-1", "lost-1", "refused-1", "hopeless-1", SIGNED, REJECTED, LATE)


class Kept:
    """A channel that keeps what it is given."""

    name = "kept"

    def __init__(self) -> None:
        self.messages: list[str] = []

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        self.messages.append(lines[0])

    async def close(self) -> None:
        """There is nothing to close."""


class Whole(Scene):
    """Every stage and the archive, on real stores, about a world that writes down each effect."""

    def __init__(self, database: Database, bus: Bus, folder: Path) -> None:
        self._offset = timedelta()
        super().__init__(database)
        self.began = self.now
        self.bus = bus
        self.effects = Effects(folder)
        self.world = RecordingWorld(self.effects, lambda: self.now)
        self.kept = Kept()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self._offset

    @now.setter
    def now(self, _: datetime) -> None:
        """The clock runs by itself."""

    def later(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)

    def stages(self) -> list[Stage]:
        database, world = self.database, self.world
        execute = ExecuteStage(database, world, ExecuteOptions(retry_after=0.1), mode_of=lambda _: Mode.AUTO)
        verify = VerifyStage(database, world, VerifyOptions(settle=0, interval=0.1, limit=1, hold_down=0))
        judges: list[Stage] = [execute, verify, Learn(database), FailureWatch(database), Notify(database, [self.kept])]
        return [Ingest(database, world), ProposeStage(database, world), gate(self), *judges]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        archive = Archive(self.bus, self.database, {}, ArchiveSettings(), QUICK, clock=lambda: self.now).loop
        stop = asyncio.Event()
        storing = asyncio.create_task(archive.run(stop))
        async with running(self.bus, *self.stages(), clock=lambda: self.now):
            yield
        stop.set()
        await storing

    async def tell(self, status: SignalStatus, *names: str) -> None:
        """Alerts about Deployments; those that people sign are severe."""
        told: list[SignalReceived] = []
        for name in names:
            severity = "critical" if name in (SIGNED, REJECTED, LATE) else "info"
            pod = f"{name}-7d9c5b6f8-00001"
            labels = {"alertname": "KubePodCrashLooping", "severity": severity, "namespace": "shop", "pod": pod}
            header: dict[str, Any] = {"id": new_id(self.now), "key": name, "at": self.now, "by": "ingest/test"}
            ends = self.now if status is SignalStatus.RESOLVED else None
            began = self.began - timedelta(minutes=1)
            signal = SignalReceived(**header, fingerprint=name, status=status, starts_at=began, ends_at=ends, labels=labels, source="test")
            told.append(signal)
        await self.bus.append(told)

    async def quiet(self) -> None:
        """Returns when every group has settled everything and no timer is due."""

        async def holds() -> bool:
            soonest = [row.soonest for row in await delayed(self.bus) if row.soonest is not None]
            groups = [group for row in await streams(self.bus) for group in row.groups]
            return not any(group.lag or group.pending for group in groups) and all(time > self.now for time in soonest)

        await eventually(holds)

    async def waiting(self) -> dict[str, ApprovalRow]:
        """What waits for signatures, by the name of its target."""
        async with self.database.connection() as connection:
            return {row.target.name: row for row in await list_approvals(connection, states=[ApprovalState.WAITING])}

    async def state(self) -> dict[str, list[str]]:
        """Every row of every table of STATE, what is in the event log, the effects, and what people were told."""
        tables = {table: sorted(row[0] for row in await self.database.fetch(f"SELECT to_jsonb(t)::text FROM {table} t")) for table in STATE}
        log = sorted(f"{row['type']} {row['id']}" for row in await self.database.fetch("SELECT type, id FROM event_log"))
        effects = [str(effect) for effect in self.effects.everything()]
        return {**tables, "event_log": log, "effects": effects, "messages": list(self.kept.messages)}

    async def replay(self, group: str, **which: Any) -> Progress:
        past = chosen(group, until=self.now, forgotten=self.now - timedelta(days=60), **which)
        replay = Replay(self.bus, self.database, group, past, who="person/test", clock=lambda: self.now)
        progress = await replay.run()
        await self.quiet()
        return progress


@pytest.fixture
async def whole(database: Database, redis_url: str, tmp_path: Path) -> AsyncIterator[Whole]:
    bus = await connect(redis_url, partitions=2, name="test")
    yield Whole(database, bus, tmp_path)
    await bus.close()


async def lived(whole: Whole) -> None:
    """Incidents that healed, that did not, that nobody can tell of, that people signed, rejected and left; one of them is still open."""
    await whole.tell(SignalStatus.FIRING, *TARGETS)
    await eventually(lambda: _has(whole.waiting, 3))
    for name, person, choice in ((SIGNED, "ana", Choice.SIGN), (SIGNED, "ben", Choice.SIGN), (REJECTED, "ana", Choice.REJECT)):
        await whole.bus.append([whole.vote((await whole.waiting())[name], person, choice)])
        await whole.quiet()
    await eventually(lambda: _all_judged(whole))
    await whole.tell(SignalStatus.RESOLVED, *TARGETS[1:])
    for seconds in (2000, 2000, 700):
        await whole.quiet()
        whole.later(seconds)
    await whole.quiet()


async def _has(look: Callable[[], Awaitable[Any]], count: int) -> bool:
    return len(await look()) == count


async def _all_judged(whole: Whole) -> bool:
    rows = await whole.database.fetch("SELECT count(*) FILTER (WHERE o.state IN ('pending', 'running')) + "
        "count(*) FILTER (WHERE o.state IN ('succeeded', 'unknown') AND coalesce(v.awaits, 'none') <> '') AS open, count(*) AS all "
        "FROM operations o LEFT JOIN verifications v ON v.operation = o.id")  # fmt: skip
    return bool(rows[0]["open"] == 0 and rows[0]["all"] >= len(TARGETS) - 2)


@pytest.mark.slow
async def test_everything_is_told_twice_to_every_group_and_nothing_is_done_again(whole: Whole) -> None:
    async with whole.run():
        await lived(whole)
        before = await whole.state()
        assert len(before["effects"]) == len(before["operations"]) - 1, "all but what was refused"
        assert {"succeeded", "failed", "unknown"} == {msgspec.json.decode(row)["state"] for row in before["operations"]}
        for _ in range(2):
            for group in GROUPS:
                fed = await whole.replay(group)
                assert fed.fed > 0
                assert await whole.state() == before, group
        await whole.database.fetch("DELETE FROM outbox")
        for _ in range(2):
            for group in GROUPS:
                await whole.replay(group)
                assert await whole.state() == before, f"{group}, with the kept outputs forgotten"
        await whole.database.fetch("DELETE FROM outbox")
        await whole.database.fetch("DELETE FROM notifications")
    whole.later(61 * 86400)
    async with whole.run():  # nobody remembers anything by himself either
        await whole.quiet()
        before = await whole.state()  # the timer of the open incident came up meanwhile
        for group in GROUPS:
            fed = await whole.replay(group)
            assert (fed.fed == 0) == (group == "notify")
            assert await whole.state() == before, f"{group}, long afterwards"


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
