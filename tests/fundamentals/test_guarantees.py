"""docs/guarantees.md names its proofs: every test that it names exists, and no promise stands without proof and limit."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "guarantees.md").read_text()
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Promise")]
PROOF = re.compile(r"`([\w/.]+\.py)::(test_\w+)`")
PROMISES = [(promise, PROOF.findall(proof), limit) for promise, proof, limit in ROWS]
FIRST_WORDS = 5
NAMED = sorted({named for _, proofs, _ in PROMISES for named in proofs})


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the tests in a file under `tests/`."""
    tree = ast.parse((TESTS / file).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_proof_is_a_test(file: str, name: str) -> None:
    assert name in names_in(file), f"docs/guarantees.md names {file}::{name}"


@pytest.mark.parametrize(("promise", "proofs", "limit"), PROMISES)
def test_every_promise_has_a_proof_and_says_its_limit(promise: str, proofs: list[tuple[str, str]], limit: str) -> None:
    assert promise.strip()
    assert proofs, f"no proof of: {promise}"
    assert limit.strip(), f"no limit of: {promise}"


def test_the_ten_promises_of_the_bus_are_all_there() -> None:
    numbers = [int(number) for promise, _, _ in PROMISES for number in re.findall(r"\*\*(\d+)\. ", promise)]
    assert numbers == list(range(1, 11))


def test_no_promise_is_made_twice() -> None:
    """Two rows that begin alike are one promise told in two ways, and one of them is soon untrue."""
    beginnings = [" ".join(promise.split()[:FIRST_WORDS]) for promise, _, _ in PROMISES]
    assert [words for words, times in Counter(beginnings).items() if times > 1] == []


def test_nothing_else_looks_like_a_proof() -> None:
    assert PAGE.count("::test_") == sum(len(proofs) for _, proofs, _ in PROMISES)
