"""Histories of incidents that the stores bear out: what came, what was done, how it was judged, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.action import Action, Investigate, RestartWorkload, ScaleWorkload
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, IncidentOpened, IncidentResolved
from schemas.identity import new_id
from schemas.target import Target
from schemas.words import Disposition, Outcome, Risk, Severity, Verdict
from sql.incidents import get_incident
from tests.integration.scene import TARGET, Scene, deployment

PLACES: tuple[Target, ...] = (TARGET, deployment("web"))


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What was done once for an incident: how the action ended and was judged (None: nobody looked), and when, in seconds after it."""

    verb: str = "restart"
    outcome: Outcome = Outcome.SUCCEEDED
    verdict: Verdict | None = Verdict.SUCCESS
    measured: bool = True
    automatic: bool = True
    playbook: str = ""
    decided: str = ""
    seconds: int = 1
    copied: bool = False


async def opened(scene: Scene, incident: str) -> IncidentOpened:
    """That the incident was opened, as ingest tells it."""
    async with scene.database.connection() as connection:
        row = await get_incident(connection, incident)
    assert row is not None
    (alert,) = row.alerts
    fields: dict[str, Any] = {"target": row.target, "severity": row.severity, "title": row.title, "alert": alert}
    return IncidentOpened(**scene.header(incident, at=row.opened_at), **fields, anomaly=f"{alert} {row.key}")


async def resolved(scene: Scene, incident: str) -> IncidentResolved:
    """Ends the incident by itself; what ingest tells of that."""
    await scene.resolve(incident)
    return IncidentResolved(**scene.header(incident), target=TARGET, disposition=Disposition.SELF_RESOLVED, seconds=1.0)


def action_of(verb: str, target: Target) -> Action:
    match verb:
        case "scale":
            return ScaleWorkload(target=target, replicas=3)
        case "look":
            return Investigate(target=target)
        case _:
            return RestartWorkload(target=target)


async def history(scene: Scene, target: Target, attempts: Sequence[Attempt], *, ended: bool = True) -> list[Event]:
    """One incident from its beginning; every event is borne out by the stores, copies that somebody else told included."""
    incident = await scene.incident(target)
    told: list[Event] = [await opened(scene, incident)]
    for attempt in attempts:
        scene.later(attempt.seconds)
        told += _decided(scene, incident, attempt, action_of(attempt.verb, target))
        done = scene.finished(
            incident=incident,
            action=action_of(attempt.verb, target),
            outcome=attempt.outcome,
            automatic=attempt.automatic,
            playbook=attempt.playbook,
            seconds=0.1 * attempt.seconds,
        )
        told.append(done)
        scene.later(attempt.seconds)
        if attempt.verdict is not None:
            said: dict[str, Any] = {"measured": attempt.measured, "playbook": attempt.playbook, "severity": Severity.P1}
            told.append(scene.verified(done, attempt.verdict, **said))
        if attempt.copied:
            told += [msgspec.structs.replace(one, id=new_id(scene.now), at=scene.now) for one in told[-2:]]
    for event in told:
        await scene.back(event)
        if isinstance(event, ExecutionFinished):
            await scene.allow(event)
    if ended:
        told.append(await resolved(scene, incident))
    scene.later(1)
    return told


def _decided(scene: Scene, incident: str, attempt: Attempt, action: Action) -> list[Event]:
    """What people decided about it, where they did."""
    approval = new_id(scene.now)
    match attempt.decided:
        case "approved":
            agreed: dict[str, Any] = {"action_hash": "h", "risk": Risk.LOW, "automatic": False, "signers": ("ann",)}
            return [ActionApproved(**scene.header(incident), approval=approval, action=action, **agreed)]
        case "rejected":
            return [ActionRejected(**scene.header(incident), approval=approval, action=action, person="eve")]
        case _:
            return []
