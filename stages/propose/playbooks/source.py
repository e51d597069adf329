"""The source of proposals that reads playbooks: the best approved one that fits and can be done, with what it rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from schemas.action import Action
from schemas.matchers import ALERT_NAME
from schemas.playbook import NearMiss
from schemas.playbook_steps import Step, compare
from schemas.text import clean
from schemas.words import Risk, Severity, Source
from sql.database import Database
from sql.playbooks import PlaybookStatus, changes, list_playbooks
from stages.propose.case import Case, Suggestion
from stages.propose.options import ProposeOptions
from stages.propose.playbooks.build import NotDone, build
from stages.propose.playbooks.facts import known
from stages.propose.playbooks.index import Index, Matches
from stages.propose.playbooks.similarity import Fit, Subject

_MOST = 100_000  # playbooks
_RISKS = tuple(Risk)
_USUAL = {Severity.P0: Risk.CRITICAL, Severity.P1: Risk.CRITICAL, Severity.P2: Risk.MEDIUM, Severity.P3: Risk.LOW}


class PlaybookSource:
    """Asks the store for playbooks only when one of them has changed. Raises StoreUnavailable."""

    def __init__(self, database: Database, options: ProposeOptions | None = None) -> None:
        self._database = database
        self._options = options or ProposeOptions()
        self._index = Index(())
        self._read_at = -1
        self._reading = asyncio.Lock()
        self._last: tuple[Case, Matches] | None = None

    async def suggest(self, case: Case) -> Suggestion | None:
        """The first step that can be done of the best playbook that fits; None where there is no such."""
        return suggest((await self._matches(case)).fitting, case)

    async def near(self, case: Case) -> tuple[NearMiss, ...]:
        """The playbooks that nearly fit, or that fit and of which nothing can be done."""
        matches = await self._matches(case)
        idle = [one for one in matches.fitting if suggest((one,), case) is None]
        return tuple(_near(one, case) for one in (*idle, *matches.near))

    async def _matches(self, case: Case) -> Matches:
        """What fits and nearly fits a case, compared once for both questions about it."""
        last = self._last
        if last is not None and last[0] is case:
            return last[1]
        index = await self._current()
        matches = index.match(subject_of(case, self._options), self._options.similarity)
        self._last = case, matches
        return matches

    async def _current(self) -> Index:
        async with self._database.connection() as connection:
            now = await changes(connection)
        async with self._reading:
            if now != self._read_at:
                async with self._database.connection() as connection:
                    rows = await list_playbooks(connection, statuses=[PlaybookStatus.APPROVED], limit=_MOST)
                self._index, self._read_at = await asyncio.to_thread(Index, rows), now
        return self._index


def subject_of(case: Case, options: ProposeOptions) -> Subject:
    """What playbooks are compared with: each alert with its own labels, and what is known with these."""
    given = case.alert_labels or tuple({**case.labels, ALERT_NAME: name} for name in case.alerts or ("",))
    alerts = [(labels, known(case, labels, options)) for labels in given]
    return Subject(alerts, services=frozenset(case.snapshot.services), severity=case.severity, target=case.snapshot.target.key)


def suggest(fitting: tuple[Fit, ...], case: Case) -> Suggestion | None:
    """What the first of these playbooks says of which a step can be done."""
    for one in fitting:
        if (suggestion := _chain(list(_suggestions(one, case)))) is not None:
            return suggestion
    return None


def _chain(suggestions: list[Suggestion]) -> Suggestion | None:
    """The first of these, which gives way to the second, and so on."""
    first: Suggestion | None = None
    for suggestion in reversed(suggestions):
        first = msgspec.structs.replace(suggestion, otherwise=first)
    return first


class Tried(msgspec.Struct, frozen=True):
    """What came of a step: its action, or why it cannot be done, in words that follow its name."""

    step: Step
    action: Action | None = None
    why: str = ""

    @property
    def name(self) -> str:
        return type(self.step).__name__


def steps_of(one: Fit, case: Case) -> list[Tried]:
    """Each step of a playbook, tried on a case."""
    return [_tried(step, one, case) for step in one.entry.row.playbook.steps]


def _tried(step: Step, one: Fit, case: Case) -> Tried:
    wanted = [(text, compare(text)) for text in step.when]
    for text, condition in wanted:
        if not (holds := condition.holds(one.facts)):
            return Tried(step, why=f"is not wanted: {text} {'is not known' if holds is None else 'does not hold'}")
    chosen = any(condition.on_evidence for condition in (*one.entry.conditions, *(condition for _, condition in wanted)))
    try:
        return Tried(step, build(step, case.snapshot, one.facts, chosen=chosen))
    except NotDone as error:
        return Tried(step, why=str(error))


def _suggestions(one: Fit, case: Case) -> Iterator[Suggestion]:
    playbook = one.entry.row.playbook
    for place, tried in enumerate(steps_of(one, case)):
        if tried.action is not None:
            inverse = _inverse(playbook.inverse, one, case) if place == 0 and playbook.inverse is not None else None
            yield _suggestion(one, case, tried.step, tried.action, inverse)


def _inverse(step: Step, one: Fit, case: Case) -> Action | None:
    try:
        return build(step, case.snapshot, one.facts, chosen=True)
    except NotDone:
        return None


def _suggestion(one: Fit, case: Case, step: Step, action: Action, inverse: Action | None) -> Suggestion:
    row = one.entry.row
    fits = f"Playbook {row.name} (version {row.version}, of {row.owner}) fits at {one.similarity:.2f}: "
    return Suggestion(
        action=action,
        reasons=(step.because or f"{row.playbook.title}.", fits + "; ".join(share.why for share in one.shares) + "."),
        confidence=row.confidence,
        source=Source.PLAYBOOK,
        provider="playbooks",
        question=clean(step.question, 600),
        risk=_raised(row.playbook.risk, case.severity),
        playbook=row.name,
        playbook_version=row.version,
        similarity=one.shares,
        inverse=inverse,
    )


def _raised(named: Risk | None, severity: Severity) -> Risk | None:
    """The risk that the playbook names, where it is above the one of the severity: no playbook makes anything less risky."""
    return named if named is not None and _RISKS.index(named) > _RISKS.index(_USUAL[severity]) else None


def _near(one: Fit, case: Case) -> NearMiss:
    row = one.entry.row
    why = one.lacks or "; ".join(f"{tried.name} {tried.why}" for tried in steps_of(one, case))
    return NearMiss(playbook=row.name, version=row.version, similarity=one.similarity, why=clean(why, 300))
