"""The operations ledger and the leases: what makes a side effect happen at most once for each approval.

An operation is unique for its approval. Its state says what is known of the side effect: `pending` nothing was changed,
`running` it may have happened, and the three ends. A lease lets one executor at a time act on a target; its fencing token
grows with each lease, and whoever holds an older one can no longer write to the ledger.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from schemas.action import Action
from schemas.text import clean
from schemas.words import OperationState, Outcome
from sql.database import Connection, Row

_OUTPUT_LIMIT = 8_000  # characters
_ERROR_LIMIT = 2_000

_OPEN = """
INSERT INTO operations (id, approval, incident, target, action, uid, state, awaits, opened_at)
VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8) ON CONFLICT DO NOTHING
"""
_LEASE = """
INSERT INTO leases (target, operation, holder, token, expires_at)
VALUES ($1, $2, $3, nextval('fencing_tokens'), clock_timestamp() + make_interval(secs => $4))
ON CONFLICT (target) DO UPDATE
SET operation = excluded.operation, holder = excluded.holder, token = excluded.token, expires_at = excluded.expires_at
WHERE leases.expires_at <= clock_timestamp()
RETURNING token
"""
_LEFT = """
SELECT operation, extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds FROM leases WHERE target = $1
"""
_HELD = "SELECT true FROM leases WHERE operation = $1 AND expires_at > clock_timestamp() LIMIT 1"
_RENEW = """
UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE target = $1 AND token = $2 AND expires_at > clock_timestamp() RETURNING token
"""
_START = """
UPDATE operations
SET state = 'running', attempts = $4, token = $2, started_at = coalesce(started_at, $3),
    first_token = CASE WHEN first_token = 0 THEN $2 ELSE first_token END,
    before = CASE WHEN before = '' THEN $5 ELSE before END
WHERE id = $1 AND state IN ('pending', 'running') AND token <= $2 RETURNING id
"""
_FINISH = """
UPDATE operations SET state = $3, outcome = $4, output = $5, error = $6, finished_at = $7, token = $2
WHERE id = $1 AND state IN ('pending', 'running') AND token <= $2 RETURNING id
"""
_AGAIN = """
UPDATE operations SET state = $3, awaits = $4, error = $5, token = $2
WHERE id = $1 AND state IN ('pending', 'running') AND token <= $2 RETURNING id
"""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger.

    `attempts` is the number of the newest attempt that began the side effect, `first_token` the fencing token of the first one (0:
    none did), `before` a snapshot's id. `awaits` is the id of
    the one event that may drive the operation on: a second announcement of the same approval, forged or not, moves nothing.
    """

    id: str
    approval: str
    incident: str
    target: str
    action: Action
    uid: str
    state: OperationState
    attempts: int
    token: int
    first_token: int
    awaits: str
    before: str
    opened_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    outcome: Outcome | None
    output: str
    error: str

    @property
    def ended(self) -> bool:
        return self.state not in (OperationState.PENDING, OperationState.RUNNING)


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to act on a target, for a while. `token` is the fencing token."""

    target: str
    token: int


class LeaseHeld(msgspec.Struct, frozen=True, kw_only=True):
    """Another executor holds the target for `operation`, for `seconds` more at most."""

    operation: str
    seconds: float


async def open_operation(
    connection: Connection,
    *,
    id: str,  # noqa: A002
    approval: str,
    incident: str,
    action: Action,
    uid: str,
    awaits: str,
    at: datetime,
) -> Operation:
    """The operation of an approval, made as `pending` where there is none; its row is locked until the transaction ends."""
    body = msgspec.json.encode(action).decode()
    await connection.execute(_OPEN, id, approval, incident, action.target.key, body, uid, awaits, at)
    row = await connection.fetchrow("SELECT * FROM operations WHERE approval = $1 FOR UPDATE", approval)
    assert row is not None
    return _operation(row)


async def get_operation(connection: Connection, approval: str, *, lock: bool = False) -> Operation | None:
    """The operation of an approval, or None; `lock` keeps its row until the transaction ends."""
    row = await connection.fetchrow(f"SELECT * FROM operations WHERE approval = $1{' FOR UPDATE' if lock else ''}", approval)
    return None if row is None else _operation(row)


async def list_operations(connection: Connection, *, incident: str = "", limit: int = 100) -> list[Operation]:
    """The newest first, of one incident or of all."""
    rows = await connection.fetch(
        "SELECT * FROM operations WHERE $1 = '' OR incident = $1 ORDER BY opened_at DESC, id DESC LIMIT $2", incident, limit
    )
    return [_operation(row) for row in rows]


async def take_lease(connection: Connection, *, target: str, operation: str, holder: str, seconds: float) -> Lease | LeaseHeld:
    """A new lease of the target where nobody holds one, with a fencing token above all before; else who holds it."""
    token = await connection.fetchval(_LEASE, target, operation, holder, seconds)
    if token is not None:
        return Lease(target=target, token=token)
    row = await connection.fetchrow(_LEFT, target)
    if row is None:
        return LeaseHeld(operation="", seconds=0.0)
    return LeaseHeld(operation=row["operation"], seconds=max(row["seconds"], 0.0))


async def is_held(connection: Connection, operation: str) -> bool:
    """Whether an executor holds a lease for the operation at this moment."""
    return await connection.fetchval(_HELD, operation) is not None


async def renew_lease(connection: Connection, lease: Lease, *, seconds: float) -> bool:
    """Holds the lease for `seconds` from now; False when it has expired or is another's."""
    return await connection.fetchval(_RENEW, lease.target, lease.token, seconds) is not None


async def release_lease(connection: Connection, lease: Lease) -> None:
    """Gives the target free, unless another has taken it meanwhile."""
    await connection.execute("DELETE FROM leases WHERE target = $1 AND token = $2", lease.target, lease.token)


async def start_operation(
    connection: Connection,
    id: str,  # noqa: A002
    lease: Lease,
    *,
    attempt: int,
    at: datetime,
    before: str,
) -> bool:
    """pending or running → running, with the first `before` that is given. False when the fencing token is no longer the newest."""
    return await connection.fetchval(_START, id, lease.token, at, attempt, before) is not None


async def finish_operation(
    connection: Connection,
    id: str,  # noqa: A002
    lease: Lease,
    *,
    state: OperationState,
    outcome: Outcome,
    at: datetime,
    output: str = "",
    error: str = "",
) -> bool:
    """Ends the operation; False when it had ended or the fencing token is no longer the newest: nothing was changed."""
    texts = clean(output, _OUTPUT_LIMIT), clean(error, _ERROR_LIMIT)
    return await connection.fetchval(_FINISH, id, lease.token, state.value, outcome.value, *texts, at) is not None


async def defer_operation(
    connection: Connection,
    id: str,  # noqa: A002
    lease: Lease,
    *,
    state: OperationState,
    awaits: str,
    error: str,
) -> bool:
    """Leaves the operation to a later attempt: `pending` when nothing was changed, `running` when that cannot be said."""
    return await connection.fetchval(_AGAIN, id, lease.token, state.value, awaits, clean(error, _ERROR_LIMIT)) is not None


def _operation(row: Row) -> Operation:
    fields = dict(row) | {
        "action": msgspec.json.decode(row["action"], type=Action),
        "state": OperationState(row["state"]),
        "outcome": Outcome(row["outcome"]) if row["outcome"] else None,
    }
    return Operation(**fields)
