"""The main job on real parts: a real Alertmanager tells a real `mend up` of faults on a real control plane, and they are healed.

Or they are not, and then that is what is said.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import pytest_asyncio

from bus.connect import connect as connect_bus
from ops.demo.feed import Feed
from ops.demo.pipeline import Pipeline
from ops.sandbox.kubectl import settled, unready, waiting
from schemas import events as e
from schemas.action import Investigate, RestartWorkload, RollBackWorkload
from schemas.event import Event
from schemas.target import Target
from schemas.words import IncidentState, Outcome, Verdict
from tests.cluster.conftest import Deploy, Place
from tests.e2e.alertmanager import Alertmanager, alertmanager, needs_alertmanager
from tests.patience import PATIENCE

pytestmark = [pytest.mark.cluster, needs_alertmanager]
E = TypeVar("E", bound=Event)

_SETTINGS = """
[ingest]
close_after = 0.5

[gate]
mode = "auto"

[verify]
settle = 2.0
interval = 1.0
limit = 25.0
hold_down = 0.0

[clusters.default]
kubeconfig = "{kubeconfig}"
"""


class Scene:
    """A running Mendstream, the Alertmanager that tells it, and everything that flows."""

    def __init__(self, pipeline: Pipeline, teller: Alertmanager, feed: Feed) -> None:
        self.pipeline = pipeline
        self.teller = teller
        self.feed = feed

    async def fire(self, name: str, target: Target, *, severity: str = "info") -> Story:
        """Alertmanager is told of an alert; returns when its incident is open."""
        labels = {"alertname": name, "severity": severity, "namespace": target.namespace, "deployment": target.name}
        await self.teller.tell(labels)
        opened = await self.feed.until(
            e.IncidentOpened, lambda event: event.alert == name and event.target.namespace == target.namespace, f"an incident for {name}"
        )
        return Story(self, labels, opened.incident)


class Story:
    """What becomes of one alert."""

    def __init__(self, scene: Scene, labels: dict[str, str], incident: str) -> None:
        self._scene = scene
        self._labels = labels
        self.incident = incident

    async def until(self, kind: type[E], *, seconds: float = PATIENCE) -> E:
        """The first event of a kind in this incident."""
        return await self._scene.feed.until(kind, lambda event: event.incident == self.incident, kind.__name__, seconds=seconds)

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self._scene.feed.events(self.incident))

    async def resolve(self) -> None:
        """Alertmanager is told that it is over; returns when the incident has been closed."""
        await self._scene.teller.tell(self._labels, ended=True)
        await self.until(e.IncidentClosed)


@asynccontextmanager
async def running(kubeconfig: str, settings: str = _SETTINGS) -> AsyncIterator[Scene]:
    """A `mend up` in a folder outside of pytest's, which root closes to the user that Postgres runs as."""
    with tempfile.TemporaryDirectory(prefix="mend-pipeline-", ignore_cleanup_errors=True) as folder:
        async with _running(Path(folder), kubeconfig, settings) as scene:
            yield scene


@asynccontextmanager
async def _running(folder: Path, kubeconfig: str, settings: str) -> AsyncIterator[Scene]:
    pipeline = Pipeline(folder / "mend", settings.format(kubeconfig=kubeconfig))
    try:
        await pipeline.start()
        assert pipeline.run is not None
        bus = await connect_bus(pipeline.run.redis.reveal(), name="test")
        feed = Feed(bus, lambda _: None)
        following = asyncio.create_task(feed.follow())
        try:
            async with alertmanager(folder / "alertmanager", pipeline.api, pipeline.token) as teller:
                yield Scene(pipeline, teller, feed)
        finally:
            following.cancel()
            await asyncio.wait([following])
            await bus.close()
    finally:
        await pipeline.stop()


@pytest_asyncio.fixture(scope="module")
async def scene(kubeconfig: str) -> AsyncIterator[Scene]:
    async with running(kubeconfig) as made:
        yield made


async def test_a_crash_after_a_rollout_is_rolled_back_and_the_resolved_alert_closes_the_incident(
    scene: Scene, real: Place, deploy: Deploy
) -> None:
    web = await deploy("web", "sim/web:ok", replicas=2)
    await real.kubectl.until(web, settled)
    await real.kubectl.set_image(web, "sim/web:crash")
    await real.kubectl.until(web, waiting("CrashLoopBackOff"))

    story = await scene.fire("KubePodCrashLooping", web)
    verified = await story.until(e.VerificationFinished)
    assert isinstance(verified.action, RollBackWorkload)
    assert (verified.verdict, verified.measured) == (Verdict.SUCCESS, True)
    live = await real.kubectl.until(web, settled)
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "sim/web:ok"

    await story.resolve()
    shown = msgspec.json.decode(await scene.pipeline.mend("incidents", "show", story.incident, "--json"))
    assert shown["incident"]["state"] == IncidentState.CLOSED
    assert story.count(e.ExecutionFinished) == 1


