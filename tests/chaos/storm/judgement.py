"""What must be true after a storm, whatever was killed: each question is asked of the stores, the event log and the effects themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from bus.inspect import streams
from ops.wiring import PROCESSES
from schemas.action import is_observation
from schemas.codec import decode
from schemas.events import ExecutionFinished, PeopleAsked, SignalReceived
from schemas.words import OperationState, Outcome
from sql.database import Database
from sql.operations import Operation, get_operation
from sql.projections import NAMES
from sql.projections.verify import verify
from tests.chaos.storm.cast import SPARED, Sample, growth
from tests.chaos.storm.plane import CLUSTER
from tests.chaos.storm.run import Storm
from tests.chaos.storm.stores import POSTGRES, REDIS
from tests.chaos.storm.traffic import time_of

MOST_GROWTH = (1.25, 15.0)
"""A process may be so many times as large late as it was early, and so many MB more: what is above both is a leak."""


class Judgement(msgspec.Struct, kw_only=True):
    """What was counted, and a sentence for each thing that is not as it must be."""

    incidents: int = 0
    events: int = 0
    signals: int = 0
    lost: int = 0
    effects: int = 0
    on_plane: int = 0
    doubled: int = 0
    missing: int = 0
    unknown: int = 0
    escalated: int = 0
    dead: int = 0
    rejected: int = 0
    repairs: int = 0
    outages: int = 0
    redis_size: float = 0.0
    redis_entries: int = 0
    executions: dict[str, int] = {}
    wrong: list[str] = []


async def judge(storm: Storm) -> Judgement:
    """Judges a storm that is over."""
    found = Judgement()
    for question in (_ended, _nothing_lost, _outputs_told, _once, _repaired, _outages_told, _rebuilt, _lived, _sized):
        found.wrong += await question(storm, found)
    found.wrong += missed(found, storm.killed, plane=storm.plane is not None)
    return found


def missed(found: Judgement, killed: Mapping[str, int], *, plane: bool) -> list[str]:
    """What a storm must have in it and had not: where nothing of a kind happened, nothing of that kind is proven."""
    happened = {
        "effect": found.effects,
        "execution that failed": found.executions.get(Outcome.FAILED.value, 0),
        "repair": found.repairs,
        "operation of which nobody can tell": found.unknown,
        "dead letter": found.dead,
        "approval that people rejected": found.rejected,
        **{f"blow on {victim}": killed.get(victim, 0) for victim in (*PROCESSES, REDIS, POSTGRES)},
    }
    if plane:
        happened["effect on the control plane"] = found.on_plane
    return [f"the storm had no {what} in it: it proves nothing about that" for what, times in happened.items() if not times]


async def _count(database: Database, query: str, *values: object) -> int:
    return int((await database.fetch(query, *values))[0][0])


async def _ended(storm: Storm, found: Judgement) -> list[str]:
    """Every incident is closed and every group has settled everything."""
    found.incidents = await _count(storm.database, "SELECT count(*) FROM incidents")
    found.dead = await _count(storm.database, "SELECT count(*) FROM event_log WHERE type = 'DeadLettered'")
    found.rejected = await _count(storm.database, "SELECT count(*) FROM approvals WHERE state = 'rejected'")
    wrong = [] if storm.is_calm else [f"something was left to do after {storm.plan.drain:.0f} s of peace"]
    wrong += [
        f"{row['count']} incidents are {row['state']}"
        for row in await storm.database.fetch("SELECT state, count(*) FROM incidents WHERE state <> 'CLOSED' GROUP BY state")
    ]
    beats = await storm.pulse.look()
    return wrong + [
        f"{group} has {beat.lag} not read and {sum(beat.pending.values())} not settled" for group, beat in beats.items() if beat.waiting
    ]


async def _nothing_lost(storm: Storm, found: Judgement) -> list[str]:
    """Every alert that was answered with 200 is in the event log."""
    rows = await storm.database.fetch("SELECT body FROM event_log WHERE type = 'SignalReceived'")
    logged: Counter[tuple[str, str, datetime]] = Counter()
    for row in rows:
        event = decode(row["body"].encode())
        assert isinstance(event, SignalReceived)
        logged[event.fingerprint, event.status.value, event.starts_at] += 1
    told: Counter[tuple[str, str, datetime]] = Counter()
    for one in storm.accepted:
        starts = datetime.fromisoformat(time_of(one.starts, storm.began_at))
        told[one.fingerprint, "firing" if one.ends is None else "resolved", starts] += 1
    found.signals = sum(logged.values())
    found.events = await _count(storm.database, "SELECT count(*) FROM event_log")
    found.lost = sum(max(0, times - logged[signal]) for signal, times in told.items())
    return [f"{found.lost} alerts that were accepted are not in the event log"] if found.lost else []


async def _outputs_told(storm: Storm, found: Judgement) -> list[str]:
    """Every output that a stage kept is in the event log; `settled` alone would be the sweeper's word for it."""
    query = """
        SELECT count(*) FROM outbox o, jsonb_array_elements(o.outputs::jsonb) AS kept
         WHERE NOT EXISTS (SELECT FROM event_log e WHERE e.id = kept -> 'event' ->> 'id')
    """
    missing = await _count(storm.database, query)
    found.lost += missing
    return [f"{missing} outputs that a stage has kept are not in the event log"] if missing else []


