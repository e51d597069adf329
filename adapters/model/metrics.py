"""What Prometheus sees of the language model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.model.meter import BUCKETS, ModelMeter


class ModelCollector(Collector):
    """Collects from the meter of this process: register it with a `CollectorRegistry`."""

    def __init__(self, meter: ModelMeter) -> None:
        self._meter = meter

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: purposes and outcomes appear as they happen."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Questions by how they ended, seconds of requests, and tokens."""
        meter = self._meter
        questions = CounterMetricFamily(
            "mend_model_questions", "Questions to the language model, by how they ended", labels=("provider", "purpose", "outcome")
        )
        for (purpose, outcome), count in sorted(meter.outcomes.items()):
            questions.add_metric((meter.provider, purpose, outcome), count)
        yield questions
        tokens = CounterMetricFamily(
            "mend_model_tokens", "Tokens that the model's answers cost, as its endpoint tells", labels=("provider",)
        )
        tokens.add_metric((meter.provider,), meter.tokens)
        yield tokens
        total, buckets = 0, []
        for bound, count in zip((*(f"{bound:g}" for bound in BUCKETS), "+Inf"), meter.buckets, strict=True):
            total += count
            buckets.append((bound, float(total)))
        seconds = HistogramMetricFamily("mend_model_seconds", "Seconds of one request to the language model", labels=("provider",))
        seconds.add_metric((meter.provider,), buckets, meter.seconds)
        yield seconds
