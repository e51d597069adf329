"""Cases for tests of playbooks: rows from YAML, and incidents with what was seen of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.evidence import Snapshot
from schemas.playbook import Playbook
from schemas.playbook_file import read_playbook
from schemas.words import Severity, Source
from sql.playbooks import PlaybookRow, PlaybookStatus
from stages.propose.case import Case, Suggestion
from stages.propose.options import ProposeOptions
from stages.propose.playbooks.index import Index, Matches
from stages.propose.playbooks.source import subject_of, suggest
from tests.unit.snapshots import NOW

OPTIONS = ProposeOptions()


def playbook(name: str = "p", alerts: str = "alertname=A", **fields: str) -> Playbook:
    """A playbook that restarts; `fields` are YAML, and take the place of its own."""
    plain = {"title": "T", "owner": "ana", "symptoms": f"{{alerts: ['{alerts}']}}", "steps": "[{do: RestartWorkload}]"} | fields
    return read_playbook("\n".join([f"name: {name}", *(f"{key}: {value}" for key, value in plain.items())]))


def row(book: Playbook, **fields: Any) -> PlaybookRow:
    """An approved version of it."""
    plain: dict[str, Any] = {"version": 1, "status": PlaybookStatus.APPROVED, "source": Source.PERSON, "confidence": 0.5}
    times = {"created_at": NOW, "created_by": "ana", "changed_at": NOW, "changed_by": "ana"}
    return PlaybookRow(name=book.name, playbook=book, **(plain | times | fields))


def case(seen: Snapshot, *alerts: str, severity: Severity = Severity.P2, labels: Sequence[dict[str, str]] = (), **label: str) -> Case:
    """An incident with these alerts, each with the labels `label`, or `labels` each with its own."""
    given = tuple(labels) or tuple({"alertname": name, **label} for name in alerts)
    names = tuple(one["alertname"] for one in given)
    fields: dict[str, Any] = {"incident": "i", "target": seen.target, "severity": severity, "opened_at": NOW}
    return Case(**fields, alerts=names, labels=given[0], alert_labels=given, snapshot=seen)


def matches(about: Case, *books: Playbook | PlaybookRow, options: ProposeOptions = OPTIONS) -> Matches:
    index = Index(book if isinstance(book, PlaybookRow) else row(book) for book in books)
    return index.match(subject_of(about, options), options.similarity)


def suggested(about: Case, *books: Playbook | PlaybookRow, options: ProposeOptions = OPTIONS) -> Suggestion | None:
    return suggest(matches(about, *books, options=options).fitting, about)
