"""A short storm: every stage as a process of its own, any of them and both stores killed, and nothing lost or done twice.

`make chaos` raises a long one, see docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from adapters.errors import Transient
from ops.wiring import PROCESSES
from schemas.action import RestartWorkload
from schemas.events import PeopleAsked, RepairWanted
from schemas.target import Kind, Target
from schemas.words import FailureClass
from sql.database import Database
from sql.outages import OutageRow, begin_outage
from sql.repair_attempts import RepairRow, want_repair
from tests.chaos.__main__ import command_of
from tests.chaos.storm.cast import ALONE, LONG_REPLICAS, SPARED, WARM, Cast, Sample, growth
from tests.chaos.storm.effects import KINDS, Effects, RecordingWorld
from tests.chaos.storm.fate import blows
from tests.chaos.storm.judgement import Judgement, judge, missed, overgrown, told, untold, wrong_repairs
from tests.chaos.storm.page import page
from tests.chaos.storm.people import People
from tests.chaos.storm.pulse import Pulse
from tests.chaos.storm.run import Plan, Storm, until_ended
from tests.chaos.storm.stores import POSTGRES, REDIS
from tests.chaos.storm.traffic import tellings
from tests.integration.scene import RESTART, Scene

SHORT = Plan(seed=20, seconds=120.0, alerts=240, every=5.0, drain=300.0, plane=2)
AWAY: Any = None
"""A store that nothing is asked of."""
LONG = Plan(seed=1, seconds=1800.0, alerts=10_000, every=8.0)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_whatever_is_killed_nothing_is_lost_and_nothing_is_done_twice() -> None:
    async with Storm.raised(SHORT) as storm:
        await storm.rage()
        found = await judge(storm)
        assert not found.wrong, told(found.wrong)
        assert {*PROCESSES, REDIS, POSTGRES} == storm.killed.keys()
        assert found.effects > 0
        assert found.executions["failed"] > 0
        assert found.repairs > 0
        assert found.dead > 0
        assert found.rejected > 0
        assert found.unknown > 0, "of some, nobody can tell"
        assert found.on_plane > 0 or storm.plane is None


def test_a_storm_is_decided_by_its_seed_and_spares_nobody() -> None:
    victims = [*PROCESSES, REDIS, POSTGRES]
    fate = blows(random.Random(1), victims, 200.0, 2.0)
    assert fate == blows(random.Random(1), victims, 200.0, 2.0)
    assert {blow.victim for blow in fate[: len(victims)]} == set(victims)
    told_of = tellings(random.Random(1), 240, 40.0)
    assert told_of == tellings(random.Random(1), 240, 40.0)
    assert {telling.labels["pod"].split("-")[0] for telling in told_of} == KINDS.keys()
    assert all(0 <= telling.at <= 40.0 for telling in told_of)


def test_a_long_storm_spares_one_of_each_kind_and_kills_every_kind() -> None:
    assert {name.rpartition("-")[0] or name for name in SPARED} == set(PROCESSES)
    everybody = [f"{stage}-{number}" for stage, count in LONG_REPLICAS.items() for number in range(1, count + 1)] + [*ALONE]
    spared = {name: share * 600 for name, share in SPARED.items()}
    fate = blows(random.Random(1), everybody, 600.0, 2.0, spared=spared)
    assert all(blow.at < spared.get(blow.victim, 600.0) for blow in fate)
    assert {blow.victim for blow in fate} == {name for name in everybody if spared.get(name, 600.0) > 0}
    assert sum(blow.at > 550 for blow in fate) > 10, "those who are not spared are killed until the end"


async def test_a_target_that_is_down_fails_its_first_operation_and_draws_are_those_of_the_seed(tmp_path: Path) -> None:
    def action(name: str) -> RestartWorkload:
        return RestartWorkload(target=Target(cluster="default", namespace="shop", kind=Kind.DEPLOYMENT, name=name))

    async def answers(name: str, folder: str, *, seed: int, operations: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        found = ""
        for operation in operations:
            world = RecordingWorld(Effects(tmp_path / folder), lambda: datetime.now(UTC), seed=seed)
            try:
                await world.apply(action(name), operation=operation, token=1, uid="")
            except Transient:
                found += "-"
            else:
                found += "+"
        return found

    assert await answers("down-1", "a", seed=1, operations="fffr") == "---+"
    assert [effect.operation for effect in Effects(tmp_path / "a").everything()] == ["r"]
    first, again, other = [
        await answers("away-1", folder, seed=seed, operations="x" * 16) for folder, seed in (("b", 1), ("c", 1), ("d", 2))
    ]
    assert first == again != other


async def test_work_that_loses_a_cancellation_is_cancelled_again() -> None:
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await until_ended([task], patience=0.01)
    assert lost == 2
    assert task.cancelled()


def test_a_storm_in_which_nothing_happened_proves_nothing() -> None:
    killed = dict.fromkeys((*PROCESSES, REDIS, POSTGRES), 1)
    full = Judgement(effects=1, on_plane=1, executions={"failed": 1}, repairs=1, unknown=1, dead=1, rejected=1)
    assert missed(full, killed, plane=True) == []
    assert missed(msgspec.structs.replace(full, on_plane=0), killed, plane=False) == []
    assert len(missed(Judgement(), {}, plane=True)) == 7 + len(killed)
    (wrong,) = missed(msgspec.structs.replace(full, repairs=0), killed, plane=True)
    assert wrong == "the storm had no repair in it: it proves nothing about that"


def test_the_page_names_no_folder_of_the_machine() -> None:
    for logs in (["--logs", "/tmp/x"], ["--logs=/tmp/x"]):
        assert command_of(["--minutes", "20", *logs, "--page"]) == "python -m tests.chaos --minutes 20 --page"


def _samples(name: str, process: int = 1, *, until: int = 100, each: float = 0.0) -> list[Sample]:
    """Every other second; before it is warm, it is small."""
    return [Sample(name, process, float(age), 60.0 + each * age if age >= WARM else 1.0) for age in range(0, until, 2)]


def test_growth_is_that_of_the_last_process_of_who_is_spared() -> None:
    early, late = growth([*_samples("gate-1", each=1.0), *_samples("gate-2", 2)])["gate-1"]
    assert 90 < early < 120 < late < 160
    assert growth([*_samples("api", each=9.0), *_samples("api", 2)]) == {"api": (60.0, 60.0)}
    assert growth([*_samples("api"), *_samples("api", 2, until=80)]) == {}, "its last process is too young"


def test_every_kind_is_judged_for_its_memory() -> None:
    flat = [sample for name in SPARED for sample in _samples(name)]
    assert overgrown(flat) == []
    (grew,) = overgrown([sample for sample in flat if sample.actor != "notify-1"] + _samples("notify-1", each=2.0))
    assert grew.startswith("notify-1 grew from 1")
    assert overgrown([]) == [f"the memory of {name} is not known early and late" for name in SPARED]


async def test_a_page_of_a_long_storm_tells_who_is_judged_and_names_no_folder(tmp_path: Path) -> None:
    storm = Storm(LONG, tmp_path)
    storm.cast = Cast(tmp_path, tmp_path, tmp_path, lambda: 0.0, LONG_REPLICAS)
    storm.cast.samples = _samples("gate-1") + _samples("api")
    storm.pulse = Pulse(Redis())
    storm.people = People(AWAY, AWAY, "0" * 64)
    wrong = [f"the log is {tmp_path}/logs/gate-1.log", f"Postgres at postgres://{tmp_path}", f"see {Path(__file__)}"]
    text = page(storm, Judgement(repairs=3, outages=2, redis_size=7.0, redis_entries=5, wrong=wrong), command="make chaos")
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line.startswith("|")]
    assert ("gate-1", "always", "60 MB", "60 MB") in rows
    assert ("api", "the last 33% of the blows", "60 MB", "60 MB") in rows
    assert ("ingest", "the last 33% of the blows", "-", "-") in rows
    assert {name for name, *_ in rows} >= {*SPARED, "repairs after a failed execution", "outages of consumer groups that were found"}
    assert ("Redis after the drain: memory / entries in all streams", "7 MB / 5") in rows
    assert "the log is …\nPostgres at postgres:…\nsee …" in text
    for place in (str(tmp_path), str(Path(__file__).parents[2])):
        assert place not in text


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
