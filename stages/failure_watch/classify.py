"""The class of a failure by the words in its error, and the risk of an operation by its verb."""

from __future__ import annotations

import re

from schemas.words import FailureClass, Risk

CONFIDENCE = 0.4
"""Of a class found by words alone, without a model."""

# The more telling words come first: a forbidden patch of a deployment is about the permission, not about Kubernetes, and what a
# quota forbids or a full memory does not allow is about neither.
_WORDS: tuple[tuple[FailureClass, tuple[str, ...]], ...] = (
    (
        FailureClass.RESOURCE,
        ("exceeded quota", "quota exceeded", r"\boom command", "space exceeded", "too many (?:open|clients|connections|processes)"),
    ),
    (
        FailureClass.PERMISSION,
        (
            *("permission", "forbidden", "denied", "unauthori[sz]ed", "not (?:allowed|permitted)", "credential", "authentication"),
            *(r"\b(?:wrongpass|noauth|noperm)\b", r"(?:status|code|http|answer(?:s|ed)?)\W{1,3}40[13]\b", "pg_hba"),
            *("host key (?:is not trusted|verification failed)", "password is required"),
        ),
    ),
    (
        FailureClass.TIMEOUT,
        ("time[ds]?[ -]?out", "deadline", "(?:took|taking) too long", r"within \d+(?:\.\d+)? s", r"did not (?:answer|become \w+) in time"),
    ),
    (
        FailureClass.RESOURCE,
        (
            *(r"\boom", "quota", "no space", r"\bdisk", r"\bcpu\b", r"(?<!in )\bmemory\b", "memorypressure", "low on resource"),
            *("insufficient", "exhausted", "evicted", "connection slots", "number of clients", "too many requests", "throttl"),
            *("rate limit", "resource temporarily unavailable"),
        ),
    ),
    (
        FailureClass.NETWORK,
        (
            *("connect", "network", "unreachable", r"\bdns\b", "resolve", "resolution", "refused", r"\breset\b", r"\beof\b", r"\bi/o\b"),
            *("no route", "broken pipe", r"\btls\b", r"\bssl\b", "certificate", "name or service not known", "no such host"),
            *("translate host name", r"is down\b", "bad gateway", "service unavailable", "payload is not completed"),
            "no matching (?:host key|key exchange|cipher)",
        ),
    ),
    (
        FailureClass.KUBERNETES,
        (
            *("kube", r"\bpods?\b", "deployment", "statefulset", "daemonset", r"replicas\b", "replicaset", "container", r"\bimage"),
            *("namespace", r"\bnodes?\b", r"\bjobs?\b", "rollout", "revision", "etcd", "webhook", r"\bvolumes?\b", "mountvolume"),
            *("configmap", r"\bsecret \"", "probe failed", "back-?off", "the object has been modified", r"\bapi server\b"),
            "the server (?:is currently|could not|has asked)",
        ),
    ),
)
_CLASSES = tuple((failure, re.compile("|".join(words), re.IGNORECASE)) for failure, words in _WORDS)
_RISKS: tuple[tuple[Risk, tuple[str, ...]], ...] = (
    (Risk.CRITICAL, ("delete", "drop", "force", "prune")),
    (Risk.MEDIUM, ("scale", "rollback", "roll back", "update", "patch")),
    (Risk.LOW, ("restart", "refresh", "reload", "clear", "truncate")),
)
"""`prune` deletes, `reload` refreshes and `truncate` clears: what an action of ours does counts, whatever it is called."""


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
