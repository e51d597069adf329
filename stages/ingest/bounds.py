"""What a signal may look like: a signal that is out of bounds is refused whole, never cut into another signal's identity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from schemas.event import KEY_LIMIT
from schemas.events import SignalReceived
from schemas.identity import is_identifier

LABELS = 128  # labels of one signal
LABEL_NAME = 256  # characters
LABEL_VALUE = 4096  # characters
LABELS_TOTAL = 65536  # characters of all labels of one signal
ANNOTATIONS_TOTAL = 524288  # characters of all annotations of one signal
FINGERPRINT = 128  # characters
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)  # how far a sender's clock may be ahead of ours
LATEST_END = timedelta(days=3660)  # how far ahead an alert may say that it will end


class Fault(NamedTuple):
    """What is wrong with a signal: the field, by its name in the webhook, and a sentence."""

    field: str
    reason: str


def fault_of(signal: SignalReceived, now: datetime) -> Fault | None:
    """The first thing that makes the signal unfit to be handled, or None."""
    if not is_identifier(signal.id):
        return Fault("id", "id is not the text form of a UUIDv7")
    if not 0 < len(signal.fingerprint) <= FINGERPRINT or not signal.fingerprint.isprintable():
        return Fault("fingerprint", f"fingerprint must be 1 to {FINGERPRINT} printable characters")
    if len(signal.key) > KEY_LIMIT or len(signal.source) > FINGERPRINT or len(signal.by) > FINGERPRINT:
        return Fault("source", f"key is longer than {KEY_LIMIT} characters, or source or by than {FINGERPRINT}")
    return _fault_of_times(signal, now) or _fault_of_labels(signal)


def _fault_of_times(signal: SignalReceived, now: datetime) -> Fault | None:
    if not _between(signal.starts_at, now + AHEAD):
        return Fault("startsAt", f"startsAt must be a time with a zone, between {EARLIEST:%Y-%m-%d} and one day from now")
    if signal.ends_at is not None and not _between(signal.ends_at, now + LATEST_END):
        return Fault("endsAt", f"endsAt must be a time with a zone, between {EARLIEST:%Y-%m-%d} and ten years from now")
    if not _between(signal.at, now + AHEAD):
        return Fault("at", f"at must be a time with a zone, between {EARLIEST:%Y-%m-%d} and one day from now")
    return None


def _between(time: datetime, latest: datetime) -> bool:
    return time.tzinfo is not None and EARLIEST <= time <= latest


def _fault_of_labels(signal: SignalReceived) -> Fault | None:
    if not signal.labels:
        return Fault("labels", "there is no label, so that nothing says what this is about")
    if len(signal.labels) > LABELS:
        return Fault("labels", f"there are {len(signal.labels)} labels: {LABELS} are allowed")
    total = 0
    for name, value in signal.labels.items():
        if not 0 < len(name) <= LABEL_NAME:
            return Fault("labels", f"a label's name has {len(name)} characters: 1 to {LABEL_NAME} are allowed")
        if len(value) > LABEL_VALUE:
            return Fault("labels", f"the label {name[:64]!r} has {len(value)} characters: {LABEL_VALUE} are allowed")
        total += len(name) + len(value)
    if total > LABELS_TOTAL:
        return Fault("labels", f"all labels together have {total} characters: {LABELS_TOTAL} are allowed")
    if sum(len(name) + len(value) for name, value in signal.annotations.items()) > ANNOTATIONS_TOTAL:
        return Fault("annotations", f"all annotations together have more than {ANNOTATIONS_TOTAL} characters")
    return None
