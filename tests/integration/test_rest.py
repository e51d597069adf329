"""The API for people on a real Redis and Postgres: who may read and decide what, and what each request is answered with."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest
import pytest_asyncio

from ops.api.items import ApprovalItem, IncidentItem
from ops.tokens import Role
from schemas.action import RestartWorkload
from schemas.events import ApprovalRequested
from schemas.words import ApprovalState, Severity
from sql import approvals, people, playbooks
from sql.database import Database
from sql.evidence import Phase, store_snapshot
from tests.integration.desk import IN_SETTINGS, Desk, desk, listing, problem
from tests.integration.scene import deployment, gate, only, requested, row
from tests.unit.playbook_cases import playbook
from tests.unit.snapshots import snapshot

READS = ("/v1/incidents", "/v1/approvals", "/v1/trust", "/v1/playbooks", "/v1/knowledge")


@pytest_asyncio.fixture
async def api(redis_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(redis_url, database) as api:
        await api.let_in("vera", Role.VIEWER)
        await api.let_in("ann", Role.OPERATOR)
        await api.let_in("bob", Role.ADMIN)
        yield api


async def test_who_has_no_valid_token_is_told_nothing(api: Desk) -> None:
    waiting = await api.waiting()
    ann = api.tokens["ann"]
    for wrong in (
        "",
        "x",
        ann[:-1] + ("A" if ann[-1] != "A" else "B"),
        ann[:-1],
        ann.upper(),
        "mend_" + "0" * 16 + "_" + "A" * 43,
    ):
        for path in (*READS, f"/v1/approvals/{waiting.id}", f"/v1/incidents/{waiting.incident}", "/v1/events"):
            async with api.client(wrong) as client:
                answer = await client.get(path)
            found = problem(answer, 401)
            assert "shop" not in found.detail
            assert answer.headers["www-authenticate"] == 'Bearer realm="mendstream"'


async def test_a_revoked_token_lets_nobody_in_from_that_moment(api: Desk) -> None:
    assert (await api.get("/v1/incidents", "ann")).status_code == 200
    async with api.database.transaction() as connection:
        assert await people.revoke_tokens(connection, "ann", by="root", at=api.scene.now)
    problem(await api.get("/v1/incidents", "ann"), 401)


async def test_neither_the_token_nor_what_finds_it_again_is_kept(api: Desk) -> None:
    dump = str([dict(one) for one in await api.database.fetch("SELECT * FROM person_tokens")])
    for token in api.tokens.values():
        assert token not in dump
        assert token.split("_", 2)[2] not in dump
    salts = [one["salt"] for one in await api.database.fetch("SELECT salt FROM person_tokens")]
    assert len(set(salts)) == len(salts)


async def test_a_viewer_reads_all_that_an_approver_needs(api: Desk) -> None:
    waiting = await api.waiting()
    (listed,) = (await api.get("/v1/approvals?state=waiting", "vera")).json()["items"]
    assert (listed["id"], listed["needed"], listed["signers"]) == (waiting.id, 2, [])
    dossier = (await api.get(f"/v1/approvals/{waiting.id}", "vera")).json()
    assert dossier["approval"]["action"] == {"do": "RestartWorkload", "target": dossier["approval"]["target"]}
    assert dossier["approval"]["blast"]["score"] == 5
    assert dossier["approval"]["inputs"]["proposal"]["reasons"] == ["its pods crash"]
    assert dossier["way_back"]["says"]
    assert dossier["incident"]["id"] == waiting.incident
    story = (await api.get(f"/v1/incidents/{waiting.incident}", "vera")).json()
    assert [one["id"] for one in story["approvals"]] == [waiting.id]
    assert story["timeline"]
    (incident,) = (await api.get("/v1/incidents?state=INVESTIGATING", "vera")).json()["items"]
    assert incident["id"] == waiting.incident
    assert (await api.get("/v1/incidents?state=CLOSED", "vera")).json() == {"items": [], "next": ""}
    for path in READS:
        assert (await api.get(path, "vera")).status_code == 200


async def test_a_list_tells_of_each_what_it_is_and_leaves_the_rest_to_the_single_answer(api: Desk) -> None:
    await api.waiting()
    (approval,) = (await api.get("/v1/approvals", "vera")).json()["items"]
    assert approval.keys() == set(ApprovalItem.__struct_fields__)
    assert not approval.keys() & {"inputs", "diff", "checks", "blast", "evidence"}
    (incident,) = (await api.get("/v1/incidents", "vera")).json()["items"]
    assert incident.keys() == set(IncidentItem.__struct_fields__)
    assert not incident.keys() & {"labels", "alert_labels", "notes"}


async def test_of_what_was_seen_an_incident_tells_the_newest_of_each_phase(api: Desk) -> None:
    incident = await api.scene.incident()
    after: tuple[Phase, ...] = ("after",) * 7
    phases: tuple[Phase, ...] = ("proposal", "before", *after)
    async with api.database.transaction() as connection:
        for number, phase in enumerate(phases):
            seen = msgspec.structs.replace(snapshot(), at=api.scene.now + timedelta(seconds=number))
            await store_snapshot(connection, id=f"e{number}", incident=incident, phase=phase, snapshot=seen)
    story = (await api.get(f"/v1/incidents/{incident}", "vera")).json()
    assert [one["id"] for one in story["evidence"]] == ["e0", "e1", "e4", "e5", "e6", "e7", "e8"]


async def _incidents(api: Desk) -> None:
    for number in range(5):
        await api.scene.incident(deployment(f"api-{number}"))
        api.scene.later(number % 2)


async def _approvals(api: Desk) -> None:
    for number in range(5):
        target = deployment(f"api-{number}")
        incident = await api.scene.incident(target)
        proposal = api.scene.proposal(incident, RestartWorkload(target=target), severity=Severity.P0)
        only(await api.scene.handle(gate(api.scene), proposal), ApprovalRequested)
        api.scene.later(number % 2)


async def _trust(api: Desk) -> None:
    row = "INSERT INTO trust VALUES ($1, $2, 0, 0, 0, 0, '', $3, $4)"
    for number in range(5):
        await api.database.fetch(row, f"restart:api-{number}", number % 2, api.scene.now, f"e{number}")


async def _playbooks(api: Desk) -> None:
    async with api.database.transaction() as connection:
        for number in range(5):
            await playbooks.add_version(connection, playbook(f"p-{number}"), at=api.scene.now, by="ana")


@pytest.mark.parametrize(
    ("path", "key", "made"),
    [
        ("/v1/incidents", "id", _incidents),
        ("/v1/approvals", "id", _approvals),
        ("/v1/trust", "pattern", _trust),
        ("/v1/playbooks", "name", _playbooks),
    ],
)
async def test_pages_follow_each_other_and_no_item_is_left_out(
    api: Desk, path: str, key: str, made: Callable[[Desk], Awaitable[None]]
) -> None:
    await made(api)
    whole = (await api.get(f"{path}?limit=100", "vera")).json()
    assert (len(whole["items"]), whole["next"]) == (5, "")
    found, after, pages = [], "", 0
    while after or not pages:
        page = (await api.get(f"{path}?limit=2&after={after}", "vera")).json()
        found += page["items"]
        after, pages = page["next"], pages + 1
    assert [one[key] for one in found] == [one[key] for one in whole["items"]]
    assert pages == 3
    problem(await api.get(f"{path}?after=nothing", "vera"), 404)


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/incidents?limit=0", 400, "limit"),
        ("/v1/incidents?limit=many", 400, "limit"),
        ("/v1/approvals?limit=101", 400, "limit"),
        ("/v1/approvals?state=undecided", 400, "state"),
        ("/v1/events?topic=nonsense", 400, "topic"),
        ("/v1/events?type=Nonsense", 400, "type"),
        ("/v1/incidents/nothing", 404, ""),
        ("/v1/incidents/no%00thing", 404, ""),
        ("/v1/approvals/%ff", 404, ""),
        ("/v1/approvals?incident=%00", 404, ""),
        ("/v2/incidents", 404, ""),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(api: Desk, path: str, status: int, field: str) -> None:
    assert problem(await api.get(path, "vera"), status).field == field


async def test_two_people_sign_by_the_api_and_the_gate_decides(api: Desk) -> None:
    waiting = await api.waiting()
    path = f"/v1/approvals/{waiting.id}/sign"
    async with api.counting():
        first = await api.post(path, "ann", json={"comment": "looks right"})
        assert (first.status_code, first.json()["missing"], first.json()["counted"]) == (200, 1, True)
        again = problem(await api.post(path, "ann"), 409)
        assert "signed already" in again.detail
        second = await api.post(path, "bob", json={})
        assert second.json()["approved"]
    assert (await row(api.scene, waiting.id)).state is ApprovalState.APPROVED
    async with api.database.connection() as connection:
        votes = await approvals.signatures_of(connection, waiting.id)
    assert sorted((one.person, one.origin, one.comment, one.told_by) for one in votes) == [
        ("ann", "api/10.0.0.1", "looks right", "api/test"),
        ("bob", "api/10.0.0.1", "", "api/test"),
    ]
    (refused,) = await api.audited()
    assert (refused.who, refused.about, refused.state) == ("person/ann", f"approval {waiting.id}", "refused")
    assert "signed already" in refused.error


async def test_a_vote_that_is_refused_is_audited_with_its_reason(api: Desk) -> None:
    waiting = await api.waiting()
    sign, reject = f"/v1/approvals/{waiting.id}/sign", f"/v1/approvals/{waiting.id}/reject"
    problem(await api.post(sign), 401)
    problem(await api.post(sign, "vera"), 403)
    assert problem(await api.post(reject, "ann", json={"comment": 3}), 400).field == "$.comment"
    problem(await api.post(reject, "ann", content=b'{"comment": ', headers={"Content-Type": "application/json"}), 400)
    problem(await api.post(reject, "ann", content=b"comment=no", headers={"Content-Type": "text/plain"}), 400)
    problem(await api.post(reject, "ann", content=b" " * 20_000, headers={"Content-Type": "application/json"}), 413)
    problem(await api.post("/v1/approvals/nothing/sign", "ann"), 404)
    problem(await api.post("/v1/approvals/no%00thing/sign", "ann"), 404)
    told = Counter((one.who, one.what, one.state, one.input) for one in await api.audited())
    sign_, reject_, by = "vote refused: sign", "vote refused: reject", "api/10.0.0.1"
    assert told == {
        ("nobody known", sign_, "refused", by): 1,
        ("person/vera", sign_, "refused", by): 1,
        ("person/ann", reject_, "refused", by): 4,
        ("person/ann", sign_, "refused", by): 2,
    }
    assert all(one.error for one in await api.audited())
    assert (await row(api.scene, waiting.id)).signers == ()


async def test_with_people_in_the_settings_only_those_sign(api: Desk) -> None:
    waiting = await api.waiting()
    listed = api.built(listing("bob"))
    async with api.client(api.tokens["ann"], application=listed) as client:
        found = problem(await client.post(f"/v1/approvals/{waiting.id}/sign"), 403)
        assert (await client.get("/v1/incidents")).status_code == 200
    assert found.detail == "ann is not listed under [people] and may not sign"
    (refused,) = await api.audited()
    assert refused.error == found.detail


async def test_a_token_of_the_settings_gives_the_roles_of_the_settings(api: Desk) -> None:
    waiting = await requested(api.scene, severity=Severity.P2)
    for roles, reads, signs in (((), 403, 403), (("viewer", "database"), 200, 403), (("operator",), 200, 200)):
        async with api.counting(), api.client(IN_SETTINGS, application=api.built(listing("eve", roles=roles))) as client:
            assert (await client.get("/v1/incidents")).status_code == reads
            assert (await client.post(f"/v1/approvals/{waiting.id}/sign")).status_code == signs
    assert (await row(api.scene, waiting.id)).signers == ("eve",)


async def test_secrets_in_what_is_kept_are_not_told(api: Desk) -> None:
    incident = await api.scene.incident(labels={"note": "password=hunter2-and-more", "api_token": "s3cr3t-of-the-api"})
    text = (await api.get(f"/v1/incidents/{incident}", "vera")).text
    assert "api_token" in text
    assert "hunter2" not in text
    assert "s3cr3t-of-the-api" not in text


async def test_the_document_needs_no_token_and_names_every_route(api: Desk) -> None:
    document = (await api.get("/openapi.json")).json()
    assert {*READS, "/v1/events", "/v1/approvals/{approval}/sign"} <= set(document["paths"])
    assert document["paths"]["/v1/incidents"]["get"]["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    assert (await api.get("/readyz")).json() == {"ok": True}


async def test_votes_at_a_late_hour_are_refused_by_the_gate(api: Desk) -> None:
    waiting = await api.waiting()
    api.scene.now += timedelta(hours=2)
    async with api.counting():
        found = problem(await api.post(f"/v1/approvals/{waiting.id}/reject", "ann"), 409)
    assert "the time to sign is over" in found.detail


async def test_only_an_admin_stops_everything_and_lets_it_go_on(api: Desk) -> None:
    waiting = await api.waiting()
    assert (await api.get("/v1/stop", "vera")).json()["switch"]["stopped"] is False
    for path in ("/v1/stop", "/v1/resume"):
        for person, status in (("", 401), ("vera", 403), ("ann", 403)):
            problem(await api.post(path, person, json={"reason": "no"}), status)
    stopped = (await api.post("/v1/stop", "bob", json={"reason": "the network is mended"})).json()
    assert (stopped["switch"]["stopped"], stopped["switch"]["by"], stopped["switch"]["reason"]) == (True, "bob", "the network is mended")
    assert stopped["in_flight"]["waiting"] == 1
    async with api.counting():
        assert "stopped by bob" in problem(await api.post(f"/v1/approvals/{waiting.id}/sign", "ann"), 409).detail
    assert problem(await api.post("/v1/stop", "bob", json={"why": "x"}), 400).status == 400
    async with api.client(api.tokens["bob"], application=api.built(listing("eve"))) as unlisted:
        problem(await unlisted.post("/v1/resume"), 403)
    assert (await api.post("/v1/resume", "bob")).json()["switch"]["stopped"] is False
    assert (await api.post("/v1/resume", "bob")).status_code == 200, "nothing was stopped, and nothing is wrong"
    async with api.counting():
        assert (await api.post(f"/v1/approvals/{waiting.id}/sign", "ann")).json()["counted"]
