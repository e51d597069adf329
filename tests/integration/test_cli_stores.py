"""Commands that need the stores alone: dead letters, what a group holds, and the tables. No stage runs that would move any of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis import Redis

from bus import names
from schemas.codec import decode, encode
from schemas.events import DeadLettered
from schemas.identity import new_id
from schemas.words import DeadReason
from sql.migrate import migrations
from tests.integration.mend_process import Mend

pytestmark = pytest.mark.slow
VOTES = names.stream(0, "votes")


class Stores(Mend):
    """An installation whose stores are given by URL."""

    def __init__(self, folder: Path, redis: str, postgres: str) -> None:
        super().__init__(folder)
        self.redis: Redis = Redis.from_url(redis)
        self.postgres = postgres
        self._urls = {"MEND_REDIS_URL": redis, "MEND_POSTGRES_URL": postgres}

    def environment(self, **variables: str) -> dict[str, str]:
        return super().environment(**self._urls, **variables)

    def dies(self, kind: str, reason: DeadReason, *, topic: str = "votes", incident: str = "i") -> str:
        """Puts a dead letter of the gate into its stream; returns its id."""
        now = datetime.now(UTC)
        letter = DeadLettered(
            id=new_id(now),
            key="k",
            at=now,
            by="gate/test",
            incident=incident,
            source_topic=topic,
            group="gate",
            entry="1-1",
            reason=reason,
            error="it died",
            attempts=1,
            original=kind.encode(),
            original_type=kind,
        )
        self.redis.xadd(names.stream(0, names.DEAD), {"e": encode(letter)})
        return letter.id

    def dead(self) -> list[str]:
        """The ids of the dead letters that are left."""
        rows: Any = self.redis.xrange(names.stream(0, names.DEAD))
        return [decode(fields[b"e"]).id for _, fields in rows]

    def replayed(self) -> list[dict[bytes, bytes]]:
        """What came back to the stream of votes."""
        rows: Any = self.redis.xrange(VOTES)
        return [fields for _, fields in rows]

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        async def rows() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.postgres)
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        return asyncio.run(rows())


@pytest.fixture
def mend(redis_url: str, postgres_url: str, tmp_path: Path) -> Iterator[Stores]:
    mend = Stores(tmp_path, redis_url, postgres_url)
    yield mend
    mend.redis.close()


AUDITED = "SELECT input, state, error FROM audit_log WHERE what = 'replay dead letter' ORDER BY at, id"


def test_a_dead_letter_that_cannot_be_replayed_keeps_no_other_up(mend: Stores) -> None:
    later = mend.dies("VoteCast", DeadReason.UNKNOWN_TYPE, topic="tomorrow")
    forged = mend.dies("VoteCast", DeadReason.CRASHED, incident="i\0")
    plain = mend.dies("VoteCast", DeadReason.CRASHED)
    done = mend("dead", "replay", "--all", code=1)
    why = "this version has no topic 'tomorrow' to replay to: upgrade Mendstream, then replay"
    assert done.stdout.splitlines() == [f"{later}  refused: {why}", f"{forged}  done", f"{plain}  done"]
    assert mend.replayed() == [{b"e": b"VoteCast", b"g": b"gate"}] * 2
    assert mend.fetch(AUDITED) == [(later, "refused", why), (forged, "success", ""), (plain, "success", "")]
    assert mend.dead() == [later]
    assert mend.said("dead", "drop", later) == f"{later}  done\n"


def test_what_was_done_before_something_stopped_it_is_told(mend: Stores) -> None:
    first, second = mend.dies("VoteCast", DeadReason.CRASHED), mend.dies("VoteCast", DeadReason.CRASHED, incident="stuck")
    mend.fetch("ALTER TABLE audit_log ADD CHECK (incident <> 'stuck')")
    done = mend("dead", "replay", "--all", code=1)
    assert done.stdout == f"{first}  done\n"
    assert done.stderr.startswith("mend: ")
    assert mend.dead() == [second]


def test_dead_letters_are_chosen_by_type_and_by_reason(mend: Stores) -> None:
    cast = mend.dies("VoteCast", DeadReason.REJECTED)
    signal = mend.dies("SignalReceived", DeadReason.CRASHED)
    refused = mend.dies("VoteRefused", DeadReason.UNKNOWN_TYPE)
    opened = mend.dies("IncidentOpened", DeadReason.EXHAUSTED)
    last = mend.dies("PeopleAsked", DeadReason.UNDECODABLE)
    assert [row["id"] for row in mend.json("dead", "ls", "--reason", "crashed")] == [signal]
    assert mend.said("dead", "replay", "--type", "VoteCast") == f"{cast}  done\n"
    assert mend.said("dead", "replay", "--reason", "crashed") == f"{signal}  done\n"
    assert [fields[b"e"] for fields in mend.replayed()] == [b"VoteCast", b"SignalReceived"]
    assert mend.dead() == [refused, opened, last]
    assert mend.said("dead", "drop", "--type", "VoteRefused") == f"{refused}  done\n"
    assert mend.said("dead", "drop", "--reason", "exhausted") == f"{opened}  done\n"
    assert mend.dead() == [last]
    assert len(mend.replayed()) == 2


def test_what_a_group_holds_is_listed_until_it_is_settled(mend: Stores) -> None:
    mend.redis.xgroup_create(VOTES, "gate", mkstream=True)
    entries: Any = [mend.redis.xadd(VOTES, {"e": b"{}"}) for _ in range(3)]
    mend.redis.xreadgroup("gate", "who-hangs", {VOTES.decode(): ">"}, count=2)
    first, second = (entry.decode() for entry in entries[:2])
    rows = mend.json("streams", "pending", "votes", "gate")
    assert [(row["partition"], row["entry"], row["consumer"], row["deliveries"]) for row in rows] == [
        (0, first, "who-hangs", 1),
        (0, second, "who-hangs", 1),
    ]
    assert all(row["idle"] >= 0 for row in rows)
    mend.redis.xack(VOTES, "gate", first)
    head, row = mend.said("streams", "pending", "votes", "gate").splitlines()
    assert head.split() == ["PARTITION", "ENTRY", "CONSUMER", "IDLE", "DELIVERIES"]
    assert re.fullmatch(rf"0 +{second} +who-hangs +\S+ +1 *", row)


def test_an_empty_database_gets_every_table(mend: Stores) -> None:
    mend.fetch("DROP SCHEMA public CASCADE")
    mend.fetch("CREATE SCHEMA public")
    assert mend.said("migrate").splitlines() == [f"applied {name}" for name, _ in migrations()]
    assert mend.json("incidents", "ls") == []
