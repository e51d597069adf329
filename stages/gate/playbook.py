"""What a playbook allows its actions at most: its mode, its status, how often it may act without a signature."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.events import ActionProposed
from schemas.words import Mode
from sql.database import Connection
from sql.playbooks import PlaybookRow, PlaybookStatus, get_playbook, used_alone

_HOUR = timedelta(hours=1)
_STRICTEST_FIRST = (Mode.SHADOW, Mode.ASSIST, Mode.AUTO)


async def within_playbook(connection: Connection, event: ActionProposed, mode: Mode, *, place: str, now: datetime) -> Mode:
    """The stricter of `mode` and what the playbook allows; of a proposal without a playbook, `mode`. `place` is the key of the
    incident's target.

    The playbook is read from the store, and an event's word counts for nothing but its name and version: what is not approved there at
    this moment lets nothing run without a signature.
    """
    if not event.playbook:
        return mode
    row = await get_playbook(connection, event.playbook, event.playbook_version)
    if row is None or row.status is not PlaybookStatus.APPROVED or await _has_had_its_share(connection, row, event, place, now):
        allowed = min(Mode.ASSIST, (row.mode if row else None) or Mode.ASSIST, key=_STRICTEST_FIRST.index)
    else:
        allowed = row.mode or Mode.AUTO
    return min(mode, allowed, key=_STRICTEST_FIRST.index)


async def _has_had_its_share(connection: Connection, row: PlaybookRow, event: ActionProposed, place: str, now: datetime) -> bool:
    """Whether it has acted alone on this target, or on any of its pods, as often as its limits allow.

    The locks on the place and the target keep the count exact.
    """
    where, limits = {"place": place, "target": event.action.target.key}, row.limits
    cooling = limits.cooldown and await used_alone(connection, row.name, since=now - timedelta(seconds=limits.cooldown), **where)
    often = limits.most_per_hour and await used_alone(connection, row.name, since=now - _HOUR, **where) >= limits.most_per_hour
    return bool(cooling or often)
