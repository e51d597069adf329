"""The example file and the reference say what the structs say: every setting, with its default and what it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from ops.examination.permissions import manifest
from ops.settings import Settings, load
from ops.settings.reference import document, example, in_force, tables
from ops.settings.shape import Leaf, docstrings, leaves, secret_in

ROOT = Path(__file__).parents[2]
EVERY = list(leaves(Settings))


@pytest.mark.parametrize("leaf", EVERY, ids=lambda leaf: ".".join(leaf.path))
def test_every_setting_says_what_it_is(leaf: Leaf) -> None:
    assert len(leaf.text) > 10, f"{leaf.owner.__name__}.{leaf.field.name} has no docstring"


def test_the_files_are_the_ones_that_the_structs_write() -> None:
    advice = "run `python -m ops.settings.reference`"
    assert (ROOT / "mend.example.toml").read_text("utf-8") == example(), advice
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == document(), advice
    assert (ROOT / "compose" / "rbac.yaml").read_text("utf-8") == manifest(), advice


def test_the_example_loads_and_changes_nothing() -> None:
    assert load(ROOT / "mend.example.toml", {}).settings == Settings()


def test_every_setting_stands_in_the_example_under_its_heading() -> None:
    heading, found = "", set()
    for line in example().splitlines():
        if match := re.fullmatch(r"(?:# )?\[+([\w.]+)\]+", line):
            heading = match[1]
        elif match := re.match(r"(?:# )?(\w+) = ", line):
            found.add(tuple(part for part in (*heading.split("."), match[1]) if part))
    assert {leaf.path for leaf in EVERY} <= found


def test_the_example_loads_with_its_optional_parts_uncommented() -> None:
    text = re.sub(r"(?m)^# (\[\[?(?:clusters|hosts|prometheus|alertmanager|people)\.NAME\]\]?|\w+ = .*)$", r"\1", example())
    raw = tomllib.loads(re.sub(r"(?m)^(freeze = .*|(?:cron|duration|zone|clusters|namespaces|reason) = .*)$", "", text))
    settings = msgspec.convert(raw, Settings, dec_hook=lambda kind, value: kind(value))
    assert set(settings.prometheus) == set(settings.alertmanager) == {"NAME"}
    assert set(settings.clusters) == set(settings.hosts) == set(settings.people) == {"NAME"}


def test_every_secret_is_marked_as_one_in_the_reference() -> None:
    for table in tables():
        for leaf in table.leaves:
            row = next(line for line in document().splitlines() if line.startswith(f"| `{leaf.path[-1]}` |") and leaf.text[:40] in line)
            assert row.endswith("(secret) |") is (secret_in(leaf.field.type) is not None)


def test_what_is_in_force_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "mend.toml"
    file.write_text("[redis]\npartitions = 2\n[people.ann]\ntoken = 'open-sesame-open-sesame'")
    shown = {name: (value, origin) for name, value, origin, _ in in_force(load(file, {"MEND_GATE_MODE": "auto"}))}
    assert shown["redis.partitions"] == (2, "file")
    assert shown["gate.mode"] == ("auto", "environment")
    assert shown["postgres.pool"] == (4, "default")
    assert str(shown["people.ann.token"][0]) == "***"


class Listed(msgspec.Struct):
    """Options whose docstring lists them.

    first   what comes first,
            on two lines
    second  what comes second
    """

    first: int = 1
    second: int = 2


def test_a_docstring_may_stand_in_the_list_of_the_class() -> None:
    assert docstrings(Listed) == {"first": "what comes first, on two lines", "second": "what comes second"}
