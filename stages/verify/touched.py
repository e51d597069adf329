"""How far an action reached, as two looks show it."""

from __future__ import annotations

from schemas.evidence import Snapshot


def touched_pods(before: Snapshot | None, after: Snapshot) -> int | None:
    """How many of the pods from before the action are gone or replaced after it; None where one of the looks did not see the pods."""
    if before is None or before.late or before.target != after.target or not (before.saw("pods") and after.saw("pods")):
        return None
    there = {pod.uid for pod in after.pods}
    return sum(pod.uid not in there for pod in before.pods if not pod.deleting)
