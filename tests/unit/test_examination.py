"""What the doctor says of what it has found, without the things themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.inspect import GroupRow, StreamRow
from ops.examination.channels import of_channels
from ops.examination.finding import Finding, Level
from ops.examination.machine import of_settings
from ops.examination.stores import of_groups
from ops.settings import Loaded, PersonSettings, Settings
from ops.wiring import topology
from schemas.secret import Secret, Token
from stages.gate.options import GateOptions
from stages.notify.options import NotifyOptions, SlackOptions


def everything(**changed: GroupRow) -> list[StreamRow]:
    """Every stream with its groups, each with one consumer and nothing to do, save those changed."""
    topics: dict[str, list[GroupRow]] = {}
    for group, names in topology().items():
        for topic in names:
            topics.setdefault(topic, []).append(changed.get(group, GroupRow(group, 0, 0, 0.0, 1)))
    return [StreamRow(0, topic, 1, tuple(groups)) for topic, groups in topics.items()]


def test_groups_that_are_there_and_keep_up_are_fine() -> None:
    (found,) = of_groups(everything(gate=GroupRow("gate", 3, 2, 1.0, 2)))
    assert found.level is Level.FINE


def test_a_group_with_something_to_read_and_nobody_who_reads_is_wrong() -> None:
    found = of_groups(everything(ingest=GroupRow("ingest", 7, 0, 1.0, 0)))
    assert {one.level for one in found} == {Level.WRONG}
    assert "7 entries of signals wait for ingest, and no process of it reads there" in [one.said for one in found]
    assert "mend up --stage ingest" in found[0].mend


def test_a_group_without_consumers_and_with_nothing_to_read_is_no_finding() -> None:
    (found,) = of_groups(everything(learn=GroupRow("learn", 0, 0, 0.0, 0)))
    assert found.level is Level.FINE


def test_a_group_that_is_behind_is_a_warning() -> None:
    found = of_groups(everything(notify=GroupRow("notify", 5, 0, 500.0, 1)))
    assert {one.level for one in found} == {Level.WARNING}
    assert "notify is 500 s behind" in found[0].said


def people(*names: str, policy: str = "") -> list[Finding]:
    """What the doctor says of these people, with this policy."""
    settings = Settings(
        people={name: PersonSettings(token=Token("a token that is long enough")) for name in names},
        gate=GateOptions(policy=policy),
    )
    loaded = Loaded(settings=settings, file=None, variables=())
    return [finding for finding in of_settings(loaded) if finding.about in ("people", "policy")]


@pytest.mark.parametrize(
    ("names", "level", "said"),
    [
        ((), Level.NOTE, "some actions need 2 signatures, and nobody is listed"),
        (("ana",), Level.WARNING, "only 1 person is listed: they can never run"),
        (("ana", "ben"), Level.FINE, "2 may sign"),
    ],
)
def test_too_few_people_for_the_signatures_are_told(names: tuple[str, ...], level: Level, said: str) -> None:
    (found,) = people(*names)
    assert found.level is level
    assert said in found.said
    assert level is Level.FINE or "[people.NAME]" in found.mend


@pytest.mark.parametrize(
    ("secret", "accounts", "level", "said"),
    [
        ("", ("U1", "U2"), Level.NOTE, "its cards have no buttons"),
        ("proof", ("", ""), Level.WARNING, "nobody who presses a button there would be heard"),
        ("proof", ("U1", "U1"), Level.WRONG, "is the account of ana as well"),
        ("proof", ("U1", "U2"), Level.FINE, "2 people may press"),
    ],
)
def test_whether_somebody_could_press_a_button_is_told(secret: str, accounts: tuple[str, str], level: Level, said: str) -> None:
    slack = SlackOptions(token=Token("a token that is long enough"), channel="C1", signing_secret=Secret(secret))
    listed = {name: PersonSettings(slack=account) for name, account in zip(("ana", "ben"), accounts, strict=True)}
    (found,) = of_channels(Settings(notify=NotifyOptions(slack=slack), people=listed))
    assert (found.about, found.level) == ("slack", level)
    assert said in found.said
    assert list(of_channels(Settings())) == []


def test_where_one_signature_is_enough_nobody_needs_to_be_listed(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrules: [{name: everything, effect: {signatures: 1}}]\n")
    assert people(policy=str(tmp_path / "policy.yaml")) == []


def test_a_policy_that_cannot_be_meant_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrules:\n- {name: Everything, effect: {signatures: 1}}\n")
    (found,) = people("ana", "ben", policy=str(tmp_path / "policy.yaml"))
    assert (found.level, found.about) == (Level.WRONG, "policy")
    assert "policy.yaml:3: a name has" in found.said
