"""learn as a stage: verifications, executions and people's decisions into trust, lessons, playbooks and the incident's outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import ClassVar

from bus.handler import Context
from schemas.action import describe, is_observation, pattern_of
from schemas.event import Event, Output
from schemas.events import (
    ActionApproved,
    ActionRejected,
    ExecutionFinished,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
    LessonLearned,
    TrustChanged,
    VerificationFinished,
)
from schemas.matchers import ALERT_NAME, Matcher, Sign, write_selector
from schemas.playbook import Playbook, Symptoms
from schemas.playbook_steps import step_for
from schemas.text import clean
from schemas.words import Outcome, Severity, Source, Verdict
from sql import incidents, lessons, playbook_statistics, playbooks, recurrence, repairs, trust
from sql.database import Connection, Database
from sql.outbox import once
from sql.playbooks import PlaybookRow, PlaybookStatus
from stages.genuine import require_told
from stages.learn.joined import Joined
from stages.learn.outcome import effectiveness_of, notes_of

_TEXT_LIMIT = 2000  # characters
_DRAFT_CONFIDENCE = 0.5
_WHOLLY_EFFECTIVE = 5
_TELLERS: dict[type[Event], str] = {
    VerificationFinished: "verify",
    ExecutionFinished: "execute",
    ActionRejected: "gate",
    ActionApproved: "gate",
    IncidentOpened: "ingest",
    IncidentUpdated: "ingest",
    IncidentResolved: "ingest",
}
"""Which stage tells what is learned from: its kept outputs prove an event."""

Learning = Callable[[Connection], Awaitable[Sequence[Output]]]


class Learn:
    """Trust moves by verified results, failed executions and rejections. A refusal, a dry run that blocked, shadow, and a failure
    before the action began move nothing: it was not tried, so nothing was seen of what it does."""

    name: ClassVar[str] = "learn"
    topics: ClassVar[tuple[str, ...]] = ("verifications", "executions", "decisions", "incidents")

    def __init__(self, database: Database) -> None:
        self.database = database
        self._joined = Joined()

    async def handle(self, event: Event, context: Context) -> Sequence[Output]:
        if isinstance(event, IncidentUpdated) and self._joined.teaches_nothing(event):
            return []
        learn = self._lesson(event, context)
        outputs = [] if learn is None else await once(self.database, self.name, event, partial(_from_genuine, event, learn))
        self._joined.add(event)
        return outputs

    def _lesson(self, event: Event, context: Context) -> Learning | None:
        """What an event teaches, or None for one that teaches nothing."""
        match event:
            case VerificationFinished():
                return lambda connection: _from_verification(event, context, connection)
            case ExecutionFinished():
                return lambda connection: _from_execution(event, context, connection)
            case ActionRejected():
                return lambda connection: _move_trust(event, f"{event.person} rejected it", context, connection)
            case ActionApproved(automatic=False):
                return lambda connection: _move_trust(event, "signed", context, connection)
            case IncidentOpened() | IncidentUpdated() | IncidentResolved():
                return lambda connection: _from_incident(event, connection)
            case _:
                return None


async def _from_genuine(event: Event, learn: Learning, connection: Connection) -> Sequence[Output]:
    """What an event teaches that the stage really told. Raises Reject for any other: nothing is learned from it."""
    await require_told(connection, _TELLERS[type(event)], event)
    return await learn(connection)


async def _from_incident(event: Event, connection: Connection) -> Sequence[Output]:
    """What came, and how it ended, is counted for its problem."""
    await recurrence.take(connection, [event])
    return []


async def _take(event: ExecutionFinished | VerificationFinished, connection: Connection) -> None:
    """Into every projection but trust, whose moves are told; after trust, always: so that no two wait for each other."""
    for projection in (lessons, playbook_statistics, repairs, recurrence):
        await projection.take(connection, [event])


async def _from_verification(event: VerificationFinished, context: Context, connection: Connection) -> Sequence[Output]:
    outputs = await _move_trust(event, f"verified as {event.verdict.value}", context, connection)
    await _take(event, connection)
    if is_observation(event.action):
        return [*outputs, _lesson(event, context, event.verdict, event.summary)]
    effectiveness = effectiveness_of(event)
    if effectiveness is not None:
        succeeded = event.verdict is Verdict.SUCCESS
        notes = notes_of(event)
        await incidents.record_outcome(connection, event.incident, succeeded=succeeded, effectiveness=effectiveness, notes=notes)
    await _draft_playbook(event, effectiveness, context, connection)
    return [*outputs, _lesson(event, context, event.verdict, event.summary)]


async def _from_execution(event: ExecutionFinished, context: Context, connection: Connection) -> Sequence[Output]:
    """Every execution leaves an entry; the verdict on a failed one is known at once."""
    failed = event.outcome is Outcome.FAILED and not is_observation(event.action)
    outputs = await _move_trust(event, "its execution failed", context, connection) if failed else []
    await _take(event, connection)
    if not failed:
        return []
    notes = f"failed: {event.error}"
    await incidents.record_outcome(connection, event.incident, succeeded=False, effectiveness=1, notes=notes)
    return [*outputs, _lesson(event, context, Verdict.FAILED, event.error)]


async def _move_trust(event: Event, reason: str, context: Context, connection: Connection) -> list[Output]:
    """The change of trust as an event, where the score changed."""
    move = await trust.apply(connection, event)
    if move is None or move.before == move.after:
        return []
    said = clean(reason, _TEXT_LIMIT)
    if event.incident:
        what = f"trust of {move.pattern} {move.before} → {move.after}: {said}"
        await incidents.add_timeline(connection, incident=event.incident, event=event.id, at=context.now(), by=context.by, what=what)
    return [context.event(TrustChanged, pattern=move.pattern, before=move.before, after=move.after, reason=said)]


def _lesson(event: ExecutionFinished | VerificationFinished, context: Context, verdict: Verdict, summary: str) -> Output:
    return context.event(
        LessonLearned,
        lesson=event.operation,
        pattern=pattern_of(event.action),
        action=event.action,
        verdict=verdict,
        summary=clean(summary, _TEXT_LIMIT),
    )


async def _draft_playbook(event: VerificationFinished, effectiveness: int | None, context: Context, connection: Connection) -> None:
    """A verified success without a playbook drafts one; one that healed wholly is approved at once."""
    if event.playbook or event.verdict is not Verdict.SUCCESS or effectiveness is None:
        return
    lesson = await lessons.get_lesson(connection, event.operation)
    if lesson is None or not lesson.alert:
        return
    wholly = effectiveness == _WHOLLY_EFFECTIVE
    incident = await incidents.get_incident(connection, event.incident)
    about = incident.key if incident else event.action.target.key
    drafted = await playbooks.draft_playbook(connection, _learned(event, lesson, context, about=about, approved=wholly))
    if drafted and event.incident:
        what = f"a playbook was {'approved' if wholly else 'drafted'} from it"
        await incidents.add_timeline(connection, incident=event.incident, event=event.id, at=context.now(), by=context.by, what=what)


def _learned(event: VerificationFinished, lesson: lessons.LessonRow, context: Context, *, about: str, approved: bool) -> PlaybookRow:
    """The playbook that says what was done, for this alert about this very target, by its key: of a pod, what it is part of."""
    pattern = pattern_of(event.action)
    name = playbooks.learned_name(lesson.alert, pattern)
    selector = write_selector((Matcher(ALERT_NAME, Sign.EQUAL, lesson.alert),))
    playbook = Playbook(
        name=name,
        title=clean(f"{lesson.alert}: {describe(event.action)}", 200),
        owner="learn",
        symptoms=Symptoms(alerts=(selector,), services=lesson.services, severities=_range(event.severity), targets=(about,)),
        steps=(step_for(event.action),),
    )
    return PlaybookRow(
        name=name,
        version=1,
        status=PlaybookStatus.APPROVED if approved else PlaybookStatus.DRAFT,
        playbook=playbook,
        alert=lesson.alert,
        pattern=pattern,
        source=Source.TEMPLATE,
        confidence=_DRAFT_CONFIDENCE,
        created_at=event.at,
        created_by=context.by,
        changed_at=event.at,
        changed_by=context.by,
    )


def _range(severity: Severity) -> tuple[Severity, ...]:
    """The severity and its neighbours: the range that a remedy is taken to fit."""
    every = list(Severity)
    place = every.index(severity)
    return tuple(every[max(0, place - 1) : place + 2])
