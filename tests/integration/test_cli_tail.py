"""`mend streams tail`: what a stream no longer holds comes from the event log, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from bus import inspect, names
from bus.connect import Bus, connect
from bus.replay import Past, feed
from ops.cli import streams
from ops.cli.session import Session
from schemas.codec import encode
from schemas.event import Event
from schemas.identity import time_of
from sql import event_log
from sql.database import Database
from tests.integration.bus.ground import until, vote, votes

PARTITIONS = 2


class Stored:
    """An entry as the archive hands it to the log."""

    def __init__(self, row: inspect.EntryRow) -> None:
        assert row.event is not None
        event: Event = row.event
        self.id, self.at, self.by, self.incident, self.cause = event.id, event.at, event.by, event.incident, event.cause
        self.born, self.type, self.topic, self.body = time_of(event.id), type(event).__name__, row.topic, encode(event)
        self.partition, self.entry = row.partition, row.entry


class Ground:
    """The stores, and `mend streams tail decisions` on them."""

    def __init__(self, bus: Bus, database: Database, session: Session, said: Callable[[], str]) -> None:
        self.bus, self.database, self.session, self.said = bus, database, session, said
        self.rows: list[dict[str, Any]] = []

    async def append(self, events: Sequence[Event]) -> None:
        """Into Redis and, as the archive does soon after, into the log."""
        await self.bus.append(events)
        rows = [row async for row in inspect.tail(self.bus, "decisions", last=1000)]
        await event_log.store(self.database, [Stored(row) for row in rows])

    async def trim(self, partition: int, left: int = 0) -> None:
        await self.bus.channel(partition).call("XTRIM", names.stream(partition, "decisions"), "MAXLEN", left)

    async def tail(self, **options: Any) -> list[str]:
        """The approvals told, which number the events; with `follow`, `numbers` has them meanwhile."""
        plain: dict[str, Any] = {"last": 100, "follow": False, "kind": "", "incident": ""}
        await streams._tailed(self.session, "decisions", as_json=True, **(plain | options))
        return self.numbers()

    def numbers(self) -> list[str]:
        self.rows += [msgspec.json.decode(line) for line in self.said().splitlines()]
        return [row["body"]["approval"] for row in self.rows]


@pytest_asyncio.fixture
async def ground(
    redis_url: str, postgres_url: str, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Ground]:
    settings = tmp_path / "mend.toml"
    settings.write_text(f'[redis]\nurl = "{redis_url}"\npartitions = {PARTITIONS}\n[postgres]\nurl = "{postgres_url}"\n')
    settings.chmod(0o600)
    bus = await connect(redis_url, partitions=PARTITIONS, name="test")
    yield Ground(bus, database, Session(settings), lambda: capsys.readouterr().out)
    await bus.close()


async def test_what_was_trimmed_is_shown_once_and_in_order(ground: Ground) -> None:
    await ground.append(votes(30))
    whole = await ground.tail()
    assert sorted(whole, key=int) == [str(number) for number in range(30)]
    for left in (3, 0):
        for partition in range(PARTITIONS):
            await ground.trim(partition, left)
        ground.rows.clear()
        assert await ground.tail() == whole
        ground.rows.clear()
        assert await ground.tail(last=7) == whole[-7:]


async def test_the_newest_of_a_type_or_an_incident_are_found_behind_others(ground: Ground) -> None:
    await ground.append(votes(30))
    await ground.trim(0)
    assert len(await ground.tail(kind="VoteRefused", last=4)) == 4
    ground.rows.clear()
    assert await ground.tail(kind="VoteCast") == []
    assert await ground.tail(incident="another") == []


async def test_what_comes_is_followed_and_nothing_is_shown_twice(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """One event comes, and is stored, after the streams were read and before the log is."""
    await ground.append(votes(3))
    await ground.trim(0)
    looked = event_log.newest

    async def between(*arguments: Any, **options: Any) -> Any:
        await ground.append([vote(3)])
        return await looked(*arguments, **options)

    monkeypatch.setattr(event_log, "newest", between)
    following = asyncio.create_task(ground.tail(follow=True))
    await until(lambda: len(ground.numbers()) >= 4)
    await ground.append([vote(4)])
    await until(lambda: "4" in ground.numbers())
    following.cancel()
    await asyncio.wait([following])
    assert sorted(ground.numbers()) == ["0", "1", "2", "3", "4"]


async def test_what_is_told_again_to_one_group_is_marked_with_it(ground: Ground) -> None:
    """Also as it comes; the event itself is still shown where it was, from the log where its stream has it no more."""
    events = votes(3)
    await ground.append(events)
    for partition in range(PARTITIONS):
        await ground.trim(partition)
    await feed(ground.bus, "gate", [Past("decisions", 0, encode(events[1]))], token="one")
    following = asyncio.create_task(ground.tail(follow=True))
    await until(lambda: len(ground.numbers()) == 4)
    await feed(ground.bus, "learn", [Past("decisions", 1, encode(events[2]))], token="two")
    await until(lambda: len(ground.numbers()) == 5)
    following.cancel()
    await asyncio.wait([following])
    told = [("0", ""), ("1", ""), ("2", ""), ("1", "gate"), ("2", "learn")]
    assert [(row["body"]["approval"], row["only"]) for row in ground.rows] == told
    await streams._tailed(ground.session, "decisions", last=100, follow=False, kind="", incident="", as_json=False)
    lines = ground.said().splitlines()
    assert [f"replayed for {only}" in line for line, (_, only) in zip(lines, told, strict=True) if only] == [True, True]
    assert [line for line in lines[:3] if "replayed" in line] == []


async def test_without_postgres_the_streams_are_shown_and_it_is_said(
    ground: Ground, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (tmp_path / "mend.toml").read_text()
    await ground.append(votes(3))
    (tmp_path / "mend.toml").write_text(text[: text.index("[postgres]")] + '[postgres]\nurl = "postgresql://127.0.0.1:1/mend"\n')
    said: list[str] = []
    ground.said = lambda: said.append((told := capsys.readouterr()).err) or told.out  # type: ignore[func-returns-value]
    assert len(await ground.tail()) == 3
    assert said[0].startswith("only what Redis still holds is shown, for the event log is away: Postgres cannot be reached")
