"""propose with playbooks on a real Postgres and the sandbox's API: approved ones propose, and who decides is told from what."""

from __future__ import annotations

from typing import Any

import pytest

from ops.cli.dossier import pages
from ops.facts.dossier import Dossier
from ops.facts.way_back import find_way_back
from ops.sandbox.kubectl import settled, waiting
from schemas.action import Investigate, RestartWorkload, ScaleWorkload
from schemas.events import ActionApproved, ApprovalRequested, IncidentOpened, VerificationFinished
from schemas.playbook_file import read_playbook
from schemas.target import Target
from schemas.words import Ground, Mode, Severity, Source, Verdict
from sql import playbooks
from sql.approvals import get_approval
from sql.playbooks import PlaybookStatus
from stages.gate.options import GateOptions
from stages.propose.playbooks.source import PlaybookSource
from stages.propose.stage import ProposeStage
from stages.verify.options import VerifyOptions
from stages.verify.stage import VerifyStage
from tests.integration.healing import Healing, only
from tests.integration.scene import gate
from tests.integration.test_propose import proposed
from tests.integration.test_verify import delayed, executed

TEXT = """\
name: more-of-it
title: More of it shares the load
owner: ana
symptoms: {alerts: ['alertname="HighLatency", namespace=~"shop|pay"']}
steps: [{do: ScaleWorkload, replicas: 5, because: Five have always been enough.}]
verification: {hold_down: 7}
"""


@pytest.fixture
def stage(scene: Healing) -> ProposeStage:
    source = PlaybookSource(scene.database)
    return ProposeStage(scene.database, scene.world, sources=[source], neighbours=source)


async def stored(scene: Healing, text: str = TEXT, status: PlaybookStatus = PlaybookStatus.APPROVED) -> int:
    """The version that it has in the store, in this status."""
    async with scene.database.transaction() as connection:
        row = await playbooks.add_version(connection, read_playbook(text), at=scene.now, by="ana")
        assert row is not None
        await playbooks.set_status(connection, row.name, row.version, status, by="ana", at=scene.now)
    return row.version


async def opened(scene: Healing, target: Target, alert: str) -> IncidentOpened:
    incident = await scene.incident(target, Severity.P2, alert, labels={"namespace": target.namespace})
    fields: dict[str, Any] = {"target": target, "severity": Severity.P2, "title": alert, "alert": alert, "anomaly": alert}
    return IncidentOpened(**scene.header(incident), **fields)


async def slow(scene: Healing) -> Target:
    target = await scene.deploy("api", "sim/web:ok", replicas=2)
    await scene.kubectl.until(target, settled)
    return target


async def test_an_approved_playbook_that_fits_proposes_and_who_signs_is_told_all_of_it(scene: Healing, stage: ProposeStage) -> None:
    await stored(scene)
    target = await slow(scene)
    event = await opened(scene, target, "HighLatency")
    proposal = proposed(await scene.handle(stage, event))
    assert proposal.action == ScaleWorkload(target=target, replicas=5)
    assert (proposal.source, proposal.playbook, proposal.playbook_version) == (Source.PLAYBOOK, "more-of-it", 1)
    assert proposal.reasons[0] == "Five have always been enough."
    assert [(one.part, one.share) for one in proposal.similarity or ()] == [("alerts", 1.0)]
    assert not proposal.near
    assert proposal.checks
    asked = only(await scene.handle(gate(scene, GateOptions(mode=Mode.ASSIST)), proposal), ApprovalRequested)
    async with scene.database.connection() as connection:
        row = await get_approval(connection, asked.approval)
        assert row is not None
        dossier = Dossier(approval=row, way_back=await find_way_back(connection, row), signatures=(), incident=None, evidence=None)
    told = dict(pages(dossier, scene.now))
    assert (row.playbook, row.playbook_version) == ("more-of-it", 1)
    assert "playbook more-of-it version 1" in told["source"]
    assert told["fits"] == "alerts: 1 of 1, weight 0.35: alert HighLatency"


async def test_drafts_and_deprecated_ones_never_propose_and_a_change_counts_at_once(scene: Healing, stage: ProposeStage) -> None:
    version = await stored(scene, status=PlaybookStatus.DRAFT)
    target = await slow(scene)
    sources = []
    for status in (None, PlaybookStatus.APPROVED, PlaybookStatus.DEPRECATED):
        if status is not None:
            async with scene.database.transaction() as connection:
                await playbooks.set_status(connection, "more-of-it", version, status, by="ana", at=scene.now)
        incident = await opened(scene, target, "HighLatency")
        sources.append(proposed(await scene.handle(stage, incident)).source)
        await scene.database.fetch("UPDATE incidents SET state = 'CLOSED' WHERE id = $1 RETURNING id", incident.incident)
    assert sources == [Source.TEMPLATE, Source.PLAYBOOK, Source.TEMPLATE]


