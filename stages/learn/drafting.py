"""A playbook from a verified success that had none: what was seen, put so that it fits again, and what was done, as a typed step.

The same alert and the same pattern make one draft, and each further success stands behind it without raising anything. Only where the alert
is about something else, such as another container, is there another draft. A success that healed wholly approves its draft at once, be it
the first or a later one; any other draft waits for a person, or for ratings (`stages.learn.standing`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bus.handler import Context
from schemas.action import describe, pattern_of, without_hash
from schemas.event import Output
from schemas.events import VerificationFinished
from schemas.matchers import ALERT_NAME, Matcher, Selector, Sign, parse_selector, write_selector
from schemas.playbook import Playbook, Symptoms
from schemas.playbook_steps import step_for
from schemas.target import Kind, Target
from schemas.text import clean
from schemas.words import Severity, Source, Verdict
from sql import incidents, lessons, playbooks
from sql.approvals import get_approval
from sql.database import Connection
from sql.incidents import IncidentRow
from sql.playbook_sources import add_source
from sql.playbook_statistics import START
from sql.playbooks import PlaybookRow, PlaybookStatus
from stages.learn.standing import approve_undecided, audited, told
from stages.learn.telling import note

_WHOLLY_EFFECTIVE = 5
_ENDED, _WHOLLY = "ended in a verified success", "that left nothing to wish for"
_TOLD_PARTS = (
    *("container", "reason", "condition", "status", "resource", "persistentvolumeclaim", "horizontalpodautoscaler"),
    *("device", "mountpoint", "name", "instance", "pod", "job_name"),
)
"""Labels that say which part of a target an alert is about; the others say where it was seen, or by whom."""
_LONGEST = 120  # characters of a label's value
_NUMBER = re.compile(r"[0-9a-f]{12,}|[0-9]+")
_LETTER = re.compile(r"[A-Za-z]")


async def draft_playbook(event: VerificationFinished, effectiveness: int | None, context: Context, connection: Connection) -> list[Output]:
    """Drafts a playbook, or stands behind the one there is; what people are told of it."""
    if event.playbook or event.verdict is not Verdict.SUCCESS or effectiveness is None:
        return []
    lesson = await lessons.get_lesson(connection, event.operation)
    incident = await incidents.get_incident(connection, event.incident)
    if lesson is None or not lesson.alert or incident is None:
        return []
    labels = _labels_of(lesson.alert, incident)
    pattern = pattern_of(event.action)
    known = await playbooks.learned_from(connection, lesson.alert, pattern)
    row = next((one for one in known if _is_about(one, labels)), None)
    if row is not None:
        if await _stand_behind(row, event, connection):
            await note(f"it stands behind playbook {row.name} version {row.version}, which is {row.status.value}", context, connection)
        if effectiveness != _WHOLLY_EFFECTIVE:
            return []
        return await approve_undecided(row, f"incident {event.incident} {_ENDED} {_WHOLLY}", context, connection)
    source = await _source_of(event, connection)
    row = _learned(event, lesson, incident, labels, context, first=not known, approved=effectiveness == _WHOLLY_EFFECTIVE, source=source)
    if not await playbooks.draft_playbook(connection, row):
        return []
    await _stand_behind(row, event, connection)
    approved = row.status is PlaybookStatus.APPROVED
    await note(f"playbook {row.name} was {'drafted from it and approved' if approved else 'drafted from it'}", context, connection)
    why = f"incident {event.incident} {_ENDED}{f' {_WHOLLY}' if approved else ''}: {row.playbook.title}"
    if approved:
        await audited(row, row.status, why, context, connection)
    return [told(row, "", row.status, why, context)]


async def _stand_behind(row: PlaybookRow, event: VerificationFinished, connection: Connection) -> bool:
    about = {"operation": event.operation, "incident": event.incident, "event": event.id}
    return await add_source(connection, row.name, **about, at=event.at)


def generalised(labels: Mapping[str, str]) -> Selector:
    """The matchers of the labels that say which part of a target it is: hashes, numbers and the numbers of instances match any other.

    A value without a letter, such as an address, says nothing that comes again; one that was masked or is too long neither.
    """
    return tuple(found for name in _TOLD_PARTS if (found := _matcher(name, labels.get(name, ""))) is not None)


def _matcher(name: str, value: str) -> Matcher | None:
    if not value or len(value) > _LONGEST or clean(value, _LONGEST) != value or "***" in value:
        return None
    stem = without_hash(value) if name in ("pod", "job_name") else value
    if stem != value:
        return Matcher(name, Sign.LIKE, f"{re.escape(stem)}-{_ending(value.removeprefix(stem))}")
    literals = _NUMBER.split(value)
    if not any(_LETTER.search(part) for part in literals):
        return None
    if len(literals) == 1:
        return Matcher(name, Sign.EQUAL, value)
    numbers = ["[0-9]+" if found.isdigit() else "[0-9a-f]+" for found in _NUMBER.findall(value)]
    pieces = (f"{re.escape(part)}{number}" for part, number in zip(literals, [*numbers, ""], strict=True))
    return Matcher(name, Sign.LIKE, "".join(pieces))


def _ending(ending: str) -> str:
    """What matches the ending that a controller gave, such as `-7d9f8b6c5d-x2x4z`, `-x2x4z` or `-0`."""
    if ending.removeprefix("-").isdigit():
        return "[0-9]+"
    return "[a-z0-9]{8,10}-[a-z0-9]{5}" if ending.count("-") > 1 else "[a-z0-9]{5}"


def _labels_of(alert: str, incident: IncidentRow) -> dict[str, str]:
    """The labels of the incident's alert of this name, else of the alert that opened it."""
    return next((labels for labels in incident.alert_labels if labels.get(ALERT_NAME) == alert), incident.labels)


