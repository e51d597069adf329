"""propose on a real Postgres and the sandbox's API: one answer for each incident, resting on what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from adapters.errors import Refused, Transient
from adapters.kubernetes.resources import BY_KIND
from bus.handler import Reject, Retry
from ops.sandbox.kubectl import rolled_out, settled, unready, waiting
from schemas.action import Action, Investigate, RestartWorkload, RollBackWorkload, ScaleWorkload, SetMemoryLimit, is_observation
from schemas.event import Output
from schemas.events import ActionApproved, ActionProposed, IncidentOpened, IncidentResolved, IncidentUpdated, PeopleAsked
from schemas.target import Kind, Target
from schemas.words import CheckResult, Disposition, Severity, SignalStatus, Source
from sql.evidence import get_snapshot
from stages.propose.case import Case, Suggestion
from stages.propose.options import ProposeOptions
from stages.propose.stage import ProposeStage
from tests.integration.healing import Healing, Unsteady, only
from tests.integration.scene import gate


@pytest.fixture
def stage(scene: Healing) -> ProposeStage:
    return ProposeStage(scene.database, scene.world)


async def opened(scene: Healing, target: Target, alert: str = "KubePodCrashLooping", severity: Severity = Severity.P2) -> IncidentOpened:
    incident = await scene.incident(target, severity, alert)
    fields: dict[str, Any] = {"target": target, "severity": severity, "title": alert, "alert": alert, "anomaly": alert}
    return IncidentOpened(**scene.header(incident), **fields)


async def risen(scene: Healing, event: IncidentOpened, severity: Severity) -> IncidentUpdated:
    """The incident gets a worse signal, and the event says so."""
    await scene.database.fetch("UPDATE incidents SET severity = $2 WHERE id = $1 RETURNING id", event.incident, severity.value)
    fields: dict[str, Any] = {"target": event.target, "severity": severity, "alert": event.alert, "status": SignalStatus.FIRING}
    return IncidentUpdated(**scene.header(event.incident), firing=2, **fields)


def proposed(outputs: Sequence[Output]) -> ActionProposed:
    return only(outputs, ActionProposed)


async def test_a_crash_after_a_rollout_is_rolled_back(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok", replicas=2, service=True)
    await scene.kubectl.until(target, settled)
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    event = await opened(scene, target)
    (proposal,) = await scene.handle(stage, event)
    assert isinstance(proposal, ActionProposed)
    assert proposal.action == RollBackWorkload(target=target, to_revision=1)
    assert proposal.inverse == RollBackWorkload(target=target, to_revision=2)
    assert all(check.result is CheckResult.PASSED for check in proposal.checks)
    assert proposal.target_uid
    assert proposal.blast is not None
    assert proposal.blast.services == ("api",)
    assert "sim/web:ok" in proposal.diff
    assert (proposal.source, proposal.cause, proposal.incident) == (Source.TEMPLATE, event.id, event.incident)
    async with scene.database.connection() as connection:
        evidence = await get_snapshot(connection, proposal.evidence)
    assert evidence is not None
    assert evidence.measured
    assert any("roll back" in line for line in await scene.told(event.incident))


async def test_a_wedged_workload_is_restarted(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:wedge-1s")
    await scene.kubectl.until(target, rolled_out)
    await scene.kubectl.until(target, unready)
    outputs = await scene.handle(stage, await opened(scene, target, "KubePodNotReady"))
    assert proposed(outputs).action == RestartWorkload(target=target)


@pytest.mark.parametrize(("image", "reason"), [("sim/web:pull", "ImagePullBackOff"), ("sim/web:needs-KEY", "CreateContainerConfigError")])
async def test_what_no_restart_heals_is_put_to_people(scene: Healing, stage: ProposeStage, image: str, reason: str) -> None:
    target = await scene.deploy("api", image)
    await scene.kubectl.until(target, waiting(reason))
    outputs = await scene.handle(stage, await opened(scene, target))
    proposal, asked = proposed(outputs), only(outputs, PeopleAsked)
    assert isinstance(proposal.action, Investigate)
    assert asked.subject == proposal.id
    assert "api" in asked.question
    place = "in shop"
    asked_for = {f"get deployments.apps {place}", f"list pods {place}", f"list events {place}", f"get pods/log {place}"}
    assert {check.subject for check in proposal.checks if check.name == "permission"} == asked_for
    assert any(check.name == "target" for check in proposal.checks)
    assert {check.result for check in proposal.checks} == {CheckResult.PASSED}
    assert proposal.target_uid
    assert (proposal.blast and proposal.blast.score) == 0


async def test_what_a_look_may_not_see_is_said_and_it_looks_all_the_same(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:pull")
    await scene.kubectl.until(target, waiting("ImagePullBackOff"))
    scene.sandbox.denied.add("get pods/log")
    proposal = proposed(await scene.handle(stage, await opened(scene, target)))
    assert [check.missing for check in proposal.checks if check.result is CheckResult.FAILED] == ["get pods/log in shop"]
    assert "Not everything can be looked at: the identity in use may not get pods/log in shop" in " ".join(proposal.reasons)
    (approved,) = await scene.handle(gate(scene), proposal)
    assert isinstance(approved, ActionApproved)
    assert approved.automatic


@pytest.mark.parametrize(("limit", "action"), [("100Mi", SetMemoryLimit), ("12Gi", RestartWorkload)])
async def test_a_memory_limit_is_raised_where_the_nodes_have_the_room_and_else_it_says_why_not(
    scene: Healing, limit: str, action: type[Action]
) -> None:
    stage = ProposeStage(scene.database, scene.world, ProposeOptions(memory_limit=2**20))
    target = await scene.deploy("api", "sim/web:oom-40Gi", resources={"limits": {"memory": limit}})
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    proposal = proposed(await scene.handle(stage, await opened(scene, target, "KubeContainerOOMKilled")))
    assert isinstance(proposal.action, action)
    assert all(check.result is not CheckResult.FAILED for check in proposal.checks)
    assert ("there is no room" in " ".join(proposal.reasons)) is (action is RestartWorkload)


async def test_a_pod_that_flapped_and_runs_again_is_left_alone(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:flap")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    await scene.kubectl.until(target, settled)
    outputs = await scene.handle(stage, await opened(scene, target))
    assert isinstance(proposed(outputs).action, Investigate)
    assert len(outputs) == 1


@pytest.mark.parametrize("labels", [{}, {"argocd.argoproj.io/instance": "shop"}], ids=["by hand", "by Argo CD"])
async def test_who_signs_is_told_of_a_tool_that_will_revert_it(scene: Healing, stage: ProposeStage, labels: dict[str, str]) -> None:
    target = await scene.deploy("api", "sim/web:ok", replicas=2)
    await scene.kubectl.patch(BY_KIND[Kind.DEPLOYMENT], target.namespace, target.name, {"metadata": {"labels": labels}})
    await scene.kubectl.until(target, settled)
    proposal = proposed(await scene.handle(stage, await opened(scene, target, "HighLatency")))
    told = "managed by Argo CD application shop: it will revert this change"
    assert (told in " ".join(proposal.reasons)) is bool(labels)
    assert any(told in check.detail for check in proposal.checks) is bool(labels)
    assert (proposal.gitops is not None) is bool(labels)
    assert proposal.basis


async def test_latency_adds_one_replica(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    proposal = proposed(await scene.handle(stage, await opened(scene, target, "HighLatency")))
    assert proposal.action == ScaleWorkload(target=target, replicas=2)
    assert proposal.inverse == ScaleWorkload(target=target, replicas=1)


async def test_the_workload_is_acted_on_where_the_alert_named_its_pod(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    name = (await scene.world.observe(target)).pods[0].name
    pod = msgspec.structs.replace(target, kind=Kind.POD, name=name)
    assert proposed(await scene.handle(stage, await opened(scene, pod))).action == RestartWorkload(target=target)


async def test_a_missing_permission_still_proposes_with_the_failed_check_in_it(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    scene.sandbox.denied.add("patch deployments.apps")
    proposal = proposed(await scene.handle(stage, await opened(scene, target)))
    assert proposal.action == RestartWorkload(target=target)
    missing = [check.missing for check in proposal.checks if check.result is CheckResult.FAILED]
    assert any("patch deployments.apps" in text for text in missing)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"name": "apj"}, "api"),
        ({"kind": Kind.UNKNOWN, "name": ""}, "does not say"),
        ({"cluster": "mars"}, "mars"),
    ],
)
async def test_what_cannot_be_found_is_put_to_people_and_nothing_is_proposed(
    scene: Healing, stage: ProposeStage, fields: dict[str, Any], word: str
) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    event = await opened(scene, msgspec.structs.replace(target, **fields))
    (asked,) = await scene.handle(stage, event)
    assert isinstance(asked, PeopleAsked)
    assert asked.subject == event.id
    assert word in asked.reason
    assert asked.question


async def test_a_bare_name_is_looked_up(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    event = await opened(scene, msgspec.structs.replace(target, kind=Kind.UNKNOWN))
    assert proposed(await scene.handle(stage, event)).action == RestartWorkload(target=target)


@pytest.mark.parametrize("call", ["owner", "observe", "preflight"])
async def test_a_cluster_that_is_away_is_waited_for_and_then_people_are_asked(scene: Healing, call: str) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    world = Unsteady(scene.world)
    world.before[call] = [Transient("connection refused"), Transient("connection refused")]
    stage = ProposeStage(scene.database, world)
    event = await opened(scene, target)
    with pytest.raises(Retry):
        await scene.handle(stage, event)
    scene.later(61)
    (asked,) = await scene.handle(stage, event)
    assert isinstance(asked, PeopleAsked)
    assert "connection refused" in asked.reason


async def test_an_action_that_the_world_refuses_outright_becomes_a_question(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    world = Unsteady(scene.world)
    world.before["preflight"] = [Refused("it is managed by somebody else")]
    outputs = await scene.handle(ProposeStage(scene.database, world), await opened(scene, target))
    assert isinstance(proposed(outputs).action, Investigate)
    assert "somebody else" in only(outputs, PeopleAsked).reason


async def test_a_second_delivery_does_not_look_again(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    world = Unsteady(scene.world)
    stage = ProposeStage(scene.database, world)
    event = await opened(scene, target)
    first = await scene.handle(stage, event)
    world.calls.clear()
    assert await scene.handle(stage, event, attempt=2) == first
    assert world.calls == []


async def test_one_incident_is_answered_once_however_many_events_come(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    event = await opened(scene, target)
    again = msgspec.structs.replace(event, **scene.header(event.incident))
    updates = [await risen(scene, event, Severity.P2) for _ in range(5)]
    results = await asyncio.gather(*(scene.handle(stage, one) for one in [event, *updates]))
    assert len([output for outputs in results for output in outputs]) == 1
    assert await scene.handle(stage, again) == []
    assert await scene.handle(stage, await risen(scene, event, Severity.P0)) == []


async def test_a_rise_in_severity_asks_again_where_nothing_was_proposed(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    event = await opened(scene, msgspec.structs.replace(target, name="apj"))
    only(await scene.handle(stage, event), PeopleAsked)
    await scene.deploy("apj", "sim/web:crash")
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == []
    worse = await risen(scene, event, Severity.P0)
    await scene.kubectl.until(event.target, waiting("CrashLoopBackOff"))
    proposal = proposed(await scene.handle(stage, worse))
    assert proposal.severity is Severity.P0
    assert isinstance(proposal.action, RestartWorkload)


async def test_another_alert_about_it_asks_again_where_nothing_was_proposed(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    event = await opened(scene, target, "SomethingOdd")
    assert not any(isinstance(one, ActionProposed) and not is_observation(one.action) for one in await scene.handle(stage, event))
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == [], "the same alert is no news"
    async with scene.database.transaction() as connection:
        await scene.join(connection, event.incident, target, {"alertname": "KubePodCrashLooping"})
    proposal = proposed(await scene.handle(stage, await risen(scene, event, Severity.P2)))
    assert isinstance(proposal.action, RollBackWorkload)


async def test_a_target_that_was_well_for_a_moment_is_looked_at_again_while_signals_come_in(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    scene.later(300)  # the rollout below, in the time of the cluster, is older than the incident
    event = await opened(scene, target)
    assert is_observation(proposed(await scene.handle(stage, event)).action)
    scene.later(61)
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == [], "nothing new to say of it"
    await scene.kubectl.set_image(target, "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    assert await scene.handle(stage, await risen(scene, event, Severity.P2)) == [], "a storm looks once a minute"
    scene.later(61)
    over = msgspec.structs.replace(await risen(scene, event, Severity.P2), status=SignalStatus.RESOLVED)
    assert await scene.handle(stage, over) == []
    assert isinstance(proposed(await scene.handle(stage, await risen(scene, event, Severity.P2))).action, RollBackWorkload)


async def test_an_incident_that_is_over_gets_no_proposal(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    event = await opened(scene, target)
    await scene.resolve(event.incident)
    assert await scene.handle(stage, event) == []


async def test_one_that_ends_while_it_is_looked_at_gets_none_either(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    event = await opened(scene, target)
    world = Unsteady(scene.world)
    world.after["preflight"] = [lambda: scene.resolve(event.incident)]
    assert await scene.handle(ProposeStage(scene.database, world), event) == []
    assert world.calls == ["owner", "observe", "preflight"]


async def test_an_incident_that_nobody_knows_is_rejected(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    event = msgspec.structs.replace(await opened(scene, target), incident="made-up")
    with pytest.raises(Reject):
        await scene.handle(stage, event)


async def test_other_events_are_not_for_propose(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    event = IncidentResolved(**scene.header("i"), target=target, disposition=Disposition.SELF_RESOLVED, seconds=1)
    assert await scene.handle(stage, event) == []


class Catalogue:
    """A source before the templates that knows one alert."""

    def __init__(self, alert: str) -> None:
        self._alert = alert

    async def suggest(self, case: Case) -> Suggestion | None:
        if self._alert not in case.alerts:
            return None
        action = ScaleWorkload(target=case.target, replicas=4)
        return Suggestion(action=action, reasons=("it helped before",), confidence=0.95, source=Source.PLAYBOOK, provider="catalogue")


async def test_sources_are_asked_in_order_before_the_templates(scene: Healing) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    await scene.kubectl.until(target, settled)
    stage = ProposeStage(scene.database, scene.world, sources=(Catalogue("Other"), Catalogue("HighLatency")))
    proposal = proposed(await scene.handle(stage, await opened(scene, target, "HighLatency")))
    assert (proposal.source, proposal.provider) == (Source.PLAYBOOK, "catalogue")
    assert proposal.action == ScaleWorkload(target=target, replicas=4)


async def test_hostile_text_in_the_cluster_is_kept_clean(scene: Healing, stage: ProposeStage) -> None:
    target = await scene.deploy("api", "sim/web:ok")
    note = "\x1b[2Jtoken=hunter2hunter2 mail me at eve@example.com"
    await scene.kubectl.patch(BY_KIND[Kind.DEPLOYMENT], target.namespace, target.name, {"metadata": {"annotations": {"note": note}}})
    outputs = await scene.handle(stage, await opened(scene, target, "Watchdog"))
    rows = await scene.database.fetch("SELECT body FROM evidence WHERE id = $1", proposed(outputs).evidence)
    body = rows[0]["body"]
    assert "note" in body
    assert "hunter2" not in body
    assert "eve@" not in body
    assert "\\u001b" not in body


async def test_what_ingest_and_verify_never_told_is_not_answered(scene: Healing, stage: ProposeStage) -> None:
    event = await opened(scene, await scene.deploy("api", "sim/web:ok"))
    worse = IncidentUpdated(
        **scene.header(event.incident), target=event.target, severity=Severity.P0, alert="x", status=SignalStatus.FIRING, firing=2
    )
    with pytest.raises(Reject, match="ingest never told this"):
        await scene.handle(stage, event, backed=False)
    assert await scene.handle(stage, worse, backed=False) == [], "an incident without an answer is answered when it opens"
    assert await scene.told(event.incident) == []
