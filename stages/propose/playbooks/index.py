"""All approved playbooks, so that those which may fit an incident are found without a look at the others."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from sql.playbooks import PlaybookRow
from stages.propose.playbooks.similarity import Entry, Fit, Subject, fit, words_of

_log = logging.getLogger(__name__)
NEAR = 0.35
"""The least similarity of a playbook that is shown as a near miss."""
SHOWN = 3
_LOOKED_AT = 20  # playbooks that have words in common with an alert's name


_COMMON = 2000  # playbooks with one word, from which on it is only looked up where no rarer word is known


class Matches(msgspec.Struct, frozen=True):
    """`fitting` are similar enough, the best first; `near` are not, the nearest first."""

    fitting: tuple[Fit, ...]
    near: tuple[Fit, ...]


def _entries(rows: Iterable[PlaybookRow]) -> Iterator[Entry]:
    """The playbooks that this version understands; one that it does not is told and left out, and keeps no other from proposing."""
    for row in rows:
        try:
            yield Entry(row)
        except ValueError as error:
            _log.warning("playbook %s version %d is left out: %s", row.name, row.version, error)


class Index:
    """Playbooks by the names of the alerts that they can fit; those that may fit any are looked at for every incident."""

    def __init__(self, rows: Iterable[PlaybookRow]) -> None:
        self._by_name: defaultdict[str, list[Entry]] = defaultdict(list)
        self._by_word: defaultdict[str, list[Entry]] = defaultdict(list)
        self._any: list[Entry] = []
        for entry in _entries(rows):
            if entry.names is None:
                self._any.append(entry)
            for name in entry.names or ():
                self._by_name[name].append(entry)
            for word in entry.words:
                self._by_word[word].append(entry)

    def match(self, subject: Subject, threshold: float) -> Matches:
        """Every playbook that fits the subject at least so much, and those that nearly do."""
        named = [entry for name in subject.names for entry in self._by_name.get(name, ())]
        fits = [fit(entry, subject) for entry in dict.fromkeys(named + self._holding(subject))]
        fitting = sorted((one for one in fits if one.matched and one.similarity >= threshold), key=lambda one: one.rank, reverse=True)
        taken = {one.entry for one in fits}
        fits += [fit(entry, subject) for entry in self._alike(subject) if entry not in taken]
        near = sorted((one for one in fits if one.similarity >= NEAR and one not in fitting), key=lambda one: one.rank, reverse=True)
        return Matches(tuple(fitting), tuple(near[:SHOWN]))

    def _holding(self, subject: Subject) -> list[Entry]:
        """Of those that may fit any alert the ones that do."""
        return [
            entry
            for entry in self._any
            if any(all(matcher.holds(labels) for matcher in selector) for selector in entry.selectors for labels, _ in subject.alerts)
        ]

    def _alike(self, subject: Subject) -> list[Entry]:
        """Those with the most words in common with an alert's name; words that are in most names say little, and come last."""
        words = {word for name in subject.names for word in words_of(name)}
        found = sorted((self._by_word[word] for word in words if word in self._by_word), key=len)
        counted: Counter[Entry] = Counter()
        for entries in found:
            if len(entries) <= _COMMON or not counted:
                counted.update(entries[:_COMMON])
        return [entry for entry, _ in counted.most_common(_LOOKED_AT)]
