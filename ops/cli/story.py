"""Events for eyes: one line for each, and the tree of cause and effect of an incident with the time between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ops.cli.console import duration
from ops.facts.cleaning import cleaned
from schemas.action import describe
from schemas.codec import decode, peek
from schemas.errors import SchemaError
from schemas.event import Event
from schemas.events import TrustChanged
from schemas.learning import FeedbackGiven, PlaybookChanged

if TYPE_CHECKING:
    from sql.event_log import LoggedEvent

_TOLD = (
    *("title", "alert", "status", "summary", "question", "reason", "risk", "rule", "outcome", "verdict"),
    *("person", "choice", "comment", "missing", "pattern", "score", "error"),
)
"""The fields that say most of an event, in the order in which they are shown."""
_NAMED = {"missing": "{} missing", "risk": "risk {}", "rule": "rule {}"}
_SHOWN = 3


_FROM_OUTSIDE = frozenset({"signals"})
"""Topics that others than our stages write to."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it was found: in the archive or, before the archive has it, in its stream.

    at       when it was told, by its own words
    entered  when it entered its stream, by the clock of Redis
    """

    id: str
    type: str
    topic: str
    incident: str
    cause: str
    by: str
    at: datetime
    entered: datetime
    body: bytes
    place: str

    @property
    def known_at(self) -> datetime:
        """The time to reckon with: a signal may claim any, so its time is that at which it entered."""
        return self.entered if self.topic in _FROM_OUTSIDE else self.at

    @property
    def event(self) -> Event | None:
        """The event, or None where this version does not know it."""
        try:
            return decode(self.body)
        except SchemaError:
            return None


def entry_of(event: Event | None, body: bytes, *, topic: str, place: str, at: datetime) -> Entry:
    """An entry that entered its stream at `at`; bytes that are no event known here keep what can be read of them."""
    if event is None:
        kind, id_, incident = peek(body)
        known = {"id": id_, "type": kind or "(not an event)", "topic": topic, "incident": incident}
        return Entry(**known, cause="", by="", at=at, entered=at, body=body, place=place)
    return Entry(
        id=event.id,
        type=type(event).__name__,
        topic=topic,
        incident=event.incident,
        cause=event.cause,
        by=event.by,
        at=event.at,
        entered=at,
        body=body,
        place=place,
    )


def entry_logged(row: LoggedEvent, *, place: str) -> Entry:
    """An entry from the event log."""
    names = ("id", "type", "topic", "incident", "cause", "by", "at", "entered")
    return Entry(**{name: getattr(row, name) for name in names}, body=row.body.encode(), place=place)


def entry_left_out(incident: str, events: int, since: datetime) -> Entry:
    """In the place of events that were too many to be shown: how many, and since when."""
    return Entry(
        id="",
        type=f"({events:,} events left out)",
        topic="",
        incident=incident,
        cause="",
        by="",
        at=since,
        entered=since,
        body=msgspec.json.encode({"left_out": events}),
        place="archive",
    )


def summary_of(event: Event | None) -> str:
    """What an event says, in a few words."""
    if event is None:
        return ""
    match event:
        case TrustChanged():
            return f"{event.pattern}: {event.before} → {event.after}, {event.reason}"
        case PlaybookChanged():
            return f"{event.playbook} version {event.playbook_version}: {event.before or 'new'} → {event.after}, {event.why}"
        case FeedbackGiven():
            return ", ".join([f"{event.person}: {event.rating} of 5", *([event.note] if event.note else [])])
    words = []
    action = getattr(event, "action", None)
    if action is not None:
        words.append(describe(action))
    labels = getattr(event, "labels", None)
    if isinstance(labels, Mapping) and "alertname" in labels:
        words.append(str(labels["alertname"]))
    for name in _TOLD:
        value = getattr(event, name, None)
        word = str(getattr(value, "value", value or ""))
        if word and name in _NAMED:
            word = _NAMED[name].format(word)
        if word and word not in words and len(words) <= _SHOWN:
            words.append(word)
    return ", ".join(words)


def record_of(entry: Entry) -> dict[str, Any]:
    """An entry for a table or as JSON, its body as JSON where it is some."""
    try:
        body: Any = msgspec.json.decode(entry.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = entry.body.decode("utf-8", "replace")
    return {
        "at": entry.at,
        "type": entry.type,
        "topic": entry.topic,
        "by": entry.by,
        "incident": entry.incident,
        "id": entry.id,
        "cause": entry.cause,
        "place": entry.place,
        "body": cleaned(body),
    }


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the tree: `seconds` after its cause, or None for a root."""

    entry: Entry
    seconds: float | None
    depth: int
    branch: str


def tree_of(entries: Sequence[Entry]) -> Iterator[Node]:
    """The events from cause to effect, depth first; siblings by time. Every event once, whatever their causes claim."""
    by_id = {entry.id: entry for entry in entries}
    children: dict[str, list[Entry]] = {}
    roots = []
    for entry in sorted(by_id.values(), key=lambda entry: (entry.known_at, entry.id)):
        if entry.cause and entry.cause in by_id and entry.cause != entry.id:
            children.setdefault(entry.cause, []).append(entry)
        else:
            roots.append(entry)
    seen: set[str] = set()
    stack: list[tuple[Entry, int, str, str, float | None]] = [(entry, 0, "", "", None) for entry in reversed(roots)]
    while stack:
        entry, depth, branch, under, seconds = stack.pop()
        if entry.id in seen:
            continue
        seen.add(entry.id)
        yield Node(entry=entry, seconds=seconds, depth=depth, branch=branch)
        below = children.get(entry.id, [])
        for place, child in reversed(list(enumerate(below))):
            last = place == len(below) - 1
            apart = (child.known_at - entry.known_at).total_seconds()
            stack.append((child, depth + 1, under + ("└─ " if last else "├─ "), under + ("   " if last else "│  "), apart))


def line_of(node: Node, width: int, told_by: int) -> str:
    """One line of the tree: the event, how long after its cause, who told it, and what it says; widths in characters."""
    entry = node.entry
    name = f"{node.branch}{entry.type}".ljust(width)
    time = (
        f"{entry.known_at:%H:%M:%S}.{entry.known_at.microsecond // 1000:03}Z"
        if node.seconds is None
        else f"+{duration(max(node.seconds, 0.0))}"
    )
    return f"{name}  {time:>13}  {entry.by:<{told_by}}  {summary_of(entry.event)}".rstrip()
