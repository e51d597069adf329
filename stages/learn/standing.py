"""The rules by which a playbook begins and ceases to propose without a person, and what of a person's decision they leave alone.

A draft is approved from a confidence of 0.9 on, where no other version of it is approved. A draft or an approved version is deprecated
under 0.3 when over half of its outcomes are failures. What is deprecated stays so until a person approves it. A rule weighs only what was
told after the last decision of a person about that version: its ratings, from the confidence that it began with, and its outcomes. So
nothing moves a version twice for the same evidence, and none that a person decided about before anything new was told. A version after the
first begins with nothing told of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bus.handler import Context
from schemas.event import Output
from schemas.learning import PlaybookChanged
from schemas.text import clean
from sql import playbooks
from sql.approvals import take_lock
from sql.audit import audit_close, audit_open
from sql.database import Connection
from sql.playbook_confidence import fold_confidence, ratings_of
from sql.playbook_statistics import count_outcomes
from sql.playbooks import PlaybookRow, PlaybookStatus
from stages.learn.telling import TEXT_LIMIT, note

SURE = 0.9
UNSURE = 0.3


async def judge_playbooks(names: Iterable[str], context: Context, connection: Connection) -> list[Output]:
    """Moves the versions of these playbooks that the rules are about, after something new was told of them; what was moved."""
    outputs: list[Output] = []
    ordered = sorted(set(names))
    # Of two who tell something of one at the same time, the second sees what the first has told.
    await take_lock(connection, *(f"playbook/{name}" for name in ordered))
    for name in ordered:
        versions = await playbooks.versions_of(connection, name)
        approved = next((row for row in versions if row.status is PlaybookStatus.APPROVED), None)
        row = approved or (versions[0] if versions else None)
        if row is not None and row.status is not PlaybookStatus.DEPRECATED:
            outputs += await _judge(row, context, connection)
    return outputs


async def _judge(row: PlaybookRow, context: Context, connection: Connection) -> list[Output]:
    after = row.decided_at or (row.created_at if row.version > 1 else None)
    ratings = await ratings_of(connection, row.name, after=after)
    outcomes, failures = await count_outcomes(connection, row.name, after=after)
    confidence = fold_confidence(row.started, ratings)
    since = f" since {row.decided_at:%Y-%m-%d %H:%M} UTC, when a person decided about it" if row.decided_at else ""
    rests = f"{len(ratings)} rating{'s' if len(ratings) != 1 else ''}{since}"
    if row.status is PlaybookStatus.DRAFT and ratings and confidence >= SURE:
        return await change(row, PlaybookStatus.APPROVED, f"its confidence is {confidence:g} after {rests}", context, connection)
    if confidence < UNSURE and 2 * failures > outcomes:
        why = f"its confidence is {confidence:g} after {rests}, and {failures} of {outcomes} outcomes were failures"
        return await change(row, PlaybookStatus.DEPRECATED, why, context, connection)
    return []


async def change(row: PlaybookRow, after: PlaybookStatus, why: str, context: Context, connection: Connection) -> list[Output]:
    """A rule moves one version: in the store, in the audit log, in the timeline, and as an event."""
    now = context.now()
    if not await playbooks.set_by_rule(connection, row.name, row.version, row.status, after, by=context.by, at=now):
        return []
    said = clean(why, TEXT_LIMIT)
    await audited(row, after, said, context, connection)
    await note(f"playbook {row.name} version {row.version} is {after.value}, and was {row.status.value}: {said}", context, connection)
    return [told(row, row.status.value, after, said, context)]


async def audited(row: PlaybookRow, after: PlaybookStatus, why: str, context: Context, connection: Connection) -> None:
    """A row in the audit log for a version that a rule has approved or deprecated."""
    audit, about = context.new_id(), f"playbook {row.name} version {row.version}"
    what = f"{'approve' if after is PlaybookStatus.APPROVED else 'deprecate'} playbook"
    said = {"incident": context.input.incident, "input": clean(why, TEXT_LIMIT)}
    await audit_open(connection, id=audit, at=context.now(), who=context.by, what=what, about=about, **said)
    await audit_close(connection, audit, state="success")


async def approve_undecided(row: PlaybookRow, why: str, context: Context, connection: Connection) -> list[Output]:
    """Approves a draft that no person has decided about, where no version of its playbook is approved."""
    await take_lock(connection, f"playbook/{row.name}")
    versions = await playbooks.versions_of(connection, row.name)
    now = next((one for one in versions if one.version == row.version), row)
    if now.status is not PlaybookStatus.DRAFT or now.decided_at or any(one.status is PlaybookStatus.APPROVED for one in versions):
        return []
    return await change(now, PlaybookStatus.APPROVED, why, context, connection)


def told(row: PlaybookRow, before: str, after: PlaybookStatus, why: str, context: Context) -> Output:
    """The event of a change; `before` is empty for a new version."""
    said = clean(why, TEXT_LIMIT)
    return context.event(PlaybookChanged, playbook=row.name, playbook_version=row.version, before=before, after=after.value, why=said)
