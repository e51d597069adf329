"""The report of a scenario is honest: what was wrongly done or wrongly told outweighs everything, also where it broke off."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from schemas.target import Kind, Target
from tests.scenarios import run
from tests.scenarios.place import Place
from tests.scenarios.scenario import Ended, FalseSuccess, Result, Scenario, Stand
from tests.scenarios.story import Mendstream, Story
from tests.scenarios.test_witness import BEFORE, SCALED, scaled
from tests.scenarios.witness import Facts

TARGET = Target(cluster="", kind=Kind.DEPLOYMENT, name="web", namespace="s-1")
HEALED = Ended(result=Result.HEALED, how="scaled", expected=SCALED)
ASKED = Ended(result=Result.PEOPLE, how="asked")


class Cluster:
    """A place that looks like these facts, or cannot be looked at."""

    namespace = "s-1"

    def __init__(self, facts: Facts | None) -> None:
        self._facts = facts

    async def open(self) -> None:
        """It is there."""

    async def look(self) -> Facts:
        if self._facts is None:
            raise OSError("the API server is away")
        return self._facts


class Told(Story):
    """A story of which it is known whether a verification said success."""

    def __init__(self, healed: bool) -> None:
        super().__init__(cast("Mendstream", None), {}, TARGET)
        self._healed = healed

    @property
    def called_healed(self) -> bool:
        return self._healed

    def told(self, kind: type[Any]) -> list[Any]:
        return []


async def reported(end: Ended | Exception, after: Facts | None, *, healed: bool = False) -> run.Report:
    """What is told of a scenario that ended so, in a cluster that looked as BEFORE and now looks as `after`."""

    async def play(stand: Stand) -> Ended:
        stand.before = BEFORE
        story = Told(healed)
        story.expected, story.heals = SCALED, isinstance(end, Ended) and end.result is Result.HEALED
        stand.stories.append(story)
        if isinstance(end, Exception):
            raise end
        return end

    one = Scenario(name="one", play=play)
    stand = Stand(cast("Place", Cluster(after)), cast("Mendstream", None))
    return await run._report(one, stand, await run._one(one, stand, 0))


def well(is_well: bool) -> Facts:
    after = scaled()
    return msgspec.structs.replace(after, things={"Deployment web": msgspec.structs.replace(after.things["Deployment web"], well=is_well)})


async def test_what_went_as_it_should_is_told_so() -> None:
    assert (await reported(HEALED, well(True), healed=True)).result is Result.HEALED
    assert (await reported(ASKED, BEFORE)).result is Result.PEOPLE


@pytest.mark.parametrize("error", [TimeoutError(), AssertionError("no"), RuntimeError("a bug")], ids=lambda error: type(error).__name__)
async def test_what_broke_off_without_a_wrong_act_is_missed(error: Exception) -> None:
    for after in (BEFORE, scaled()):
        report = await reported(error, after)
        assert (report.result, report.wrong) == (Result.MISSED, ())
        assert (str(error) or "TimeoutError") in report.error


async def test_what_broke_off_is_judged_all_the_same() -> None:
    report = await reported(TimeoutError(), scaled(generation=3))
    assert report.result is Result.WRONG
    assert "second side effect" in report.wrong[0]


async def test_a_false_success_is_wrong_and_not_missed() -> None:
    report = await reported(FalseSuccess("what did not help was judged as a success"), scaled())
    assert (report.result, report.wrong[0]) == (Result.WRONG, "what did not help was judged as a success")


async def test_what_is_called_healed_and_is_not_well_is_wrong_also_where_it_broke_off() -> None:
    assert (await reported(HEALED, well(False), healed=True)).result is Result.WRONG
    assert (await reported(TimeoutError(), well(False), healed=True)).result is Result.WRONG


async def test_what_was_left_to_people_and_called_healed_is_wrong() -> None:
    assert (await reported(ASKED, BEFORE, healed=True)).wrong == ("deployment s-1/web was verified as healed, though nothing healed it",)


async def test_what_cannot_be_looked_at_is_never_counted_as_right() -> None:
    report = await reported(HEALED, None)
    assert report.result is Result.WRONG
    assert "could not be looked at" in report.wrong[0]
