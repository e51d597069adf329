"""`mend approvals undo` against a running `mend up --sandbox`: what was done is taken back by two people, and nothing else is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from adapters.kubernetes.resources import BY_KIND
from bus import inspect
from bus.errors import BusUnavailable
from ops.cli.undo import Deed, gates_answer, looked_at, told_by_another
from ops.errors import CommandFailed
from ops.runtime import RunFile
from ops.sandbox import Kubectl
from ops.settings import Settings
from schemas.action import RestartWorkload, RollBackWorkload
from schemas.codec import decode
from schemas.events import ActionProposed
from schemas.preflight import Check
from schemas.secret import SecretUrl
from schemas.target import Kind, Target
from schemas.words import ApprovalState, CheckResult, FailureClass, Risk
from sql.approvals import create_approval, finish_approval, get_approval
from sql.database import Database
from sql.failures import FailureRow, record_failure
from sql.operations import open_operation
from tests.integration.mend_process import ANA, BEN, Mend, end, installation, until
from tests.integration.test_cli import alert, break_workload

pytestmark = pytest.mark.slow


@pytest.fixture
def mend() -> Iterator[Mend]:
    """One `mend up` with a roll back that waits for a signature."""
    with installation() as mend:
        process = mend.up("--sandbox")
        asyncio.run(break_workload(mend.run.sandbox, "web"))
        mend("send-alert", "-", stdin=alert("KubePodCrashLooping", "web", "warning", "web crashes"))
        until(lambda: mend.json("approvals", "ls"), mend.log)
        yield mend
        assert end(process) == 0


async def image(server: str) -> str:
    kubectl = await Kubectl.at(server=server)
    try:
        live: dict[str, Any] = await kubectl.get(BY_KIND[Kind.DEPLOYMENT], "shop", "web")
    finally:
        await kubectl.close()
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def test_what_was_done_is_undone_by_two_people(mend: Mend) -> None:
    (waiting,) = mend.json("approvals", "ls")
    assert "was not done" in mend.wrong("approvals", "undo", waiting["id"], "--as", "ana", MEND_PERSON_TOKEN=ANA)
    assert "no approval" in mend.wrong("approvals", "undo", "nonsense", "--as", "ana", MEND_PERSON_TOKEN=ANA)
    assert "not the token" in mend.wrong("approvals", "undo", waiting["id"], "--as", "ana", MEND_PERSON_TOKEN=BEN)

    before = mend.json("approvals", "show", waiting["id"])["way_back"]
    assert (before["now"], before["command"]) == ("not yet done", f"mend approvals undo {waiting['id']}")

    mend("approvals", "sign", waiting["id"], "--as", "ana", MEND_PERSON_TOKEN=ANA)
    until(lambda: asyncio.run(image(mend.run.sandbox)) == "web:1.0", mend.log)
    until(lambda: mend.json("approvals", "show", waiting["id"])["approval"]["finished_at"], mend.log)
    original = mend.json("approvals", "show", waiting["id"])
    assert original["way_back"] == before | {"now": "done"}, "what was stored before it was done is what is shown after"
    assert original["way_back"]["says"] == "roll back deployment shop/web to revision 2"

    asked = mend.json("approvals", "undo", waiting["id"], "--as", "ana", "-m", "it was the database", MEND_PERSON_TOKEN=ANA)
    assert "1 other person must sign" in asked["said"]
    dossier = mend.json("approvals", "show", asked["approval"])
    shown, seen = dossier["approval"], dossier["evidence"]
    assert shown["proposer"] == "ana"
    assert shown["action"] == original["way_back"]["action"], "what was shown on the original approval is what is run"
    assert shown["evidence"]
    assert (seen["target"]["name"], seen["workload"]["images"]) == ("web", ["web:1.0"])
    assert all(not sensor.get("error") for sensor in seen["sensors"])
    assert "+ spec.template.spec.containers[web].image: web:crash" in shown["diff"]
    results = {check["name"]: check["result"] for check in shown["checks"]}
    assert (results["permission"], results["dry_run"]) == ("not_checked", "passed"), "who acts may have other permissions than who asks"
    assert "who proposed" in mend("approvals", "sign", asked["approval"], "--as", "ana", code=1, MEND_PERSON_TOKEN=ANA).stdout
    assert asyncio.run(image(mend.run.sandbox)) == "web:1.0"
    mend("approvals", "sign", asked["approval"], "--as", "ben", MEND_PERSON_TOKEN=BEN)
    until(lambda: asyncio.run(image(mend.run.sandbox)) == "web:crash", mend.log)


async def keep_a_restart_that_did_not_heal(postgres: str, like: str) -> str:
    """What execute and failure_watch leave behind of a restart, which has no inverse: the way back is what people were told of."""
    database = await Database(postgres, name="test", size=1).open()
    try:
        async with database.transaction() as connection:
            row = await get_approval(connection, like)
            assert row is not None
            action = RestartWorkload(target=row.target)
            row = msgspec.structs.replace(row, id=f"{like}-restart", proposal="of the restart", action=action, inverse=None)
            await create_approval(connection, row)
            at, place = row.requested_at, {"approval": row.id, "incident": row.incident}
            await finish_approval(connection, row.id, at=at)
            await open_operation(connection, id="restart", action=row.action, uid=row.target_uid, awaits="", at=at, **place)
            await connection.execute("UPDATE operations SET state = 'succeeded', outcome = 'succeeded' WHERE id = 'restart'")
            failure = FailureRow(
                about="verification/restart",
                event="event",
                incident=row.incident,
                operation="restart",
                failure=FailureClass.UNKNOWN,
                risk=Risk.LOW,
                confidence=0.4,
                summary="it did not help",
                at=at,
                proposed=RollBackWorkload(target=row.target, to_revision=1),
            )
            assert await record_failure(connection, failure)
            return row.id
    finally:
        await database.close()


def test_the_way_back_that_people_were_told_of_is_started_by_one_command(mend: Mend) -> None:
    (waiting,) = mend.json("approvals", "ls")
    restart = asyncio.run(keep_a_restart_that_did_not_heal(mend.run.postgres.reveal(), waiting["id"]))
    mend("approvals", "reject", waiting["id"], "--as", "ben", MEND_PERSON_TOKEN=BEN)

    told = mend.json("approvals", "show", restart)["way_back"]
    assert (told["origin"], told["now"], told["command"]) == ("told", "done", f"mend approvals undo {restart}")
    assert "roll back deployment shop/web to revision 1, as proposed when it had healed nothing" in mend.said("approvals", "show", restart)

    away = "http://127.0.0.1:1"
    asked = mend.json("approvals", "undo", restart, "--as", "ana", MEND_PERSON_TOKEN=ANA, MEND_PROMETHEUS_DEFAULT_URL=away)

    dossier = mend.json("approvals", "show", asked["approval"])
    shown = dossier["approval"]
    sensors = {sensor["name"].partition(":")[0]: sensor["error"] for sensor in dossier["evidence"]["sensors"]}
    assert (sensors["workload"], sensors["pods"]) == ("", "")
    assert "Prometheus cannot be asked" in sensors["metric"], "Prometheus was asked as for any proposal, and is named where it is away"
    assert (shown["action"]["do"], shown["action"]["to_revision"]) == ("RollBackWorkload", 1)
    assert shown["action"] == told["action"]
    assert shown["evidence"]
    assert "what was proposed when nothing was healed by 'restart deployment shop/web'" in str(shown["inputs"]["proposal"]["reasons"])
    assert asyncio.run(image(mend.run.sandbox)) == "web:crash"
    mend("approvals", "sign", asked["approval"], "--as", "ben", MEND_PERSON_TOKEN=BEN)
    until(lambda: asyncio.run(image(mend.run.sandbox)) == "web:1.0", mend.log)


async def keep_an_approved_restart(postgres: str, like: str) -> str:
    """What the gate leaves behind of a restart that no executor has taken up."""
    database = await Database(postgres, name="test", size=1).open()
    try:
        async with database.transaction() as connection:
            row = await get_approval(connection, like)
            assert row is not None
            action, state = RestartWorkload(target=row.target), ApprovalState.APPROVED
            row = msgspec.structs.replace(row, id=f"{like}-approved", proposal="of the restart", action=action, state=state)
            await create_approval(connection, row)
            return row.id
    finally:
        await database.close()


def test_what_was_approved_and_has_not_begun_can_be_rejected(mend: Mend) -> None:
    (waiting,) = mend.json("approvals", "ls")
    approved = asyncio.run(keep_an_approved_restart(mend.run.postgres.reveal(), waiting["id"]))
    reject = ("approvals", "reject", approved, "--as", "ana")
    assert re.search(rf"^to stop +mend approvals reject {approved} ", mend.said("approvals", "show", approved), re.MULTILINE)
    said = mend.said(*reject, MEND_PERSON_TOKEN=ANA)
    assert said == "rejected as ana: Mendstream makes no further attempt to restart deployment shop/web\n"
    shown = mend.json("approvals", "show", approved)
    assert (shown["approval"]["state"], [vote["choice"] for vote in shown["signatures"]]) == ("rejected", ["reject"])
    assert "is rejected already" in mend(*reject, code=1, MEND_PERSON_TOKEN=ANA).stdout


def test_what_speaks_of_an_identity_that_will_not_act_is_not_told_as_checked() -> None:
    def check(name: str, result: CheckResult, detail: str = "", missing: str = "") -> Check:
        return Check(name=name, result=result, detail=detail, missing=missing)

    granted, target = check("permission", CheckResult.PASSED, detail="get pods"), check("target", CheckResult.PASSED)
    denied = check("permission", CheckResult.FAILED, detail="may not patch", missing="patch")
    rehearsal = check("dry_run", CheckResult.FAILED, detail="forbidden")

    told = told_by_another((target, granted, denied, rehearsal))
    assert [one.result for one in told] == [CheckResult.PASSED, *[CheckResult.NOT_CHECKED] * 3]
    assert all("identity of who proposes this" in one.detail and not one.missing for one in told[1:])
    assert told_by_another((granted, rehearsal))[1] == rehearsal, "refused for another reason"


async def test_nothing_is_proposed_about_what_cannot_be_seen() -> None:
    class Away:
        settings = Settings()
        place = RunFile(pid=0, redis=SecretUrl(""), postgres=SecretUrl(""), sandbox="http://127.0.0.1:1")

    back = RollBackWorkload(target=Target(cluster="default", namespace="shop", kind=Kind.DEPLOYMENT, name="web"), to_revision=2)
    deed = Deed(row=None, incident=None, back=back, inverse=True)  # type: ignore[arg-type]
    with pytest.raises(CommandFailed, match=r"deployment shop/web cannot be looked at, so nothing is proposed: .*127\.0\.0\.1:1"):
        await looked_at(Away(), deed)  # type: ignore[arg-type]


async def test_a_proposal_that_is_in_the_stream_is_made_though_the_answer_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> NoReturn:
        raise BusUnavailable("Redis cannot be reached")

    monkeypatch.setattr(inspect, "tail", away)
    proposal = decode((Path(__file__).parents[1] / "golden" / "ActionProposed.v1.json").read_bytes())
    assert isinstance(proposal, ActionProposed)
    answer = await gates_answer(object(), proposal)  # type: ignore[arg-type]
    assert answer.proposal == proposal.id
    assert "the gate's answer could not be read (Redis cannot be reached): `mend approvals ls` has it" in answer.said
