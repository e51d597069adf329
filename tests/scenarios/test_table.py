"""The page of scenarios is written anew as a whole, and names exactly those that there are."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import __main__ as command
from tests.scenarios.run import Report, catalogue
from tests.scenarios.scenario import Result
from tests.scenarios.table import page, plain, rows

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"
AT = datetime(2026, 1, 2, tzinfo=UTC)


def report(result: Result = Result.ALONE, **fields: Any) -> Report:
    return Report(scenario=next(iter(catalogue().values())), result=result, **fields)


def named(text: str) -> list[str]:
    """The scenarios in the table of a page."""
    names = re.findall(r"^\| (.+?)(?: \(twin\))? \| (?:healed|left to people|left alone|wrongly acted|missed) \|", text, re.MULTILINE)
    return sorted(names)


def test_the_page_names_every_scenario_once_and_no_other() -> None:
    everything = [Report(scenario=one, result=Result.ALONE) for one in catalogue().values()]
    assert named(page(everything, AT)) == sorted(catalogue())


def test_the_page_that_is_kept_is_one_of_these_scenarios_and_this_text() -> None:
    kept = PAGE.read_text("utf-8")
    assert named(kept) == sorted(catalogue()), "run `make scenarios`: it writes the page anew"
    head = page([], AT).partition("Measured on")[0]
    assert kept.startswith(head), "run `make scenarios`: it writes the page anew"
    assert f" 0 {Result.WRONG}, 0 {Result.MISSED}." in kept


def test_the_page_speaks_of_the_settings_that_are_in_force() -> None:
    assert "2 s to settle, then a hold-down of\n12 s in" in page([], AT)


def test_what_went_wrong_comes_first_with_all_that_is_known_of_it() -> None:
    wrong = report(Result.WRONG, wrong=("a pod was deleted",), error="no end | in\nsight", how="restarted")
    found = rows([report(how="looked"), report(Result.MISSED, error="too slow"), wrong])
    assert [row[1:] for row in found] == [
        ("wrongly acted", "", "a pod was deleted; no end | in\nsight"),
        ("missed", "", "too slow"),
        ("left alone", "", "looked"),
    ]
    assert "a pod was deleted; no end \\| in sight |" in page([wrong], AT)
    assert plain([wrong]).endswith("0 healed, 0 left to people, 0 left alone, 1 wrongly acted, 0 missed")


@pytest.mark.parametrize(("words", "written"), [([], True), (["room"], False)])
def test_the_page_is_written_only_when_all_were_run(
    words: list[str], written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "scenarios.md"
    kept.write_text("stale, and longer than what is written now" * 1000)

    async def play(names: list[str], _: str) -> dict[str, Report]:
        return {name: Report(scenario=catalogue()[name], result=Result.ALONE) for name in names}

    monkeypatch.setattr(command, "play", play)
    monkeypatch.setattr(command, "SSHD", "/usr/sbin/sshd")
    monkeypatch.setattr(command, "_PAGE", kept)
    monkeypatch.setattr(sys, "argv", ["scenarios", *words])
    monkeypatch.setenv("MEND_TEST_KUBECONFIG", "somewhere")
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code is False
    assert ("stale" not in kept.read_text()) is written
    if written:
        assert named(kept.read_text()) == sorted(catalogue())
