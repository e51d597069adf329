"""Who must sign, on a real Postgres: roles among the signers, who is asked when, and every refusal on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import pytest

from schemas.event import Delayed, Output
from schemas.events import (
    ActionApproved,
    ActionRejected,
    ApprovalDue,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalSigned,
    PeopleAsked,
    VoteRefused,
)
from schemas.words import ApprovalState, Choice, Mode, Severity
from sql import approvals, audit
from sql.approvals import ApprovalRow
from sql.database import Database
from stages.execute.authority import refusal
from stages.gate.options import GateOptions
from stages.gate.policy_file import read_policy
from stages.gate.stage import Gate
from tests.integration.scene import AUTO, KEYS, Scene, only
from tests.integration.scene import row as row_of

PEOPLE: Mapping[str, Sequence[str]] = {"ann": ("sre",), "bob": (), "Dora": ("dba", "sre"), "eve": ("viewer",), "max": ("lead",)}
POLICY = "version: 1\nrules:\n- {name: dear, effect: {signatures: 2, roles: [dba]}}\n"


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def gate(scene: Scene, options: GateOptions = AUTO, policy: str = POLICY) -> Gate:
    return Gate(scene.database, options, KEYS, policy=read_policy(policy, "policy.yaml"), people=PEOPLE)


async def waiting(scene: Scene, stage: Gate) -> tuple[ApprovalRow, Sequence[Output]]:
    outputs = await scene.handle(stage, scene.proposal(await scene.incident(), severity=Severity.P2))
    return await row_of(scene, only(outputs, ApprovalRequested).approval), outputs


async def test_a_role_that_is_wanted_must_be_among_those_who_sign(scene: Scene) -> None:
    stage = gate(scene)
    row, _ = await waiting(scene, stage)
    assert only(await scene.handle(stage, scene.vote(row, "ann")), ApprovalSigned).missing == 1
    assert only(await scene.handle(stage, scene.vote(row, "bob")), ApprovalSigned).missing == 1
    assert (await row_of(scene, row.id)).state is ApprovalState.WAITING
    approved = only(await scene.handle(stage, scene.vote(row, "dora")), ActionApproved)
    assert set(approved.signers) == {"ann", "bob", "dora"}
    async with scene.database.connection() as connection:
        votes = await approvals.signatures_of(connection, row.id)
    assert {vote.person: vote.roles for vote in votes} == {"ann": ("sre",), "bob": (), "dora": ("dba", "sre")}


async def test_execute_recounts_the_roles(scene: Scene) -> None:
    stage = gate(scene)
    row, _ = await waiting(scene, stage)
    for person in ("ann", "dora"):
        await scene.handle(stage, scene.vote(row, person))
    kept = await row_of(scene, row.id)
    async with scene.database.connection() as connection:
        votes = await approvals.signatures_of(connection, row.id)
    assert refusal(kept, votes, scene.now) == ""
    forged = [msgspec.structs.replace(vote, roles=("sre",)) for vote in votes]
    assert refusal(kept, forged, scene.now) == "nobody who signed it is dba, as it wants"


@pytest.mark.parametrize(
    ("person", "choice", "said"),
    [
        ("mallory", Choice.SIGN, "not listed under [people]"),
        ("mallory", Choice.REJECT, "not listed under [people]"),
        ("eve", Choice.SIGN, "is a viewer, and neither signs nor rejects"),
        ("EVE", Choice.REJECT, "is a viewer, and neither signs nor rejects"),
        ("propose/test", Choice.SIGN, "not listed"),
    ],
)
async def test_who_may_not_vote_is_refused_and_that_is_on_record(scene: Scene, person: str, choice: Choice, said: str) -> None:
    stage = gate(scene)
    row, _ = await waiting(scene, stage)
    vote = scene.vote(row, person, choice, comment="token=abcdef")
    assert said in only(await scene.handle(stage, vote), VoteRefused).reason
    assert (await row_of(scene, row.id)).state is ApprovalState.WAITING
    async with scene.database.connection() as connection:
        (entry,) = [one for one in await audit.audit_rows(connection) if one.id == vote.id]
    assert (entry.who, entry.what, entry.about, entry.state) == (person, f"vote: {choice}", f"approval {row.id}", "refused")
    assert said in entry.error
    assert "abcdef" not in entry.input


@pytest.mark.parametrize("person", ["ANN", "bob"])
async def test_whoever_is_listed_and_not_only_a_viewer_may_reject(scene: Scene, person: str) -> None:
    stage = gate(scene)
    row, _ = await waiting(scene, stage)
    only(await scene.handle(stage, scene.vote(row, person, Choice.REJECT)), ActionRejected)


def timer_of(outputs: Sequence[Output]) -> tuple[ApprovalDue, datetime]:
    (timer,) = [output for output in outputs if isinstance(output, Delayed)]
    assert isinstance(timer.event, ApprovalDue)
    return timer.event, timer.until


async def test_people_are_reminded_once_half_way(scene: Scene) -> None:
    stage = gate(scene)
    row, outputs = await waiting(scene, stage)
    event, until = timer_of(outputs)
    assert until == scene.now + timedelta(minutes=30)
    scene.later(1800)
    outputs = await scene.handle(stage, event)
    asked = only(outputs, PeopleAsked)
    assert "0 of 2 signatures with dba among them so far, and 30 min are left to sign" in asked.reason
    assert row.id in asked.question
    event, until = timer_of(outputs)
    assert until == row.expires_at
    again = await scene.handle(stage, ApprovalDue(**scene.header(row.incident), approval=row.id))
    assert [type(output) for output in again] == [Delayed]
    await scene.handle(stage, scene.vote(row, "ann"))
    await scene.handle(stage, scene.vote(row, "dora"))
    scene.later(1800)
    assert await scene.handle(stage, event) == []


async def test_what_is_not_signed_in_time_is_put_to_the_next_role_and_expires_after_the_last(scene: Scene) -> None:
    options = GateOptions(mode=Mode.AUTO, expiry=600, escalation=("lead", "owner"))
    stage = gate(scene, options)
    row, outputs = await waiting(scene, stage)
    said = []
    for _ in range(2):
        event, until = timer_of(outputs)
        scene.now = until
        event, until = timer_of(await scene.handle(stage, event))
        scene.now = until
        outputs = await scene.handle(stage, event)
        said.append(only(outputs, PeopleAsked).reason)
        assert (await row_of(scene, row.id)).state is ApprovalState.WAITING
    assert "is put to lead (max)" in said[0]
    assert "is put to owner (nobody is listed with this role)" in said[1]
    only(await scene.handle(stage, scene.vote(row, "max")), ApprovalSigned)
    event, until = timer_of(outputs)
    scene.now = until
    event, until = timer_of(await scene.handle(stage, event))
    scene.now = until
    outputs = await scene.handle(stage, event)
    only(outputs, ApprovalExpired)
    assert "1 of 2 signatures with dba among them in 30 min" in only(outputs, PeopleAsked).reason
    assert (await row_of(scene, row.id)).state is ApprovalState.EXPIRED
