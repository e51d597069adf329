"""The gate on a real Postgres: every decision is a row, made once, and nothing runs that a valve or a missing vote holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from bus.handler import Reject
from ops.embedded import EmbeddedPostgres
from schemas.action import DeletePod, Investigate, RestartWorkload, ScaleWorkload, action_hash
from schemas.event import Delayed, Event, Output
from schemas.events import (
    ActionApproved,
    ActionHeld,
    ApprovalDue,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalWithdrawn,
    IncidentResolved,
    PeopleAsked,
    VoteRefused,
)
from schemas.identity import new_id
from schemas.preflight import BlastRadius, Check
from schemas.target import Kind
from schemas.words import ApprovalState, CheckResult, Disposition, Mode, Outcome, Risk, Severity, Tier
from sql import approvals, decisions, incidents, trust
from sql.database import Database
from sql.errors import StoreUnavailable
from sql.evidence import store_snapshot
from sql.migrate import migrate
from sql.proof import Proof
from stages.gate.options import Cooldown, GateOptions
from stages.gate.windows import FreezeWindow
from tests.integration.scene import TARGET, Scene, crowded, deployment, gate, only, requested, row
from tests.unit.snapshots import pod, snapshot

POOL = 4  # connections of the pool under test: so many transactions at once


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def test_low_risk_runs_alone_and_its_row_is_the_authority(scene: Scene) -> None:
    incident = await scene.incident()
    event = scene.proposal(incident)
    outputs = await scene.handle(gate(scene), event)
    approved = only(outputs, ActionApproved)
    assert len(outputs) == 1
    assert approved.automatic
    kept = await row(scene, approved.approval)
    assert kept.state is ApprovalState.APPROVED
    assert kept.action_hash == action_hash(event.action, "uid-1") == approved.action_hash
    assert (kept.needed, kept.risk, kept.rule, kept.signers) == (0, Risk.LOW, "risk", ())
    assert kept.expires_at == scene.now + timedelta(seconds=600)
    assert kept.blast == event.blast
    assert kept.checks == event.checks


async def test_a_second_delivery_decides_nothing_again(scene: Scene) -> None:
    event = scene.proposal(await scene.incident())
    first, second = await asyncio.gather(scene.handle(gate(scene), event), scene.handle(gate(scene), event))
    assert first == second
    async with scene.database.connection() as connection:
        assert len(await approvals.list_approvals(connection)) == 1


async def test_a_decision_can_be_explained_later(scene: Scene) -> None:
    event = scene.proposal(await scene.incident(), severity=Severity.P2)
    asked = only(await scene.handle(gate(scene), event), ApprovalRequested)
    async with scene.database.connection() as connection:
        decision = await decisions.get_decision(connection, event.id)
        lines = await incidents.timeline(connection, event.incident)
    assert decision is not None
    assert (decision.approval, decision.rule, decision.needed) == (asked.approval, "risk", 1)
    assert (decision.risk_before, decision.risk_after, decision.trust, decision.mode) == (Risk.MEDIUM, Risk.MEDIUM, 0, Mode.AUTO)
    assert decision.inputs["situation"]["blast"]["score"] == 5
    assert decision.inputs["situation"]["checks"][0]["name"] == "permission"
    assert decision.reasons[0] == "risk medium (severity P2)"
    assert [line.what for line in lines] == ["asked for 1 signature (risk): restart deployment shop/api"]


async def test_the_worst_severity_of_proposal_and_incident_counts(scene: Scene) -> None:
    incident = await scene.incident(severity=Severity.P1)
    asked = only(await scene.handle(gate(scene), scene.proposal(incident, severity=Severity.P3)), ApprovalRequested)
    assert (asked.risk, asked.signatures) == (Risk.CRITICAL, 2)


async def test_unsigned_for_an_hour_it_expires_and_people_are_asked(scene: Scene) -> None:
    incident = await scene.incident()
    outputs = await scene.handle(gate(scene), scene.proposal(incident, severity=Severity.P2))
    timer = only(outputs, Delayed)  # type: ignore[type-var]
    assert timer.until == scene.now + timedelta(minutes=30)
    scene.later(3600)
    expired = await scene.handle(gate(scene), timer.event)
    approval = only(expired, ApprovalExpired).approval
    asked = only(expired, PeopleAsked)
    assert "0 of 1 signatures in 60 min" in asked.reason
    assert asked.severity is Severity.P2
    assert (await row(scene, approval)).state is ApprovalState.EXPIRED
    again = ApprovalDue(**scene.header(incident), approval=approval)
    assert await scene.handle(gate(scene), again) == []


@pytest.mark.parametrize(("after", "until"), [(1799, 1800), (3599, 3600)])
async def test_a_timer_that_comes_early_is_set_again(scene: Scene, after: float, until: float) -> None:
    waiting = await requested(scene)
    scene.later(after)
    outputs = await scene.handle(gate(scene), ApprovalDue(**scene.header(waiting.incident), approval=waiting.id))
    timer = only(outputs, Delayed)  # type: ignore[type-var]
    assert timer.until == waiting.requested_at + timedelta(seconds=until)
    assert (await row(scene, waiting.id)).state is ApprovalState.WAITING


async def test_a_signed_request_does_not_expire(scene: Scene) -> None:
    waiting = await requested(scene, severity=Severity.P2)
    await scene.handle(gate(scene), scene.vote(waiting, "ann"))
    scene.later(3600)
    assert await scene.handle(gate(scene), ApprovalDue(**scene.header(waiting.incident), approval=waiting.id)) == []
    assert (await row(scene, waiting.id)).state is ApprovalState.APPROVED


def resolved(scene: Scene, incident: str) -> IncidentResolved:
    return IncidentResolved(**scene.header(incident), target=TARGET, disposition=Disposition.SELF_RESOLVED, seconds=9.0)


async def test_what_waits_is_withdrawn_when_the_incident_resolves(scene: Scene) -> None:
    waiting = await requested(scene)
    await scene.resolve(waiting.incident)
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, "ann")), VoteRefused)
    assert "not open" in refused.reason
    withdrawn = only(await scene.handle(gate(scene), resolved(scene, waiting.incident)), ApprovalWithdrawn)
    assert withdrawn.approval == waiting.id
    assert (await row(scene, waiting.id)).state is ApprovalState.WITHDRAWN
    held = only(await scene.handle(gate(scene), scene.proposal(waiting.incident)), ActionHeld)
    assert held.rule == "incident_over"


async def test_a_proposal_cannot_slip_past_the_end_of_its_incident(scene: Scene, postgres_url: str) -> None:
    incident = await scene.incident(severity=Severity.P0)
    async with crowded(postgres_url) as crowd:
        deciding = asyncio.create_task(scene.handle(gate(scene), scene.proposal(incident)))
        await crowd.wait_for(1)
        await scene.resolve(incident)
        ending = asyncio.create_task(scene.handle(gate(scene), resolved(scene, incident)))
        await crowd.wait_for(2)
    only(await deciding, ApprovalRequested)
    only(await ending, ApprovalWithdrawn)
    async with scene.database.connection() as connection:
        assert await approvals.list_approvals(connection, states=[ApprovalState.WAITING]) == []


async def test_an_unknown_incident_moves_nothing(scene: Scene) -> None:
    assert only(await scene.handle(gate(scene), scene.proposal("unknown")), ActionHeld).rule == "incident_unknown"


async def test_a_forged_proposal_never_runs_alone(scene: Scene) -> None:
    incident = await scene.incident()
    genuine = scene.proposal(incident, severity=Severity.P2)
    await scene.back(genuine)
    changed = msgspec.structs.replace(genuine, action=ScaleWorkload(target=TARGET, replicas=0), risk=Risk.LOW)
    asked = only(await scene.handle(gate(scene), changed, backed=False), ApprovalRequested)
    assert (asked.signatures, asked.rule) == (2, "unproven")


async def test_a_forged_end_of_an_incident_withdraws_nothing(scene: Scene) -> None:
    waiting = await requested(scene)
    assert await scene.handle(gate(scene), resolved(scene, waiting.incident)) == []
    assert (await row(scene, waiting.id)).state is ApprovalState.WAITING


async def test_assist_never_runs_a_change_alone(scene: Scene) -> None:
    asked = only(await scene.handle(gate(scene, GateOptions()), scene.proposal(await scene.incident())), ApprovalRequested)
    assert (asked.signatures, asked.rule, asked.mode) == (1, "assist", Mode.ASSIST)


async def test_looking_needs_nobody_even_while_another_action_waits(scene: Scene) -> None:
    waiting = await requested(scene, options=GateOptions())
    look = scene.proposal(waiting.incident, Investigate(target=TARGET), severity=Severity.P0, checks=(), blast=None)
    approved = only(await scene.handle(gate(scene, GateOptions()), look), ActionApproved)
    assert (approved.automatic, approved.rule) == (True, "observation")


async def test_shadow_records_what_it_would_have_done_and_makes_no_approval(scene: Scene) -> None:
    event = scene.proposal(await scene.incident())
    held = only(await scene.handle(gate(scene, GateOptions(mode=Mode.SHADOW)), event), ActionHeld)
    assert (held.rule, held.mode) == ("shadow", Mode.SHADOW)
    assert "would have run by itself (risk): restart deployment shop/api" in held.reason
    async with scene.database.connection() as connection:
        assert await approvals.list_approvals(connection) == []
        decision = await decisions.get_decision(connection, event.id)
    assert decision is not None
    assert (decision.held, decision.approval, decision.needed) == (True, "", 0)


async def test_a_missing_permission_is_named_to_people(scene: Scene) -> None:
    failed = Check(name="permission", result=CheckResult.FAILED, missing="patch deployments.apps in namespace shop")
    outputs = await scene.handle(gate(scene), scene.proposal(await scene.incident(), checks=(failed,)))
    held = only(outputs, ActionHeld)
    assert held.rule == "preflight"
    assert "permission" in held.reason
    assert "patch deployments.apps in namespace shop" in held.reason
    assert only(outputs, PeopleAsked).subject == held.id


async def test_the_blocked_tier_is_held_and_told_to_people(scene: Scene) -> None:
    blast = BlastRadius(score=97, tier=Tier.BLOCKED)
    outputs = await scene.handle(gate(scene), scene.proposal(await scene.incident(), blast=blast))
    assert only(outputs, ActionHeld).rule == "blocked"
    assert "Nobody can approve" in only(outputs, PeopleAsked).question


async def test_one_operation_at_a_time_for_a_target(scene: Scene) -> None:
    incident = await scene.incident()
    first = only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved)
    held = only(await scene.handle(gate(scene), scene.proposal(incident, ScaleWorkload(target=TARGET, replicas=3))), ActionHeld)
    assert held.rule == "one_at_a_time"
    assert first.approval in held.reason
    finished = scene.finished(await row(scene, first.approval), Outcome.FAILED)
    assert await scene.handle(gate(scene), finished) == []
    assert only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved).approval != first.approval


async def test_a_forged_end_of_an_execution_does_not_free_its_target(scene: Scene) -> None:
    incident = await scene.incident()
    first = only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved)
    forged = scene.finished(await row(scene, first.approval))
    with pytest.raises(Reject, match="not genuine"):
        await scene.handle(gate(scene), forged, backed=False)
    await scene.back(forged)
    with pytest.raises(Reject, match="not genuine"):
        await scene.handle(gate(scene), msgspec.structs.replace(forged, id=new_id(scene.now), outcome=Outcome.FAILED), backed=False)
    assert (await row(scene, first.approval)).finished_at is None
    assert only(await scene.handle(gate(scene), scene.proposal(incident)), ActionHeld).rule == "one_at_a_time"


async def test_proposals_at_the_same_time_for_one_target_get_one_approval(scene: Scene, postgres_url: str) -> None:
    incident = await scene.incident()
    async with crowded(postgres_url) as crowd:
        tasks = [asyncio.create_task(scene.handle(gate(scene), scene.proposal(incident))) for _ in range(6)]
        await crowd.wait_for(POOL)
    outputs = await asyncio.gather(*tasks)
    kinds = [type(output).__name__ for found in outputs for output in found]
    assert (kinds.count("ActionApproved"), kinds.count("ActionHeld")) == (1, 5)


async def test_two_incidents_cannot_get_the_same_target_at_once(scene: Scene, postgres_url: str) -> None:
    unnamed = msgspec.structs.replace(TARGET, kind=Kind.UNKNOWN)
    events = [scene.proposal(await scene.incident(target)) for target in (TARGET, unnamed)]
    async with crowded(postgres_url) as crowd:
        tasks = [asyncio.create_task(scene.handle(gate(scene), event)) for event in events]
        await crowd.wait_for(len(events))
    kinds = sorted(type(output).__name__ for found in await asyncio.gather(*tasks) for output in found)
    assert kinds == ["ActionApproved", "ActionHeld", "PeopleAsked"]


@pytest.mark.parametrize(
    ("name", "uid", "alone"), [("api-7d9f-x", "uid-1", True), ("api-7d9f-x", "uid-2", False), ("api-gateway", "uid-1", False)]
)
async def test_a_pod_is_the_incidents_by_what_was_measured_and_not_by_its_name(scene: Scene, name: str, uid: str, alone: bool) -> None:
    incident = await scene.incident()
    seen = snapshot(pod("api-7d9f-x", "crash", uid="uid-1"), target=TARGET)
    async with scene.database.transaction() as connection:
        await store_snapshot(connection, id="seen", incident=incident, phase="proposal", snapshot=seen)
    action = DeletePod(target=msgspec.structs.replace(TARGET, kind=Kind.POD, name=name), uid=uid)
    proposal = scene.proposal(incident, action, target_uid=uid, evidence="seen")

    outputs = await scene.handle(gate(scene), proposal)

    if alone:
        assert only(outputs, ActionApproved).automatic
    else:
        assert only(outputs, ApprovalRequested).rule == "other_target"


async def test_a_stale_grant_does_not_block_its_target_for_ever(scene: Scene) -> None:
    incident = await scene.incident()
    only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved)
    scene.later(601)
    only(await scene.handle(gate(scene), scene.proposal(incident)), ActionApproved)


async def test_the_cooldown_is_exact_however_many_gates_decide_at_once(scene: Scene, postgres_url: str) -> None:
    options = GateOptions(mode=Mode.AUTO, cooldown=Cooldown(actions=2, seconds=600))
    events = []
    for number in range(9):
        target = deployment(f"web{number}")
        events.append(scene.proposal(await scene.incident(target), RestartWorkload(target=target)))
    async with crowded(postgres_url) as crowd:
        tasks = [asyncio.create_task(scene.handle(gate(scene, options), event)) for event in events]
        await crowd.wait_for(POOL)
    outputs = await asyncio.gather(*tasks)
    flat = [output for found in outputs for output in found if not isinstance(output, Delayed)]
    assert sum(isinstance(output, ActionApproved) for output in flat) == 2
    asked = [output for output in flat if isinstance(output, ApprovalRequested)]
    assert [(event.rule, event.signatures) for event in asked] == [("cooldown", 1)] * 7
    scene.later(601)
    target = deployment("later")
    only(
        await scene.handle(gate(scene, options), scene.proposal(await scene.incident(target), RestartWorkload(target=target))),
        ActionApproved,
    )


async def test_the_cooldown_of_a_target_counts_its_own_actions(scene: Scene) -> None:
    incident, stage = await scene.incident(), gate(scene)
    for _ in range(3):
        approved = only(await scene.handle(stage, scene.proposal(incident)), ActionApproved)
        await scene.handle(stage, scene.finished(await row(scene, approved.approval)))
        scene.later(10)
    asked = only(await scene.handle(stage, scene.proposal(incident)), ApprovalRequested)
    assert (asked.rule, asked.signatures) == ("target_cooldown", 1)


async def test_a_freeze_window_asks_people(scene: Scene) -> None:
    options = GateOptions(mode=Mode.AUTO, freeze=(FreezeWindow(cron="0 12 * * *", duration=3600),))
    asked = only(await scene.handle(gate(scene, options), scene.proposal(await scene.incident())), ApprovalRequested)
    assert asked.rule == "freeze"


async def test_aged_trust_lowers_no_risk_any_more(scene: Scene) -> None:
    for _ in range(5):
        verified = scene.verified(scene.finished())
        await scene.back(verified)
        async with scene.database.transaction() as connection:
            await trust.apply(Proof(connection), verified)
    event = scene.proposal(await scene.incident(), severity=Severity.P2)
    approved = only(await scene.handle(gate(scene), event), ActionApproved)
    assert (approved.automatic, approved.risk) == (True, Risk.LOW)
    await scene.handle(gate(scene), scene.finished(await row(scene, approved.approval)))
    scene.later(30 * 86400)
    asked = only(await scene.handle(gate(scene), scene.proposal(event.incident, severity=Severity.P2)), ApprovalRequested)
    assert (asked.risk, asked.rule) == (Risk.MEDIUM, "risk")


@pytest.mark.slow
async def test_while_postgres_is_stopped_nothing_is_decided_and_afterwards_it_is(postgres_folder: Path) -> None:
    server = await EmbeddedPostgres(postgres_folder / "stopped").start()
    database = await Database(server.url, wait=1.0).open()
    await migrate(database)
    scene = Scene(database)
    event = scene.proposal(await scene.incident())
    await scene.back(event)
    await server.stop()
    with pytest.raises(StoreUnavailable):
        await scene.handle(gate(scene), event, backed=False)
    server = await EmbeddedPostgres(postgres_folder / "stopped").start()
    assert only(await again_until_it_answers(scene, event), ActionApproved).automatic
    await database.close()
    with pytest.raises(StoreUnavailable):
        await scene.handle(gate(scene), scene.proposal(event.incident), backed=False)
    await server.stop()


async def again_until_it_answers(scene: Scene, event: Event) -> Sequence[Output]:
    """Delivers the event again, as the loop does, until the store is back; ten seconds at most."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await scene.handle(gate(scene), event, backed=False)
            except StoreUnavailable:
                await asyncio.sleep(0.05)
