"""The channel that is always there: messages as lines of this process's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog


class LogChannel:
    """Writes each message as one entry of the log, its further lines indented; it never fails."""

    name = "log"

    def __init__(self, log: Any = None) -> None:
        self._log = log or structlog.get_logger("notify")

    async def send(self, lines: Sequence[str], *, delivery: str) -> None:
        self._log.info("\n    ".join(lines), delivery=delivery)

    async def close(self) -> None:
        """Nothing is open."""
