"""Faults that came with a new revision, and those that look as if they had."""

from __future__ import annotations

import asyncio
from typing import Any

from ops.sandbox.kubectl import settled, waiting
from schemas import events as e
from schemas.action import RollBackWorkload
from schemas.target import Kind, Target
from tests.scenarios.place import Place, image_of
from tests.scenarios.restarts import restarted
from tests.scenarios.scenario import Ended, Result, Stand, asked, called_healed, healed, judged_as_useless, scenario
from tests.scenarios.story import Story
from tests.scenarios.witness import NOTHING, Expected, Write

_RECREATE = {"strategy": {"type": "Recreate", "rollingUpdate": None}}
_KEYED = [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "MODE"}}}]


def back_to(target: Target, image: str) -> Expected:
    """Exactly one roll back, to the revision with this image."""
    return Expected(writes=(Write(about=f"{target.kind} {target.name}", holds=lambda spec: image_of(spec) == image),))


async def broken_rollout(place: Place, image: str, reason: str, **fields: Any) -> Target:
    """`web` ran well, and a rollout of `image` brought it to `reason`."""
    web = await place.running("web", "sim/web:ok", **fields)
    await place.set_image(web, image)
    await place.until(web, waiting(reason))
    return web


async def lost_way_back(place: Place, image: str, reason: str, *, name: str = "web") -> Target:
    """The same, but what the revision before needs is gone meanwhile: going back cannot help."""
    await place.config("web", MODE="fast")
    broken = await place.running(name, "sim/web:needs-MODE", env=_KEYED, spec=_RECREATE)
    await place.set_image(broken, image)
    await place.until(broken, waiting(reason))
    await place.set_config("web", MODE=None)
    return broken


async def rolled_back(story: Story) -> None:
    await story.proposed(RollBackWorkload)


