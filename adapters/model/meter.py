"""What is counted of the language model: plain numbers, turned into Prometheus' form only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

BUCKETS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Upper bounds, in seconds, of the histogram of answers' times; one more bucket holds what is slower."""


class ModelMeter:
    """The counters of one process. `provider` is the model's name; `outcomes` counts by purpose and outcome."""

    __slots__ = ("buckets", "outcomes", "provider", "seconds", "tokens")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.tokens = 0

    def ended(self, purpose: str, outcome: str) -> None:
        """One question of this purpose ended so, whether the model was asked or not."""
        self.outcomes[purpose, outcome] += 1

    def took(self, seconds: float) -> None:
        """One request, by its time on the wall, however it ended."""
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
