"""One thing that was looked at."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.text import clean


class Level(StrEnum):
    """wrong: it does not work · warning: it works and is not as it should be · note: it is not there and need not be."""

    FINE = "fine"
    NOTE = "note"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, how it is, and what to do about it."""

    about: str
    level: Level
    said: str
    mend: str = ""


def fine(about: str, said: str) -> Finding:
    return Finding(about=about, level=Level.FINE, said=said)


def note(about: str, said: str, mend: str = "") -> Finding:
    return Finding(about=about, level=Level.NOTE, said=said, mend=mend)


def warning(about: str, said: str, mend: str) -> Finding:
    return Finding(about=about, level=Level.WARNING, said=said, mend=mend)


def wrong(about: str, said: str, mend: str) -> Finding:
    return Finding(about=about, level=Level.WRONG, said=said, mend=mend)


def failed(about: str, error: Exception, mend: str) -> Finding:
    """A look that ended in an error."""
    return wrong(about, clean(str(error), 400) or type(error).__name__, mend)
