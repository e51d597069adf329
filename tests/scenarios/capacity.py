"""Not enough of something: memory, replicas, room on the nodes; and a Job that failed."""

from __future__ import annotations

from typing import Any

from adapters.kubernetes.resources import AUTOSCALERS, JOBS
from ops.sandbox.kubectl import settled, waiting
from schemas import events as e
from schemas.action import RerunJob, RestartWorkload, SetAutoscalerBounds, SetMemoryLimit
from schemas.target import Kind, Target
from schemas.words import Disposition
from tests.scenarios.place import Place
from tests.scenarios.restarts import restarted
from tests.scenarios.scenario import Ended, Result, Stand, asked, healed, judged_as_useless, scenario
from tests.scenarios.story import Story
from tests.scenarios.witness import Expected, Write


async def short_of_memory(place: Place, limit: str, needs: str) -> Target:
    resources = {"limits": {"memory": limit}, "requests": {"memory": "10Mi"}}
    web = await place.deploy("web", f"sim/web:oom-{needs}", resources=resources)
    await place.until(web, waiting("CrashLoopBackOff"))
    return web


def limited_to(target: Target, memory: str) -> Expected:
    """Exactly one rollout, to this memory limit, and nothing else of the container."""

    def holds(spec: dict[str, Any]) -> bool:
        resources = spec["template"]["spec"]["containers"][0]["resources"]
        return bool(resources == {"limits": {"memory": memory}, "requests": {"memory": "10Mi"}})

    return Expected(writes=(Write(about=f"{target.kind} {target.name}", holds=holds),))


@scenario("out of memory, room to raise the limit")
async def memory(stand: Stand) -> Ended:
    web = await short_of_memory(stand.place, "100Mi", "200Mi")
    story = await stand.fire("KubeContainerOOMKilled", web)
    await story.proposed(SetMemoryLimit)
    return await healed(story, "limit raised from 100Mi to 200Mi", limited_to(web, "200Mi"))


@scenario("out of memory, twice the limit is not enough", twin=True)
async def memory_not_enough(stand: Stand) -> Ended:
    web = await short_of_memory(stand.place, "100Mi", "900Mi")
    story = await stand.fire("KubeContainerOOMKilled", web)
    await story.proposed(SetMemoryLimit)
    return await judged_as_useless(story, "limit raised from 100Mi to 200Mi", limited_to(web, "200Mi"))


@scenario("out of memory, twice the limit is more than is ever proposed", twin=True)
async def memory_at_its_end(stand: Stand) -> Ended:
    web = await short_of_memory(stand.place, "3Gi", "5Gi")
    story = await stand.fire("KubeContainerOOMKilled", web)
    await story.proposed(RestartWorkload)
    return await judged_as_useless(story, "restarted, for 4Gi is the most that is proposed", restarted(web))


@scenario("out of memory, no node has room for twice the limit", twin=True)
async def memory_without_room(stand: Stand) -> Ended:
    here = stand.place.own_nodes()
    await stand.place.node()  # of 16Gi: another pod of 2Gi fits beside these, and none of 4Gi
    await stand.place.running("cache", "sim/web:ok", replicas=1, pod=here, resources={"requests": {"memory": "9Gi"}})
    web = await stand.place.deploy("web", "sim/web:oom-3Gi", pod=here, resources={"limits": {"memory": "2Gi"}})
    await stand.place.until(web, waiting("CrashLoopBackOff"))
    story = await stand.fire("KubeContainerOOMKilled", web)
    story.expected = restarted(web)
    await story.proposed(RestartWorkload)
    (proposed,) = story.told(e.ActionProposed)
    assert "no room for 1 more pod of 4.00 GiB" in proposed.reasons[-1], proposed.reasons
    return await judged_as_useless(story, "restarted, for no node has room for a pod of 4Gi", restarted(web))


async def _counted(place: Place, target: Target, replicas: int) -> None:
    """Waits until the autoscaler's controller has seen so many replicas."""
    seen = AUTOSCALERS, target.namespace, target.name
    await place.kubectl.wait(lambda item: item["status"].get("currentReplicas") == replicas, *seen)


async def under_load(place: Place, load: int, said: str) -> Target:
    """Three pods of a tenth of a core each at an autoscaler's maximum, which has measured the load (thousandths of a core) and said so."""
    web = await place.running("web", "sim/web:ok", replicas=3, resources={"requests": {"cpu": "100m"}})
    await place.load(web, load)
    await place.autoscaler(web, 1, 3)
    seen = AUTOSCALERS, web.namespace, web.name
    await place.kubectl.wait(lambda item: said in str(item["metadata"].get("annotations")), *seen)
    return web


