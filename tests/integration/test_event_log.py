"""The event log keeps every event once, by month, fast, and whatever its texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import msgspec
import pytest

from schemas.codec import decode, encode
from schemas.event import Event
from schemas.events import IncidentClosed, IncidentUpdated, SignalReceived
from schemas.identity import derived_id, is_identifier, new_id, time_of
from schemas.target import Kind, Target
from schemas.words import Severity, SignalStatus
from sql import event_log
from sql.database import Database
from sql.event_log import UnreadableRow

NOW = datetime(2026, 5, 17, 9, 30, 0, 123000, tzinfo=UTC)
TARGET = Target(cluster="c", kind=Kind.DEPLOYMENT, namespace="n", name="a")


class Entry(NamedTuple):
    """A row as the archive hands it over."""

    id: str
    born: datetime
    type: str
    topic: str
    incident: str
    cause: str
    by: str
    at: datetime
    body: str | bytes
    partition: int
    entry: str


def entry(event: Event, number: int = 0) -> Entry:
    kind = type(event)
    header = (event.incident, event.cause, event.by, event.at)
    return Entry(event.id, time_of(event.id), kind.__name__, kind.topic, *header, encode(event), 0, f"1-{number}")


def signal(at: datetime = NOW, **labels: str) -> SignalReceived:
    return SignalReceived(
        id=new_id(at), key="k", at=at, by="api", fingerprint="f", status=SignalStatus.FIRING, starts_at=at, labels=labels, source="test"
    )


def closed(cause: str, incident: str, at: datetime = NOW) -> IncidentClosed:
    return IncidentClosed(id=derived_id(cause, "ingest", 0), key="k", at=at, by="ingest/h", incident=incident, cause=cause, target=TARGET)


def updated(cause: str, incident: str, at: datetime) -> IncidentUpdated:
    told = {"id": derived_id(cause, "ingest", 0), "key": "k", "at": at, "by": "ingest/h", "incident": incident, "cause": cause}
    return IncidentUpdated(**told, target=TARGET, severity=Severity.P2, alert="a", status=SignalStatus.FIRING, firing=1)  # type: ignore[arg-type]


async def count(database: Database) -> int:
    return int((await database.fetch("SELECT count(*) FROM event_log"))[0][0])


async def test_an_event_is_stored_once_however_often_it_arrives(database: Database) -> None:
    rows = [entry(signal(number=str(number)), number) for number in range(5)]
    assert await event_log.store(database, rows) == 5
    assert await event_log.store(database, [*rows, *rows]) == 0
    assert await event_log.store(database, []) == 0
    assert await count(database) == 5


async def test_an_event_is_found_by_its_id_with_its_bytes(database: Database) -> None:
    event = signal(text="a\x00b \U0001f600")
    await event_log.store(database, [entry(event, 7)])
    async with database.connection() as connection:
        found = await event_log.find_event(connection, event.id)
        assert await event_log.find_event(connection, new_id(NOW)) is None
        assert await event_log.find_event(connection, "no id\x00") is None
    assert found is not None
    assert decode(found.body.encode()) == event
    assert (found.topic, found.entry, found.by, found.at) == ("signals", "1-7", "api", NOW)


async def test_the_newest_of_a_topic_however_long_ago(database: Database) -> None:
    """By the order in which they entered Redis: an answer's id has the time of what it answers."""
    late = [entry(signal(NOW - timedelta(days=number)), number) for number in range(9, 12)]
    others = [entry(closed(signal().id, f"i-{number}"), number) for number in range(5)]
    await event_log.store(database, [*late[::-1], *others])
    await database.fetch("UPDATE event_log SET stored_at = now() - interval '400 days' WHERE entry = '1-9'")
    async with database.connection() as connection:

        async def newest(topic: str, limit: int, **only: str) -> list[str]:
            return [row.entry for row in await event_log.newest(connection, topic, limit, **only)]

        assert await newest("signals", 2) == ["1-10", "1-11"]
        assert await newest("signals", 100) == ["1-9", "1-10", "1-11"]
        assert await newest("incidents", 3) == ["1-2", "1-3", "1-4"]
        assert await newest("incidents", 3, incident="i-1") == ["1-1"]
        assert await newest("incidents", 3, kind="IncidentOpened", incident="\0") == []


async def test_texts_that_postgres_cannot_hold_do_not_stop_the_archive(database: Database) -> None:
    good = signal()
    bad = entry(signal())._replace(cause="a\x00b", by="\x00", incident="i\x00", body=b"\xff not utf-8")
    assert await event_log.store(database, [bad, entry(good)]) == 2
    async with database.connection() as connection:
        found = await event_log.find_event(connection, bad.id)
    assert found is not None
    assert (found.cause, found.by, found.incident) == ("ab", "", "i")


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-10))), datetime(9000, 1, 1, tzinfo=UTC)),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=10))), datetime(1970, 1, 1, tzinfo=UTC)),
        (datetime(2026, 5, 17), datetime(2026, 5, 17, tzinfo=UTC)),  # noqa: DTZ001
    ],
)
async def test_a_time_that_no_column_can_hold_does_not_stop_the_archive(database: Database, at: datetime, kept: datetime) -> None:
    odd = entry(signal())._replace(at=at)
    assert await event_log.store(database, [odd, entry(signal())._replace(born=at)]) == 2
    async with database.connection() as connection:
        found = await event_log.find_event(connection, odd.id)
    assert found is not None
    assert found.at == kept


