"""What Prometheus sees of the bus: built from the loops' plain counters when it asks, so that counting costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.meter import BUCKETS, Meter, TopicMeter
from bus.transport import Backlog

_LABELS = ("stage", "topic")
_COUNTERS: tuple[tuple[str, str, Callable[[TopicMeter], int]], ...] = (
    ("mend_events_handled", "Events settled together with their outputs", lambda meter: meter.handled),
    ("mend_events_failed", "Runs of a handler that ended in an error", lambda meter: meter.failed),
    ("mend_events_retried", "Runs of a handler that asked for more time", lambda meter: meter.retried),
    ("mend_events_dead", "Events that became dead letters", lambda meter: meter.dead),
    ("mend_events_refused", "Events that another consumer had settled first", lambda meter: meter.refused),
    ("mend_events_lost", "Events that vanished from their stream before they were handled", lambda meter: meter.lost),
)
_GAUGES: tuple[tuple[str, str, Callable[[Backlog], float]], ...] = (
    ("mend_stream_length", "Entries in the stream", lambda row: row.length),
    ("mend_group_lag", "Entries not yet delivered to the group", lambda row: row.lag),
    ("mend_group_pending", "Entries delivered and not yet settled", lambda row: row.pending),
    ("mend_group_oldest_seconds", "Age of the oldest entry that is not settled", lambda row: row.oldest),
)


class Watched(Protocol):
    """A loop, as far as Prometheus cares."""

    @property
    def meter(self) -> Meter: ...

    @property
    def in_hand(self) -> int: ...


class BusCollector(Collector):
    """Collects from the loops of this process: register it with a `CollectorRegistry`."""

    def __init__(self, loops: Sequence[Watched]) -> None:
        self._loops = loops

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: the loops may not have started."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics of all loops."""
        for name, text, read in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            for stage, topic, meter in self._meters():
                counter.add_metric((stage, topic), read(meter))
            yield counter
        yield self._seconds()
        yield from self._backlogs()
        held = GaugeMetricFamily("mend_events_in_hand", "Events that the loop holds in memory", labels=("stage",))
        lost = CounterMetricFamily("mend_bus_interruptions", "Times that Redis could not be reached", labels=("stage",))
        for loop in self._loops:
            held.add_metric((loop.meter.stage,), loop.in_hand)
            lost.add_metric((loop.meter.stage,), loop.meter.reconnects)
        yield held
        yield lost

    def _meters(self) -> Iterator[tuple[str, str, TopicMeter]]:
        for loop in self._loops:
            for topic, meter in loop.meter.topics.items():
                yield loop.meter.stage, topic, meter

    def _seconds(self) -> Metric:
        family = HistogramMetricFamily("mend_handler_seconds", "Seconds that one run of a handler took", labels=_LABELS)
        for stage, topic, meter in self._meters():
            total, buckets = 0, []
            for bound, count in zip((*(f"{bound:g}" for bound in BUCKETS), "+Inf"), meter.buckets, strict=True):
                total += count
                buckets.append((bound, float(total)))
            family.add_metric((stage, topic), buckets, meter.seconds)
        return family

    def _backlogs(self) -> Iterator[Metric]:
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=(*_LABELS, "partition"))
            for stage, topic, meter in self._meters():
                for partition, row in meter.backlog.items():
                    gauge.add_metric((stage, topic, str(partition)), read(row))
            yield gauge
