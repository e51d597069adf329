"""What the benchmark says of lost and doubled events is itself tested: its witness must see what is wrong."""

from __future__ import annotations

from tests.bench.sections.storm import _told
from tests.bench.witness import Witness


def test_the_witness_is_held_against_the_event_log() -> None:
    witness = Witness()
    witness.seen.update([("signals", "a"), ("signals", "b"), ("incidents", "a")])
    assert witness.doubled == 0
    assert witness.against({("signals", "a"), ("signals", "b"), ("incidents", "a")}) == []
    assert witness.against({("signals", "a"), ("incidents", "a")}) == ["1 events of the streams are not in the event log"]
    assert witness.against({*witness.seen, ("votes", "c")}) == ["1 events of the event log were never in a stream"]
    witness.seen.update([("signals", "a")])
    assert witness.doubled == 1


def test_a_quantile_of_too_few_values_is_not_told() -> None:
    assert [_told([2.0], share) for share in (0.5, 0.99)] == ["2.00 s", "-"]
    assert [_told([], share) for share in (0.5, 0.99)] == ["-", "-"]
    assert _told([float(number) for number in range(1000)], 0.99) == "990.00 s"
