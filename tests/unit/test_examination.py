"""What the doctor says of what it has found, without the things themselves."""

from __future__ import annotations

from bus.inspect import GroupRow, StreamRow
from ops.examination.finding import Level
from ops.examination.stores import of_groups
from ops.wiring import topology


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
