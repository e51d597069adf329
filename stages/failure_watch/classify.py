"""The class of a failure by the words in its error, and the risk of an operation by its verb."""

from __future__ import annotations

import re

from schemas.words import FailureClass, Risk

CONFIDENCE = 0.4
"""Of a class found by words alone, without a model."""

# The more telling words come first: a forbidden patch of a deployment is about the permission, not about Kubernetes.
_CLASSES: tuple[tuple[FailureClass, re.Pattern[str]], ...] = tuple(
    (failure, re.compile(words, re.IGNORECASE))
    for failure, words in (
        (FailureClass.PERMISSION, r"permission|forbidden|denied|unauthori[sz]ed|not allowed|\b40[13]\b|credential"),
        (FailureClass.TIMEOUT, r"time[ds]?[ -]?out|deadline|too long|within \d+(?:\.\d+)? s"),
        (FailureClass.RESOURCE, r"\boom|out of memory|quota|no space|disk|\bcpu\b|\bmemory\b|insufficient|exhausted|evicted|too many open"),
        (
            FailureClass.NETWORK,
            r"connect|network|unreachable|\bdns\b|resolve host|refused|\breset\b|\beof\b|\bi/o\b|no route|broken pipe|\btls\b|certificate",
        ),
        (
            FailureClass.KUBERNETES,
            r"kube|\bpods?\b|deployment|statefulset|daemonset|replica|container|\bimage|namespace|\bnode\b|\bjobs?\b|rollout|revision",
        ),
    )
)
_RISKS: tuple[tuple[Risk, tuple[str, ...]], ...] = (
    (Risk.CRITICAL, ("delete", "drop", "force")),
    (Risk.MEDIUM, ("scale", "rollback", "roll back", "update", "patch")),
    (Risk.LOW, ("restart", "refresh", "clear")),
)


def class_of(*texts: str) -> FailureClass:
    """The class of the first text that has one of the telling words; unknown when none has."""
    for text in texts:
        found = next((failure for failure, words in _CLASSES if words.search(text)), None)
        if found is not None:
            return found
    return FailureClass.UNKNOWN


def risk_of(operation: str) -> Risk:
    """The risk of doing an operation again, by its verb; medium for one that is not known."""
    low = operation.lower()
    return next((risk for risk, verbs in _RISKS if any(verb in low for verb in verbs)), Risk.MEDIUM)
