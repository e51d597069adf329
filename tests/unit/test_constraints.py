"""`constraints.txt` pins everything on every Python that is supported, not only on the one that it was compiled with."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PINNED = {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)}


def _needs(name: str, full_version: str) -> set[str]:
    """What a package needs, without its extras, on this Python."""
    version = ".".join(full_version.split(".")[:2])
    environment = {"python_full_version": full_version, "python_version": version, "extra": ""}
    wanted = [Requirement(text) for text in distribution(name).requires or ()]
    return {canonicalize_name(one.name) for one in wanted if one.marker is None or one.marker.evaluate(environment)}


@pytest.mark.parametrize("python", ["3.11.0", "3.11.2", "3.12.0", "3.13.0"])
def test_every_package_has_all_that_it_needs_pinned(python: str) -> None:
    lacking = {name: needs - PINNED for name in sorted(PINNED) if (needs := _needs(name, python)) - PINNED}
    assert not lacking, f"on Python {python}, `make install` refuses what is not pinned"


def test_every_package_that_is_named_says_what_it_is_for() -> None:
    named = {Requirement(text).name for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]}
    rows = re.findall(r"^\| ([\w-]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert named - set(rows) == set()
    assert set(rows) - named - {"Package"} == set()


def test_every_row_of_a_package_says_why_and_what_it_costs() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| [\w-]+ \|.*$", text, re.MULTILINE)]
    full = re.compile(r"[\w-]+\t[^\t]+\t[^\t]+(\t(<?\d+|\u2013)){2}")
    assert [row[0] for row in rows[1:] if not full.fullmatch("\t".join(row))] == []


def test_what_development_and_the_benchmark_need_is_named_too() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {Requirement(text).name for texts in extras.values() for text in texts}
    below = (ROOT / "docs" / "dependencies.md").read_text().partition("For development: ")[2]
    assert needed - set(re.findall(r"[\w-]+", below)) == set()
