"""Faults that a restart heals, and those that it does not."""

from __future__ import annotations

from ops.sandbox.kubectl import unready, waiting
from schemas import events as e
from schemas.action import RestartWorkload
from schemas.target import Target
from schemas.words import Verdict
from tests.scenarios.scenario import Ended, Stand, healed, judged_as_useless, scenario
from tests.scenarios.story import Story
from tests.scenarios.witness import Expected, Write


def restarted(target: Target) -> Expected:
    """Exactly one restart, which leaves all but the template's annotations as it was."""
    return Expected(writes=(Write(about=f"{target.kind} {target.name}", holds=_has_mark),))


def _has_mark(spec: dict[str, object]) -> bool:
    return "mendstream.dev/operation" in str(spec["template"])


async def proposed_restart(story: Story) -> None:
    await story.proposed(RestartWorkload)


@scenario("wedge, signed by two people")
async def wedge(stand: Stand) -> Ended:
    web = await stand.place.deploy("web", "sim/web:wedge-40s")
    await stand.place.until(web, unready)
    story = await stand.fire("WebWedged", web, severity="critical")
    await proposed_restart(story)
    requested = await story.requested(2)
    await stand.unchanged("before anybody signed")
    await story.sign(requested)
    return await healed(story, "restarted", restarted(web))


@scenario("wedge that a restart does not free", twin=True)
async def wedge_for_good(stand: Stand) -> Ended:
    """Its own controller says so: new pods that are not ready yet may be starting."""
    web = await stand.place.deploy("web", "sim/web:wedge-0s", spec={"progressDeadlineSeconds": 45})
    await stand.place.until(web, unready)
    story = await stand.fire("WebWedged", web)
    await proposed_restart(story)
    ended = await judged_as_useless(story, "restarted", restarted(web))
    (verified,) = story.told(e.VerificationFinished)
    assert verified.verdict is Verdict.FAILED, f"judged as {verified.verdict}: {verified.summary}"
    return ended


@scenario("memory leak: well after a restart, and broken again soon", twin=True)
async def leak(stand: Stand) -> Ended:
    web = await stand.place.deploy("web", "sim/web:wedge-7s", replicas=1)
    await stand.place.until(web, unready)
    story = await stand.fire("WebWedged", web)
    await story.proposed(RestartWorkload)
    ended = await judged_as_useless(story, "restarted", restarted(web))
    (verified,) = story.told(e.VerificationFinished)
    assert verified.relapse, f"not seen as a relapse: {verified.summary}"
    return ended


@scenario("crash loop without a rollout", twin=True)
async def crash_without_rollout(stand: Stand) -> Ended:
    web = await stand.place.deploy("web", "sim/web:crash")
    await stand.place.until(web, waiting("CrashLoopBackOff"))
    story = await stand.fire("KubePodCrashLooping", web)
    await proposed_restart(story)
    return await judged_as_useless(story, "restarted", restarted(web))
