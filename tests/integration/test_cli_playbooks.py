"""`mend playbooks` on a real Postgres, called as the terminal calls it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ops.cli.application import run
from ops.cli.people import user_of_system

ROOT = Path(__file__).parents[2]
TEXT = """\
name: api-restart
title: Restart what hangs
owner: ana
symptoms: {alerts: ['alertname="KubePodCrashLooping", namespace="shop"']}
steps: [{do: RestartWorkload, when: [evidence.restart.may_help == true]}, {do: Investigate, question: Why}]
"""
Mend = Callable[..., str]


@pytest.fixture
def mend(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Mend]:
    """Runs one command; what it says, and with another `code` what it says on stderr."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEND_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("MEND_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("MEND_DATA_FOLDER", str(tmp_path / "data"))

    def call(*arguments: str, code: int = 0) -> str:
        assert run(["playbooks", *arguments]) == code
        said = capsys.readouterr()
        return said.out if code == 0 or said.out else said.err

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "api-restart.yaml"
    path.write_text(TEXT)
    return path


def statuses(mend: Mend, *arguments: str) -> dict[str, str]:
    return {one["name"]: f"{one['version']} {one['status']}" for one in json.loads(mend("ls", "--json", *arguments))}


async def audited(url: str) -> list[tuple[str, str, str, str]]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch("SELECT who, what, about, state FROM audit_log ORDER BY at, id")
    await connection.close()
    return [tuple(row) for row in rows]


def test_a_playbook_goes_from_a_file_to_approved_and_away_and_each_step_is_audited(mend: Mend, file: Path, postgres_url: str) -> None:
    import asyncio

    assert "There is none" in mend("ls")
    assert mend("import", str(file)) == "draft: api-restart version 1\n"
    assert mend("import", str(file)) == "nothing is new\n"
    file.write_text(TEXT.replace("hangs", "hangs badly"))
    assert mend("import", str(file), "--approve") == "approved: api-restart version 2\n"
    assert mend("approve", "api-restart", "--version", "1") == "api-restart version 1 is approved\n"
    assert "is approved already" in mend("approve", "api-restart", "--version", "1", code=1)
    assert statuses(mend) == {"api-restart": "2 deprecated"}
    assert statuses(mend, "--status", "approved") == {"api-restart": "1 approved"}
    assert mend("deprecate", "api-restart") == "api-restart version 1 is deprecated\n"
    assert statuses(mend, "--status", "approved") == {}
    me = user_of_system()
    first, second = "playbook api-restart version 1", "playbook api-restart version 2"
    assert asyncio.run(audited(postgres_url)) == [
        (me, "import playbook", first, "success"),
        (me, "import playbook", second, "success"),
        (me, "approve playbook", second, "success"),
        (me, "approve playbook", first, "success"),
        (me, "deprecate playbook", first, "success"),
    ]


def test_what_is_exported_is_the_same_playbook(mend: Mend, file: Path) -> None:
    mend("import", str(file))
    file.write_text(mend("export", "api-restart"))
    assert mend("import", str(file)) == "nothing is new\n"
    shown = mend("show", "api-restart")
    assert "Restart what hangs" in shown
    assert "1 draft, by" in shown
    told = json.loads(mend("show", "api-restart", "--json"))
    assert (told["playbook"]["steps"][0]["do"], told["versions"][0]["version"]) == ("RestartWorkload", 1)
    for command in ("show", "export", "approve", "deprecate"):
        assert "there is no playbook nobody" in mend(command, "nobody", code=1)
    assert "of version 7" in mend("show", "api-restart", "--version", "7", code=1)


def test_the_catalogue_is_imported_as_drafts_and_is_left_as_it_is(mend: Mend) -> None:
    assert mend("import", "--builtin").count("draft: ") == 40
    assert mend("import", "--builtin") == "nothing is new\n"
    assert set(statuses(mend).values()) == {"1 draft"}
    listed = json.loads(mend("ls", "--json"))
    assert {one["mode"] for one in listed} == {"assist"}
    assert (listed[0]["rate"], listed[0]["interval"]) == (None, {"low": 0.0, "high": 1.0})
    assert "nothing is named to import" in mend("import", code=1)


def test_files_are_checked_with_file_line_and_column_and_none_is_imported_by_half(mend: Mend, file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(TEXT.replace("RestartWorkload", "Reboot"))
    assert mend("check", str(file)) == "1 files, nothing is wrong\n"
    assert mend("check", str(tmp_path), code=1).startswith(f"{wrong}:5:14: 'Reboot' is no action")
    faults = json.loads(mend("check", str(wrong), "--json", code=1))["faults"]
    assert [(one["line"], one["column"]) for one in faults] == [(5, 14)]
    assert "'Reboot' is no action" in mend("import", str(tmp_path), code=1)
    assert statuses(mend) == {}
    wrong.write_text(TEXT)
    assert "two of the files have a playbook of the name api-restart" in mend("import", str(tmp_path), code=1)
    assert "cannot be read" in mend("check", str(tmp_path / "none.yaml"), code=1)


def test_a_playbook_is_tried_on_a_payload_with_and_without_evidence(mend: Mend, file: Path, tmp_path: Path) -> None:
    import msgspec

    from tests.unit.snapshots import pod, snapshot

    payload = str(ROOT / "tests" / "data" / "playbooks" / "KubePodCrashLooping.json")
    told = mend("test", str(file), payload)
    assert "1.00, 0.85 is needed: it fits" in told
    assert "RestartWorkload is not wanted: evidence.restart.may_help == true is not known" in told
    assert "nothing was looked at" in told
    evidence = tmp_path / "evidence.json"
    evidence.write_bytes(msgspec.json.encode({"evidence": snapshot(pod("a", "crash"))}))
    trial: dict[str, Any] = json.loads(mend("test", str(file), payload, "--evidence", str(evidence), "--json"))
    assert (trial["fits"], trial["proposes"]) == (True, "restart deployment shop/api")
    other = str(ROOT / "tests" / "data" / "playbooks" / "KubeJobFailed.json")
    assert "it does not fit" in mend("test", str(file), other, code=1)
    for wrong in (str(file), str(tmp_path / "none.json")):
        assert "is no webhook payload" in (said := mend("test", str(file), wrong, code=1)) or "cannot be read" in said
    assert "has no evidence as" in mend("test", str(file), payload, "--evidence", other, code=1)


def test_editors_get_a_json_schema(mend: Mend) -> None:
    schema = json.loads(mend("schema"))
    assert schema["title"] == "Playbook"
    assert "RestartWorkload" in schema["$defs"]
