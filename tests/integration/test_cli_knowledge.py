"""`mend knowledge`, `mend learn`, and how sure a rate is, on a real Postgres, called as the terminal calls them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.cli.application import run
from schemas.words import Outcome, Verdict
from sql import playbooks
from sql.database import Database
from stages.learn.stage import Learn
from tests.integration.scene import TARGET, Scene, deployment
from tests.integration.test_diagnoses import several
from tests.unit.playbook_cases import playbook

Mend = Callable[..., str]
ANOMALY = f"KubePodCrashLooping {TARGET.key}"


@pytest.fixture
def mend(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Mend]:
    """Runs one command; what it says, and with another `code` what it says on stderr."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEND_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("MEND_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("MEND_DATA_FOLDER", str(tmp_path / "data"))

    def call(*arguments: str, code: int = 0) -> str:
        assert run(arguments) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    yield call
    signal.signal(signal.SIGTERM, before)


async def _teach(url: str) -> list[str]:
    """Seven executions about one problem, of which five healed, an eighth of which nobody knows, and another problem.

    Returns the ids of the incidents, oldest first.
    """
    database = await Database(url, size=2).open()
    try:
        return await _taught(Scene(database), Learn(database))
    finally:
        await database.close()


async def _taught(scene: Scene, learn: Learn) -> list[str]:
    incidents = []
    for verdict in (*[Verdict.SUCCESS] * 5, Verdict.FAILED, None):
        incidents.append(await scene.incident())
        ended: dict[str, Any] = {"incident": incidents[-1], "outcome": Outcome.SUCCEEDED if verdict else Outcome.FAILED}
        done = scene.finished(**ended, error="記憶體不足", playbook="book")
        for event in (done, scene.verified(done, verdict, playbook="book")) if verdict else (done,):
            await scene.handle(learn, event)
        await scene.resolve(incidents[-1])
        scene.later(86400)
    unseen = scene.finished(incident=incidents[0])
    for event in (unseen, scene.verified(unseen, measured=False, summary="nothing could be seen")):
        await scene.handle(learn, event)
    return [*incidents, await scene.incident(deployment("web"), alert="QuotaExceeded")]


def test_what_was_learned_is_found_and_summed_up_with_how_sure_it_is(mend: Mend, postgres_url: str) -> None:
    first, *_, other = asyncio.run(_teach(postgres_url))
    found = json.loads(mend("knowledge", "search", "記憶體", "crash", "--json"))
    assert (len(found), found[0]["excerpt"]) == (7, "«記憶體»不足")
    assert len(json.loads(mend("knowledge", "search", "--result", "failed", "--json"))) == 2
    (newest,) = json.loads(mend("knowledge", "search", "記憶體", "--since", "2026-01-07", "--json"))
    assert newest["entry"] == found[0]["entry"]
    assert mend("knowledge", "search", "--alert", "QuotaExceeded") == "Nothing is found.\n"
    said = mend("knowledge", "show", found[0]["entry"]["id"])
    assert "restart deployment shop/api" in said
    assert "KubePodCrashLooping" in mend("knowledge", "search", "--", "-latency")
    for key in (ANOMALY, TARGET.key, first):
        summary = json.loads(mend("learn", "summary", key, "--json"))
        assert (summary["status"], summary["attempts"], summary["successes"], summary["best"]["verb"]) == ("learning", 7, 5, "restart")
        assert summary["interval"]["low"] == pytest.approx(0.3589, abs=1e-4)
    sure = "restart: 5 of 7 healed it before, 71% (36% to 92%), 1.5 s on average"
    assert f"actions   {sure}" in mend("learn", "summary", ANOMALY)
    assert f"recommended  {sure}" in mend("learn", "recommend", ANOMALY)
    assert "which is a default and no finding" in mend("learn", "recommend", other)
    assert "insufficient" in mend("learn", "summary", other)
    assert "71% (36% to 92%)" in mend("trust", "ls")
    (row,) = json.loads(mend("trust", "ls", "--json"))
    assert (row["rate"], row["interval"]["high"]) == (pytest.approx(5 / 7), pytest.approx(0.9178, abs=1e-4))


async def _judge(url: str) -> None:
    """Four diagnoses of which three were borne out or not, with a critic of each, and one action of the playbook `p1`."""
    database = await Database(url, size=2).open()
    try:
        scene, learn = Scene(database), Learn(database)
        async with database.transaction() as connection:
            await playbooks.add_version(connection, playbook(name="p1"), at=scene.now, by="ana")
        for event in await several(scene):
            await scene.handle(learn, event)
    finally:
        await database.close()


def test_it_tells_whose_word_was_right_and_what_reached_farther_than_foreseen(mend: Mend, postgres_url: str) -> None:
    assert mend("learn", "sources").startswith("Nothing is known yet")
    asyncio.run(_judge(postgres_url))
    lines = [line.split("  ") for line in mend("learn", "sources").splitlines()]
    assert [[cell.strip() for cell in line if cell.strip()] for line in lines] == [
        ["SOURCE", "RIGHT", "WRONG", "UNKNOWN", "RATE"],
        ["model llm", "2", "1", "0", "67% (21% to 94%)"],
        ["template templates", "0", "0", "1", "unknown"],
        ["critic of llm that agreed", "1", "0", "0", "100% (21% to 100%)"],
        ["critic of llm that objected", "1", "1", "0", "50% (9% to 91%)"],
    ]
    found = json.loads(mend("learn", "sources", "--json"))
    assert [(one["provider"], one["rate"]) for one in found["sources"]] == [("llm", pytest.approx(2 / 3)), ("templates", None)]
    assert [(one["critic"], one["rate"]) for one in found["critics"]] == [("agreed", 1.0), ("objected", 0.5)]
    assert "reach       farther than foreseen in 1 of 1 that were measured, 100% (21% to 100%)" in mend("playbooks", "show", "p1")
    reach = json.loads(mend("playbooks", "show", "p1", "--json"))["reach"]
    assert (reach["operations"], reach["farther"], reach["interval"]["low"]) == (1, 1, pytest.approx(0.2065, abs=1e-4))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("knowledge", "search", "x" * 2000), "1,000 characters at most"),
        (("knowledge", "search", "--result", "succes"), "did you mean success?"),
        (("knowledge", "search", "--since", "soon"), "'soon' is no time"),
        (("knowledge", "search", "--since", f"{10**12}d"), "is no time"),
        (("knowledge", "show", "none"), "no such entry: `mend knowledge search` lists"),
        (("learn", "summary", "none"), "no incident was ever about that"),
        (("learn", "recommend", "a\nb"), "no incident was ever about that"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(mend: Mend, arguments: tuple[str, ...], said: str) -> None:
    assert said in mend(*arguments, code=1)
