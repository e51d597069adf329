"""Dead letters: what a group could not handle becomes an event of its own, its bytes intact."""

from __future__ import annotations

import hashlib
import traceback

from bus import names
from bus.handler import Clock
from bus.transport import Delivery, Emit
from schemas.codec import encode, peek
from schemas.events import DeadLettered
from schemas.identity import derived_id, is_identifier
from schemas.text import clean, clean_tail
from schemas.words import DeadReason

_ERROR = 2000
_TRACEBACK = 8000


class Letters:
    """Writes the dead letters of one stage."""

    def __init__(self, stage: str, by: str, clock: Clock) -> None:
        self._stage = stage
        self._by = by
        self._clock = clock

    def write(self, delivery: Delivery, reason: DeadReason, error: str, trace: str = "") -> Emit | None:
        """The dead letter of a delivery, or None where the delivery is a dead letter itself: they never breed.

        Its id is derived from the event inside and the entry, so the same entry dies once and a replayed one may die again.
        """
        if delivery.topic == names.DEAD:
            return None
        kind, subject, incident = peek(delivery.body)
        cause = subject if is_identifier(subject) else entry_identifier(delivery.id, delivery.body)
        letter = DeadLettered(
            id=derived_id(cause, f"dead/{self._stage}/{delivery.topic}/{delivery.id.decode()}", delivery.partition),
            incident=clean(incident, 100),
            key=delivery.event.key if delivery.event else "",
            at=self._clock(),
            cause=subject if is_identifier(subject) else "",
            by=self._by,
            source_topic=delivery.topic,
            group=self._stage,
            entry=delivery.id.decode(),
            reason=reason,
            error=self.bounded(error, _ERROR),
            attempts=delivery.deliveries,
            original=delivery.body,
            original_type=clean(kind, 100),
            subject=clean(subject, 100),
            traceback=self.bounded(trace, _TRACEBACK),
        )
        return Emit(names.DEAD, encode(letter))

    @staticmethod
    def bounded(text: str, limit: int) -> str:
        """`text` cleaned; of a long one the last lines, where a traceback has its error."""
        return clean_tail(text, limit)


def describe(error: BaseException) -> tuple[str, str]:
    """One line that says what was raised, and the traceback."""
    line = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return line, "".join(traceback.format_exception(error))


def entry_identifier(entry: bytes, body: bytes) -> str:
    """An event id for bytes that carry none: a UUIDv8 of the entry's time and a hash of its id and bytes."""
    milliseconds = int(entry.split(b"-", 1)[0]) & 0xFFFFFFFFFFFF
    time = f"{milliseconds:012x}"
    digest = hashlib.blake2b(entry + b"\n" + body, digest_size=10).hexdigest()
    return derived_id(f"{time[:8]}-{time[8:]}-8000-8000-000000000000", digest, 0)
