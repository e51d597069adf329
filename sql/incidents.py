"""The incidents: what is open, what was done about it, and how it ended. Every stage may ask; each writes only its own part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import Disposition, IncidentState, Severity
from sql.database import Connection, Row

_labels = msgspec.json.Decoder(dict[str, str]).decode
WHAT_LIMIT = 500  # characters of one line of a timeline


class IncidentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One incident. `firing` counts the signals that still speak of it, `signals` all that ever did; times are UTC.

    `alerts` are the names of its alerts in the order they came, 50 at most, and `alert_labels` the labels of the first signal of each
    of the first ten; `services` the ones its alerts named.
    `disposition` is set once it resolved, and becomes a repair where that is verified later; `succeeded`, `effectiveness` (1 to 5)
    and `notes` are its outcome, where known.
    """

    id: str
    key: str
    state: IncidentState
    severity: Severity
    target: Target
    title: str
    alerts: tuple[str, ...]
    labels: dict[str, str]
    opened_at: datetime
    resolved_at: datetime | None
    firing: int
    signals: int = 1
    alert_labels: tuple[dict[str, str], ...] = ()
    services: tuple[str, ...] = ()
    closed_at: datetime | None = None
    executed: bool = False
    rejected: bool = False
    disposition: Disposition | None = None
    succeeded: bool | None = None
    effectiveness: int | None = None
    notes: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it still accepts proposals."""
        return self.state in (IncidentState.INVESTIGATING, IncidentState.MITIGATING)


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done about an incident; `event` is the id of the event that says so, empty for lines left out."""

    incident: str
    event: str
    at: datetime
    by: str
    what: str


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """When something last happened in an incident, None where nothing is known of; `busy` while people or an executor have it in hand."""

    at: datetime | None
    busy: bool


_INCIDENT = """
SELECT i.*, ARRAY(SELECT alert FROM incident_alerts a WHERE a.incident = i.id ORDER BY place LIMIT 50) AS alerts,
       ARRAY(SELECT labels::text FROM incident_alerts a WHERE a.incident = i.id ORDER BY place LIMIT 10) AS alert_labels
  FROM incidents i
"""
_TIMELINE = """
INSERT INTO incident_timeline (incident, event, what, by, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
_TIMELINE_OF = """
SELECT * FROM (
    SELECT *, row_number() OVER (ORDER BY at, place) AS line, count(*) OVER () AS lines FROM incident_timeline WHERE incident = $1
) AS numbered
 WHERE line <= $2 OR line > lines - $3 ORDER BY line
"""
_ACTIVITY = """
SELECT (SELECT max(at) FROM incident_timeline WHERE incident = $1) AS at,
       EXISTS (SELECT FROM operations WHERE incident = $1 AND state = 'running') OR EXISTS (
           SELECT FROM approvals WHERE incident = $1 AND (state = 'waiting'
               OR (state = 'approved' AND finished_at IS NULL AND expires_at > $2))) AS busy
"""
_HOLD_OPEN = "SELECT severity FROM incidents WHERE id = $1 AND state IN ('INVESTIGATING', 'MITIGATING') FOR UPDATE"
_MITIGATING = """
UPDATE incidents SET state = 'MITIGATING', executed = true, automatic = automatic AND $2, succeeded = NULL
 WHERE id = $1 AND state IN ('INVESTIGATING', 'MITIGATING') RETURNING id
"""
_OUTCOME = """
UPDATE incidents SET succeeded = $2, effectiveness = coalesce($3, effectiveness), notes = CASE WHEN $4 = '' THEN notes ELSE $4 END
 WHERE id = $1
"""
_REPAIRED = """
UPDATE incidents SET disposition = CASE WHEN automatic THEN 'auto_repaired' ELSE 'human_approved' END
 WHERE id = $1 AND executed AND disposition IN ('self_resolved', 'rejected')
