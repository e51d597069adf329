"""Events in the words of people: the lines of one message, or none for an event that nobody needs to be told."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.action import is_observation
from schemas.event import Event
from schemas.events import (
    ActionApproved,
    ActionHeld,
    ActionRejected,
    ApprovalExpired,
    ApprovalRequested,
    ApprovalSigned,
    ApprovalWithdrawn,
    DeadLettered,
    ExecutionFinished,
    IncidentOpened,
    IncidentResolved,
    PeopleAsked,
    VerificationFinished,
)
from schemas.learning import PlaybookChanged
from schemas.text import clean
from schemas.words import UNKNOWN_GROUNDS, Ground, Language, Outcome, Verdict
from sql.attempts import TRIED
from stages.notify.texts import action_in, say

_LINE_LIMIT = 600  # characters


def lines_of(event: Event, facts: Sequence[str] = (), language: Language = Language.ENGLISH) -> list[str]:
    """The lines of a message, cleaned and bounded; `facts` are further lines about what people are asked to decide."""
    lines = [*_lines(event, language), *facts]
    if not lines:
        return []
    if event.incident:
        lines.append(say(language, "incident", incident=event.incident))
    return [line_of(line) for line in lines]


def line_of(text: str, limit: int = _LINE_LIMIT) -> str:
    """One line, masked before its own lines are joined: a key is known by them."""
    return clean(" ".join(clean(text, 4 * limit).split()), limit)


def _lines(event: Event, language: Language) -> list[str]:
    match event:
        case IncidentOpened():
            about = "opened.again" if event.recurrence > 1 else "opened.about"
            return [
                say(language, "opened", severity=event.severity.value, title=event.title),
                say(language, about, alert=event.alert, target=event.target, times=event.recurrence),
            ]
        case IncidentResolved():
            how = say(language, f"how.{event.disposition}")
            return [say(language, "resolved", seconds=f"{event.seconds:.0f}", how=how, target=event.target)]
        case PeopleAsked():
            return [say(language, "people", severity=event.severity.value, reason=event.reason), *_asked(event.question)]
        case DeadLettered():
            kind = event.original_type or say(language, "dead.unreadable")
            said = say(language, "dead", group=event.group, kind=kind, topic=event.source_topic, reason=event.reason.value)
            return [said, event.error, f"mend dead show {event.id}"]
        case ExecutionFinished():
            return _execution(event, language)
        case VerificationFinished():
            if is_observation(event.action):
                return []
            said = say(language, "judged", said=verdict_in(language, event), what=action_in(language, event.action))
            worse = [say(language, "worse", regressions=", ".join(event.regressions))] if event.regressions else []
            return [said, event.summary, *worse]
        case PlaybookChanged() if event.by.startswith("learn/"):  # failure_watch asks people about its own
            return _playbook(event, language)
        case _:
            return _decision(event, language)


def _asked(question: str) -> list[str]:
    """What is asked, and what was tried, each in a line of its own."""
    asked, heading, tried = question.partition(f"\n{TRIED}\n")
    return [asked, heading, *tried.splitlines()] if heading else [question]


def _playbook(event: PlaybookChanged, language: Language) -> list[str]:
    """That a rule let a playbook propose, or no more, and how to see it; a draft waits for whoever approves it."""
    key = f"playbook.{event.after}" if event.after in ("draft", "approved", "deprecated") else "playbook.draft"
    how = "playbook.review" if event.after == "draft" else "playbook.how"
    named = {"playbook": event.playbook, "version": event.playbook_version}
    return [say(language, key, **named), event.why, say(language, how, **named)]


def _decision(event: Event, language: Language) -> list[str]:
    if isinstance(event, ApprovalRequested):
        return _wanted(event, language)
    if isinstance(event, ApprovalSigned):
        return [say(language, "signed", person=event.person, missing=event.missing, approval=event.approval)]
    if isinstance(event, ActionApproved | ActionRejected | ApprovalExpired | ApprovalWithdrawn | ActionHeld):
        return _settled(event, action_in(language, event.action), language)
    return []


def _settled(
    event: ActionApproved | ActionRejected | ApprovalExpired | ApprovalWithdrawn | ActionHeld, what: str, language: Language
) -> list[str]:
    match event:
        case ActionApproved():
            if is_observation(event.action):
                return []
            if event.signers:
                return [say(language, "approved.people", people=", ".join(event.signers), what=what)]
            return [say(language, "approved.alone", rule=event.rule, what=what)]
        case ActionRejected():
            return [say(language, "rejected", person=event.person, what=what), *([event.comment] if event.comment else [])]
        case ApprovalExpired():
            return [say(language, "expired", what=what)]
        case ApprovalWithdrawn():
            return [say(language, "withdrawn", reason=event.reason, what=what)]
        case ActionHeld():
            return [say(language, "held", rule=event.rule, what=what), event.reason]


def _wanted(event: ApprovalRequested, language: Language) -> list[str]:
    people = people_in(language, event.signatures)
    until = f"{event.expires_at:%Y-%m-%d %H:%M}"
    return [
        say(language, "wanted", what=action_in(language, event.action)),
        say(language, "wanted.risk", risk=event.risk.value, people=people, rule=event.rule, until=until),
        say(language, "wanted.how", approval=event.approval),
    ]


def people_in(language: Language, signatures: int) -> str:
    """How many people must sign."""
    key = {0: "people.none", 1: "people.one"}.get(signatures, "people.many")
    return say(language, key, count=signatures)


def _execution(event: ExecutionFinished, language: Language) -> list[str]:
    if is_observation(event.action):
        return [say(language, "looked", target=event.action.target), event.output or event.error]
    what = action_in(language, event.action)
    first = say(language, "ended", outcome=outcome_in(language, event.outcome), what=what, seconds=f"{event.seconds:.1f}")
    return [first, *([event.error] if event.error and event.outcome is not Outcome.SUCCEEDED else [])]


def outcome_in(language: Language, outcome: Outcome) -> str:
    """How an execution ended, in words."""
    return say(language, f"outcome.{outcome}")


def verdict_in(language: Language, event: VerificationFinished) -> str:
    """What a verification says, in words: healed is only what was measured to be, and known to be by this action."""
    key = f"verdict.{event.verdict}"
    if not event.measured:
        key = "verdict.unmeasured"
    elif event.relapse:
        key = "verdict.relapse"
    elif event.ground is Ground.CONTAINED:
        key = "verdict.contained"
    elif event.verdict is not Verdict.FAILED and event.ground in UNKNOWN_GROUNDS:
        key = "verdict.unknown"
    elif event.verdict is Verdict.SUCCESS and event.outcome is not Outcome.SUCCEEDED:
        key = "verdict.healthy"
    return say(language, key, verdict=event.verdict.value)
