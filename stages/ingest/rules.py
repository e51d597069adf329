"""The rules of signals: how bad, what to call it, which occurrence counts, and how an incident was disposed of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from schemas.events import SignalReceived
from schemas.target import Target
from schemas.text import clean
from schemas.words import Disposition, Severity
from sql.signals import Left, Occurrence

_SEVERITIES = {
    "critical": Severity.P0,
    "high": Severity.P1,
    "error": Severity.P1,
    "page": Severity.P1,
    "warning": Severity.P2,
    "info": Severity.P3,
    "none": Severity.P3,
}
_TITLES = ("summary", "title", "message", "description")
_SERVICES = ("service", "exported_service", "app", "app_kubernetes_io_name")


class Firing(StrEnum):
    """What a firing signal is, given what is known of its fingerprint.

    repeated    this occurrence was heard before
    over        it ended before it was heard of, or a newer one is known
    again       a newer occurrence of an alert whose end was never heard: it takes the old one's place
    new         nothing of the kind fires
    """

    REPEATED = "repeated"
    OVER = "over"
    AGAIN = "again"
    NEW = "new"


def severity_of(labels: Mapping[str, str]) -> Severity:
    """P0 to P3; a label `severity` or `priority` that says P0 to P3 itself wins, and what is unknown is P2."""
    for label in ("severity", "priority"):
        word = labels.get(label, "").strip().upper()
        if word in Severity.__members__:
            return Severity[word]
    return _SEVERITIES.get(labels.get("severity", "").strip().lower(), Severity.P2)


def alert_of(labels: Mapping[str, str]) -> str:
    """The alert's name, cleaned, on one line."""
    return " ".join(clean(labels.get("alertname", ""), 128).split()) or "unnamed alert"


def title_of(signal: SignalReceived) -> str:
    """One line for people: the alert's summary, else its name."""
    text = next((signal.annotations[name] for name in _TITLES if signal.annotations.get(name, "").strip()), "")
    return " ".join(clean(text, 200).split()) or alert_of(signal.labels)


def services_of(labels: Mapping[str, str]) -> list[str]:
    """The services that the alert says are affected."""
    return sorted({clean(labels[name], 128) for name in _SERVICES if labels.get(name)})


def anomaly_of(alert: str, target: Target) -> str:
    """The anomaly key, by which recurrence is counted."""
    return f"{alert} on {target.key}"


def meaning_of(signal: SignalReceived, known: Sequence[Occurrence]) -> Firing:
    """What the firing signal is; `known` are the occurrences of its fingerprint that `sql.signals.known` found."""
    same = next((one for one in known if one.starts_at == signal.starts_at), None)
    if same and same.fired:
        return Firing.REPEATED
    if same or any(one.began_at > min(signal.starts_at, signal.at) for one in known):
        return Firing.OVER
    return Firing.AGAIN if any(one.open for one in known) else Firing.NEW


def ends(signal: SignalReceived, occurrence: Occurrence) -> bool:
    """Whether the resolved signal ends the open occurrence of its alert.

    A sender may move the start of an alert (Alertmanager merges what two Prometheus servers say): an alert that ended
    has no occurrence left that began before its end.
    """
    return occurrence.starts_at == signal.starts_at or occurrence.began_at <= (signal.ends_at or signal.at)


def disposition_of(left: Left) -> Disposition:
    """How the incident was disposed of, as far as that is known when its last signal ends.

    Only what is verified has repaired something: a success that is told later makes it a repair (`sql.incidents.record_outcome`).
    """
    if left.executed and left.succeeded:
        return Disposition.AUTO_REPAIRED if left.automatic else Disposition.HUMAN_APPROVED
    return Disposition.REJECTED if left.rejected else Disposition.SELF_RESOLVED
