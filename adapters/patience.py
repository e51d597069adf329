"""Who did not answer in time again and again is not asked for a while, so that a storm of incidents does not wait for it each time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

_MISSES = 3
_PAUSE = timedelta(seconds=30)


class Patience:
    """Of one server, by its name for people: after three questions in a row that it did not answer in time, none for 30 s; then one.

    Whatever it answers to that one, and be it an error, it is asked as before.
    """

    def __init__(self, name: str, clock: Callable[[], datetime]) -> None:
        self._name = name
        self._clock = clock
        self._misses = 0
        self._again_at: datetime | None = None

    def refusal(self) -> str:
        """Why it is not to be asked now, as a sensor keeps it; empty where it is, and then `told` must follow."""
        now = self._clock()
        if self._again_at is None:
            return ""
        if now >= self._again_at:
            self._again_at = now + _PAUSE  # for all others, while this one finds out
            return ""
        return f"not asked: {self._name} did not answer {self._misses} times in a row, asked again at {self._again_at:%H:%M:%S} UTC"

    def told(self, *, late: bool) -> None:
        """How a question ended: without an answer in time, or with any answer."""
        if not late:
            self._misses, self._again_at = 0, None
            return
        self._misses += 1
        if self._misses >= _MISSES and self._again_at is None:
            self._again_at = self._clock() + _PAUSE