"""


async def opened_since(connection: Connection, at: datetime) -> int:
    """How many incidents were opened after a time."""
    count: int = await connection.fetchval("SELECT count(*) FROM incidents WHERE opened_at > $1", at)
    return count


async def hold_open(connection: Connection, incident: str) -> Severity | None:
    """The severity of an open incident, of which nothing changes until the transaction ends; None where it is not open, or is not."""
    severity: str | None = await connection.fetchval(_HOLD_OPEN, incident)
    return None if severity is None else Severity(severity)


async def get_incident(connection: Connection, incident: str) -> IncidentRow | None:
    """The incident with this id, or None."""
    row = await connection.fetchrow(_INCIDENT + "WHERE i.id = $1", incident)
    return None if row is None else _incident(row)


async def open_incident_of(connection: Connection, key: str) -> IncidentRow | None:
    """The open incident of a target, by its incident key, or None."""
    row = await connection.fetchrow(_INCIDENT + "WHERE i.key = $1 AND i.state IN ('INVESTIGATING', 'MITIGATING')", key)
    return None if row is None else _incident(row)


async def list_incidents(
    connection: Connection, limit: int = 100, states: Sequence[IncidentState] = (), *, after: str = ""
) -> list[IncidentRow]:
    """The newest incidents first, `limit` at most; only those in one of `states`, where any are named, and those after the one `after`."""
    query = (
        f"{_INCIDENT}WHERE (cardinality($2::text[]) = 0 OR i.state = ANY($2))"
        " AND ($3 = '' OR (i.opened_at, i.id) < (SELECT opened_at, id FROM incidents WHERE id = $3))"
        " ORDER BY i.opened_at DESC, i.id DESC LIMIT $1"
    )
    return [_incident(row) for row in await connection.fetch(query, limit, [str(state) for state in states], after)]


async def firing_signals(connection: Connection, incident: str) -> int:
    """How many signals of the incident still fire; 0 for an unknown one."""
    count = await connection.fetchval("SELECT firing FROM incidents WHERE id = $1", incident)
    return int(count or 0)


async def mark_mitigating(connection: Connection, incident: str, automatic: bool = True) -> bool:
    """Something is being done about it: for who is about to change the world (an observation is no mitigation).

    `automatic` says that no person signed. How an earlier attempt ended counts no more. False for an incident that is not open,
    which is left as it is; an open one cannot end before the transaction does.
    """
    return await connection.fetchval(_MITIGATING, incident, automatic) is not None


async def mark_rejected(connection: Connection, incident: str) -> None:
    """A person rejected an action for it; it is its disposition, if nothing else was executed."""
    await connection.execute("UPDATE incidents SET rejected = true WHERE id = $1", incident)


async def record_outcome(connection: Connection, incident: str, *, succeeded: bool, effectiveness: int | None, notes: str) -> None:
    """How it went: whether the execution succeeded, its effectiveness from 1 to 5 where known, and what was learned.

    A success makes the disposition of an incident that has resolved meanwhile a repair.
    """
    await connection.execute(_OUTCOME, incident, succeeded, effectiveness, clean(notes))
    if succeeded:
        await connection.execute(_REPAIRED, incident)


async def add_timeline(connection: Connection, *, incident: str, event: str, at: datetime, by: str, what: str) -> None:
    """One line of the timeline; the same line of the same event is kept once. The texts are cleaned and bounded."""
    await connection.execute(_TIMELINE, incident, event, clean(what, WHAT_LIMIT), clean(by, 128), at)


async def timeline(connection: Connection, incident: str, limit: int = 1000) -> list[TimelineRow]:
    """Everything that was done about it, oldest first. Of more than `limit` lines, one in the middle says how many are left out."""
    first = (limit + 1) // 2
    rows = await connection.fetch(_TIMELINE_OF, incident, first, limit - first)
    lines = [TimelineRow(**{name: row[name] for name in TimelineRow.__struct_fields__}) for row in rows]
    left_out = rows[0]["lines"] - len(rows) if rows else 0
    if left_out:
        gap = TimelineRow(incident=incident, event="", at=lines[first - 1].at, by="", what=f"… {left_out:,} lines left out …")
        lines.insert(first, gap)
    return lines


async def last_activity(connection: Connection, incident: str, *, now: datetime) -> Activity:
    """When something last happened in an incident, and whether something waits for a signature or is being done."""
    row = await connection.fetchrow(_ACTIVITY, incident, now)
    assert row is not None
    return Activity(at=row["at"], busy=row["busy"])


def target_in(row: Row) -> Target:
    """The target that a row of `incidents` is about."""
    return Target(cluster=row["cluster"], kind=Kind(row["kind"]), namespace=row["namespace"], name=row["name"])


def _incident(row: Row) -> IncidentRow:
    return IncidentRow(
        id=row["id"],
        key=row["key"],
        state=IncidentState(row["state"]),
        severity=Severity(row["severity"]),
        target=target_in(row),
        title=row["title"],
        alerts=tuple(row["alerts"]),
        labels=_labels(row["labels"]),
        opened_at=row["opened_at"],
        resolved_at=row["resolved_at"],
        firing=row["firing"],
        signals=row["signals"],
        alert_labels=tuple(_labels(body) for body in row["alert_labels"]),
        services=tuple(row["services"]),
        closed_at=row["closed_at"],
        executed=row["executed"],
        rejected=row["rejected"],
        disposition=Disposition(row["disposition"]) if row["disposition"] else None,
        succeeded=row["succeeded"],
        effectiveness=row["effectiveness"],
        notes=row["notes"],
    )
