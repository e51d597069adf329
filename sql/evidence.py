"""Evidence: what was measured of a target, stored once and named by its id in events. Free text is cleaned before it is kept."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from schemas.evidence import AlertView, EventView, Sensor, Snapshot
from schemas.text import clean, clean_labels
from sql.database import Connection

Phase = Literal["proposal", "before", "after"]

_MESSAGE = 1_000  # characters of one event's message or one sensor's error
_LOG = 8_000  # characters of the last lines of one container
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode

_STORE = """
INSERT INTO evidence (id, incident, phase, target, at, body) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING
"""
_NEWEST = """
SELECT id, incident, phase, body FROM (
    SELECT *, row_number() OVER (PARTITION BY phase ORDER BY at DESC, id DESC) AS place FROM evidence WHERE incident = $1
) AS placed WHERE place <= $2 ORDER BY at, id
"""


class EvidenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot with what it was taken for."""

    id: str
    incident: str
    phase: str
    snapshot: Snapshot


async def store_snapshot(connection: Connection, *, id: str, incident: str, phase: Phase, snapshot: Snapshot) -> None:  # noqa: A002
    """Keeps a snapshot under its id; the same id again changes nothing."""
    body = _encode(sanitized(snapshot)).decode()
    await connection.execute(_STORE, id, incident, phase, snapshot.target.key, snapshot.at, body)


async def get_snapshot(connection: Connection, id: str) -> Snapshot | None:  # noqa: A002
    """The snapshot of that id, or None."""
    body = await connection.fetchval("SELECT body FROM evidence WHERE id = $1", id)
    return None if body is None else _decode(body)


async def evidence_of(connection: Connection, incident: str, *, most: int = 5) -> list[EvidenceRow]:
    """The newest snapshots of an incident, `most` of each phase, oldest first."""
    rows = await connection.fetch(_NEWEST, incident, most)
    return [EvidenceRow(id=row["id"], incident=row["incident"], phase=row["phase"], snapshot=_decode(row["body"])) for row in rows]


def sanitized(snapshot: Snapshot) -> Snapshot:
    """The snapshot with every free text bounded, printable and without secrets.

    Names, UIDs and images are the cluster's own identifiers, which its API has validated, and stay as they are.
    """
    changes: dict[str, Any] = {
        "sensors": tuple(_sensor(sensor) for sensor in snapshot.sensors),
        "events": tuple(_event(event) for event in snapshot.events),
        "logs": {name: clean(text, _LOG) for name, text in snapshot.logs.items()},
        "metrics": tuple(msgspec.structs.replace(metric, note=clean(metric.note, _MESSAGE)) for metric in snapshot.metrics),
        "alerts": tuple(_alert(alert) for alert in snapshot.alerts),
    }
    if snapshot.workload is not None:
        changes["workload"] = msgspec.structs.replace(
            snapshot.workload,
            labels=clean_labels(snapshot.workload.labels),
            annotations=clean_labels(snapshot.workload.annotations),
            progress_failed=clean(snapshot.workload.progress_failed, _MESSAGE),
        )
    return msgspec.structs.replace(snapshot, **changes)


def _alert(alert: AlertView) -> AlertView:
    silences = tuple(clean(silence, _MESSAGE) for silence in alert.silences)
    return msgspec.structs.replace(alert, name=clean(alert.name, 256), silences=silences)


def _sensor(sensor: Sensor) -> Sensor:
    return msgspec.structs.replace(sensor, error=clean(sensor.error, _MESSAGE))


def _event(event: EventView) -> EventView:
    return msgspec.structs.replace(event, reason=clean(event.reason, 128), message=clean(event.message, _MESSAGE))
