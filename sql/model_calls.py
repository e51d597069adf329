"""Requests to the language model: what they may cost, what they answered. Several processes share one budget."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from sql.database import Connection

_DAY = timedelta(hours=24)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('model_calls', 0))"
_SPENT = """
SELECT coalesce((SELECT sum(tokens) FROM model_calls WHERE incident = $1), 0)::bigint AS incident,
       coalesce((SELECT sum(tokens) FROM model_calls WHERE at > $2), 0)::bigint AS day
"""
_RESERVE = "INSERT INTO model_calls (id, incident, purpose, evidence, provider, at, tokens) VALUES ($1, $2, $3, $4, $5, $6, $7)"
_SETTLE = "UPDATE model_calls SET tokens = coalesce($2, tokens), outcome = $3, seconds = $4, answer = $5 WHERE id = $1"
_ANSWER = """
SELECT answer FROM model_calls WHERE evidence = $1 AND purpose = $2 AND at > $3 AND answer IS NOT NULL ORDER BY at DESC, id LIMIT 1
"""


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request to come. `evidence` is the hash of what is asked; `tokens` the most that it can cost."""

    id: str
    incident: str
    purpose: str
    evidence: str
    provider: str
    at: datetime
    tokens: int


async def reserve(connection: Connection, call: CallRow, *, per_incident: int, per_day: int) -> str:
    """Sets the tokens of a request aside, or says which budget has no room for them; then nothing is kept.

    In a transaction of its own: others wait for its end, so that two requests never share the last tokens.
    """
    await connection.execute(_LOCK)
    spent = await connection.fetchrow(_SPENT, call.incident, call.at - _DAY)
    assert spent is not None
    for count, most, what in ((spent["incident"], per_incident, "this incident"), (spent["day"], per_day, "24 hours")):
        if count + call.tokens > most:
            return f"{count} of the {most} tokens for {what} are spent or set aside, and this request may cost {call.tokens}"
    await connection.execute(_RESERVE, call.id, call.incident, call.purpose, call.evidence, call.provider, call.at, call.tokens)
    return ""


async def settle(connection: Connection, call: str, *, tokens: int | None, outcome: str, seconds: float, answer: str | None = None) -> None:
    """How a request ended. Without `tokens` nobody knows what it cost, and the most that it can stays spent."""
    await connection.execute(_SETTLE, call, tokens, outcome, seconds, answer)


async def answered(connection: Connection, evidence: str, purpose: str, *, since: datetime) -> str | None:
    """The newest valid answer to the very same question since then, or None."""
    answer: str | None = await connection.fetchval(_ANSWER, evidence, purpose, since)
    return answer