def _is_about(row: PlaybookRow, labels: Mapping[str, str]) -> bool:
    """Whether what was learned is about an alert with these labels."""
    selectors = (parse_selector(text) for text in row.playbook.symptoms.alerts)
    return any(all(matcher.holds(labels) for matcher in selector if matcher.name != ALERT_NAME) for selector in selectors)


async def _source_of(event: VerificationFinished, connection: Connection) -> Source:
    """Who had proposed it; a template, where that is not known."""
    approval = await get_approval(connection, event.approval)
    named = str(approval.inputs.get("source", "")) if approval else ""
    return Source(named) if named in set(Source) else Source.TEMPLATE


def _learned(
    event: VerificationFinished,
    lesson: lessons.LessonRow,
    incident: IncidentRow,
    labels: Mapping[str, str],
    context: Context,
    *,
    first: bool,
    approved: bool,
    source: Source,
) -> PlaybookRow:
    """The first version of what was learned: for this alert, about this very target, or about pods like it where it has no owner."""
    pattern = pattern_of(event.action)
    selector = write_selector((Matcher(ALERT_NAME, Sign.EQUAL, lesson.alert), *generalised(labels)))
    name = playbooks.learned_name(lesson.alert, pattern if first else f"{pattern} {selector}")
    playbook = Playbook(
        name=name,
        title=clean(f"{lesson.alert}: {_without_hash(describe(event.action), event.action.target)}", 200),
        owner="learn",
        symptoms=Symptoms(
            alerts=(selector,),
            services=lesson.services,
            severities=_range(event.severity),
            targets=() if _is_passing(incident.target) else (incident.key,),
        ),
        steps=(step_for(event.action),),
    )
    return PlaybookRow(
        name=name,
        version=1,
        status=PlaybookStatus.APPROVED if approved else PlaybookStatus.DRAFT,
        playbook=playbook,
        alert=lesson.alert,
        pattern=pattern,
        source=source,
        confidence=START,
        created_at=event.at,
        created_by=context.by,
        changed_at=event.at,
        changed_by=context.by,
    )


def _is_passing(target: Target) -> bool:
    """Whether it is a pod whose name has a hash: none of that name comes again."""
    return target.kind is Kind.POD and without_hash(target.name) != target.name


def _without_hash(text: str, target: Target) -> str:
    return text.replace(target.name, f"{without_hash(target.name)}-*") if _is_passing(target) else text


def _range(severity: Severity) -> tuple[Severity, ...]:
    """The severity and its neighbours: the range that a remedy is taken to fit."""
    every = list(Severity)
    place = every.index(severity)
    return tuple(every[max(0, place - 1) : place + 2])
