"""A metric's past: as many samples as tell what is usual, not more than a quick answer of Prometheus has."""

from __future__ import annotations

from adapters.prometheus.answers import Sample
from adapters.prometheus.client import PrometheusClient
from adapters.prometheus.options import PrometheusOptions

_POINTS = 720  # samples of one answer: half an hour each over 15 days
_DAYS = 2 * 86400.0


async def read_history(client: PrometheusClient, options: PrometheusOptions, query: str, *, until: float) -> tuple[list[Sample], float]:
    """The samples before `until` (Unix time in seconds), and the step between them in seconds.

    The whole past is read coarsely. Where it is shorter than the two days that show a rhythm, it is read again as finely as
    the settings allow. Raises Transient or Refused.
    """
    step = max(options.history / _POINTS, options.resolution)
    samples = await _read(client, query, span=options.history, until=until, step=step)
    known = until - samples[0][0] + step if samples else min(_POINTS * options.resolution, step)
    fine = max(known / _POINTS, options.resolution)
    if known >= _DAYS or fine >= step:
        return samples, step
    return await _read(client, query, span=known, until=until, step=fine), fine


async def _read(client: PrometheusClient, query: str, *, span: float, until: float, step: float) -> list[Sample]:
    # The step divides the times, so that two looks read the very same samples.
    end = until - until % step
    return await client.query_range(query, start=end - span + span % step, end=end, step=step)
