"""What is kept of a snapshot: all of it, cleaned; and what an earlier version kept can still be read."""

from __future__ import annotations

import msgspec

from schemas.evidence import AlertView, Band, MetricView, Sensor, Snapshot
from schemas.words import Worse
from sql.evidence import sanitized
from tests.unit.snapshots import pod, snapshot

BAND = Band(lower=0.3, upper=0.55, expected=0.4, season="daily")
SEEN = snapshot(
    pod("a"),
    sensors=(Sensor(name="workload", seconds=0.1), Sensor(name="alert:prometheus", seconds=8.0, error="no answer within 8 s")),
    metrics=(MetricView(name="memory_ratio", query="q", value=0.93, unit="ratio", worse=Worse.UP, age=1.5, baseline=BAND, note="n"),),
    alerts=(AlertView(name="MemoryHigh", heard=True, fires=True), AlertView(name="Slow", rule=False, heard=False, fires=False)),
)


def test_a_snapshot_is_kept_as_it_is() -> None:
    assert msgspec.json.decode(msgspec.json.encode(sanitized(SEEN)), type=Snapshot) == SEEN


def test_what_was_kept_before_alerts_were_asked_about_is_still_read() -> None:
    kept = msgspec.json.decode(msgspec.json.encode(SEEN))
    del kept["alerts"], kept["metrics"]
    old = msgspec.convert(kept, Snapshot)
    assert (old.alerts, old.metrics, old.measured) == ((), (), True)


def test_what_others_say_is_cleaned() -> None:
    told = "http://ana:sesame-street@prometheus:9090\x1b[31m"
    dirty = msgspec.structs.replace(
        SEEN,
        sensors=(Sensor(name="alert:prometheus", seconds=0.1, error=told),),
        metrics=(msgspec.structs.replace(SEEN.metrics[0], note=told),),
        alerts=(AlertView(name=told, silences=(told,)),),
    )
    kept = msgspec.json.encode(sanitized(dirty)).decode()
    assert "sesame-street" not in kept
    assert "\\u001b" not in kept
