"""Tells every event of the demo as one line of plain words, as it happens."""

from __future__ import annotations

from datetime import datetime

from schemas import events as e
from schemas.action import describe
from schemas.event import Event
from schemas.words import Outcome, SignalStatus, Verdict

_GOOD, _BAD, _ASK, _NEWS = "green", "red", "yellow", "default"


class Line:
    """What is shown of one event: the stage that told it, a style, and a sentence."""

    __slots__ = ("stage", "style", "text")

    def __init__(self, event: Event, style: str, text: str) -> None:
        self.stage = event.by.partition("/")[0]
        self.style = style
        self.text = text


def tell(event: Event) -> Line | None:
    """The line for an event, or None for one that only machines care for."""
    told = _alerts(event) or _decisions(event) or _outcomes(event)
    return Line(event, *told) if told else None


def _alerts(event: Event) -> tuple[str, str] | None:
    match event:
        case e.SignalReceived(status=SignalStatus.FIRING):
            return _NEWS, f"alert {event.labels.get('alertname', '?')} is firing"
        case e.SignalReceived():
            return _GOOD, f"alert {event.labels.get('alertname', '?')} has resolved"
        case e.IncidentOpened():
            return _BAD, f"incident opened for {event.target}, severity {event.severity}"
        case e.IncidentResolved():
            return _GOOD, f"incident resolved after {event.seconds:.1f} s"
        case e.ActionProposed():
            return _NEWS, f"proposes to {describe(event.action)}: {' '.join(event.reasons)}"
        case _:
            return None


def _decisions(event: Event) -> tuple[str, str] | None:
    match event:
        case e.ApprovalRequested():
            return _ASK, f"risk {event.risk}: waits for {event.signatures} signature(s), approval {event.approval}"
        case e.VoteCast():
            return _NEWS, f"{event.person} votes to {event.choice}"
        case e.ApprovalSigned():
            return _ASK, f"{event.person}'s signature counts, {event.missing} missing"
        case e.VoteRefused():
            return _BAD, f"{event.person}'s vote does not count: {event.reason}"
        case e.ActionApproved(automatic=True):
            return _GOOD, f"approved without people: risk {event.risk}"
        case e.ActionApproved():
            return _GOOD, f"approved, signed by {' and '.join(event.signers)}"
        case e.ActionHeld():
            return _ASK, f"held by rule {event.rule}: {event.reason}"
        case _:
            return None


def _outcomes(event: Event) -> tuple[str, str] | None:
    match event:
        case e.ExecutionFinished(outcome=Outcome.SUCCEEDED):
            return _NEWS, f"did {describe(event.action)} in {event.seconds:.1f} s; whether it helped is not known yet"
        case e.ExecutionFinished():
            return _BAD, f"{describe(event.action)}: {event.outcome}, {event.error}"
        case e.VerificationFinished():
            return (_GOOD if event.verdict is Verdict.SUCCESS else _BAD), f"verified: {event.verdict}, {event.summary}"
        case e.TrustChanged():
            return (_GOOD if event.after > event.before else _BAD), f"trust of {event.pattern}: {event.before} → {event.after}"
        case e.PeopleAsked():
            return _ASK, f"asks people: {event.reason} {event.question}"
        case e.DeadLettered():
            return _BAD, f"dead letter of {event.group}: {event.error}"
        case _:
            return None


def clock(at: datetime) -> str:
    """The time of day of an event, to the tenth of a second."""
    return f"{at:%H:%M:%S}.{at.microsecond // 100_000}"
