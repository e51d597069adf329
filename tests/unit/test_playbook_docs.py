"""docs/playbooks.md says what there is: every fact, every alert of the catalogue, and an example that is right."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from ops.catalogue import built_in, read_all
from schemas.facts import FACTS
from schemas.matchers import parse_selector
from schemas.playbook_file import read_playbook
from stages.propose.playbooks.similarity import WEIGHTS

PAGE = (Path(__file__).parents[2] / "docs" / "playbooks.md").read_text()
TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@pytest.mark.parametrize("name", FACTS)
def test_every_fact_is_told(name: str) -> None:
    fact = FACTS[name]
    assert f"| `{name}` | {TYPES[fact.type]} | {fact.says}{' (only before the action)' if fact.before else ''} |" in PAGE


def test_no_other_fact_is_told() -> None:
    told = set(re.findall(r"^\| `([a-z_.]+)` \| (?:whole number|number|true or false|text)", PAGE, re.MULTILINE))
    assert told == set(FACTS)


def test_every_alert_of_the_catalogue_is_told() -> None:
    for playbook in read_all(built_in()):
        alerts = ", ".join(f"`{parse_selector(text)[0].value}`" for text in playbook.symptoms.alerts)
        assert f"| {alerts} | {playbook.title} | " in PAGE


def test_the_example_is_right_and_the_weights_are_those_that_count() -> None:
    example = dedent(PAGE[PAGE.index("    name: api-restart") : PAGE.index("`name`, `title`")])
    assert read_playbook(example).name == "api-restart"
    for part, weight in WEIGHTS.items():
        assert f"| {part} | {weight} |" in PAGE
