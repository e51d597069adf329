"""Histories of incidents that the stores bear out: what came, what was done, how it was judged, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.action import Action, Investigate, RestartWorkload, ScaleWorkload
from schemas.event import Event
from schemas.events import ActionApproved, ActionRejected, ExecutionFinished, IncidentOpened, IncidentResolved, IncidentUpdated
from schemas.identity import new_id
from schemas.judgement import Demand
from schemas.learning import FeedbackGiven
from schemas.target import Target
from schemas.words import Disposition, Ground, Outcome, Risk, Severity, SignalStatus, Verdict
from sql import feedback
from sql.incidents import get_incident
from tests.integration.scene import TARGET, Scene, deployment

PLACES: tuple[Target, ...] = (TARGET, deployment("web"))


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What was done once for an incident: how the action ended and was judged (None: nobody looked), and when, in seconds after it.

    `demanded` is whether its playbook asked for more than that it heals; `ratings` are what people said of it, 1 to 5.
    """

    verb: str = "restart"
    outcome: Outcome = Outcome.SUCCEEDED
    verdict: Verdict | None = Verdict.SUCCESS
    measured: bool = True
    automatic: bool = True
    playbook: str = ""
    decided: str = ""
    seconds: int = 1
    copied: bool = False
    ground: Ground | None = None
    demanded: bool = False
    ratings: tuple[tuple[str, int], ...] = ()


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


async def joined(scene: Scene, incident: str, target: Target) -> IncidentUpdated:
    """That another alert of the same incident fires, as ingest tells it."""
    alert = "KubePodNotReady"
    async with scene.database.transaction() as connection:
        await scene.join(connection, incident, target, {"alertname": alert})
    fields: dict[str, Any] = {"target": target, "severity": Severity.P3, "alert": alert, "status": SignalStatus.FIRING, "firing": 2}
    return IncidentUpdated(**scene.header(incident), **fields)


async def rated(scene: Scene, incident: str, person: str, rating: int) -> FeedbackGiven:
    """What a person said of what was begun for an incident until now; learn has kept it."""
    scene.later(1)
    async with scene.database.connection() as connection:
        operations = await feedback.begun_for(connection, incident)
        said: dict[str, Any] = {"origin": "cli/test", "note": f"{rating} of 5", "operations": operations}
        given = FeedbackGiven(**scene.header(incident), person=person, rating=rating, **said)
        await feedback.keep(connection, given)
    return given


async def history(scene: Scene, target: Target, attempts: Sequence[Attempt], *, ended: bool = True, another: bool = False) -> list[Event]:
    """One incident from its beginning; every event is borne out by the stores, copies that somebody else told included.

    `another` is whether a second alert joins it.
    """
    incident = await scene.incident(target)
    begun: list[Event] = [await opened(scene, incident)]
    if another:
        begun.append(await joined(scene, incident, target))
    said: list[Event] = []
    for attempt in attempts:
        told = await _tried(scene, incident, target, attempt)
        for event in told:
            await scene.back(event)
            if isinstance(event, ExecutionFinished):
                await scene.allow(event)
        begun += told
        said += [await rated(scene, incident, person, rating) for person, rating in attempt.ratings]
    if ended:
        begun.append(await resolved(scene, incident))
    scene.later(1)
    return [*begun, *said]


async def _tried(scene: Scene, incident: str, target: Target, attempt: Attempt) -> list[Event]:
    """What is told of one attempt."""
    scene.later(attempt.seconds)
    told = _decided(scene, incident, attempt, action_of(attempt.verb, target))
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
        if attempt.demanded:
            said |= {"demands": (Demand(said="evidence.pods.ready == 2", held=attempt.verdict is Verdict.SUCCESS),), "touched": 3}
        told.append(scene.verified(done, attempt.verdict, ground=attempt.ground, **said))
    if attempt.copied:
        told += [msgspec.structs.replace(one, id=new_id(scene.now), at=scene.now) for one in told[-2:]]
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
