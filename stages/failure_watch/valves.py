"""The safety valves, as failure_watch asks them before it wants a repair: the same counts under the same lock as the gate's.

The gate asks them again before the repair may run, for that is where an action is allowed; here they keep a storm of failures from
becoming a storm of repairs that all wait for the gate.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from schemas.words import Risk
from sql.approvals import automatic_since, take_lock
from sql.database import Connection
from sql.repair_attempts import undecided_repairs


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """So many automatic actions in so many seconds."""

    actions: int
    seconds: float


class Valves(msgspec.Struct, frozen=True, kw_only=True):
    """The cooldowns of the gate: of automatic actions anywhere, and on one target."""

    anywhere: Limit = Limit(actions=10, seconds=600.0)
    target: Limit = Limit(actions=3, seconds=300.0)


class Shut(msgspec.Struct, frozen=True, kw_only=True):
    """A valve that holds: the risk that a repair has by it, and why, as a sentence."""

    risk: Risk
    why: str


async def shut(connection: Connection, valves: Valves, *, now: datetime, place: str, target: str) -> Shut | None:
    """The valve that holds, the global one first; None when neither does. Of those who ask at once, one is first.

    Raises StoreUnavailable where the store cannot answer: then nothing is wanted.
    """
    await take_lock(connection, "valves")
    since = {"everywhere": now - timedelta(seconds=valves.anywhere.seconds), "here": now - timedelta(seconds=valves.target.seconds)}
    acted = await automatic_since(connection, **since, place=place, target=target)
    wanted = await undecided_repairs(connection, **since, place=place, target=target)
    anywhere, here = acted[0] + wanted[0], acted[1] + wanted[1]
    if anywhere >= valves.anywhere.actions:
        return Shut(risk=Risk.CRITICAL, why=_said(anywhere, "anywhere", valves.anywhere))
    if here >= valves.target.actions:
        return Shut(risk=Risk.MEDIUM, why=_said(here, "on this target", valves.target))
    return None


def _said(count: int, where: str, limit: Limit) -> str:
    return f"{count} automatic action{'s' if count > 1 else ''} {where} in {limit.seconds:g} s, and the limit is {limit.actions}"
