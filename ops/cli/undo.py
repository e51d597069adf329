"""`mend approvals undo`: a person proposes the way back of an action that was done. The gate decides about it as about any other.

The way back is the one that `mend approvals show` tells: the inverse that was kept with the approval; where there is none, what
failure_watch put to people when the action had not healed, such as a roll back after a restart that did not help. It is looked at
and checked as any action is before it is proposed, and the snapshot is kept as its evidence.
"""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

import msgspec

from ops.cli.session import Session
from ops.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.ports import Metrics, Preflight, World
    from bus.connect import Bus
    from schemas.action import Action
    from schemas.events import ActionProposed
    from schemas.evidence import Snapshot
    from schemas.preflight import Check
    from sql.approvals import ApprovalRow
    from sql.incidents import IncidentRow

_PATIENCE = 5.0  # seconds that the gate gets to answer
_RECENT = 200  # decisions that are looked at, so that an answer which came before the look is found


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the proposal. `approval` is empty where it was held, or the gate has not answered yet."""

    proposal: str
    said: str
    approval: str = ""
    held: bool = False


async def propose(session: Session, approval: str, *, person: str, comment: str) -> Answer:
    """Proposes the way back of an approved action for an authenticated person, and waits up to 5 s for the gate's answer.

    The checks are run here and now, by the identity that this machine has: those that speak of it are told as not checked.
    Raises CommandFailed where there is nothing to undo or no key to prove the person with, and adapters.errors.AdapterError
    where the target cannot be looked at.
    """
    from ops.cli.votes import votes_key_of
    from stages.gate.votes import VoteKeys

    keys = VoteKeys(votes_key_of(session).reveal().encode())
    deed = await _done(session, approval)
    seen, preflight = await looked_at(session, deed)
    proposal = keys.sign_proposal(_proposal(deed, preflight, person=person, comment=comment))
    await _keep(session, proposal, seen)
    async with session.bus() as bus:
        await bus.append([proposal])
        return await gates_answer(bus, proposal)


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what undoes it. `inverse` tells whether that is the inverse that was stored with the approval."""

    row: ApprovalRow
    incident: IncidentRow | None
    back: Action
    inverse: bool


async def _done(session: Session, approval: str) -> Deed:
    """The approval and its way back, when its action was done and there is one."""
    from ops.facts.way_back import Now, Origin, find_way_back
    from ops.partitions import NAME, refuse_other
    from schemas.action import describe
    from sql import installation
    from sql.approvals import get_approval
    from sql.incidents import get_incident

    async with session.database() as database, database.connection() as connection:
        row = await get_approval(connection, approval)
        if row is None:
            raise CommandFailed(f"there is no approval {approval}: `mend approvals ls --state all` lists them")
        back = await find_way_back(connection, row)
        incident = await get_incident(connection, row.incident) if row.incident else None
        refuse_other(await installation.get(connection, NAME), session.place.partitions)
    if back.now is not Now.DONE:
        raise CommandFailed(f"'{describe(row.action)}' was not done: there is nothing to undo")
    if back.action is None:
        what = f"nothing that Mendstream can do undoes '{describe(row.action)}' ({back.says})"
        raise CommandFailed(f"{what}: repair {row.target} by hand")
    return Deed(row=row, incident=incident, back=back.action, inverse=back.origin is Origin.STORED)


async def looked_at(session: Session, deed: Deed) -> tuple[Snapshot, Preflight]:
    """What is seen of the target, with its metrics and alerts as before any proposal, and then the checks of the way back."""
    from ops.clusters import open_worlds
    from ops.wiring import open_metrics

    settings, sandbox = session.settings, session.place.sandbox
    worlds = await open_worlds(settings, sandbox=sandbox)
    try:
        metrics = open_metrics(settings, sandbox=bool(sandbox), baseline=False)
        try:
            return await _seen(worlds, metrics, deed, settings.propose.observe_limit), await worlds.preflight(deed.back)
        finally:
            if metrics is not None:
                await metrics.close()
    finally:
        await worlds.close()


async def _seen(world: World, metrics: Metrics | None, deed: Deed, limit: float) -> Snapshot:
    """The snapshot within `limit` seconds. Raises CommandFailed where nothing of the target was seen."""
    from ops.clock import now
    from stages.propose.outside import look

    target, until = deed.back.target, asyncio.get_running_loop().time() + limit
    try:
        snapshot = await look(world, metrics, deed.incident, target, at=now(), until=until)
    except TimeoutError:
        raise CommandFailed(f"{target} was not seen within {limit:g} s, so nothing is proposed: is its cluster reachable?") from None
    if not snapshot.measured:
        why = "; ".join(f"{sensor.name}: {sensor.error}" for sensor in snapshot.sensors[:5]) or "no sensor answered"
        raise CommandFailed(f"{target} cannot be looked at, so nothing is proposed: {why}")
    return snapshot


