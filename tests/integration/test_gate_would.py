"""What the gate says of an action that would be reverted, that would be done, or that a person wants to have back."""

from __future__ import annotations

import msgspec
import pytest

from schemas.action import RestartWorkload, ScaleWorkload
from schemas.events import ActionApproved, ActionHeld, ActionProposed, ApprovalRequested, PeopleAsked, VoteRefused
from schemas.evidence import GitOps
from schemas.words import IncidentState, Mode, Severity, Source
from sql.database import Database
from sql.decisions import get_decision
from stages.gate.options import GateOptions, GitOpsPolicy
from tests.integration.scene import AUTO, KEYS, TARGET, Scene, gate, only, row

ARGO = GitOps(tool="Argo CD", application="shop")
SCALE = ScaleWorkload(target=TARGET, replicas=3)
REFUSING = GateOptions(mode=Mode.AUTO, gitops=GitOpsPolicy.REFUSE)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


@pytest.mark.parametrize(
    ("options", "action", "held"),
    [
        (AUTO, SCALE, False),
        (REFUSING, SCALE, True),
        (REFUSING, RestartWorkload(target=TARGET), False),
    ],
    ids=["warned only", "refused", "its repository says nothing of a restart"],
)
async def test_what_a_gitops_tool_would_revert(scene: Scene, options: GateOptions, action: ScaleWorkload, held: bool) -> None:
    outputs = await scene.handle(gate(scene, options), scene.proposal(await scene.incident(), action, gitops=ARGO))
    if not held:
        only(outputs, ActionApproved)
        return
    assert "Argo CD application shop" in only(outputs, ActionHeld).reason
    assert "repository" in only(outputs, PeopleAsked).question


async def test_shadow_mode_keeps_exactly_what_would_have_been_done(scene: Scene) -> None:
    back = ScaleWorkload(target=TARGET, replicas=2)
    proposal = scene.proposal(await scene.incident(), SCALE, diff="- replicas: 2\n+ replicas: 3", inverse=back, basis="b1")
    (held,) = await scene.handle(gate(scene, GateOptions(mode=Mode.SHADOW)), proposal)
    assert isinstance(held, ActionHeld)
    assert (held.rule, held.diff, held.target_uid, held.action) == ("shadow", proposal.diff, "uid-1", SCALE)
    async with scene.database.connection() as connection:
        decision = await get_decision(connection, proposal.id)
    assert decision is not None
    would = {"target_uid": "uid-1", "basis": "b1", "diff": proposal.diff, "inverse": msgspec.to_builtins(back)}
    assert (decision.held, decision.inputs["would"]) == (True, would)


async def test_the_approval_keeps_what_it_rests_on(scene: Scene) -> None:
    outputs = await scene.handle(gate(scene), scene.proposal(await scene.incident(), SCALE, basis="b1"))
    assert (await row(scene, only(outputs, ActionApproved).approval)).basis == "b1"


def wanted(scene: Scene, incident: str, **fields: object) -> ActionProposed:
    """What a person proposes, with the proof of who authenticated that person."""
    return KEYS.sign_proposal(scene.proposal(incident, SCALE, source=Source.PERSON, proposer="ann", severity=Severity.P2, **fields))


async def test_a_person_may_propose_when_the_incident_is_over_and_another_one_signs(scene: Scene) -> None:
    incident = await scene.incident()
    await scene.resolve(incident)
    outputs = await scene.handle(gate(scene), wanted(scene, incident), backed=False)
    asked = only(outputs, ApprovalRequested)
    approval = await row(scene, asked.approval)
    assert (approval.proposer, approval.needed) == ("ann", 1)
    refused = only(await scene.handle(gate(scene), scene.vote(approval, "Ann")), VoteRefused)
    assert "another person" in refused.reason
    assert only(await scene.handle(gate(scene), scene.vote(approval, "ben")), ActionApproved).signers == ("ben",)


@pytest.mark.parametrize("change", [{"proposer": "ben"}, {"action": ScaleWorkload(target=TARGET, replicas=0)}, {"proof": ""}], ids=str)
async def test_what_nobody_proved_to_be_a_persons_counts_for_nothing(scene: Scene, change: dict[str, object]) -> None:
    incident = await scene.incident()
    forged = msgspec.structs.replace(wanted(scene, incident), **change)
    asked = only(await scene.handle(gate(scene), forged, backed=False), ApprovalRequested)
    assert asked.signatures >= 1
    await scene.resolve(incident)
    again = msgspec.structs.replace(forged, id=scene.header()["id"])
    (held,) = await scene.handle(gate(scene), again, backed=False)
    assert isinstance(held, ActionHeld)
    assert (held.rule, IncidentState.RESOLVED.value in held.reason) == ("incident_over", True)