async def _once(storm: Storm, found: Judgement) -> list[str]:
    """The effect of each approved action happened once, or the operation is unknown and people were asked."""
    effects = Counter(effect.operation for effect in storm.effects.everything())
    found.effects, found.doubled = sum(effects.values()), sum(times - 1 for times in effects.values())
    async with storm.database.connection() as connection:
        approvals = await connection.fetch("SELECT approval FROM operations")
        operations = [await get_operation(connection, row["approval"]) for row in approvals]
    asked = await _asked(storm.database)
    finished = await _finished(storm.database)
    wrong = []
    known = set()
    for operation in operations:
        assert operation is not None
        known.add(operation.id)
        if is_observation(operation.action) or operation.action.target.cluster != "default":
            continue
        times = effects[operation.id]
        ended = f"operation {operation.id} on {operation.action.target.name} is {operation.state.value} ({operation.outcome})"
        found.executions[str(operation.outcome)] = found.executions.get(str(operation.outcome), 0) + 1
        if operation.state is OperationState.UNKNOWN:
            found.unknown += 1
            told = any(event in asked for event in finished.get(operation.id, ()))
            found.escalated += told
            wrong += [] if told else [f"{ended}, and nobody was asked"]
            wrong += [f"{ended}, with {times} effects"] if times > 1 else []
        elif times != (operation.state is OperationState.SUCCEEDED):
            found.missing += times == 0
            wrong.append(f"{ended}, with {times} effects")
    wrong += [f"operation {one} had an effect and is not in the ledger" for one in effects if one not in known]
    return wrong + await _approved_and_never_begun(storm.database) + await _once_on_the_plane(storm, found, operations)


async def _once_on_the_plane(storm: Storm, found: Judgement, operations: Sequence[Operation | None]) -> list[str]:
    """The same of the control plane, where the API server has counted."""
    if storm.plane is None:
        return []
    wrong = []
    for name, times in (await storm.plane.effects()).items():
        about = [one for one in operations if one is not None and one.action.target.cluster == CLUSTER and one.action.target.name == name]
        done = [one.state for one in about if not is_observation(one.action)]
        surely, perhaps = done.count(OperationState.SUCCEEDED), done.count(OperationState.UNKNOWN)
        found.on_plane += times
        if not surely <= times <= surely + perhaps:
            wrong.append(f"{name} on the control plane was restarted {times} times, by operations that are {', '.join(done) or 'none'}")
    return wrong


async def _approved_and_never_begun(database: Database) -> list[str]:
    query = "SELECT id FROM approvals a WHERE state = 'approved' AND NOT EXISTS (SELECT FROM operations o WHERE o.approval = a.id)"
    return [f"approval {row['id']} is approved, and no operation was ever begun" for row in await database.fetch(query)]


async def _repaired(storm: Storm, found: Judgement) -> list[str]:
    found.repairs = await _count(storm.database, "SELECT count(*) FROM repair_attempts")
    return await wrong_repairs(storm.database)


