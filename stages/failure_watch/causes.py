"""What failures have in common: the class, the kind of operation, and the error without what is of this one only. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from schemas.action import Action
from schemas.text import clean
from schemas.words import FailureClass

_LONGEST = 160  # characters of an error that count
# The wider ones first: what is quoted, addresses and paths may have ids and numbers in them.
_OWN = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"\"[^\"]{0,200}\"|'[^']{0,200}'|`[^`]{0,200}`",
        r"\b[a-z]+://\S+",
        r"(?<!\w)/[\w./-]+",
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b",
        r"\b[\w.]+(?:-[\w.]+)*-(?=\w*\d)\w+\b",
        r"\b(?:sha256:)?[0-9a-f]{12,}\b",
        r"\d+(?:[.,:]\d+)*\s?(?:ms|s|min|h|[kmgt]i?b?|%)?\b",
    )
)


def cause_of(failure: FailureClass, action: Action, error: str) -> str:
    """One name for all failures of one cause: what differs is only whom it struck. 300 characters at most."""
    return f"{failure.value}/{action.verb}/{without_names(error, _names(action))}"[:300]


def without_names(error: str, names: Iterable[str] = ()) -> str:
    """An error in small letters with `names`, ids, numbers, addresses and what is quoted replaced by `*`."""
    text = clean(" ".join(error.split()), 1000).lower()
    for words in _OWN:
        text = words.sub("*", text)
    for name in sorted({name.lower() for name in names if name}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?:-[a-z0-9]+)*(?![\w-])", "*", text)
    return re.sub(r"\*(?:[\s,/:*-]*\*)+", "*", text)[:_LONGEST].strip()


def _names(action: Action) -> tuple[str, ...]:
    target = action.target
    return target.name, target.namespace, target.cluster
