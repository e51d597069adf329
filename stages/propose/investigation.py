"""What every template may fall back to: looking, with the reason and, where it helps, a question to people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from schemas.action import Action, Investigate, is_observation
from schemas.diagnosis import Fault, fault_of, live_pods
from schemas.preflight import Check
from schemas.text import clean
from stages.propose.case import Case, Suggestion


def investigate(case: Case, reason: str, *, question: str = "", confidence: float = 0.5) -> Suggestion:
    """Look and report, because of `reason`; with a `question`, people are asked as well."""
    reason = clean(reason, 600)
    return Suggestion(
        action=Investigate(target=case.target, reason=reason), reasons=(reason,), confidence=confidence, question=clean(question, 600)
    )


def unseen(action: Action, failed: Sequence[Check]) -> tuple[str, ...]:
    """What a look will not see, for it is put forward all the same."""
    if not failed or not is_observation(action):
        return ()
    return (f"Not everything can be looked at: {'; '.join(check.detail or check.name for check in failed)}.",)


def faults_of(case: Case) -> Counter[Fault]:
    """How many pods show which fault, most frequent first."""
    found = Counter(fault for pod in live_pods(case.snapshot) if (fault := fault_of(pod)) is not None)
    return Counter(dict(found.most_common()))


def counted(faults: Counter[Fault]) -> str:
    """The faults in words: `2 pods, each of which crashes`."""
    return ", ".join(f"1 pod {fault}" if count == 1 else f"{count} pods, each of which {fault}" for fault, count in faults.items())
