"""What was learned, over the API: entries by their words, and what is known of a problem."""

from __future__ import annotations

from urllib.parse import quote

from ops.tokens import Role
from schemas.words import Verdict
from sql import playbooks
from sql.database import Database
from stages.learn.stage import Learn
from tests.integration.desk import desk, problem
from tests.integration.scene import TARGET
from tests.integration.test_diagnoses import several
from tests.unit.playbook_cases import playbook


async def test_what_was_learned_is_told_with_how_sure_it_is(redis_url: str, database: Database) -> None:
    async with desk(redis_url, database) as api:
        await api.let_in("vera", Role.VIEWER)
        scene, learn = api.scene, Learn(database)
        async with database.transaction() as connection:
            await playbooks.add_version(connection, playbook(name="book"), at=scene.now, by="ana")
        ids = []
        for verdict in (Verdict.SUCCESS, Verdict.SUCCESS, Verdict.FAILED):
            done = scene.finished(incident=await scene.incident(), playbook="book")
            for event in (done, scene.verified(done, verdict, playbook="book", summary="第3次重新啟動")):
                await scene.handle(learn, event)
            ids.append(done.operation)
            scene.later(60)
        first = (await api.get("/v1/knowledge?q=" + quote("重新啟動 -quota") + "&limit=2", "vera")).json()
        rest = (await api.get(f"/v1/knowledge?q={quote('重新啟動 -quota')}&after={first['next']}", "vera")).json()
        assert [item["id"] for page in (first, rest) for item in page["items"]] == ids[::-1]
        assert (first["items"][0]["excerpt"], rest["next"]) == ("第3次«重新啟動»", "")
        assert (await api.get("/v1/knowledge?result=failed", "vera")).json()["items"][0]["id"] == ids[2]
        assert (await api.get("/v1/knowledge?since=2027-01-01T00:00:00Z", "vera")).json()["items"] == []
        assert (await api.get(f"/v1/knowledge/{ids[0]}", "vera")).json()["summary"] == "第3次重新啟動"
        key = quote(TARGET.key, safe="")
        summary = (await api.get(f"/v1/learning/summary?key={key}", "vera")).json()
        assert (summary["key"], summary["attempts"], summary["best"]["verb"]) == (TARGET.key, 3, "restart")
        assert (round(summary["interval"]["low"], 3), round(summary["interval"]["high"], 3)) == (0.208, 0.939)
        advice = (await api.get(f"/v1/learning/recommendation?key={key}", "vera")).json()["advice"]
        assert advice == {"repairs": [], "tried": 3, "usual": []}
        for path in ("/v1/trust", "/v1/playbooks"):
            (item,) = (await api.get(path, "vera")).json()["items"]
            assert round(item["interval"]["low"], 3) == 0.208
            assert round(item["rate"], 3) == 0.667
        assert item["reach"] == {"operations": 0, "measured": 0, "farther": 0, "rate": None, "interval": {"low": 0.0, "high": 1.0}}


async def test_whose_word_was_right_and_what_reached_farther_is_told(redis_url: str, database: Database) -> None:
    async with desk(redis_url, database) as api:
        await api.let_in("vera", Role.VIEWER)
        scene, learn = api.scene, Learn(database)
        async with database.transaction() as connection:
            await playbooks.add_version(connection, playbook(name="p1"), at=scene.now, by="ana")
        for event in await several(scene):
            await scene.handle(learn, event)
        records = (await api.get("/v1/learning/sources", "vera")).json()
        assert [(one["source"], one["right"], one["wrong"], one["unknown"]) for one in records["sources"]] == [
            ("model", 2, 1, 0),
            ("template", 0, 0, 1),
        ]
        assert [(one["provider"], one["critic"], one["rate"]) for one in records["critics"]] == [
            ("llm", "agreed", 1.0),
            ("llm", "objected", 0.5),
        ]
        assert round(records["sources"][0]["interval"]["low"], 3) == 0.208
        problem(await api.get("/v1/learning/sources"), 401)
        (reach,) = (one["reach"] for one in (await api.get("/v1/playbooks", "vera")).json()["items"] if one["name"] == "p1")
        assert (reach["operations"], reach["measured"], reach["farther"], reach["rate"]) == (1, 1, 1, 1.0)


async def test_what_nobody_knows_and_what_is_no_question_is_a_problem(redis_url: str, database: Database) -> None:
    async with desk(redis_url, database) as api:
        await api.let_in("vera", Role.VIEWER)
        for path in (
            "knowledge/none",
            "knowledge?after=none",
            "learning/summary?key=none",
            "knowledge?alert=%00",
            "learning/summary?key=%00",
        ):
            problem(await api.get(f"/v1/{path}", "vera"), 404)
        for path in (
            "knowledge?q=" + "x" * 1001,
            "knowledge?q=" + quote("ﷺ" * 200),
            "knowledge?since=0001-01-01T00:00:00%2B14:00",
            "knowledge?since=0.5",
        ):
            problem(await api.get(f"/v1/{path}", "vera"), 400)
