"""The gate and playbooks: what the store says of one bounds its actions, whatever a proposal says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.action import Action, DeletePod
from schemas.events import ActionApproved, ActionHeld, ApprovalRequested
from schemas.playbook_file import read_playbook
from schemas.target import Kind
from schemas.words import Mode, Risk, Severity, Source
from sql import playbooks
from sql.approvals import finish_approval
from sql.database import Database
from sql.evidence import store_snapshot
from sql.playbooks import PlaybookStatus
from stages.gate.options import GateOptions
from tests.integration.scene import AUTO, RESTART, TARGET, Scene, gate, only
from tests.unit.snapshots import pod, snapshot

TEXT = "name: book\ntitle: T\nowner: ana\nsymptoms: {alerts: [alertname=A]}\nsteps: [{do: RestartWorkload}]\n"


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def stored(scene: Scene, more: str = "", status: PlaybookStatus = PlaybookStatus.APPROVED) -> int:
    async with scene.database.transaction() as connection:
        row = await playbooks.add_version(connection, read_playbook(TEXT + more), at=scene.now, by="ana")
        assert row is not None
        await playbooks.set_status(connection, row.name, row.version, status, by="ana", at=scene.now)
    return row.version


async def decided(
    scene: Scene, version: int = 1, name: str = "book", options: GateOptions = AUTO, action: Action = RESTART, **more: Any
) -> type[object]:
    """What becomes of a proposal of low risk; what was approved is done with at once."""
    fields: dict[str, Any] = {"playbook": name, "playbook_version": version, "source": Source.PLAYBOOK, "risk": Risk.LOW, **more}
    (first, *_) = await scene.handle(gate(scene, options), scene.proposal(await scene.incident(), action, **fields))
    if isinstance(first, ActionApproved):
        async with scene.database.transaction() as connection:
            await finish_approval(connection, first.approval, at=scene.now)
    else:
        await scene.database.fetch("UPDATE approvals SET state = 'rejected' WHERE state = 'waiting' RETURNING id")
    return type(first.event if hasattr(first, "event") else first)


@pytest.mark.parametrize(
    ("mode", "of_gate", "becomes"),
    [
        ("", Mode.AUTO, ActionApproved),
        ("mode: auto\n", Mode.AUTO, ActionApproved),
        ("mode: auto\n", Mode.ASSIST, ApprovalRequested),
        ("mode: assist\n", Mode.AUTO, ApprovalRequested),
        ("mode: shadow\n", Mode.AUTO, ActionHeld),
        ("mode: shadow\n", Mode.ASSIST, ActionHeld),
        ("mode: assist\n", Mode.SHADOW, ActionHeld),
    ],
)
async def test_the_stricter_of_the_two_modes_holds(scene: Scene, mode: str, of_gate: Mode, becomes: type[object]) -> None:
    await stored(scene, mode)
    assert await decided(scene, options=GateOptions(mode=of_gate)) is becomes


async def test_what_is_not_approved_at_this_moment_runs_nothing_alone(scene: Scene) -> None:
    assert await decided(scene, name="of-nobody") is ApprovalRequested
    draft = await stored(scene, status=PlaybookStatus.DRAFT)
    assert await decided(scene, draft) is ApprovalRequested
    approved = await stored(scene, "description: x\n")
    assert await decided(scene, approved) is ActionApproved
    assert await decided(scene, draft) is ApprovalRequested
    await stored(scene, "mode: assist\n")
    assert await decided(scene, approved) is ApprovalRequested, "another version took its place"


async def test_a_playbook_that_names_a_lower_risk_than_the_severity_has_named_none(scene: Scene) -> None:
    await stored(scene)
    fields: dict[str, Any] = {"playbook": "book", "playbook_version": 1, "source": Source.PLAYBOOK, "risk": Risk.LOW}
    outputs = await scene.handle(gate(scene), scene.proposal(await scene.incident(severity=Severity.P0), severity=Severity.P0, **fields))
    asked = only(outputs, ApprovalRequested)
    assert (asked.risk, asked.signatures) == (Risk.CRITICAL, 2)


@pytest.mark.parametrize(("limits", "alone"), [("{cooldown: 900}", 1), ("{most_per_hour: 2}", 2), ("{}", 3)])
async def test_beyond_its_limits_on_a_target_a_person_signs(scene: Scene, limits: str, alone: int) -> None:
    version = await stored(scene, f"limits: {limits}\n")
    became = []
    for _ in range(3):
        became.append(await decided(scene, version))
        scene.later(301)
    assert became == [ActionApproved] * alone + [ApprovalRequested] * (3 - alone)
    scene.later(3600)
    assert await decided(scene, version) is ActionApproved


def deletes(name: str, uid: str) -> DeletePod:
    return DeletePod(target=msgspec.structs.replace(TARGET, kind=Kind.POD, name=name), uid=uid)


@pytest.mark.parametrize("limits", ["{cooldown: 900}", "{most_per_hour: 1}"])
async def test_the_pods_of_a_workload_count_together_for_its_limits(scene: Scene, limits: str) -> None:
    version, incident = await stored(scene, f"limits: {limits}\n"), await scene.incident()
    seen = snapshot(pod("api-1", "crash"), pod("api-2", "crash"), target=TARGET)
    async with scene.database.transaction() as connection:
        await store_snapshot(connection, id="seen", incident=incident, phase="proposal", snapshot=seen)
    first, second = (deletes(one.name, one.uid) for one in seen.pods)
    assert await decided(scene, version, action=first, target_uid=first.uid, evidence="seen") is ActionApproved
    assert await decided(scene, version, action=second, target_uid=second.uid, evidence="seen") is ApprovalRequested
    scene.later(3600)
    assert await decided(scene, version, action=second, target_uid=second.uid, evidence="seen") is ActionApproved
