"""The signals behind the incidents: which occurrence of which alert is known, and what it opens, joins or ends.

Everything here runs in the transaction of the ingest stage, under the lock of the signal's fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.target import Target
from schemas.words import Disposition, Severity
from sql.database import Connection, Row
from sql.incidents import target_in


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """One alert from one start. `open` means that it counts among the firing signals of `incident`.

    `began_at` is `starts_at`, or when it was first heard, if that was earlier: some senders date starts into the future.
    """

    starts_at: datetime
    began_at: datetime
    fired: bool
    resolved: bool
    open: bool
    incident: str


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The incident after a signal joined it: `opened` by this one, `rose` in severity because of it."""

    id: str
    target: Target
    severity: Severity
    opened: bool
    rose: bool
    firing: int
    signals: int


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """The incident after one of its signals ended, and what had been done about it by then."""

    id: str
    key: str
    target: Target
    severity: Severity
    firing: int
    signals: int
    opened_at: datetime
    executed: bool
    automatic: bool
    rejected: bool
    succeeded: bool | None


_KNOWN = "SELECT starts_at, began_at, fired, resolved, open, incident FROM known_occurrences($1, $2)"
_RECORD = """
INSERT INTO signals (fingerprint, starts_at, fired, resolved, open, incident, alert, severity, source, event, heard_at, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (fingerprint, starts_at) DO UPDATE
   SET fired = signals.fired OR EXCLUDED.fired, resolved = signals.resolved OR EXCLUDED.resolved,
       open = EXCLUDED.open, ends_at = coalesce(EXCLUDED.ends_at, signals.ends_at)
"""
_END = "UPDATE signals SET open = false WHERE fingerprint = $1 AND open"
_JOIN = """
INSERT INTO incidents (id, key, state, severity, cluster, kind, namespace, name, title, labels, services, firing, signals, opened_at)
VALUES ($1, $2, 'INVESTIGATING', $3, $4, $5, $6, $7, $8, $9, $10, 1, 1, $11)
ON CONFLICT (key) WHERE state IN ('INVESTIGATING', 'MITIGATING') DO UPDATE
   SET firing = incidents.firing + 1, signals = incidents.signals + 1,
       rose = EXCLUDED.severity < incidents.severity, severity = least(incidents.severity, EXCLUDED.severity),
       services = (SELECT coalesce(array_agg(DISTINCT s), '{}') FROM unnest((incidents.services || EXCLUDED.services)[:32]) s)
RETURNING *, id = $1 AS opened
"""
_REPLACE = """
UPDATE incidents SET signals = signals + 1, rose = $2 < severity, severity = least(severity, $2) WHERE id = $1
RETURNING *, false AS opened
"""
_LEAVE = """
UPDATE incidents SET firing = firing - 1 WHERE id = $1 AND state IN ('INVESTIGATING', 'MITIGATING') RETURNING *
"""
_ALERT = """
WITH fresh AS (
    INSERT INTO incident_alerts (incident, alert, anomaly, labels) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING anomaly
)
SELECT 1 + (SELECT count(*) FROM incident_alerts a WHERE a.anomaly = fresh.anomaly) FROM fresh
"""
_RESOLVE = "UPDATE incidents SET state = 'RESOLVED', resolved_at = $2, disposition = $3 WHERE id = $1"
_CLOSE = "UPDATE incidents SET state = 'CLOSED', closed_at = $2 WHERE id = $1 AND state = 'RESOLVED' RETURNING *"


async def known(connection: Connection, fingerprint: str, starts_at: datetime) -> Sequence[Occurrence]:
    """Of the alert's occurrences: the one from `starts_at`, the newest and the open one, as far as they exist.

    Until the end of the transaction, nobody else decides about this fingerprint.
    """
    return [Occurrence(**dict(row)) for row in await connection.fetch(_KNOWN, fingerprint, starts_at)]


async def record(
    connection: Connection,
    *,
    fingerprint: str,
    starts_at: datetime,
    ends_at: datetime | None = None,
    fired: bool = False,
    resolved: bool = False,
    incident: str = "",
    is_open: bool = False,
    alert: str,
    severity: Severity,
    source: str,
    event: str,
    heard_at: datetime,
) -> None:
    """Keeps the occurrence, or what is new about it."""
    values = (fingerprint, starts_at, fired, resolved, is_open, incident, alert, str(severity), source, event, heard_at, ends_at)
    await connection.execute(_RECORD, *values)


async def end_open(connection: Connection, fingerprint: str) -> None:
    """The open occurrence of the alert, if there is one, no longer fires."""
    await connection.execute(_END, fingerprint)


async def join_or_open(
    connection: Connection,
    *,
    id: str,  # noqa: A002
    target: Target,
    severity: Severity,
    title: str,
    labels: dict[str, str],
    services: Sequence[str],
    at: datetime,
) -> Joined:
    """One more signal fires about the target: it joins the open incident, or opens one with this id.

    Two at once: the second waits for the first and joins it.
    """
    place = (str(target.cluster), str(target.kind), target.namespace, target.name)
    body = msgspec.json.encode(labels).decode()
    return _joined(await connection.fetchrow(_JOIN, id, target.key, str(severity), *place, title, body, list(services), at))


async def join_again(connection: Connection, incident: str, severity: Severity) -> Joined:
    """A newer occurrence takes the place of the alert's open one in the same incident: as many fire as before."""
    return _joined(await connection.fetchrow(_REPLACE, incident, str(severity)))


async def leave(connection: Connection, incident: str) -> Left | None:
    """One signal less fires; None when the incident is not open. The incident stays locked until the transaction ends."""
    row = await connection.fetchrow(_LEAVE, incident)
    if row is None:
        return None
    return Left(
        id=row["id"],
        key=row["key"],
        target=target_in(row),
        severity=Severity(row["severity"]),
        firing=row["firing"],
        signals=row["signals"],
        opened_at=row["opened_at"],
        executed=row["executed"],
        automatic=row["automatic"],
        rejected=row["rejected"],
        succeeded=row["succeeded"],
    )


async def count_alert(connection: Connection, incident: str, *, alert: str, anomaly: str, labels: dict[str, str]) -> int:
    """Notes that the incident is about this problem; how often it came, this time included, or 0 when that was noted before.

    The labels of its first signal are kept, by which others can be asked about it.
    """
    body = msgspec.json.encode(labels).decode()
    return int(await connection.fetchval(_ALERT, incident, alert, anomaly, body) or 0)


async def resolve(connection: Connection, incident: str, *, disposition: Disposition, at: datetime) -> None:
    """The last signal ended: the incident is resolved."""
    await connection.execute(_RESOLVE, incident, at, str(disposition))


async def close(connection: Connection, incident: str, *, at: datetime) -> Target | None:
    """Closes a resolved incident and returns its target; None when it is in another state."""
    row = await connection.fetchrow(_CLOSE, incident, at)
    return None if row is None else target_in(row)


def _joined(row: Row | None) -> Joined:
    assert row is not None
    return Joined(
        id=row["id"],
        target=target_in(row),
        severity=Severity(row["severity"]),
        opened=row["opened"],
        rose=row["rose"],
        firing=row["firing"],
        signals=row["signals"],
    )
