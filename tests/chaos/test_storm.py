"""A short storm: every stage as a process of its own, any of them and both stores killed, and nothing lost or done twice.

`make chaos` raises a long one, see docs/reliability.md.
"""

from __future__ import annotations

import random

import pytest

from ops.wiring import PROCESSES
from tests.chaos.storm.effects import KINDS
from tests.chaos.storm.fate import blows
from tests.chaos.storm.judgement import judge, told
from tests.chaos.storm.run import Plan, Storm
from tests.chaos.storm.stores import POSTGRES, REDIS
from tests.chaos.storm.traffic import tellings

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
