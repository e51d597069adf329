"""One playbook against one payload: how much it fits, from what, and what each of its steps comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from adapters.alertmanager.webhook import Alert, InvalidPayload, parse
from ops.catalogue import read_all, texts_of
from ops.clock import now
from ops.clusters import default_cluster
from ops.errors import CommandFailed
from ops.settings import Settings
from schemas.action import describe
from schemas.evidence import Snapshot
from schemas.playbook import Share
from schemas.text import clean, clean_labels
from schemas.words import SignalStatus, Source
from sql.playbooks import PlaybookRow, PlaybookStatus
from stages.ingest.rules import severity_of
from stages.ingest.targets import target_of, workload_by_name
from stages.propose.case import Case
from stages.propose.playbooks.similarity import Entry, fit
from stages.propose.playbooks.source import steps_of, subject_of


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """`fits` says whether it would propose, as far as its symptoms go; `steps` says of each what it does or why it cannot be done."""

    playbook: str
    target: str
    similarity: float
    threshold: float
    fits: bool
    shares: tuple[Share, ...]
    steps: tuple[str, ...]
    proposes: str
    looked: bool


def try_out(settings: Settings, file: Path, payload: Path, evidence: Path | None) -> Trial:
    """The trial of the playbook in a file. Raises CommandFailed for a file that is not what it should be."""
    (playbook,) = read_all(texts_of([file]))
    alerts = _alerts(payload)
    case = _case(settings, alerts, _evidence(evidence) if evidence is not None else None)
    at = now()
    times: dict[str, Any] = {"created_at": at, "created_by": "", "changed_at": at, "changed_by": ""}
    about: dict[str, Any] = {"version": 0, "status": PlaybookStatus.DRAFT, "source": Source.PERSON, "confidence": 0.5}
    found = fit(Entry(PlaybookRow(name=playbook.name, playbook=playbook, **times, **about)), subject_of(case, settings.propose))
    steps = steps_of(found, case)
    done = next((step.action for step in steps if step.action is not None), None)
    fits = found.matched and found.similarity >= settings.propose.similarity
    return Trial(
        playbook=playbook.name,
        target=str(case.target),
        similarity=found.similarity,
        threshold=settings.propose.similarity,
        fits=fits,
        shares=found.shares,
        steps=tuple(f"{step.name}: {describe(step.action)}" if step.action else f"{step.name} {step.why}" for step in steps),
        proposes=describe(done) if fits and done is not None else "",
        looked=evidence is not None,
    )


def pages(trial: Trial) -> Iterator[tuple[str, Any]]:
    yield "playbook", trial.playbook
    yield "about", trial.target
    yield "similarity", f"{trial.similarity:.2f}, {trial.threshold:g} is needed: it {'fits' if trial.fits else 'does not fit'}"
    yield "from", "\n".join(f"{one.part}: {one.share:g} of 1, weight {one.weight:g}: {one.why}" for one in trial.shares)
    yield "steps", "\n".join(trial.steps)
    yield "proposes", trial.proposes or "nothing: the next source is asked"
    if not trial.looked:
        yield "note", "nothing was looked at: what needs evidence is not known; --evidence FILE has what was seen"


def _alerts(payload: Path) -> list[Alert]:
    try:
        alerts = [alert for alert in parse(payload.read_bytes()) if alert.status is SignalStatus.FIRING]
    except OSError as error:
        raise CommandFailed(f"{payload} cannot be read: {error.strerror}") from error
    except InvalidPayload as error:
        raise CommandFailed(f"{payload} is no webhook payload: {error}") from error
    if not alerts:
        raise CommandFailed(f"{payload} has no alert that fires")
    return alerts


def _evidence(file: Path) -> Snapshot:
    """A snapshot, alone or as the field `evidence` of what a command printed."""
    try:
        value = msgspec.json.decode(file.read_bytes())
        inner = value.get("evidence", value) if isinstance(value, dict) else value
        return msgspec.convert(inner, Snapshot)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise CommandFailed(f"{file} has no evidence as `mend approvals show ID --json` prints it: {clean(str(error), 200)}") from error


def _case(settings: Settings, alerts: list[Alert], seen: Snapshot | None) -> Case:
    """The incident that the alerts of one payload make: they are taken to be about one target."""
    labels = [clean_labels(alert.labels) for alert in alerts]
    named = target_of(alerts[0].labels, default_cluster=default_cluster(settings), options=settings.ingest)
    target = seen.target if seen is not None else workload_by_name(named)
    return Case(
        incident="",
        target=target,
        severity=min(severity_of(alert.labels) for alert in alerts),
        alerts=tuple(dict.fromkeys(one.get("alertname", "") for one in labels)),
        labels=labels[0],
        alert_labels=tuple(labels),
        opened_at=min(alert.starts_at for alert in alerts),
        snapshot=seen or Snapshot(target=target, at=now(), sensors=()),
    )
