"""Events in the words of people: the lines of one message, or none for an event that nobody needs to be told."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.action import describe, is_observation
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
from schemas.text import clean
from schemas.words import UNKNOWN_GROUNDS, Disposition, Ground, Outcome, Verdict

_LINE_LIMIT = 600  # characters
_OUTCOMES = {
    Outcome.SUCCEEDED: "DONE, NOT YET VERIFIED",
    Outcome.FAILED: "FAILED",
    Outcome.UNKNOWN: "UNKNOWN WHETHER IT HAPPENED",
    Outcome.REFUSED: "REFUSED, nothing was changed",
    Outcome.DRY_RUN_BLOCKED: "STOPPED BY ITS DRY RUN, nothing was changed",
    Outcome.SHADOWED: "NOT RUN (shadow)",
    Outcome.WITHDRAWN: "WITHDRAWN, not run",
}
_VERDICTS = {
    Verdict.SUCCESS: "HEALED",
    Verdict.DEGRADED: "NOT HEALED (degraded)",
    Verdict.FAILED: "NOT HEALED (failed)",
    Verdict.TIMEOUT: "NOT KNOWN WHETHER IT HEALED (timeout)",
}
_DISPOSITIONS = {
    Disposition.AUTO_REPAIRED: "after an automatic action",
    Disposition.HUMAN_APPROVED: "after an action that people approved",
    Disposition.REJECTED: "after people rejected an action",
    Disposition.SELF_RESOLVED: "without a repair of ours that is verified by now",
}


def lines_of(event: Event, facts: Sequence[str] = ()) -> list[str]:
    """The lines of a message, cleaned and bounded; `facts` are further lines about what people are asked to decide."""
    lines = [*_lines(event), *facts]
    if not lines:
        return []
    if event.incident:
        lines.append(f"incident {event.incident}: mend incidents show {event.incident}")
    return [_line(line) for line in lines]


def _line(text: str) -> str:
    """One line, masked before its own lines are joined: a key is known by them."""
    return clean(" ".join(clean(text, 4 * _LINE_LIMIT).split()), _LINE_LIMIT)


def _lines(event: Event) -> list[str]:
    match event:
        case IncidentOpened():
            again = f", for the {event.recurrence}. time" if event.recurrence > 1 else ""
            return [f"{event.severity.value} OPENED: {event.title}", f"{event.alert} on {event.target}{again}"]
        case IncidentResolved():
            return [f"RESOLVED after {event.seconds:.0f} s, {_DISPOSITIONS[event.disposition]}: {event.target}"]
        case PeopleAsked():
            return [f"{event.severity.value} PEOPLE NEEDED: {event.reason}", event.question]
        case DeadLettered():
            kind = event.original_type or "an unreadable entry"
            said = f"DEAD LETTER: {event.group} could not handle {kind} from {event.source_topic} ({event.reason.value})"
            return [said, event.error, f"mend dead show {event.id}"]
        case ExecutionFinished():
            return _execution(event)
        case VerificationFinished():
            return _verification(event)
        case _:
            return _decision(event)


def _decision(event: Event) -> list[str]:
    match event:
        case ApprovalRequested():
            people = "1 signature" if event.signatures == 1 else f"{event.signatures} signatures by different people"
            return [
                f"APPROVAL WANTED: {describe(event.action)}",
                f"risk {event.risk.value}, {people} ({event.rule}), until {event.expires_at:%Y-%m-%d %H:%M} UTC",
                f"mend approvals sign {event.approval}   or   mend approvals reject {event.approval}",
            ]
        case ApprovalSigned():
            return [f"SIGNED by {event.person}, {event.missing} missing: mend approvals sign {event.approval}"]
        case ActionApproved() if not is_observation(event.action):
            who = f"signed by {', '.join(event.signers)}" if event.signers else f"by itself ({event.rule})"
            return [f"APPROVED {who}: {describe(event.action)}"]
        case ActionRejected():
            return [f"REJECTED by {event.person}: {describe(event.action)}", *([event.comment] if event.comment else [])]
        case ApprovalExpired():
            return [f"EXPIRED without enough signatures, not run: {describe(event.action)}"]
        case ApprovalWithdrawn():
            return [f"WITHDRAWN, {event.reason}: {describe(event.action)}"]
        case ActionHeld():
            return [f"HELD ({event.rule}), not run: {describe(event.action)}", event.reason]
        case _:
            return []


def _execution(event: ExecutionFinished) -> list[str]:
    what = describe(event.action)
    if is_observation(event.action):
        return [f"LOOKED AT, nothing was changed: {event.action.target}", event.output or event.error]
    first = f"{_OUTCOMES[event.outcome]}: {what}, in {event.seconds:.1f} s"
    return [first, *([event.error] if event.error and event.outcome is not Outcome.SUCCEEDED else [])]


def _verification(event: VerificationFinished) -> list[str]:
    if is_observation(event.action):
        return []
    said = _VERDICTS[event.verdict]
    if not event.measured:
        said = "NOT KNOWN WHETHER IT HEALED (nothing could be measured)"
    elif event.relapse:
        said = "NOT HEALED (it came back)"
    elif event.ground is Ground.CONTAINED:
        said = "DONE, AND IT HEALS NOTHING BY ITSELF"
    elif event.verdict is not Verdict.FAILED and event.ground in UNKNOWN_GROUNDS:
        said = f"NOT KNOWN WHETHER IT HEALED ({event.verdict.value})"
    elif event.verdict is Verdict.SUCCESS and event.outcome is not Outcome.SUCCEEDED:
        said = "HEALTHY NOW (whether by this is not known)"
    worse = [f"got worse: {', '.join(event.regressions)}"] if event.regressions else []
    return [f"{said}: {describe(event.action)}", event.summary, *worse]