async def test_the_way_back_is_shown_before_and_run_by_one_command_on_its_own_evidence(scene: Scene, real: Place, deploy: Deploy) -> None:
    web = await deploy("web", "sim/web:ok", replicas=2)
    await real.kubectl.until(web, settled)
    await real.kubectl.set_image(web, "sim/web:crash")
    await real.kubectl.until(web, waiting("CrashLoopBackOff"))
    story = await scene.fire("KubePodCrashLooping", web)
    original = (await story.until(e.VerificationFinished)).approval
    back = (await _shown(scene, original))["way_back"]
    assert (back["says"], back["now"]) == (f"roll back {web} to revision 2", "done")

    mend, tokens = scene.pipeline.mend, scene.pipeline.tokens
    asked = msgspec.json.decode(await mend("approvals", "undo", original, "--as", "ana", "--json", token=tokens["ana"]))
    shown = await _shown(scene, asked["approval"])
    assert shown["approval"]["action"] == back["action"], "what was shown is what is proposed"
    assert len(shown["evidence"]["pods"]) == 2
    assert shown["evidence"]["workload"]["images"] == ["sim/web:ok"]
    assert "+ spec.template.spec.containers[web].image: sim/web:crash" in shown["approval"]["diff"]
    assert {check["name"]: check["result"] for check in shown["approval"]["checks"]}["dry_run"] == "passed"
    stored = msgspec.json.decode(await mend("incidents", "show", story.incident, "--json"))["evidence"]
    assert shown["approval"]["evidence"] in [one["id"] for one in stored]

    await mend("approvals", "sign", asked["approval"], "--as", "ben", token=tokens["ben"])
    live = await real.kubectl.until(web, waiting("CrashLoopBackOff"))
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "sim/web:crash"


async def _shown(scene: Scene, approval: str) -> Any:
    return msgspec.json.decode(await scene.pipeline.mend("approvals", "show", approval, "--json"))


async def test_a_wedge_is_restarted_once_two_people_have_signed(scene: Scene, real: Place, deploy: Deploy) -> None:
    web = await deploy("web", "sim/web:wedge-12s", replicas=2)
    before = await real.kubectl.until(web, unready)

    story = await scene.fire("WebWedged", web, severity="critical")
    requested = await story.until(e.ApprovalRequested)
    assert requested.signatures == 2
    for person, token in scene.pipeline.tokens.items():
        assert story.count(e.ExecutionFinished) == 0
        await scene.pipeline.mend("approvals", "sign", requested.approval, "--as", person, token=token)
    verified = await story.until(e.VerificationFinished)
    assert isinstance(verified.action, RestartWorkload)
    assert verified.verdict is Verdict.SUCCESS
    after = await real.kubectl.until(web, settled)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    approved = await story.until(e.ActionApproved)
    assert set(approved.signers) == {"ana", "ben"}


async def test_an_image_that_cannot_be_pulled_is_rolled_back(scene: Scene, real: Place, deploy: Deploy) -> None:
    web = await deploy("web", "sim/web:ok", replicas=2)
    await real.kubectl.until(web, settled)
    await real.kubectl.set_image(web, "sim/web:pull")
    await real.kubectl.until(web, waiting("ImagePullBackOff"))

    story = await scene.fire("KubeContainerWaiting", web)
    verified = await story.until(e.VerificationFinished)
    assert isinstance(verified.action, RollBackWorkload)
    assert verified.verdict is Verdict.SUCCESS


async def test_an_image_that_never_could_be_pulled_is_left_alone_and_people_are_asked(scene: Scene, real: Place, deploy: Deploy) -> None:
    web = await deploy("web", "sim/web:pull")
    before = await real.kubectl.until(web, waiting("ImagePullBackOff"))

    story = await scene.fire("KubeContainerWaiting", web)
    asked = await story.until(e.PeopleAsked)
    assert "image" in asked.question
    verified = await story.until(e.VerificationFinished)
    assert isinstance(verified.action, Investigate)
    assert verified.verdict is Verdict.DEGRADED
    after = await real.kubectl.until(web, waiting("ImagePullBackOff"))
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_a_restart_that_does_not_help_against_memory_is_verified_as_failed_and_escalated(
    scene: Scene, real: Place, deploy: Deploy
) -> None:
    web = await deploy("web", "sim/web:oom-5Gi", resources={"limits": {"memory": "3Gi"}, "requests": {"memory": "10Mi"}})
    await real.kubectl.until(web, waiting("CrashLoopBackOff"))

    story = await scene.fire("KubeContainerOOMKilled", web)
    verified = await story.until(e.VerificationFinished)
    assert isinstance(verified.action, RestartWorkload)
    assert verified.verdict is Verdict.FAILED
    finished = await story.until(e.ExecutionFinished)
    assert finished.outcome is Outcome.SUCCEEDED
    await story.until(e.FailureClassified)
    await story.until(e.PeopleAsked)
    assert story.count(e.ExecutionFinished) == 1


async def test_a_limited_identity_is_refused_in_preflight_and_the_missing_permission_is_named(
    real: Place, deploy: Deploy, kubeconfig: str
) -> None:
    web = await deploy("web", "sim/web:ok", replicas=2)
    await real.kubectl.until(web, settled)
    await real.kubectl.set_image(web, "sim/web:crash")
    before = await real.kubectl.until(web, waiting("CrashLoopBackOff"))
    await real.limited(("patch", "deployments", "apps"))

    async with running(str(Path(kubeconfig).parent / "limited.kubeconfig")) as scene:
        story = await scene.fire("KubePodCrashLooping", web)
        held = await story.until(e.ActionHeld)
        assert f"patch deployments.apps in {web.namespace}" in held.reason
        proposed = await story.until(e.ActionProposed)
        assert any(check.missing == f"patch deployments.apps in {web.namespace}" for check in proposed.checks)
        assert story.count(e.ExecutionFinished) == 0
    after = await real.kubectl.until(web, waiting("CrashLoopBackOff"))
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
