"""Nodes that go down with pods on them, and the disruption budgets that are in the way."""

from __future__ import annotations

import asyncio
from collections import Counter

from schemas import events as e
from schemas.action import CordonNode, EvictPod
from schemas.target import Kind, Target
from schemas.words import Verdict
from tests.scenarios.place import Place
from tests.scenarios.scenario import Ended, Result, Stand, asked, healed, judged_as_useless, scenario
from tests.scenarios.story import Story
from tests.scenarios.witness import Expected, Write


async def spread(place: Place, replicas: int) -> tuple[Target, str]:
    """`web` on nodes of this place, which have room for what one of them loses; and the one with most of its pods."""
    await asyncio.gather(*(place.node() for _ in range(3)))
    cores = 8 * 2 // replicas - 1  # half of the pods fill a node
    web = await place.running("web", "sim/web:ok", replicas=replicas, pod=place.own_nodes(), resources={"requests": {"cpu": str(cores)}})
    placed = Counter(str(pod["spec"]["nodeName"]) for pod in await place.kubectl.pods(web))
    return web, placed.most_common(1)[0][0]


async def evicted(story: Story) -> Expected:
    """The eviction that is proposed, and nothing else."""
    action = await story.proposed(EvictPod)
    return Expected(evicted=frozenset({action.uid}))


@scenario("node down, its pod is evicted, signed")
async def node_down(stand: Stand) -> Ended:
    web, lost = await spread(stand.place, 2)
    await stand.place.lose(lost)
    story = await stand.fire("KubePodNotReady", web)
    expected = await evicted(story)
    requested = await story.requested(1)
    await stand.unchanged("before anybody signed")
    await story.sign(requested)
    return await healed(story, "evicted; made anew on the other node", expected)


@scenario("node down, its pod fits nowhere else", twin=True)
async def nowhere_else(stand: Stand) -> Ended:
    lost = await stand.place.node()
    web = await stand.place.running("web", "sim/web:ok", replicas=1, pod=stand.place.own_nodes())
    await stand.place.lose(lost)
    story = await stand.fire("KubePodNotReady", web)
    expected = await evicted(story)
    await story.sign(await story.requested(1))
    return await judged_as_useless(story, "evicted", expected)


@scenario("node down, told of the node: cordoned, signed")
async def node_cordoned(stand: Stand) -> Ended:
    _, lost = await spread(stand.place, 2)
    await stand.place.lose(lost)
    story = await stand.fire("KubeNodeNotReady", Target(cluster="", kind=Kind.NODE, name=lost))
    await story.proposed(CordonNode)
    requested = await story.requested(1)
    await stand.unchanged("before anybody signed")
    await story.sign(requested)
    cordoned = Write(about=f"Node {lost}", holds=lambda spec: spec.get("unschedulable") is True, revisions=0)
    # A cordon keeps pods away and brings nothing back: people repair the node, and nothing is told as healed.
    return await judged_as_useless(story, "cordoned", Expected(writes=(cordoned,)))


@scenario("a cordon is undone when the node is back, by one person, signed by another")
async def undone(stand: Stand) -> Ended:
    node = await stand.place.node()
    await stand.place.lose(node)
    story = await stand.fire("KubeNodeNotReady", Target(cluster="", kind=Kind.NODE, name=node))
    await story.proposed(CordonNode)
    requested = await story.requested(1)
    await story.sign(requested)
    await story.until(e.VerificationFinished)
    cordoned = Write(about=f"Node {node}", holds=lambda spec: spec.get("unschedulable") is True, revisions=0)
    await stand.so_far(Expected(writes=(cordoned,)))
    await stand.place.bring_back(node)
    await story.resolve()
    undo = await story.undo(requested.approval, by="ana")
    assert "does not count" in await story.vote(undo, by="ana"), "who proposed it signed it"
    await stand.unchanged("before another person signed")
    await story.vote(undo, by="ben")
    # The first operation was the cordon; the second one is its undoing.
    await story.ran(undo)
    uncordoned = Write(about=f"Node {node}", holds=lambda spec: not spec.get("unschedulable"), revisions=0)
    return Ended(result=Result.PEOPLE, how="uncordoned as a person wished", expected=Expected(writes=(uncordoned,)))


@scenario("node down, a disruption budget allows no eviction at all", twin=True)
async def deadlock(stand: Stand) -> Ended:
    web, lost = await spread(stand.place, 2)
    await stand.place.budget(web, 2)
    await stand.place.lose(lost)
    story = await stand.fire("KubePodNotReady", web)
    return await asked(story, "budget web", "even with every pod healthy")


@scenario("node down, a disruption budget closes before the eviction", twin=True)
async def budget_closes(stand: Stand) -> Ended:
    web, lost = await spread(stand.place, 2)
    await stand.place.lose(lost)
    story = await stand.fire("KubePodNotReady", web)
    await evicted(story)
    requested = await story.requested(1)
    await stand.hands_on()
    await stand.place.budget(web, 2)
    stand.before = await stand.place.look()
    await story.sign(requested)
    finished = await story.until(e.ExecutionFinished)
    assert finished.attempts == 3, f"{finished.attempts} attempts: {finished.error}"
    return await asked(story, "disruption budget")


@scenario("node down with two pods, a disruption budget with room: one by one, each signed")
async def budget_with_room(stand: Stand) -> Ended:
    web, lost = await spread(stand.place, 4)
    await stand.place.budget(web, 1)
    await stand.place.lose(lost)
    story = await stand.fire("KubePodNotReady", web)
    await evicted(story)
    await story.sign(await story.requested(1))
    second = await story.nth(e.ApprovalRequested, 2)
    done = [one.action for one in story.told(e.ActionProposed)]
    expected = Expected(evicted=frozenset(action.uid for action in done if isinstance(action, EvictPod)))
    story.expected, story.heals = expected, True
    assert len(expected.evicted) == len(done) == 2, done
    assert story.count_done() == 1, "the second eviction did not wait for its signature"
    await story.sign(second)
    last = await story.nth(e.VerificationFinished, 2)
    assert last.verdict is Verdict.SUCCESS, last.summary
    return Ended(result=Result.HEALED, how="two pods evicted, one after the other", expected=expected, seconds=story.seconds)
