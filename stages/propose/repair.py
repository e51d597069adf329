"""The repair that failure_watch wants after a failure: put forward as any other action, on fresh evidence, or not at all.

The news of it has no authority: what is wanted is read from the store, where failure_watch left it, and is about the incident's own target.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from adapters.ports import Preflight
from bus.handler import Context, Reject
from schemas.action import Action, DeletePod, RestartComposeService, RestartContainer, RestartUnit, describe, is_observation, part_of
from schemas.diagnosis import fault_of, live_pods, unit_finding, workload_finding
from schemas.event import Output
from schemas.events import ActionProposed, RepairNotProposed, RepairWanted
from schemas.evidence import Snapshot
from schemas.text import clean
from schemas.words import CheckResult, Health, Source
from sql.database import Connection, Database
from sql.incidents import IncidentRow, add_timeline, get_incident
from sql.outbox import kept, once
from sql.repair_attempts import get_repair, propose_repair
from stages.genuine import require_told
from stages.propose.case import Case, Suggestion
from stages.propose.investigation import investigate
from stages.stopped import wait_while_stopped

_CONFIDENCE = 0.4  # of a remedy by rule alone
_REASON = 600  # characters


Suggest = Callable[[Case], Awaitable[Suggestion]]


class Answered(Protocol):
    """What propose found out about an incident."""

    @property
    def suggestion(self) -> Suggestion | None: ...

    @property
    def preflight(self) -> Preflight | None: ...

    @property
    def reason(self) -> str: ...


A = TypeVar("A", bound=Answered)


async def put_forward(
    event: RepairWanted,
    context: Context,
    database: Database,
    *,
    answer: Callable[[IncidentRow, Suggest], Awaitable[A]],
    tell: Callable[[A, IncidentRow, Connection], Awaitable[Sequence[Output]]],
) -> Sequence[Output]:
    """The repair as propose answers for any action, with `answer` and `tell`; or why it is not put forward. Raises what they raise."""
    if (outputs := await kept(database, context.stage, event.id)) is not None:
        return outputs
    async with database.connection() as connection:
        incident = await proven_repair(connection, event)
        if incident is not None:
            await wait_while_stopped(connection)
    if incident is None:
        return await kept(database, context.stage, event.id) or []
    found = await answer(incident, lambda case: repair_suggestion(case, event)) if incident.is_open else None

    async def decide(connection: Connection) -> Sequence[Output]:
        await wait_while_stopped(connection)
        if found is not None and not (why := _why_no_repair(found)):
            outputs = await tell(found, incident, connection)
            proposal = next(output for output in outputs if isinstance(output, ActionProposed))
            if not await propose_repair(connection, event.id, proposal=proposal.id):
                raise Reject(f"the repair {event.id} was put forward before, or has ended")
            return outputs
        return [await _not_proposed(event, why if found is not None else f"its incident is {incident.state.value}", context, connection)]

    return await once(database, context.stage, event, decide)


async def proven_repair(connection: Connection, event: RepairWanted) -> IncidentRow | None:
    """The incident of a repair that is really wanted; None for one that was put forward already, or has ended.

    Raises Reject for one that failure_watch never wanted, or of another action.
    """
    row = await get_repair(connection, event.id)
    wanted = row is not None and (row.action, row.operation, row.incident) == (event.action, event.operation, event.incident)
    if wanted and row is not None and (row.proposal or row.ended_at is not None):
        return None  # what was done counts before its proof, which is forgotten after a while
    await require_told(connection, "failure_watch", event)
    incident = await get_incident(connection, event.incident)
    if not wanted or incident is None:
        raise Reject(f"the store knows of no repair {clean(event.id, 64)!r} such as this one: the event is not genuine")
    return incident


async def repair_suggestion(case: Case, event: RepairWanted) -> Suggestion:
    """The repair where what was seen still asks for it; else an investigation that says why not."""
    if why := _why_not_now(event.action, case.snapshot):
        return investigate(case, why)
    return Suggestion(
        action=event.action,
        reasons=(
            f"One automatic repair after a failure: {clean(event.reason, _REASON - 100)}",
            "It is tried once; after that, people are asked.",
        ),
        confidence=_CONFIDENCE,
        source=Source.REPAIR,
        provider="failure_watch",
        root_cause=f"{event.failure.value} of operation {event.operation}",
        repairs=event.operation,
    )


def _why_not_now(action: Action, seen: Snapshot) -> str:
    if isinstance(action, DeletePod):
        pod = next((one for one in live_pods(seen) if one.uid == action.uid and one.name == action.target.name), None)
        return "" if pod is not None and fault_of(pod) is not None else f"{action.target} is gone or well by now"
    if action.target != seen.target:
        return f"{action.target} is not what the incident is about"
    if seen.workload is not None and workload_finding(seen).health is Health.HEALTHY:
        return f"{action.target} is well by now"
    part = part_of(action) if isinstance(action, RestartUnit | RestartContainer | RestartComposeService) else ""
    found = [unit_finding(unit).health for unit in seen.units if part and part in (unit.name, unit.service)]
    return f"{part} on {action.target} is well by now" if found and all(one is Health.HEALTHY for one in found) else ""


def _why_no_repair(found: Answered) -> str:
    """Why the repair is not put forward, as a clause; empty where it is. A check that failed stops it here: it is the dry run."""
    if found.suggestion is None or found.preflight is None or is_observation(found.suggestion.action):
        return clean(found.reason, _REASON) or "what it is about could not be looked at"
    failed = [check.detail or check.missing or check.name for check in found.preflight.checks if check.result is CheckResult.FAILED]
    return clean(f"its dry run stopped it: {'; '.join(failed)}", _REASON) if failed else ""


async def _not_proposed(event: RepairWanted, why: str, context: Context, connection: Connection) -> RepairNotProposed:
    told = context.event(RepairNotProposed, repair=event.id, operation=event.operation, action=event.action, reason=why)
    what = f"no repair is proposed ({describe(event.action)}), because {why}"
    await add_timeline(connection, incident=event.incident, event=told.id, at=told.at, by=told.by, what=what)
    return told
