"""Evidence in short: what an approver reads of metrics, the alert and what could not be seen."""

from __future__ import annotations

import msgspec
import pytest

from ops.cli.incidents import _evidence
from schemas.evidence import AlertView, Band, MetricView, Sensor, Snapshot
from schemas.in_short import from_outside, in_short
from schemas.words import Worse
from sql.evidence import EvidenceRow
from tests.unit.snapshots import host, pod, snapshot, unit

BAND = Band(lower=0.3, upper=0.55, expected=0.4, season="daily")
METRICS = (
    MetricView(name="memory_ratio", query="q", value=0.93, unit="ratio", worse=Worse.UP, baseline=BAND),
    MetricView(name="working_set", query="q", value=2.5 * 2**20, unit="bytes", worse=Worse.UP),
    MetricView(name="cpu_cores", query="q", value=None, unit="cores", worse=Worse.UP, note="no answer within 8 s"),
)
SENSORS = (
    Sensor(name="workload", seconds=0.1),
    Sensor(name="pods", seconds=8.0, error="timeout after 8 s"),
    Sensor(name="metric:memory_ratio", seconds=0.1),
    Sensor(name="metric:cpu_cores", seconds=8.0, error="no answer within 8 s"),
    Sensor(name="metric:all", seconds=30.0, error="no answer before the look had to end"),
    Sensor(name="alert:alertmanager", seconds=8.0, error="no answer within 8 s"),
)
FIRES = AlertView(name="MemoryHigh", rule=True, fires=True)


def test_metrics_have_units_the_alert_its_state_and_what_failed_is_named() -> None:
    seen = snapshot(pod("a"), sensors=SENSORS, metrics=METRICS, alerts=(FIRES,))
    lines = in_short(seen)
    assert lines[:8] == [
        "12:00:00Z, 2 of 6 sensors",
        "alert MemoryHigh: fires (its rule in Prometheus holds)",
        "metric memory_ratio: 93 %, usually 30 % to 55 %",
        "metric working_set: 2.5 MiB",
        "metric cpu_cores: not measured, no answer within 8 s",
        "not seen: metric:all: no answer before the look had to end",
        "not seen: alert:alertmanager: no answer within 8 s",
        "not seen: pods: timeout after 8 s",
    ]
    assert sum("pods: timeout" in line for line in lines) == 1
    assert from_outside(seen) == lines[1:7]


@pytest.mark.parametrize(
    ("view", "line"),
    [
        (
            AlertView(name="A", rule=False, heard=False, fires=False),
            "does not fire now (its rule in Prometheus does not hold, Alertmanager does not",
        ),
        (AlertView(name="A", rule=False, heard=True, fires=True), "fires (its rule in Prometheus does not hold, Alertmanager has it)"),
        (AlertView(name="A", heard=False), "not known whether it fires (Alertmanager does not have it)"),
        (AlertView(name="A", note="Alertmanager forgot it"), "not known whether it fires (Alertmanager forgot it)"),
        (AlertView(name="A"), "not known whether it fires"),
        (AlertView(name="A", heard=True, fires=True, silences=("by ana: x",)), "fires (Alertmanager has it, silenced by ana: x)"),
    ],
)
def test_the_state_of_an_alert_says_who_says_so(view: AlertView, line: str) -> None:
    assert from_outside(snapshot(alerts=(view,)))[0].startswith(f"alert A: {line}")


def test_many_units_of_a_host_do_not_hide_its_metrics_nor_what_failed() -> None:
    units = [unit(f"u{number}.service", "active") for number in range(200)]
    seen = msgspec.structs.replace(host(*units), metrics=METRICS[:1], alerts=(FIRES,), sensors=SENSORS)
    lines = in_short(seen)
    assert len(lines) == 24
    assert any(line.startswith("metric memory_ratio: 93 %") for line in lines)
    assert any("pods: timeout" in line for line in lines)


def rows(**phases: Snapshot) -> list[EvidenceRow]:
    return [EvidenceRow(id=phase, incident="i", phase=phase, snapshot=seen) for phase, seen in phases.items()]


def test_an_incident_shows_what_was_known_from_outside_when_its_action_was_proposed() -> None:
    plain = snapshot(pod("a"))
    known = msgspec.structs.replace(plain, alerts=(FIRES,))
    (only,) = _evidence(rows(proposal=known))
    assert only[0] == "seen"
    assert "alert MemoryHigh: fires" in only[1]
    later = _evidence(rows(proposal=known, before=plain, after=plain))
    assert [name for name, _ in later] == ["seen at first", "seen before", "seen after"]
    assert later[0][1] == "alert MemoryHigh: fires (its rule in Prometheus holds)"
    assert [name for name, _ in _evidence(rows(proposal=plain, before=plain))] == ["seen before"]
