"""The stop switch: one row that every stage reads before it proposes, approves or begins anything.

Whoever decides something keeps the switch as it is until the decision is committed (`hold`); whoever throws it waits for those
decisions. So once `stop` is committed, nothing is approved or begun that did not see it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from schemas.action import Action, describe
from schemas.identity import new_id
from schemas.text import clean
from sql.audit import audit_close, audit_open
from sql.database import Connection, Row

_REASON_LIMIT = 500  # characters
_NAME_LIMIT = 128
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('stop_switch', 0))"
_THROW = """
INSERT INTO stop_switch (stopped, by, reason, at, last_stop) VALUES ($1, $2, $3, $4, CASE WHEN $1 THEN $4::timestamptz END)
ON CONFLICT (one) DO UPDATE SET stopped = $1, by = $2, reason = $3, at = $4, last_stop = coalesce(excluded.last_stop, stop_switch.last_stop)
RETURNING *
"""
_UNDER_WAY = """
SELECT o.action, o.incident, o.state = 'running' AS begun, EXISTS (
    SELECT FROM leases l WHERE l.operation = o.id AND l.expires_at > clock_timestamp()) AS held
FROM operations o WHERE o.state IN ('pending', 'running') ORDER BY o.opened_at
"""
_COUNTS = """
SELECT count(*) FILTER (WHERE a.state = 'waiting' AND a.expires_at > $1) AS waiting,
       count(*) FILTER (WHERE a.state = 'approved' AND a.finished_at IS NULL AND a.expires_at > $1
                              AND NOT EXISTS (SELECT FROM operations o WHERE o.approval = a.id)) AS approved
FROM approvals a WHERE a.state IN ('waiting', 'approved')
"""


class SwitchState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether everything is stopped; who changed that last, why and when. `last_stop` is None where it never was."""

    stopped: bool
    by: str = ""
    reason: str = ""
    at: datetime | None = None
    last_stop: datetime | None = None

    @property
    def said(self) -> str:
        """That it is stopped, as a sentence; empty while it is not."""
        if not self.stopped:
            return ""
        since = f" since {self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.at else ""
        return f"Mendstream is stopped by {self.by or 'somebody'}{since}: {self.reason or 'no reason was given'}"

    def ends(self, decided_at: datetime | None) -> str:
        """Why what was decided at that time is not run; empty when the switch does not forbid it. A resumption brings none of it back."""
        if self.stopped:
            return self.said
        if self.last_stop is None or (decided_at is not None and decided_at > self.last_stop):
            return ""
        return f"Mendstream was stopped at {self.last_stop.astimezone(UTC):%Y-%m-%d %H:%M} UTC, after this was approved"


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that has not ended: `begun` when its side effect may have happened, `held` while an executor is at it now."""

    action: Action
    incident: str
    begun: bool
    held: bool

    @property
    def said(self) -> str:
        """What becomes of it after a stop."""
        what = f"{describe(self.action)} (incident {self.incident})"
        if self.held:
            return f"is being tried now, which is not broken off; no further try is made: {what}"
        return f"{'was begun and is looked for, not tried again' if self.begun else 'is not begun any more'}: {what}"


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """What had not ended when it was looked at: operations, approved actions without one, and requests that wait for signatures."""

    operations: tuple[UnderWay, ...]
    approved: int
    waiting: int


async def stop(connection: Connection, *, by: str, reason: str, at: datetime) -> SwitchState:
    """Throws the switch, with a row in the audit log. Waits for the decisions that are being committed now; needs a transaction."""
    return await _throw(connection, stopped=True, by=by, reason=reason, at=at)


async def resume(connection: Connection, *, by: str, at: datetime, reason: str = "") -> SwitchState:
    """Lets it go on, with a row in the audit log. What was approved before the stop is not run all the same; needs a transaction."""
    return await _throw(connection, stopped=False, by=by, reason=reason, at=at)


async def state(connection: Connection) -> SwitchState:
    """The switch at this moment."""
    return _state(await connection.fetchrow("SELECT * FROM stop_switch"))


async def hold(connection: Connection) -> SwitchState:
    """The switch, which stays as it is until the transaction ends."""
    return _state(await connection.fetchrow("SELECT * FROM held_switch()"))


async def in_flight(connection: Connection, *, at: datetime) -> InFlight:
    """What has not ended at this time."""
    rows = await connection.fetch(_UNDER_WAY)
    counts = await connection.fetchrow(_COUNTS, at)
    assert counts is not None
    under_way = (dict(row) | {"action": msgspec.json.decode(row["action"], type=Action)} for row in rows)
    return InFlight(operations=tuple(UnderWay(**fields) for fields in under_way), approved=counts["approved"], waiting=counts["waiting"])


async def _throw(connection: Connection, *, stopped: bool, by: str, reason: str, at: datetime) -> SwitchState:
    by, reason = clean(by, _NAME_LIMIT), clean(reason, _REASON_LIMIT)
    await connection.execute(_LOCK)
    found = _state(await connection.fetchrow(_THROW, stopped, by, reason, at))
    entry = new_id(at)
    what = "stop" if stopped else "resume"
    await audit_open(connection, id=entry, at=at, who=by, what=what, about="everything", input=reason)
    await audit_close(connection, entry, state="success")
    return found


def _state(row: Row | None) -> SwitchState:
    """Without a row nothing says that it may go on."""
    if row is None:
        return SwitchState(stopped=True, reason="the stop switch is missing in the database: `mend resume` makes it again")
    return SwitchState(**{name: row[name] for name in ("stopped", "by", "reason", "at", "last_stop")})
