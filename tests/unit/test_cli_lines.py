"""What stands on a line of a listing: somebody's words never become a line that looks like one of ours."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from ops.cli.console import one_line, print_table
from ops.cli.story import entry_logged, entry_of, line_of, tree_of
from schemas.codec import encode
from schemas.events import IncidentClosed, SignalReceived
from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import SignalStatus
from sql.event_log import LoggedEvent
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


@pytest.mark.parametrize("claimed", [timedelta(days=-323), timedelta(days=323)])
def test_the_time_that_a_signal_claims_is_not_reckoned_with(claimed: timedelta) -> None:
    """What others write to the stream may carry any time; when it entered is known."""
    moment = timedelta(milliseconds=12)
    times: dict[str, Any] = {"starts_at": NOW, "at": NOW + claimed}
    signal = SignalReceived(id=new_id(NOW), key="k", by="p", fingerprint="f", status=SignalStatus.FIRING, labels={}, source="p", **times)
    target = Target(cluster="c", kind=Kind.DEPLOYMENT, namespace="n", name="a")
    later: dict[str, Any] = {"at": NOW + moment, "cause": signal.id, "incident": "i"}
    answer = IncidentClosed(id=new_id(NOW), key="k", by="ingest/h", target=target, **later)
    entries = [
        entry_of(answer, encode(answer), topic="incidents", place="stream", at=NOW + 2 * moment),
        entry_of(signal, encode(signal), topic="signals", place="stream", at=NOW),
    ]
    first, second = tree_of(entries)
    assert (first.entry.type, second.entry.type) == ("SignalReceived", "IncidentClosed")
    assert second.seconds == pytest.approx(0.012)
    assert "00:00:00.000Z" in line_of(first, 20, 20)
    row: dict[str, Any] = {
        "born": NOW,
        "type": "SignalReceived",
        "topic": "signals",
        "by": "p",
        "body": "{}",
        "partition": 0,
        "stored_at": NOW,
    }
    logged = LoggedEvent(id=signal.id, incident="", cause="", at=signal.at, entry=f"{int(NOW.timestamp() * 1000)}-3", **row)
    assert entry_logged(logged, place="archive").known_at == NOW


def test_the_name_of_an_alert_is_one_line() -> None:
    assert rules.alert_of({"alertname": FORGED}) == "X └─ ActionApproved +1 ms gate/vm signed by ana and ben too"


class Terminal(io.StringIO):
    """What is printed on a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int, cells: list[list[str]], titles: list[str]) -> list[str]:
    """The lines of a table on a terminal of this width, without its styles."""
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stdout", terminal)
        print_table(cells, titles)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


def test_what_people_copy_stands_whole_in_a_line_on_a_terminal_of_any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["id", "state", "what", "opened at"]
    words = "KubePodCrashLooping: 容 器 crashes again and again, and nobody knows for how long"
    cells = [[new_id(NOW), "INVESTIGATING", words, "2026-01-01 10:00:00Z"] for _ in range(3)]
    ruled = []
    for width in range(20, 200):
        lines = on_a_terminal(monkeypatch, width, cells, titles)
        for id_, state, *_ in cells:
            assert any(id_ in line and state in line for line in lines), width
        if "─" in lines[1]:
            ruled.append(width)
            assert max(map(cell_len, lines)) <= width
            assert "nobody" in " ".join(lines)
            assert "…" not in " ".join(lines)
    assert ruled == list(range(36 + 13 + 12 + 12 + 3 * 2, 200))


def test_a_terminal_that_is_too_narrow_for_a_table_gets_what_a_pipe_gets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, titles = [[new_id(NOW), "some words", new_id(NOW)]], ["id", "what", "incident"]
    print_table(cells, titles)
    assert on_a_terminal(monkeypatch, 80, cells, titles) == capsys.readouterr().out.splitlines()
    assert len(on_a_terminal(monkeypatch, 120, cells, titles)) > 2
