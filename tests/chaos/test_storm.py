"""A short storm: every stage as a process of its own, any of them and both stores killed, and nothing lost or done twice.

`make chaos` raises a long one, see docs/reliability.md.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from ops.wiring import PROCESSES
from schemas.events import PeopleAsked, RepairWanted
from schemas.words import FailureClass
from sql.database import Database
from sql.outages import OutageRow, begin_outage
from sql.repair_attempts import RepairRow, want_repair
from tests.chaos.__main__ import command_of
from tests.chaos.storm.cast import Sample, growth
from tests.chaos.storm.effects import KINDS
from tests.chaos.storm.fate import blows
from tests.chaos.storm.judgement import judge, told, untold, wrong_repairs
from tests.chaos.storm.run import Plan, Storm
from tests.chaos.storm.stores import POSTGRES, REDIS
from tests.chaos.storm.traffic import tellings
from tests.integration.scene import RESTART, Scene

SHORT = Plan(seed=20, seconds=30.0, alerts=200, every=1.7, drain=300.0, plane=2)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_whatever_is_killed_nothing_is_lost_and_nothing_is_done_twice() -> None:
    async with Storm.raised(SHORT) as storm:
        await storm.rage()
        found = await judge(storm)
        assert not found.wrong, told(found.wrong)
        assert {REDIS, POSTGRES} <= storm.killed.keys()
        assert found.effects > 0
        assert found.unknown > 0, "of some, nobody can tell"


def test_a_storm_is_decided_by_its_seed_and_spares_nobody() -> None:
    victims = [*PROCESSES, REDIS, POSTGRES]
    fate = blows(random.Random(1), victims, 200.0, 2.0)
    assert fate == blows(random.Random(1), victims, 200.0, 2.0)
    assert {blow.victim for blow in fate[: len(victims)]} == set(victims)
    told_of = tellings(random.Random(1), 240, 40.0)
    assert told_of == tellings(random.Random(1), 240, 40.0)
    assert {telling.labels["pod"].split("-")[0] for telling in told_of} >= KINDS.keys() - {"cursed"}


def test_the_page_names_no_folder_of_the_machine() -> None:
    for logs in (["--logs", "/tmp/x"], ["--logs=/tmp/x"]):
        assert command_of(["--minutes", "20", *logs, "--page"]) == "python -m tests.chaos --minutes 20 --page"


def test_growth_is_that_of_one_process() -> None:
    young = [Sample("gate-1", 1, float(age), 50.0 + age) for age in range(0, 90, 2)]
    early, late = growth([*young, Sample("gate-2", 2, 20.0, 900.0)])["gate-1"]
    assert 65 < early < late < 140
    assert growth([*young, Sample("gate-1", 3, 20.0, 50.0)]) == {}


async def test_a_repair_without_an_end_and_an_outage_without_a_word_are_wrong(database: Database) -> None:
    now = datetime.now(UTC)
    repair: dict[str, Any] = {"id": "r", "incident": "i", "operation": "o", "cause": "c", "place": "p", "action": RESTART, "at": now}
    outage: dict[str, Any] = {"id": "u", "group": "gate", "topic": "votes", "partition": 0, "since": now, "waiting": 1, "oldest": 1.0}
    assert await wrong_repairs(database) == await untold(database) == []
    scene = Scene(database)
    async with database.transaction() as connection:
        assert await want_repair(connection, RepairRow(**repair))
        assert await begin_outage(connection, OutageRow(**outage))
    assert await wrong_repairs(database) == ["the repair r of c has no end"]
    (wrong,) = await untold(database)
    assert "gate settled nothing of votes" in wrong
    wanted = RepairWanted(**scene.header("i"), subject="s", operation="o", action=RESTART, failure=FailureClass.TIMEOUT, reason="r")
    asked = PeopleAsked(**scene.header(), subject="u", reason="r", question="q")
    await scene.archive(wanted, asked)
    assert f"the repair {wanted.id} was told and is not in the store" in await wrong_repairs(database)
    assert await untold(database) == []
