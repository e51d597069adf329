"""Decisions of the gate, each with all that it rested on, so that it can be explained later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from schemas.action import Action
from schemas.words import Mode, Risk
from sql.database import Connection, Row


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate decided of one proposal. `approval` is empty where it was held; `risk_after` is the risk after trust; `policy`
    the version of the policy that was in force."""

    proposal: str
    approval: str
    incident: str
    at: datetime
    pattern: str
    action: Action
    held: bool
    rule: str
    reasons: tuple[str, ...]
    mode: Mode
    risk_before: Risk
    risk_after: Risk
    trust: int
    needed: int
    inputs: dict[str, Any]
    policy: str = ""


_PLAIN = ("proposal", "approval", "incident", "at", "pattern", "held", "rule", "trust", "needed", "policy")
_action = msgspec.json.Decoder(Action)
_reasons = msgspec.json.Decoder(tuple[str, ...])
_inputs = msgspec.json.Decoder(dict[str, Any])
_INSERT = """
INSERT INTO decisions (
    proposal, approval, incident, at, pattern, action, held, rule, reasons, mode, risk_before, risk_after, trust, needed, inputs,
    policy
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""


async def record_decision(connection: Connection, row: DecisionRow) -> None:
    """Keeps one decision, in the transaction that makes it true."""
    await connection.execute(
        _INSERT,
        *(row.proposal, row.approval, row.incident, row.at, row.pattern, _text(row.action), row.held, row.rule, _text(row.reasons)),
        *(row.mode.value, row.risk_before.value, row.risk_after.value, row.trust, row.needed, _text(row.inputs), row.policy),
    )


async def is_decided(connection: Connection, proposal: str) -> bool:
    """Whether the gate has decided this proposal."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM decisions WHERE proposal = $1)", proposal))


async def get_decision(connection: Connection, proposal: str) -> DecisionRow | None:
    """The decision of one proposal, or None."""
    row = await connection.fetchrow("SELECT * FROM decisions WHERE proposal = $1", proposal)
    return _row(row) if row else None


async def list_decisions(connection: Connection, *, incident: str, limit: int = 100) -> list[DecisionRow]:
    """An incident's decisions, first one first."""
    rows = await connection.fetch("SELECT * FROM decisions WHERE incident = $1 ORDER BY at, proposal LIMIT $2", incident, limit)
    return [_row(row) for row in rows]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _row(row: Row) -> DecisionRow:
    return DecisionRow(
        **{name: row[name] for name in _PLAIN},
        action=_action.decode(row["action"]),
        reasons=_reasons.decode(row["reasons"]),
        mode=Mode(row["mode"]),
        risk_before=Risk(row["risk_before"]),
        risk_after=Risk(row["risk_after"]),
        inputs=_inputs.decode(row["inputs"]),
    )
