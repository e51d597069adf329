"""What a stage loop counts: plain numbers and bucket arrays, turned into Prometheus' form only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left

from bus.transport import Backlog

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the histogram of handler times; one more bucket holds what is slower."""


class TopicMeter:
    """The counters of one stage on one topic.

    handled: settled with their outputs · failed: a handler raised · retried: it asked for more time · dead: dead letters ·
    refused: another consumer had settled first · lost: vanished from the stream before they were handled
    """

    __slots__ = ("backlog", "buckets", "dead", "failed", "handled", "lost", "refused", "retried", "seconds")

    def __init__(self) -> None:
        self.handled = self.failed = self.retried = self.dead = self.refused = self.lost = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.backlog: dict[int, Backlog] = {}

    def took(self, seconds: float) -> None:
        """One run of a handler, by its time on the wall."""
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1


class Meter:
    """The counters of one stage; `backlog` of each topic is kept per partition, as last measured."""

    def __init__(self, stage: str, topics: tuple[str, ...]) -> None:
        self.stage = stage
        self.topics = {topic: TopicMeter() for topic in topics}
        self.reconnects = 0
