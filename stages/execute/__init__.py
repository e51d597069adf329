"""execute: the only stage that changes the world; once for each approval, never on the word of an event."""

from __future__ import annotations

from stages.execute.options import ExecuteOptions
from stages.execute.stage import ExecuteStage

__all__ = ["ExecuteOptions", "ExecuteStage"]
