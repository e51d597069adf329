"""The knowledge base in Postgres: the same rows from the same events, and every entry found again by its words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.action import ScaleWorkload
from schemas.event import Event
from schemas.events import ExecutionFinished, VerificationFinished
from schemas.identity import new_id
from schemas.words import Outcome, Result, Verdict
from sql import knowledge
from sql.database import Database
from sql.errors import QueryTooLong
from sql.knowledge import LedgerRow, note_row
from sql.knowledge_search import Found, get_entry, search
from sql.proof import Proof
from tests.integration.scene import TARGET, Scene, deployment

SCALE = ScaleWorkload(target=TARGET, replicas=3)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


async def told(scene: Scene) -> list[Event | LedgerRow]:
    """What was told of two actions on one incident and of one on none, some of it twice and differently, forged, and noted by people."""
    incident = await scene.incident()
    events: list[Event] = []
    for fields in ({"incident": incident}, {"incident": incident, "action": SCALE, "automatic": False}, {}):
        done = scene.finished(**fields, error="", playbook="one")
        scene.later(5)
        judged = scene.verified(done, summary="all is well")
        for event in (done, judged):
            await scene.back(event)
        later = judged.at + timedelta(seconds=1)
        again = msgspec.structs.replace(judged, id=new_id(scene.now), at=later, summary="it is still well", score=0.9)
        tied = msgspec.structs.replace(done, id=new_id(scene.now), seconds=9.0, automatic=not done.automatic, playbook="two")
        forged = msgspec.structs.replace(judged, id=new_id(scene.now), verdict=Verdict.FAILED, summary="forged")
        events += [done, judged, again, tied, forged]
    noted = [note_row(new_id(scene.now), incident=incident, at=scene.now, text=text) for text in ("the cache was cold", "重啟之後恢復了")]
    return [*events, *noted]


async def rows(database: Database) -> list[list[tuple[Any, ...]]]:
    return [[tuple(row) for row in await database.fetch(f"SELECT * FROM {table} ORDER BY 1")] for table in knowledge.TABLES]


async def take(database: Database, part: Sequence[Event | LedgerRow]) -> None:
    async with database.transaction() as connection:
        await knowledge.take(Proof(connection), [item for item in part if isinstance(item, Event)])
    async with database.transaction() as connection:
        await knowledge.fold_keys(connection, await knowledge.keep_rows(connection, [item for item in part if isinstance(item, LedgerRow)]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), at_once=st.booleans())
async def test_any_order_any_repetition_and_any_number_of_writers_give_the_same_rows(
    database: Database, data: st.DataObject, at_once: bool
) -> None:
    await database.fetch(f"TRUNCATE {', '.join(knowledge.TABLES)}, operations, verifications, incidents, incident_alerts CASCADE")
    all_of_it = await told(Scene(database))
    await database.fetch("TRUNCATE told_events")  # as for what was told before ids were kept: of a copy nobody knows that it is one
    await take(database, all_of_it)
    expected = await rows(database)
    assert [len(table) for table in expected] == [2, 14, 3]
    assert {row["summary"] for row in await database.fetch("SELECT summary FROM knowledge")} == {"all is well"}
    await database.fetch(f"TRUNCATE {', '.join(knowledge.TABLES)}")
    drawn = data.draw(st.permutations([*all_of_it, *data.draw(st.lists(st.sampled_from(all_of_it), max_size=5))]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(drawn) - 1), max_size=5)))
    parts = [drawn[start:end] for start, end in zip([0, *cuts], [*cuts, len(drawn)], strict=True)]
    if at_once:
        await take(database, parts[0])
        await asyncio.gather(*(take(database, part) for part in parts[1:]))
    else:
        for part in parts:
            await take(database, part)
    assert await rows(database) == expected


async def learned(scene: Scene, **fields: Any) -> str:
    """An execution that was verified, kept as knowledge; returns its id."""
    taken = {name: fields.pop(name) for name in ("action", "error", "outcome", "playbook", "incident") if name in fields}
    done = scene.finished(**{"incident": await scene.incident(**fields.pop("about", {})), **taken})
    events: list[ExecutionFinished | VerificationFinished] = [done]
    if done.outcome is Outcome.SUCCEEDED:
        events.append(scene.verified(done, **fields))
    for event in events:
        await scene.back(event)
    await take(scene.database, events)
    scene.later(60)
    return done.operation


async def ask(scene: Scene, text: str, **chosen: Any) -> list[Found]:
    async with scene.database.connection() as connection:
        return await search(connection, text, **chosen)


FOUND = (
    "",
    "KubePodCrashLooping",
    "kubepodcrashlooping",
    "KubePodCrash",
    "crashes loop",
    "restarts the deployments",
    "payments/api-7d4",
    "PAYMENTS/API-7D4",
    "prod/shop/Deployment/api",
    '"waited for readiness"',
    "readiness waited",
    "latency or readiness",
    "crash -latency",
    "-latency",
    "down",
    "重新啟動",
    "新",
    "第3次",
    "記憶體不足",
    "部署 api-7d4 記憶體",
    "ｐａｙｍｅｎｔｓ／ａｐｉ",
    "shop success",
    "crash\x00",
    "(crash & !crash",
    "' | 'crash",
)
NOT_FOUND = (
    "payments/7d4",
    '"readiness waited"',
    "latency or quota",
    "crash -readiness",
    "啟動新重",
    "-記憶體",
    "'; DROP TABLE knowledge; --",
    "!&|():*<-> \\ '",
    "🙂",
)


async def test_an_entry_is_found_by_its_words_and_by_no_others(scene: Scene) -> None:
    operation = await learned(
        scene, summary="第3次重新啟動後，payments/api-7d4 部署正常；記憶體不足。It waited for readiness, the node was down"
    )
    for text in FOUND:
        assert [one.entry.id for one in await ask(scene, text)] == [operation], text
    for text in NOT_FOUND:
        assert await ask(scene, text) == [], text


async def test_a_word_counts_more_in_the_alert_than_in_what_was_done_and_least_in_the_error(scene: Scene) -> None:
    """And of equals the newest is the first, a page at a time."""
    in_error = await learned(scene, about={"target": deployment("a")}, outcome=Outcome.FAILED, error="the quota is used up")
    in_summary = await learned(scene, about={"target": deployment("b")}, summary="the quota is used up")
    in_tags = await learned(scene, about={"target": deployment("c")}, playbook="quota")
    older = await learned(scene, about={"target": deployment("d"), "alert": "QuotaExceeded"})
    newer = await learned(scene, about={"target": deployment("e"), "alert": "QuotaExceeded"})
    expected = [newer, older, in_tags, in_summary, in_error]
    assert [one.entry.id for one in await ask(scene, "quotas")] == expected
    paged: list[str] = []
    while page := await ask(scene, "quotas", limit=2, after=paged[-1] if paged else ""):
        paged += [one.entry.id for one in page]
    assert paged == expected
    assert [one.entry.id for one in await ask(scene, "", alert="QuotaExceeded")] == [newer, older]
    assert [one.entry.id for one in await ask(scene, "quota", result=Result.FAILED)] == [in_error]
    assert [one.entry.id for one in await ask(scene, "quota", since=scene.now - timedelta(seconds=130))] == [newer, older]


async def test_what_was_searched_for_is_marked_in_the_part_that_fits_best(scene: Scene) -> None:
    filler = "nothing to see here and then some more of it. " * 8
    await learned(scene, summary=f"{filler}Pods «restarted» after 記憶體不足, and ＡＰＩ answers. {filler}")
    (found,) = await ask(scene, "restarting 記憶 api")
    assert 'Pods "«restarted»" after «記憶»體不足, and «API» answers.' in found.excerpt
    assert (found.excerpt[0], found.excerpt[-1], len(found.excerpt) < 200) == ("…", "…", True)
    (found,) = await ask(scene, "-latency")
    assert found.excerpt.startswith("nothing to see here")
    long = "x" * 190
    await learned(scene, summary=f"{long} {filler} gone, quite gone, {long}", about={"target": deployment("long"), "alert": "Long"})
    (found,) = await ask(scene, f"{long} quite gone", alert="Long")
    assert "«gone», «quite» «gone», «xx" in found.excerpt


async def test_a_query_of_a_megabyte_is_refused_and_long_texts_are_kept(scene: Scene) -> None:
    operation = await learned(scene, summary="記憶體不足" * 400, error="", about={"alert": "A" * 900})
    with pytest.raises(QueryTooLong):
        await ask(scene, "crash " * 2**18)
    assert [one.entry.id for one in await ask(scene, "憶體不 " * 200)] == [operation]


async def test_an_entry_has_all_that_is_known_and_what_people_noted(scene: Scene) -> None:
    incident = await scene.incident()
    operation = await learned(scene, incident=incident, action=SCALE, playbook="more")
    await take(scene.database, [note_row(new_id(scene.now), incident=incident, at=scene.now, text="it needs a bigger node \x1b[31m")])
    async with scene.database.connection() as connection:
        entry = await get_entry(connection, operation)
        assert await get_entry(connection, "none") is None
    assert entry is not None
    assert (entry.incident, entry.alert, entry.anomaly, entry.place) == (
        *(incident, "KubePodCrashLooping", f"KubePodCrashLooping {TARGET.key}", TARGET.key),
    )
    assert (entry.pattern, entry.what, entry.path, entry.playbook) == (
        "scale:prod/shop/api",
        "scale deployment shop/api to 3 replicas",
        "automatic",
        "more",
    )
    assert (entry.result, entry.outcome, entry.verdict, entry.seconds, entry.score) == ("success", "succeeded", "success", 1.5, 1.0)
    assert entry.notes == ("it needs a bigger node [31m",)
    assert {"scale", "deployment", "prod", "shop", "crash", "automatic", "P2", "more"} <= set(entry.tags)
    assert [one.entry.id for one in await ask(scene, "bigger node")] == [operation]