async def test_where_no_playbook_fits_the_nearest_are_told_with_the_templates_proposal(scene: Healing, stage: ProposeStage) -> None:
    await stored(scene, TEXT.replace("symptoms: {", "symptoms: {severities: [P0], "))
    event = await opened(scene, await slow(scene), "HighLatency")
    proposal = proposed(await scene.handle(stage, event))
    assert (proposal.source, proposal.playbook, proposal.similarity or ()) == (Source.TEMPLATE, "", ())
    (near,) = proposal.near or ()
    assert (near.playbook, near.version, near.why) == ("more-of-it", 1, "severity P2 is none of P0")
    assert 0.5 < near.similarity < 0.85
    (approval,) = [one for one in await scene.handle(gate(scene), proposal) if isinstance(one, ActionApproved | ApprovalRequested)]
    async with scene.database.connection() as connection:
        row = await get_approval(connection, approval.approval)
    assert row is not None
    assert row.inputs["playbook"]["near"][0]["playbook"] == "more-of-it"


async def test_what_fits_and_cannot_be_done_is_a_near_miss_that_says_why(scene: Healing, stage: ProposeStage) -> None:
    await stored(scene, TEXT.replace("replicas: 5", "replicas: 2"))
    proposal = proposed(await scene.handle(stage, await opened(scene, await slow(scene), "HighLatency")))
    assert proposal.source is Source.TEMPLATE
    (near,) = proposal.near or ()
    assert near.similarity == 1
    assert near.why.startswith("ScaleWorkload changes nothing: it has so many replicas")


async def test_what_its_preflight_fails_gives_way_to_the_next_step(scene: Healing, stage: ProposeStage) -> None:
    step = "[{do: RestartWorkload, because: It crashes.}, {do: Investigate, reason: look, question: Why}]"
    text = TEXT.replace("[{do: ScaleWorkload, replicas: 5, because: Five have always been enough.}]", step)
    await stored(scene, text.replace('alertname="HighLatency", namespace=~"shop|pay"', "alertname=KubePodCrashLooping"))
    scene.sandbox.denied.add("patch deployments.apps")
    target = await scene.deploy("api", "sim/web:crash")
    await scene.kubectl.until(target, waiting("CrashLoopBackOff"))
    proposal = proposed(await scene.handle(stage, await opened(scene, target, "KubePodCrashLooping")))
    assert isinstance(proposal.action, Investigate)
    assert proposal.playbook == "more-of-it"
    assert "Better would be to restart" in " ".join(proposal.reasons)


@pytest.mark.parametrize(("options", "seconds"), [(VerifyOptions(), 7), (VerifyOptions(hold_downs={"more-of-it": 30}), 30)])
async def test_the_hold_down_of_the_playbook_holds_unless_the_settings_have_another(
    scene: Healing, options: VerifyOptions, seconds: float
) -> None:
    version = await stored(scene)
    await stored(scene, TEXT.replace("hold_down: 7", "hold_down: 99"))
    stage = VerifyStage(scene.database, scene.world, options)
    target = await slow(scene)
    done = await executed(scene, RestartWorkload(target=target), playbook="more-of-it", inputs={"playbook": {"version": version}})
    first, _ = delayed(await scene.handle(stage, done))
    await scene.kubectl.until(target, settled)
    _, wait = delayed(await scene.handle(stage, first))
    assert wait == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize("wanted", [2, 3])
async def test_what_the_playbook_asks_for_besides_has_to_hold_before_it_is_a_success(scene: Healing, wanted: int) -> None:
    text = TEXT.replace("{hold_down: 7}", f"{{hold_down: 0, conditions: [evidence.workload.available >= {wanted}]}}")
    version = await stored(scene, text)
    stage = VerifyStage(scene.database, scene.world)
    target = await slow(scene)
    done = await executed(scene, RestartWorkload(target=target), playbook="more-of-it", inputs={"playbook": {"version": version}})
    first, _ = delayed(await scene.handle(stage, done))
    await scene.kubectl.until(target, settled)
    outputs = await scene.handle(stage, first)
    if wanted == 2:
        assert only(outputs, VerificationFinished).verdict is Verdict.SUCCESS
        return
    again, _ = delayed(outputs)
    scene.later(VerifyOptions().limit)
    result = only(await scene.handle(stage, again), VerificationFinished)
    assert (result.verdict, result.ground) == (Verdict.TIMEOUT, Ground.NOT_CONVERGED)
    assert "its playbook asks for more: evidence.workload.available >= 3 does not hold" in result.summary
