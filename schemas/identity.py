"""Identifiers: time-ordered for what enters from outside, derived for what a handler emits.

Both are 128 bits in the text form of a UUID and start with 48 bits of Unix milliseconds, so that they sort by time
and the archive can tell an event's month from its id alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime

from schemas.errors import InvalidIdentifier

# The first digit is 0 until the year 2527: a time beyond it is nobody's clock, and neither Python nor Postgres could hold the last ones.
_FORM = re.compile(r"0[0-9a-f]{7}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_VARIANT = {digit: f"{0x8 | int(digit, 16) & 0x3:x}" for digit in "0123456789abcdef"}


def _text(milliseconds: int, version: int, low: int) -> str:
    """The UUID text of 48 bits of time, a version and the low 74 bits of `low`."""
    high = milliseconds & 0xFFFFFFFFFFFF
    digits = f"{high:012x}{version:x}{(low >> 62) & 0xFFF:03x}{0x8000000000000000 | (low & 0x3FFFFFFFFFFFFFFF):016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_id(now: datetime) -> str:
    """A UUIDv7 (RFC 9562) for what enters from outside; `now` is aware, in any zone."""
    return _text(int(now.timestamp() * 1000), 7, secrets.randbits(74))


def derived_id(cause: str, stage: str, position: int) -> str:
    """The id of the `position`-th output of `stage` for the input `cause`: the same arguments, the same id.

    A UUIDv8 (RFC 9562) with the time of `cause` and 74 bits of BLAKE2b over the three arguments.
    """
    digest = hashlib.blake2b(f"{cause}\n{stage}\n{position}".encode(), digest_size=10).hexdigest()
    return f"{cause[:13]}-8{digest[1:4]}-{_VARIANT[digest[5]]}{digest[5:8]}-{digest[8:]}"


def is_identifier(text: str) -> bool:
    """Whether `text` has the form that `new_id` and `derived_id` give."""
    return _FORM.fullmatch(text) is not None


def time_of(identifier: str) -> datetime:
    """The UTC time, to the millisecond, in the first 48 bits of an identifier.

    Raises InvalidIdentifier when the text has not the form of one.
    """
    if not is_identifier(identifier):
        raise InvalidIdentifier(identifier)
    return datetime.fromtimestamp(int(identifier[:8] + identifier[9:13], 16) / 1000, UTC)
