"""`mend gate` at a terminal: a policy is checked and tried without stores, and its faults stop the start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.gate.policy_file import default_policy
from tests.integration.mend_process import ROOT, Mend, installation

PAYLOAD = str(ROOT / "tests" / "data" / "alertmanager-0.27-group.json")
RULES = "version: 1\nrules:\n- {name: all, effect: {signatures: 0}}\n- {name: scale, match: {action: scale}, effect: {signatures: 2}}\n"


@pytest.fixture(scope="module")
def mend() -> Iterator[Mend]:
    with installation() as mend:
        yield mend


@pytest.fixture(scope="module")
def file(mend: Mend) -> Path:
    (mend.folder / "policy.yaml").write_text(RULES)
    return mend.folder / "policy.yaml"


def test_a_policy_is_checked_with_file_and_line(mend: Mend, file: Path) -> None:
    assert "policy.yaml is right: 2 rules, version " in mend.said("gate", "check", "policy.yaml")
    (mend.folder / "wrong.yaml").write_text(RULES.replace("scale}", "scal}"))
    assert "wrong.yaml:4: there is no action 'scal'; did you mean scale?" in mend.wrong("gate", "check", "wrong.yaml")
    assert "absent.yaml cannot be read" in mend.wrong("gate", "check", "absent.yaml")
    (mend.folder / "mine.yaml").write_text(mend.said("gate", "show"))
    assert mend.json("gate", "check", "mine.yaml")["version"] == default_policy().version


def test_a_process_does_not_start_with_a_policy_that_is_wrong(mend: Mend) -> None:
    (mend.folder / "wrong.yaml").write_text(RULES.replace("scale}", "scal}"))
    assert "wrong.yaml:4: there is no action 'scal'" in mend.wrong("up", "--sandbox", MEND_GATE_POLICY="wrong.yaml")


def test_a_policy_is_tried_on_a_payload(mend: Mend, file: Path) -> None:
    rows = mend.json("gate", "test", "policy.yaml", PAYLOAD, "--mode", "auto", "--action", "scale", "--action", "restart")
    assert {(row["action"], row["said"], row["signatures"], row["rule"]) for row in rows} == {
        ("scale", "asks people", 2, "scale"),
        ("restart", "runs alone", 0, "all"),
    }
    assert {row["rule"] for row in mend.json("gate", "test", "policy.yaml", PAYLOAD, "--tier", "blocked", "--action", "scale")} == {
        "blocked"
    }
    assert "did you mean scale?" in mend.wrong("gate", "test", "policy.yaml", PAYLOAD, "--action", "scal")
    assert "the payload is none of Alertmanager's" in mend.wrong("gate", "test", "policy.yaml", "-", stdin="{}")
