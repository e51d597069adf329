"""What kind of alert this is: by the words of its name and reason labels, in the order of the rule book."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_REASONS = ("reason", "condition")


class Symptom(StrEnum):
    CRASH = "crash"
    ERROR = "error"
    LATENCY = "latency"
    RESOURCE = "resource"
    OTHER = "other"


# The first row that fits decides. A pod that hangs is no crash, but what the alert asks for is the same: a restart.
_TABLE: tuple[tuple[Symptom, re.Pattern[str]], ...] = (
    (
        Symptom.CRASH,
        re.compile(
            r"crash|restart|\boom|outofmemory|out of memory|wedge|\bhung\b|\bhang(?:s|ing)?\b|deadlock|unresponsive|not ready|notready"
        ),
    ),
    (Symptom.ERROR, re.compile(r"error|\bfail(?!over)")),
    (Symptom.LATENCY, re.compile(r"latency|slow|time ?out")),
    (Symptom.RESOURCE, re.compile(r"cpu|memory|resource|maxed|(?:hpa|autoscaler)(?: at| is| scale| scaling| replicas)* max")),
)


def symptom_of(alerts: Iterable[str], labels: dict[str, str]) -> Symptom:
    """The symptom of the first row that fits the alerts' names or, where none does, the labels `reason` and `condition`."""
    for texts in (alerts, (labels.get(name, "") for name in _REASONS)):
        words = " | ".join(" ".join(word.lower() for word in _WORDS.findall(text)) for text in texts)
        for symptom, pattern in _TABLE:
            if pattern.search(words):
                return symptom
    return Symptom.OTHER