async def wrong_repairs(database: Database) -> list[str]:
    """Repairs beyond one for each cause of each incident, in the store, the event log or among the approvals; and those without an end."""
    wrong = [
        f"{row['count']} repairs were wanted of the cause {row['cause']} in incident {row['incident']}"
        for row in await database.fetch("SELECT incident, cause, count(*) FROM repair_attempts GROUP BY 1, 2 HAVING count(*) > 1")
    ]
    told = "SELECT id FROM event_log e WHERE type = 'RepairWanted' AND NOT EXISTS (SELECT FROM repair_attempts r WHERE r.id = e.id)"
    wrong += [f"the repair {row['id']} was told and is not in the store" for row in await database.fetch(told)]
    approved = """
        SELECT incident, count(*) AS approved, (SELECT count(*) FROM repair_attempts r WHERE r.incident = a.incident) AS wanted
          FROM approvals a WHERE inputs::jsonb ->> 'source' = 'repair' GROUP BY incident
    """
    wrong += [
        f"incident {row['incident']} has {row['approved']} approvals of repairs, of which {row['wanted']} were wanted"
        for row in await database.fetch(approved)
        if row["approved"] > row["wanted"]
    ]
    endless = "SELECT id, cause FROM repair_attempts WHERE ended_at IS NULL"
    return wrong + [f"the repair {row['id']} of {row['cause']} has no end" for row in await database.fetch(endless)]


async def _outages_told(storm: Storm, found: Judgement) -> list[str]:
    found.outages = await _count(storm.database, "SELECT count(*) FROM group_outages")
    return await untold(storm.database)


async def untold(database: Database) -> list[str]:
    """Outages of groups about which nobody was ever asked."""
    asked = await _asked(database)
    rows = await database.fetch("SELECT id, group_name, topic, since FROM group_outages")
    return [
        f"{row['group_name']} settled nothing of {row['topic']} since {row['since']:%H:%M:%S}, and nobody was asked"
        for row in rows
        if row["id"] not in asked
    ]


async def _asked(database: Database) -> set[str]:
    """The events about which people were asked."""
    events = [decode(row["body"].encode()) for row in await database.fetch("SELECT body FROM event_log WHERE type = 'PeopleAsked'")]
    return {event.subject for event in events if isinstance(event, PeopleAsked)}


async def _finished(database: Database) -> dict[str, list[str]]:
    """The events that told the end of each operation."""
    told: dict[str, list[str]] = {}
    for row in await database.fetch("SELECT body FROM event_log WHERE type = 'ExecutionFinished'"):
        event = decode(row["body"].encode())
        assert isinstance(event, ExecutionFinished)
        told.setdefault(event.operation, []).append(event.id)
    return told


async def _rebuilt(storm: Storm, found: Judgement) -> list[str]:
    """Every projection is what the event log makes of it."""
    wrong = []
    for name in NAMES:
        compared = await verify(storm.database, name, most=1)
        if compared.differing:
            wrong.append(f"{name}: {compared.differing} of {compared.rows} rows are not what the event log says: {compared.differences}")
    return wrong


async def _lived(storm: Storm, found: Judgement) -> list[str]:
    """Nobody ended but by a blow."""
    return [f"{actor.name} ended by itself, with {actor.fell}" for actor in storm.cast.actors if actor.fell]


async def _sized(storm: Storm, found: Judgement) -> list[str]:
    """No process that lived through the storm is much larger late than it was early, where that was long enough to tell."""
    found.redis_size = (await storm.redis.info("memory"))["used_memory"] / 2**20
    found.redis_entries = sum(row.length for row in await streams(storm.bus))
    return overgrown(storm.cast.samples) if storm.plan.is_long else []


def overgrown(samples: Sequence[Sample]) -> list[str]:
    """Who grew too much, and of whom that is not known."""
    grown, (times, more) = growth(samples), MOST_GROWTH
    return [f"the memory of {name} is not known early and late" for name in SPARED if name not in grown] + [
        f"{name} grew from {early:.0f} to {late:.0f} MB"
        for name, (early, late) in grown.items()
        if late > early * times and late > early + more
    ]


def told(lines: Sequence[str], most: int = 20) -> str:
    """The first of many sentences, and how many more there are."""
    more = [f"… and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([*lines[:most], *more])