async def widened(stand: Stand, web: Target) -> Story:
    """The maximum is raised from 3 to 5 once somebody has signed; the autoscaler then takes all of it at once, and nothing else is done.

    The alert names the autoscaler alone, as that of kube-state-metrics does.
    """
    story = await stand.fire("KubeHpaMaxedOut", web, label="horizontalpodautoscaler")
    wider = Write(about="Autoscaler web", holds=lambda spec: (spec["minReplicas"], spec["maxReplicas"]) == (1, 5), revisions=0)
    scaled = Write(about="Deployment web", holds=lambda spec: bool(spec["replicas"] == 5), revisions=0, by_controller=True)
    story.expected = Expected(writes=(wider, scaled))
    await story.proposed(SetAutoscalerBounds)
    requested = await story.requested(1)
    await stand.unchanged("before anybody signed")
    await story.sign(requested)
    return story


@scenario("autoscaler at its maximum, signed", metrics=True)
async def maxed(stand: Stand) -> Ended:
    web = await under_load(stand.place, 380, "TooManyReplicas")  # of 80 for each pod: five carry it
    story = await widened(stand, web)
    return await healed(story, "maximum raised from 3 to 5; the autoscaler has what it wants", story.expected)


@scenario("autoscaler at its maximum, two more are not enough", twin=True, metrics=True)
async def maxed_again(stand: Stand) -> Ended:
    web = await under_load(stand.place, 900, "TooManyReplicas")
    story = await widened(stand, web)
    return await judged_as_useless(story, "maximum raised from 3 to 5", story.expected)


@scenario("autoscaler at its maximum, and wants no more", twin=True, metrics=True)
async def maxed_and_content(stand: Stand) -> Ended:
    web = await under_load(stand.place, 225, "DesiredWithinRange")
    story = await stand.fire("KubeHpaMaxedOut", web, label="horizontalpodautoscaler")
    return await asked(story, "Autoscaler web", "wants no more", "relieve")


@scenario("autoscaler below its maximum", twin=True)
async def not_maxed(stand: Stand) -> Ended:
    web = await stand.place.running("web", "sim/web:ok", replicas=2)
    await stand.place.autoscaler(web, 1, 9)
    await _counted(stand.place, web, 2)
    story = await stand.fire("HighLatency", web)
    return await asked(story, "Autoscaler web", "relieve")


@scenario("pending for lack of room, people are asked", twin=True)
async def no_room(stand: Stand) -> Ended:
    web = await _wants_a_whole_node(stand.place)
    story = await stand.fire("KubePodNotReady", web)
    return await asked(story, "room", "nodes are available")


@scenario("pending, until people add a node")
async def room_comes(stand: Stand) -> Ended:
    web = await _wants_a_whole_node(stand.place)
    story = await stand.fire("KubePodNotReady", web)
    await asked(story, "room")
    await stand.hands_on()
    await stand.place.node()
    await stand.place.until(web, settled)
    stand.before = await stand.place.look()
    resolved = await story.resolve()
    assert resolved.disposition is Disposition.SELF_RESOLVED, resolved.disposition
    return Ended(result=Result.PEOPLE, how="asked; they added a node, and it was resolved without an action")


async def _wants_a_whole_node(place: Place) -> Target:
    """One pod that only a node of this place can take, and there is none yet."""
    web = await place.deploy("web", "sim/web:ok", replicas=1, pod=place.own_nodes())
    await place.until(web, lambda _, pods: any("Unschedulable" in str(pod["status"]) for pod in pods))
    return web


async def failed_job(place: Place) -> Target:
    """A Job whose one pod has ended with an error."""
    job = Target(cluster="", kind=Kind.JOB, name="import", namespace=place.namespace)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "web", "image": "sim/web:ok"}]}}
    body = {"metadata": {"name": job.name}, "spec": {"backoffLimit": 0, "template": template}}
    await place.kubectl.create(JOBS, job.namespace, body)
    await place.end_pod("Failed")
    await place.kubectl.wait(lambda item: "BackoffLimitExceeded" in str(item.get("status")), JOBS, job.namespace, job.name)
    return job


async def run_again(stand: Stand, phase: str) -> Story:
    """The story of a failed Job whose new run ends in `phase`."""
    story = await stand.fire("KubeJobFailed", await failed_job(stand.place))
    story.expected = Expected(made=("Job import-",))
    await story.proposed(RerunJob)
    await story.until(e.ExecutionFinished)
    await stand.place.end_pod(phase)
    return story


@scenario("a Job that failed is run again once, signed by nobody, and succeeds")
async def job_succeeds(stand: Stand) -> Ended:
    story = await run_again(stand, "Succeeded")
    return await healed(story, "run again", Expected(made=("Job import-",)))


@scenario("a Job that failed is run again once, and fails again", twin=True)
async def job_fails_again(stand: Stand) -> Ended:
    story = await run_again(stand, "Failed")
    return await judged_as_useless(story, "run again", Expected(made=("Job import-",)))
