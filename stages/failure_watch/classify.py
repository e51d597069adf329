"""The class of a failure by the words in its error, and the risk of an operation by its verb."""

from __future__ import annotations

import re

from schemas.words import FailureClass, Risk

CONFIDENCE = 0.4
"""Of a class found by words alone, without a model."""

# The more telling words come first: a forbidden patch of a deployment is about the permission, not about Kubernetes, and what a
# quota forbids or a full memory does not allow is about neither.
_CLASSES: tuple[tuple[FailureClass, re.Pattern[str]], ...] = tuple(
    (failure, re.compile(words, re.IGNORECASE))
    for failure, words in (
        (FailureClass.RESOURCE, r"exceeded quota|quota exceeded|\boom command|space exceeded|too many (?:open|clients|connections|processes)"),
        (
            FailureClass.PERMISSION,
            r"permission|forbidden|denied|unauthori[sz]ed|not (?:allowed|permitted)|credential|authentication|\b(?:wrongpass|noauth|noperm)\b"
            r"|(?:status|code|http|answer(?:s|ed)?)\W{1,3}40[13]\b|host key (?:is not trusted|verification failed)|pg_hba|password is required",
        ),
        (
            FailureClass.TIMEOUT,
            r"time[ds]?[ -]?out|deadline|(?:took|taking) too long|within \d+(?:\.\d+)? s|did not (?:answer|become \w+) in time",
        ),
        (
            FailureClass.RESOURCE,
            r"\boom|quota|no space|\bdisk|\bcpu\b|(?<!in )\bmemory\b|memorypressure|low on resource|insufficient|exhausted|evicted"
            r"|connection slots|number of clients|too many requests|throttl|rate limit|resource temporarily unavailable",
        ),
        (
            FailureClass.NETWORK,
            r"connect|network|unreachable|\bdns\b|resolve|resolution|refused|\breset\b|\beof\b|\bi/o\b|no route|broken pipe|\btls\b|\bssl\b"
            r"|certificate|name or service not known|no such host|translate host name|is down\b|bad gateway|service unavailable"
            r"|payload is not completed|no matching (?:host key|key exchange|cipher)",
        ),
        (
            FailureClass.KUBERNETES,
            r"kube|\bpods?\b|deployment|statefulset|daemonset|replicas\b|replicaset|container|\bimage|namespace|\bnodes?\b|\bjobs?\b|rollout"
            r"|revision|etcd|the server (?:is currently|could not|has asked)|webhook|\bvolumes?\b|mountvolume|configmap|\bsecret \"|probe failed"
            r"|back-?off|the object has been modified|\bapi server\b",
        ),
    )
)
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
