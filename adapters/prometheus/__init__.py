"""Prometheus: metrics of a target before and after, what is usual for them, and whether an alert still holds. It only reads."""

from __future__ import annotations

from adapters.prometheus.metrics import PrometheusMetrics
from adapters.prometheus.options import PrometheusOptions

__all__ = ["PrometheusMetrics", "PrometheusOptions"]
