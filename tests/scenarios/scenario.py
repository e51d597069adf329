"""A scenario: a fault that people make, an alert about it, and what must become of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

import msgspec

from schemas import events as e
from schemas.event import Event
from schemas.target import Target
from schemas.words import Verdict
from tests.scenarios.place import Place
from tests.scenarios.story import Mendstream, Story
from tests.scenarios.witness import NOTHING, Expected, Facts, is_well, merged, wrongs


class Result(StrEnum):
    """What became of a scenario. `missed`: nothing wrong was done, and not what should be done either.

    What broke off and did something wrong as well is `wrongly acted`.
    """

    HEALED = "healed"
    PEOPLE = "left to people"
    ALONE = "left alone"
    WRONG = "wrongly acted"
    MISSED = "missed"


class FalseSuccess(AssertionError):
    """A verification said success where nothing was healed: wrongly acted, never merely missed."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a scenario ended as it should. `seconds` from alert to verified end are set where it was healed."""

    result: Result
    how: str
    expected: Expected = NOTHING
    seconds: float | None = None


class Stand:
    """Where one scenario plays: its place, the running Mendstream, and what it was before the first alert."""

    def __init__(self, place: Place, mendstream: Mendstream) -> None:
        self.place = place
        self._mendstream = mendstream
        self.stories: list[Story] = []
        self.before: Facts | None = None
        self.found: list[str] = []

    async def fire(self, alert: str, target: Target, *, severity: str = "info", label: str = "", **labels: str) -> Story:
        """Posts an alert; what is there before the first one is what everything is compared with.

        `label` names the target where it is not that of its kind.
        """
        if self.before is None:
            self.before = await self.place.look()
        story = await self._mendstream.fire(alert, target, severity=severity, label=label, **labels)
        self.stories.append(story)
        return story

    async def begin_again(self) -> None:
        """What was done so far changed nothing, and the next alert is the first one."""
        await self.unchanged("before the scenario began")
        self.before = None
        self.stories.clear()

    async def unchanged(self, when: str) -> None:
        """Notes what was done to the world until now, as nothing should be."""
        assert self.before is not None
        self.found += [f"{when}: {wrong}" for wrong in wrongs(self.before, await self.place.look())]

    async def hands_on(self) -> None:
        """People have changed the world themselves: from now on it is compared with what it is now."""
        await self.unchanged("before people changed it")
        self.before = await self.place.look()

    async def so_far(self, expected: Expected) -> None:
        """Notes what was wrongly done until now; from now on everything is compared with what is there now."""
        assert self.before is not None
        after = await self.place.look()
        self.found += wrongs(self.before, after, expected)
        self.before = after

    async def judge(self, ended: Ended | None) -> list[str]:
        """What was wrongly done until now; see `witness`. A scenario that broke off is None: what it expected may not have happened."""
        found = [*self.found]
        if self.before is not None:
            expected = merged(story.expected for story in self.stories) if ended is None else ended.expected
            found += wrongs(self.before, await self.place.look(), expected, done=ended is not None)
        if ended is not None and ended.result is not Result.HEALED:
            unhealed = [story.target for story in self.stories if story.called_healed and not story.heals]
            found += [f"{target} was verified as healed, though nothing healed it" for target in unhealed]
        return found

    async def believe(self) -> None:
        """Notes everything that was verified as healed and is not well at this moment."""
        healed = [story.target for story in self.stories if story.called_healed]
        if not healed:
            return
        after = await self.place.look()
        self.found += [f"{target} was verified as healed and is not well" for target in healed if is_well(after, target) is False]

    def events(self) -> list[Event]:
        """Everything that flowed about this scenario's alerts."""
        return [event for story in self.stories for event in story.told(Event)]


Play = Callable[[Stand], Awaitable[Ended]]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario. `twin` says that it is the negative twin of another: the same remedy must not help, or must not be tried.

    `host` says that it plays on a host of its own; `metrics` that autoscalers get metrics meanwhile.
    """

    name: str
    play: Play
    twin: bool = False
    host: bool = False
    metrics: bool = False


CATALOGUE: dict[str, Scenario] = {}


def scenario(name: str, *, twin: bool = False, host: bool = False, metrics: bool = False) -> Callable[[Play], Play]:
    """Puts a scenario into the catalogue."""

    def register(play: Play) -> Play:
        assert name not in CATALOGUE, name
        CATALOGUE[name] = Scenario(name=name, play=play, twin=twin, host=host, metrics=metrics)
        return play

    return register


async def healed(story: Story, how: str, expected: Expected) -> Ended:
    """The end of a story whose verification said success, and whose alert is over then; raises AssertionError for any other verdict."""
    ended = await called_healed(story, how, expected)
    await story.resolve()
    return ended


async def called_healed(story: Story, how: str, expected: Expected) -> Ended:
    """The same, while the alert is not over yet."""
    story.expected, story.heals = expected, True
    verified = await story.until(e.VerificationFinished)
    if verified.verdict is not Verdict.SUCCESS:
        raise AssertionError(f"it was judged as {verified.verdict}: {verified.summary}")
    return Ended(result=Result.HEALED, how=how, expected=expected, seconds=story.seconds)


async def judged_as_useless(story: Story, how: str, expected: Expected) -> Ended:
    """The end of a story whose action was done and did not help: judged so, and put to people.

    Raises FalseSuccess where it was judged as a success.
    """
    story.expected = expected
    verified = await story.until(e.VerificationFinished)
    if verified.verdict is Verdict.SUCCESS:
        raise FalseSuccess(f"what did not help was judged as a success: {verified.summary}")
    await story.until(e.PeopleAsked)
    return Ended(result=Result.PEOPLE, how=f"{how}; judged {verified.verdict}: {verified.summary}", expected=expected)


async def asked(story: Story, *words: str) -> Ended:
    """The end of a story in which nothing is changed and people are asked with these words; nothing else may be expected."""
    question = await story.until(e.PeopleAsked)
    said = f"{question.question} {question.reason}"
    missing = [word for word in words if word not in said]
    if missing:
        raise AssertionError(f"people were not told {', '.join(missing)}: {said}")
    return Ended(result=Result.PEOPLE, how=f"asked: {question.question}")
