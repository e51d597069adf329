"""failure_watch: what went wrong gets its class by rule, and people get a question that they can act on."""

from __future__ import annotations

from stages.failure_watch.stage import FailureWatch

__all__ = ["FailureWatch"]