async def _keep(session: Session, proposal: ActionProposed, seen: Snapshot) -> None:
    """The snapshot under the id that the proposal names, before anybody can read the proposal."""
    from sql.evidence import store_snapshot

    async with session.database() as database, database.transaction() as connection:
        await store_snapshot(connection, id=proposal.evidence, incident=proposal.incident, phase="proposal", snapshot=seen)


def _proposal(deed: Deed, preflight: Preflight, *, person: str, comment: str) -> ActionProposed:
    from ops.clock import now
    from schemas.action import describe
    from schemas.events import ActionProposed
    from schemas.identity import new_id
    from schemas.text import clean
    from schemas.words import Source

    row, time = deed.row, now()
    said = (clean(comment, 600),) if comment else ()
    wants = "to undo" if deed.inverse else "what was proposed when nothing was healed by"
    return ActionProposed(
        id=new_id(time),
        key=row.place,
        at=time,
        by=f"cli/{platform.node() or 'host'}",
        incident=row.incident,
        cause=row.proposal,
        action=msgspec.structs.replace(deed.back, target=preflight.target),
        target_uid=preflight.uid,
        severity=row.severity,
        source=Source.PERSON,
        provider="cli",
        proposer=person,
        confidence=1.0,
        reasons=(f"{person} wants {wants} '{describe(row.action)}' (approval {row.id}).", *said),
        evidence=new_id(time),
        checks=told_by_another(preflight.checks),
        blast=preflight.blast,
        inverse=preflight.inverse,
        diff=clean(preflight.diff, 8000),
        basis=preflight.basis,
        gitops=preflight.gitops,
    )


def told_by_another(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Checks of an identity that is not the one that will act: what they say of permission is not known of that one.

    It is asked itself right before it acts. A dry run that was refused may have been refused for the same lack of permission.
    """
    from schemas.words import CheckResult

    denied = any(check.name == "permission" and check.result is CheckResult.FAILED for check in checks)
    return tuple(
        _not_of_the_actor(check)
        if check.name == "permission" or (check.name == "dry_run" and denied and check.result is CheckResult.FAILED)
        else check
        for check in checks
    )


def _not_of_the_actor(check: Check) -> Check:
    from schemas.text import clean
    from schemas.words import CheckResult

    found = "" if check.result is CheckResult.NOT_CHECKED else f", which was told: {check.result.value}"
    detail = clean(f"asked with the identity of who proposes this{found} ({check.detail}); the one that acts is asked when it acts", 500)
    return msgspec.structs.replace(check, result=CheckResult.NOT_CHECKED, detail=detail, missing="")


async def gates_answer(bus: Bus, proposal: ActionProposed) -> Answer:
    """What the gate says of the proposal, as far as it says it in time and can be heard: the proposal is in the stream either way."""
    from bus.errors import BusError
    from bus.inspect import tail
    from schemas.action import describe
    from schemas.events import ActionApproved, ActionHeld, ApprovalRequested

    what = describe(proposal.action)
    try:
        async with asyncio.timeout(_PATIENCE):
            async for entry in tail(bus, "decisions", last=_RECENT, follow=True):
                match entry.event:
                    case ApprovalRequested() as asked if asked.proposal == proposal.id:
                        more = f"{asked.signatures} other {'person' if asked.signatures == 1 else 'people'} must sign"
                        said = f"proposed to {what}; {more}: mend approvals sign {asked.approval} --as NAME"
                        return Answer(proposal=proposal.id, approval=asked.approval, said=said)
                    case ActionApproved() as approved if approved.cause == proposal.id:
                        return Answer(proposal=proposal.id, approval=approved.approval, said=f"approved: it will {what}")
                    case ActionHeld() as held if held.proposal == proposal.id:
                        return Answer(proposal=proposal.id, said=f"held ({held.rule}): {held.reason}", held=True)
    except TimeoutError:
        return Answer(proposal=proposal.id, said=f"proposed to {what}; the gate has not answered yet")
    except BusError as error:
        said = f"proposed to {what}; the gate's answer could not be read ({error}): `mend approvals ls` has it"
        return Answer(proposal=proposal.id, said=said)
    return Answer(proposal=proposal.id, said=f"proposed to {what}; the gate has not answered yet")
