"""How much a playbook fits: a share for each part that it states, weighted, and the reason for each.

| part     | weight | share                                                                                        |
|----------|-------:|----------------------------------------------------------------------------------------------|
| alerts   |   0.35 | 1 where one of its selectors holds for one of the alerts (and the target is one of its); else |
|          |        | half of what holds of it, or half of how many words the names of the alerts have in common    |
| evidence |   0.31 | 1 where all of its conditions hold, else half of the part that does                           |
| services |   0.17 | of the affected and the named services, the shorter list, the part that is on the other        |
| severity |   0.17 | 1 or 0                                                                                        |

The similarity is the sum over the parts that are stated, divided by their weights. By these weights, no playbook of which an
alert, a condition or the severity does not fit comes to 0.85; only in its services may it differ a little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product

import msgspec

from schemas.facts import Facts
from schemas.matchers import ALERT_NAME, Selector, parse_selector
from schemas.playbook import Share
from schemas.playbook_steps import Comparison, compare
from schemas.words import Severity
from sql.playbooks import PlaybookRow

WEIGHTS: Mapping[str, float] = {"alerts": 0.35, "evidence": 0.31, "services": 0.17, "severity": 0.17}
_HALF = 0.5
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


class Subject:
    """What playbooks are compared with: the labels of each alert of an incident, and what is known with each."""

    def __init__(
        self, alerts: Sequence[tuple[Mapping[str, str], Facts]], *, services: frozenset[str], severity: Severity, target: str
    ) -> None:
        self.alerts = alerts
        self.services = services
        self.severity = severity
        self.target = target

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(labels.get(ALERT_NAME, "") for labels, _ in self.alerts))


class Entry:
    """A playbook, ready to be compared. Raises ValueError for one whose texts are not understood."""

    __slots__ = ("conditions", "names", "row", "selectors", "specific", "words")

    def __init__(self, row: PlaybookRow) -> None:
        symptoms = row.playbook.symptoms
        self.row = row
        self.selectors: tuple[Selector, ...] = tuple(parse_selector(text) for text in symptoms.alerts)
        self.conditions: tuple[Comparison, ...] = tuple(compare(text) for text in symptoms.evidence)
        self.names = _names(self.selectors)
        self.words = frozenset(word for name in self.names or () for word in words_of(name))
        stated = (symptoms.evidence, symptoms.services, symptoms.severities, symptoms.targets)
        self.specific = min(len(selector) for selector in self.selectors) + sum(map(bool, stated))


class Fit(msgspec.Struct, frozen=True):
    """One comparison. `labels` and `facts` are those of the alert that it is about; without `matched` no alert fits."""

    entry: Entry
    shares: tuple[Share, ...]
    labels: Mapping[str, str]
    facts: Facts
    matched: bool

    @property
    def similarity(self) -> float:
        whole = sum(one.weight for one in self.shares)
        return round(sum(one.weight * one.share for one in self.shares) / whole, 4)

    @property
    def lacks(self) -> str:
        """What keeps it from fitting wholly."""
        return "; ".join(one.why for one in self.shares if one.share < 1 and one.why)

    @property
    def rank(self) -> tuple[float, int, float, float, str]:
        """The better, the greater: how much it fits, how much it states, and how well it did; of equals the one whose name comes last."""
        row = self.entry.row
        return self.similarity, self.entry.specific, row.trust, row.confidence, row.name


def fit(entry: Entry, subject: Subject) -> Fit:
    """How much a playbook fits the alert of the subject that it fits best."""
    alerts, (labels, facts) = _alerts(entry, subject)
    stated = [alerts]
    if entry.conditions:
        stated.append(_evidence(entry, facts))
    symptoms = entry.row.playbook.symptoms
    if symptoms.services:
        stated.append(_services(frozenset(symptoms.services), subject.services))
    if symptoms.severities:
        fits = subject.severity in symptoms.severities
        why = f"severity {subject.severity} {'is one' if fits else 'is none'} of {', '.join(symptoms.severities)}"
        stated.append(Share(part="severity", weight=WEIGHTS["severity"], share=float(fits), why=why))
    return Fit(entry, tuple(stated), labels, facts, alerts.share == 1)


def words_of(name: str) -> frozenset[str]:
    """The words of an alert's name."""
    return frozenset(word.lower() for word in _WORDS.findall(name))


def _alerts(entry: Entry, subject: Subject) -> tuple[Share, tuple[Mapping[str, str], Facts]]:
    targets = entry.row.playbook.symptoms.targets
    best, share, why = subject.alerts[0], 0.0, "no alert of it is alike"
    for selector, alert in product(entry.selectors, subject.alerts):
        held = [matcher for matcher in selector if matcher.holds(alert[0])]
        name = alert[0].get(ALERT_NAME, "")
        if len(held) == len(selector):
            if not targets or subject.target in targets:
                return _share("alerts", 1.0, f"alert {name}"), alert
            best, share, why = alert, _HALF, "it is for other targets"
            continue
        found = _HALF * len(held) / len(selector) if any(one.name == ALERT_NAME for one in held) else _HALF * _alike(entry, name)
        if found > share:
            failed = next(matcher for matcher in selector if matcher not in held)
            best, share, why = alert, found, f"{failed} does not hold for alert {name}"
    return _share("alerts", share, why), best


def _alike(entry: Entry, name: str) -> float:
    """How many of the words are in both, of all that are in either; 0 where the playbook's names are not known."""
    if not entry.words:
        return 0.0
    words = words_of(name)
    return len(words & entry.words) / len(words | entry.words)


def _evidence(entry: Entry, facts: Facts) -> Share:
    said = [(condition, condition.holds(facts)) for condition in entry.conditions]
    failed = [f"{one.name} {one.sign} {one.value} {'does not hold' if held is False else 'is not known'}" for one, held in said if not held]
    if not failed:
        return _share("evidence", 1.0, "all its conditions hold")
    return _share("evidence", _HALF * (1 - len(failed) / len(said)), ", ".join(failed))


def _services(named: frozenset[str], affected: frozenset[str]) -> Share:
    both = named & affected
    shorter = min(len(named), len(affected)) or 1
    why = f"services {', '.join(sorted(both))} are affected" if both else "none of its services is known to be affected"
    return _share("services", len(both) / shorter, why)


def _share(part: str, share: float, why: str) -> Share:
    return Share(part=part, weight=WEIGHTS[part], share=round(share, 4), why=why)


def _names(selectors: Sequence[Selector]) -> tuple[str, ...] | None:
    """Every name of an alert that one of the selectors can hold for; None where that is no short list."""
    found: list[str] = []
    for selector in selectors:
        literals = next((one.literals for one in selector if one.name == ALERT_NAME and one.literals), ())
        if not literals:
            return None
        found += literals
    return tuple(dict.fromkeys(found))
