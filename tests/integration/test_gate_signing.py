"""Votes on a real Postgres: each counts once, from a person who may give it, for the very action that waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from schemas.events import ActionApproved, ActionRejected, ApprovalSigned, VoteRefused
from schemas.words import ApprovalState, Choice, Mode
from sql import approvals, incidents
from sql.database import Database
from stages.gate.options import GateOptions
from tests.integration.scene import Scene, crowded, gate, only, requested, row


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def test_two_people_sign_a_critical_action(scene: Scene) -> None:
    waiting = await requested(scene)
    stage = gate(scene)
    signed = only(await scene.handle(stage, scene.vote(waiting, "ann", comment="go")), ApprovalSigned)
    assert (signed.person, signed.missing) == ("ann", 1)
    scene.later(3000)
    approved = only(await scene.handle(stage, scene.vote(waiting, "bob")), ActionApproved)
    assert (approved.signers, approved.automatic) == (("ann", "bob"), False)
    kept = await row(scene, waiting.id)
    assert (kept.state, kept.signers, kept.automatic) == (ApprovalState.APPROVED, ("ann", "bob"), False)
    assert kept.expires_at == scene.now + timedelta(seconds=600)
    async with scene.database.connection() as connection:
        first = (await approvals.signatures_of(connection, waiting.id))[0]
    assert (first.person, first.origin, first.comment, first.told_by) == ("ann", "cli/127.0.0.1", "go", "test")


@pytest.mark.parametrize("again", ["ann", "ANN", " ann ", "\uff41nn"])
async def test_one_person_is_one_person_however_spelled(scene: Scene, again: str) -> None:
    waiting = await requested(scene)
    await scene.handle(gate(scene), scene.vote(waiting, "ann"))
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, again)), VoteRefused)
    assert "signed already" in refused.reason
    assert (await row(scene, waiting.id)).state is ApprovalState.WAITING


async def test_one_rejection_ends_it_also_by_one_who_had_signed(scene: Scene) -> None:
    waiting = await requested(scene)
    await scene.handle(gate(scene), scene.vote(waiting, "ann"))
    rejected = only(await scene.handle(gate(scene), scene.vote(waiting, "ann", Choice.REJECT, comment="not now")), ActionRejected)
    assert (rejected.person, rejected.comment) == ("ann", "not now")
    kept = await row(scene, waiting.id)
    assert (kept.state, kept.signers) == (ApprovalState.REJECTED, ())
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, "bob")), VoteRefused)
    assert "rejected" in refused.reason
    async with scene.database.connection() as connection:
        incident = await incidents.get_incident(connection, waiting.incident)
    assert incident is not None
    assert incident.rejected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"person": "propose/test"}, "never signs"),
        ({"person": " \t"}, "names no person"),
        ({"action_hash": "another"}, "another action"),
        ({"approval": "unknown"}, "no such approval"),
    ],
)
async def test_a_vote_that_may_not_count_is_refused_with_its_reason(scene: Scene, fields: dict[str, Any], reason: str) -> None:
    waiting = await requested(scene)
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, **({"person": "ann"} | fields))), VoteRefused)
    assert reason in refused.reason
    assert (await row(scene, waiting.id)).signers == ()


async def test_a_forged_vote_moves_nothing(scene: Scene) -> None:
    waiting = await requested(scene)
    forged = msgspec.structs.replace(scene.vote(waiting, "ann"), person="bob")
    refused = only(await scene.handle(gate(scene), forged), VoteRefused)
    assert "not genuine" in refused.reason
    assert (await row(scene, waiting.id)).signers == ()


async def test_a_vote_that_comes_too_late_is_refused(scene: Scene) -> None:
    waiting = await requested(scene)
    scene.later(3600)
    refused = only(await scene.handle(gate(scene), scene.vote(waiting, "ann")), VoteRefused)
    assert "time to sign is over" in refused.reason


async def test_votes_for_a_target_that_is_in_shadow_by_now_are_refused(scene: Scene) -> None:
    waiting = await requested(scene)
    shadow = gate(scene, GateOptions(mode=Mode.AUTO, namespaces={"shop": Mode.SHADOW}))
    assert "shadow" in only(await scene.handle(shadow, scene.vote(waiting, "ann")), VoteRefused).reason


async def test_votes_at_the_same_time_are_counted_once_each(scene: Scene, postgres_url: str) -> None:
    waiting = await requested(scene)
    votes = [scene.vote(waiting, person) for person in ("ann", "bob", "eve", "ann")]
    async with crowded(postgres_url, "SELECT 1 FROM approvals FOR UPDATE") as crowd:
        tasks = [asyncio.create_task(scene.handle(gate(scene), vote)) for vote in votes]
        await crowd.wait_for(len(votes))
    results = await asyncio.gather(*tasks)
    kinds = sorted(type(output).__name__ for outputs in results for output in outputs)
    assert kinds.count("ActionApproved") == 1
    assert kinds.count("ApprovalSigned") == 1
    assert kinds.count("VoteRefused") == 2
    assert len((await row(scene, waiting.id)).signers) == 2


async def test_hostile_text_of_a_vote_is_cleaned(scene: Scene) -> None:
    waiting = await requested(scene)
    vote = scene.vote(waiting, "ann\x1b[2J", comment="token=abcdef \x1b]0;x\x07" + "y" * 5000)
    signed = only(await scene.handle(gate(scene), vote), ApprovalSigned)
    assert "\x1b" not in signed.person + signed.comment
    assert "abcdef" not in signed.comment
    assert len(signed.comment) <= 1000


async def test_what_has_ended_cannot_change_its_end(scene: Scene) -> None:
    waiting = await requested(scene)
    async with scene.database.transaction() as connection:
        assert await approvals.settle_approval(connection, waiting.id, ApprovalState.EXPIRED, at=scene.now)
        assert not await approvals.settle_approval(connection, waiting.id, ApprovalState.APPROVED, at=scene.now)
    assert (await row(scene, waiting.id)).state is ApprovalState.EXPIRED
