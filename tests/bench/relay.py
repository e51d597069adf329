"""What every contestant carries: a chain of real events of about 600 bytes, and the trivial handler that turns one into the next.

Each contestant decodes the event, awaits this handler and encodes its answer, so that what is compared is the bus alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from schemas.action import RestartWorkload
from schemas.event import Event
from schemas.events import (
    ActionApproved,
    ActionProposed,
    ExecutionStarted,
    FailureClassified,
    IncidentOpened,
    LessonLearned,
    SignalReceived,
    VerificationFinished,
)
from schemas.identity import new_id
from schemas.target import Kind, Target
from schemas.words import FailureClass, Outcome, Risk, Severity, SignalStatus, Source, Verdict

_BORN = datetime(2026, 1, 1, tzinfo=UTC)
_TARGET = Target(cluster="prod", namespace="shop", kind=Kind.DEPLOYMENT, name="api")
_ACTION = RestartWorkload(target=_TARGET)
_LABELS = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": "api-7d9c5b6f8-x2x4z", "severity": "critical", "cluster": "prod"}
_TEXT = "The container of deployment shop/api has been restarted more often than it should have been in fifteen minutes; "


class Link(NamedTuple):
    """A kind of event and the fields that it has besides its header."""

    kind: type[Event]
    fields: dict[str, Any]


CHAIN: tuple[Link, ...] = (
    Link(
        SignalReceived,
        {
            "fingerprint": "5c3f2b7a90d1e4f6",
            "status": SignalStatus.FIRING,
            "starts_at": _BORN,
            "labels": _LABELS,
            "annotations": {"summary": _TEXT},
            "source": "alertmanager",
        },
    ),
    Link(
        IncidentOpened,
        {"target": _TARGET, "severity": Severity.P0, "title": _TEXT, "alert": "KubePodCrashLooping", "anomaly": "a", "labels": _LABELS},
    ),
    Link(
        ActionProposed,
        {
            "action": _ACTION,
            "target_uid": "8d7f",
            "severity": Severity.P0,
            "source": Source.TEMPLATE,
            "provider": "template",
            "proposer": "propose",
            "confidence": 0.5,
            "reasons": ("it crashes",),
            "evidence": "",
        },
    ),
    Link(
        ActionApproved, {"approval": "a", "action": _ACTION, "action_hash": "9f" * 32, "risk": Risk.LOW, "automatic": True, "rule": _TEXT}
    ),
    Link(ExecutionStarted, {"operation": "o" * 36, "approval": _TEXT, "action": _ACTION, "attempt": 1, "token": 1}),
    Link(
        VerificationFinished,
        {
            "operation": "o",
            "approval": "a",
            "action": _ACTION,
            "outcome": Outcome.SUCCEEDED,
            "verdict": Verdict.SUCCESS,
            "measured": True,
            "summary": "healthy",
            "judgements": (),
            "before": "b",
            "after": "a",
            "score": 1.0,
            "automatic": True,
            "severity": Severity.P0,
        },
    ),
    Link(
        FailureClassified,
        {"subject": "s" * 36, "failure": FailureClass.UNKNOWN, "risk": Risk.LOW, "confidence": 0.4, "summary": _TEXT + _TEXT},
    ),
    Link(
        LessonLearned, {"lesson": _TEXT, "pattern": "restart:prod/shop/api", "action": _ACTION, "verdict": Verdict.SUCCESS, "summary": "s"}
    ),
)


def fresh(link: Link = CHAIN[0]) -> Event:
    """An event as it enters, with an id and a time of its own."""
    now = datetime.now(UTC)
    return link.kind(id=new_id(now), key=_TARGET.key, at=now, by="bench/host", incident="i" * 36, **link.fields)


def answer(event: Event, link: Link) -> Event:
    """What a handler written by hand returns: the next event of the chain, its id made from the input's as cheaply as can be."""
    return link.kind(
        id=event.id + ".0",
        key=event.key,
        at=datetime.now(UTC),
        by="bench/host",
        incident=event.incident,
        cause=event.id,
        **link.fields,
    )


async def handle(event: Event, link: Link) -> Event:
    """The trivial asynchronous handler of the hand-written contestants."""
    return answer(event, link)