@scenario("crash after a rollout")
async def crash_after_rollout(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    story = await stand.fire("KubePodCrashLooping", web)
    await rolled_back(story)
    return await healed(story, "rolled back", back_to(web, "sim/web:ok"))


async def broken_set(place: Place, policy: str) -> Target:
    """A StatefulSet whose newest pod crashes since a rollout."""
    web = await place.running("web", "sim/web:ok", kind=Kind.STATEFULSET, spec={"podManagementPolicy": policy})
    await place.set_image(web, "sim/web:crash")
    await place.until(web, waiting("CrashLoopBackOff"))
    return web


@scenario("crash after a rollout of a StatefulSet, Parallel")
async def crash_of_a_set(stand: Stand) -> Ended:
    web = await broken_set(stand.place, "Parallel")
    story = await stand.fire("KubePodCrashLooping", web)
    await rolled_back(story)
    return await healed(story, "rolled back", back_to(web, "sim/web:ok"))


@scenario("crash after a rollout of a StatefulSet, OrderedReady", twin=True)
async def crash_of_an_ordered_set(stand: Stand) -> Ended:
    web = await broken_set(stand.place, "OrderedReady")
    story = await stand.fire("KubePodCrashLooping", web)
    await rolled_back(story)
    # Its controller waits for the broken pod to become ready before it replaces it: the write is right, and does not heal.
    return await judged_as_useless(story, "rolled back", back_to(web, "sim/web:ok"))


@scenario("crash after a rollout, the revision before is broken too", twin=True)
async def crash_with_no_way_back(stand: Stand) -> Ended:
    web = await lost_way_back(stand.place, "sim/web:crash", "CrashLoopBackOff")
    story = await stand.fire("KubePodCrashLooping", web)
    await rolled_back(story)
    await story.sign(await story.requested(1))  # nothing tells any more that the revision before was once available
    return await judged_as_useless(story, "rolled back", back_to(web, "sim/web:needs-MODE"))


@scenario("bad image after a rollout")
async def bad_image(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:pull", "ImagePullBackOff")
    story = await stand.fire("KubeContainerWaiting", web)
    await rolled_back(story)
    return await healed(story, "rolled back", back_to(web, "sim/web:ok"))


@scenario("bad image after a rollout, the revision before is broken too", twin=True)
async def bad_image_with_no_way_back(stand: Stand) -> Ended:
    web = await lost_way_back(stand.place, "sim/web:pull", "ImagePullBackOff")
    story = await stand.fire("KubeContainerWaiting", web)
    await rolled_back(story)
    await story.sign(await story.requested(1))  # nothing tells any more that the revision before was once available
    return await judged_as_useless(story, "rolled back", back_to(web, "sim/web:needs-MODE"))


@scenario("bad image from the first day", twin=True)
async def bad_image_always(stand: Stand) -> Ended:
    web = await stand.place.deploy("web", "sim/web:pull")
    await stand.place.until(web, waiting("ImagePullBackOff"))
    story = await stand.fire("KubeContainerWaiting", web)
    return await asked(story, "image")


@scenario("a new revision needs a configuration key that is missing")
async def rollout_without_its_key(stand: Stand) -> Ended:
    await stand.place.config("web", OTHER="1")
    web = await stand.place.running("web", "sim/web:ok")
    await stand.place.set_image(web, "sim/web:needs-MODE", env=_KEYED)
    await stand.place.until(web, waiting("CreateContainerConfigError"))
    story = await stand.fire("KubeContainerWaiting", web)
    await rolled_back(story)
    return await healed(story, "rolled back", back_to(web, "sim/web:ok"))


@scenario("configuration key missing, no rollout", twin=True)
async def key_is_missing(stand: Stand) -> Ended:
    await stand.place.config("web", OTHER="1")
    web = await stand.place.deploy("web", "sim/web:needs-MODE", env=_KEYED)
    await stand.place.until(web, waiting("CreateContainerConfigError"))
    story = await stand.fire("KubePodCrashLooping", web)
    ended = await asked(story, "ConfigMap")
    await stand.hands_on()
    await stand.place.set_config("web", MODE="fast")
    await stand.place.until(web, settled)
    stand.before = await stand.place.look()
    await story.resolve()
    return ended


@scenario("two workloads at once")
async def two_at_once(stand: Stand) -> Ended:
    targets = []
    for name in ("web", "api"):
        targets.append(await stand.place.running(name, "sim/web:ok"))
        await stand.place.set_image(targets[-1], "sim/web:crash")
    for target in targets:
        await stand.place.until(target, waiting("CrashLoopBackOff"))
    stories = [await stand.fire("KubePodCrashLooping", target) for target in targets]
    expected = Expected(writes=tuple(write for target in targets for write in back_to(target, "sim/web:ok").writes))
    ended = await asyncio.gather(*(healed(story, "each rolled back", expected) for story in stories))
    assert len({story.incident for story in stories}) == 2
    return max(ended, key=lambda one: one.seconds or 0)


@scenario("two workloads at once, one of which cannot go back", twin=True)
async def two_at_once_one_for_good(stand: Stand) -> Ended:
    api = await lost_way_back(stand.place, "sim/web:crash", "CrashLoopBackOff", name="api")
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    good, bad = [await stand.fire("KubePodCrashLooping", target) for target in (web, api)]
    expected = Expected(writes=(*back_to(web, "sim/web:ok").writes, *back_to(api, "sim/web:needs-MODE").writes))
    await rolled_back(bad)
    await bad.sign(await bad.requested(1))  # nothing tells any more that the revision before was once available
    _, ended = await asyncio.gather(
        healed(good, "rolled back", expected), judged_as_useless(bad, "each rolled back; one healed, the other one not", expected)
    )
    return ended


@scenario("two alerts for one target")
async def two_alerts(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    story = await stand.fire("KubePodCrashLooping", web)
    other = await stand.fire("KubeDeploymentReplicasMismatch", web)
    assert other.incident == story.incident, "the second alert opened an incident of its own"
    ended = await called_healed(story, "one incident, one roll back", back_to(web, "sim/web:ok"))
    assert [len(story.told(kind)) for kind in (e.IncidentOpened, e.ActionProposed, e.ExecutionFinished)] == [1, 1, 1]
    return ended


@scenario("two alerts for one target, which its one remedy does not heal", twin=True)
async def two_alerts_for_good(stand: Stand) -> Ended:
    web = await stand.place.deploy("web", "sim/web:crash")
    await stand.place.until(web, waiting("CrashLoopBackOff"))
    story = await stand.fire("KubePodCrashLooping", web)
    other = await stand.fire("KubeDeploymentReplicasMismatch", web)
    assert other.incident == story.incident, "the second alert opened an incident of its own"
    ended = await judged_as_useless(story, "one incident, restarted once", restarted(web))
    kinds = (e.IncidentOpened, e.ActionProposed, e.ExecutionFinished, e.VerificationFinished)
    assert [len(story.told(kind)) for kind in kinds] == [1, 1, 1, 1]
    return ended


@scenario("shadow mode", twin=True)
async def shadow(stand: Stand) -> Ended:
    web = await broken_rollout(stand.place, "sim/web:crash", "CrashLoopBackOff")
    story = await stand.fire("KubePodCrashLooping", web)
    held = await story.until(e.ActionHeld)
    assert held.rule == "shadow", held
    return Ended(result=Result.PEOPLE, how=f"held: {held.reason}", expected=NOTHING)
