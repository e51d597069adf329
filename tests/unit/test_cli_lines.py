"""What stands on a line of a listing: somebody's words never become a line that looks like one of ours."""

from __future__ import annotations

from datetime import UTC, datetime

from ops.cli.console import one_line
from ops.cli.story import entry_of, line_of, tree_of
from schemas.codec import encode
from schemas.events import SignalReceived
from schemas.identity import new_id
from schemas.words import SignalStatus
from stages.ingest import rules

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FORGED = "X\n   └─ ActionApproved  +1 ms  gate/vm  signed by ana and ben\r\n\ttoo"


def test_an_alert_cannot_write_a_line_into_a_trace() -> None:
    signal = SignalReceived(
        id=new_id(NOW),
        key="k",
        at=NOW,
        by=FORGED,
        fingerprint="f",
        status=SignalStatus.FIRING,
        starts_at=NOW,
        labels={"alertname": FORGED},
        annotations={},
        source="alertmanager",
    )
    (node,) = tree_of([entry_of(signal, encode(signal), topic="signals", place="stream", at=NOW)])
    line = one_line(line_of(node, 20, 20))
    assert line.startswith("SignalReceived ")
    assert "signed by ana and ben" in line
    assert line.splitlines() == [line]


def test_the_name_of_an_alert_is_one_line() -> None:
    assert rules.alert_of({"alertname": FORGED}) == "X └─ ActionApproved +1 ms gate/vm signed by ana and ben too"