async def test_the_events_of_an_incident_come_with_what_they_answer(database: Database) -> None:
    incident = new_id(NOW)
    first = signal()
    second = closed(first.id, incident, NOW + timedelta(seconds=1))
    third = updated(second.id, incident, NOW + timedelta(seconds=2))
    stranger = closed(new_id(NOW), new_id(NOW))
    await event_log.store(database, [entry(event) for event in (third, stranger, second, first)])
    async with database.connection() as connection:
        whole = await event_log.events_of_incident(connection, incident)
        assert (await event_log.events_of_incident(connection, "")).events == []
        shorter = await event_log.events_of_incident(connection, incident, limit=1)
    events = whole.events
    assert [event.id for event in events] == [first.id, second.id, third.id]
    assert [event.cause for event in events] == ["", first.id, second.id]
    assert [event.id for event in shorter.events] == [first.id, second.id]
    assert (whole.left_out, whole.since) == (0, None)
    assert (shorter.left_out, shorter.since) == (1, third.at)


async def test_of_a_storm_its_repetition_is_left_out_and_its_beginning_and_end_stay(database: Database) -> None:
    """With the cause of everything that stays, though it be repetition itself."""
    incident = new_id(NOW)
    storm = [updated(signal().id, incident, NOW + timedelta(seconds=number)) for number in range(60)]
    news = [closed(storm[30].id, incident, NOW + timedelta(seconds=number + 0.5)) for number in (1, 30, 59)]
    news[1:] = [msgspec.structs.replace(event, id=derived_id(event.cause, "x", number)) for number, event in enumerate(news[1:])]
    await event_log.store(database, [entry(event, number) for number, event in enumerate([*storm, *news])])
    async with database.connection() as connection:
        log = await event_log.events_of_incident(connection, incident, limit=7)
        least = await event_log.events_of_incident(connection, incident, limit=2)
    shown = [*storm[:2], news[0], storm[30], news[1], *storm[-2:], news[2]]
    assert [event.id for event in log.events] == [event.id for event in sorted(shown, key=lambda event: event.at)]
    assert (log.left_out, log.since) == (55, storm[2].at)
    assert [event.id for event in least.events] == [news[0].id, storm[30].id, news[2].id]
    assert (least.left_out, least.since) == (60, storm[0].at)


async def test_archived_says_which_ids_the_log_has(database: Database) -> None:
    old, new, missing = signal(NOW - timedelta(days=90)), signal(NOW), signal(NOW)
    await event_log.store(database, [entry(old), entry(new)])
    async with database.connection() as connection:
        assert await event_log.archived(connection, [old.id, new.id, missing.id, "nonsense"]) == {old.id, new.id}
        assert await event_log.archived(connection, []) == set()


@pytest.mark.parametrize("odd", ["nobody", "ffffffff-ffff-7000-8000-000000000000", "0fffffff-ffff-7000-8000-000000000000"])
async def test_an_id_of_another_form_or_time_is_found_as_well(database: Database, odd: str) -> None:
    usual = signal(NOW)
    stranger = entry(usual)._replace(id=odd, born=time_of(odd) if is_identifier(odd) else NOW)
    async with database.connection() as connection:
        assert await event_log.archived(connection, [odd, usual.id]) == set()
        await event_log.store(database, [stranger, entry(usual)])
        assert await event_log.archived(connection, [odd, usual.id]) == {odd, usual.id}


async def test_partitions_are_made_ahead_and_take_over_what_came_before_them(database: Database) -> None:
    early, late = signal(NOW), signal(NOW + timedelta(days=400))
    await event_log.store(database, [entry(early), entry(late)])
    assert await event_log.make_partitions(database, NOW) == ["event_log_2026_05", "event_log_2026_06", "event_log_2026_07"]
    assert await event_log.make_partitions(database, NOW) == []
    assert await event_log.make_partitions(database, datetime(2026, 12, 31, 23, 59, tzinfo=UTC), 1) == [
        "event_log_2026_12",
        "event_log_2027_01",
    ]
    places = {row["id"]: row["place"] for row in await database.fetch("SELECT id, tableoid::regclass::text AS place FROM event_log")}
    assert places == {early.id: "event_log_2026_05", late.id: "event_log_default"}
    assert await event_log.store(database, [entry(early)]) == 0
    await event_log.store(database, [entry(signal(datetime(2026, 5, 31, 23, 59, 59, 999000, tzinfo=UTC)))])
    assert await database.fetch("SELECT 1 FROM event_log_2026_05 OFFSET 1") != []


async def test_what_is_no_event_is_kept_byte_for_byte(database: Database) -> None:
    row = UnreadableRow(id="x", topic="signals", partition=1, entry="5-0", body=b"\x00\xff{")
    await event_log.store_unreadable(database, [row])
    await event_log.store_unreadable(database, [row])
    async with database.connection() as connection:
        assert await event_log.unreadable(connection) == [row]
