"""Text from outside is hostile: bounded, printable, and without what looks like a secret, before anybody keeps it.

Masked first and cut afterwards: half a secret looks like none. What is too long to be masked as a whole is cut between words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from schemas.masking import masked
from schemas.named_secrets import value_by_name

_SHORTEST = 6  # characters; masking shorter words would blank out ordinary text
_MARGIN = 4096  # characters beyond four times the limit that are masked with it; a secret that ends there is whole
_known: re.Pattern[str] | None = None
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def hide(secrets: Iterable[str]) -> None:
    """From now on `clean` masks these very texts in this process as well; those under 6 characters are left out."""
    global _known  # noqa: PLW0603 - what a process must not say is a fact about the process
    forms = {form for text in secrets if len(text) >= _SHORTEST for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1])}
    _known = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))) if forms else None


def mask(text: str) -> str:
    """`text` with the secrets of this process (see `hide`) and all that looks like one replaced by `***`."""
    return masked(_known.sub("***", text) if _known is not None else text)


def printable(text: str) -> str:
    """Words of our own, without control characters and without the secrets of this process; what only looks like a secret stays."""
    text = _CONTROL.sub("", text)
    return _known.sub("***", text) if _known is not None else text


def clean(text: str, limit: int = 2000) -> str:
    """`text` without control and direction characters, with secrets and e-mail addresses masked, `limit` characters at most."""
    most = limit * 4 + _MARGIN
    if len(text) > most:
        text = _head(text, most)
    text = mask(_CONTROL.sub("", text))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_tail(text: str, limit: int = 2000) -> str:
    """As `clean`, but of a long text its last lines; the first one stays in part where it alone is too long."""
    most = limit * 4 + _MARGIN
    if len(text) > most:
        text = _tail(text, most)
    text = mask(_CONTROL.sub("", text))
    return text if len(text) <= limit else "…" + _tail(text, limit - 1)


def clean_value(name: str, value: str, limit: int = 2000) -> str:
    """As `clean`, for a value that stands alone: `***` where its name says that it is a secret."""
    return clean(value_by_name(name, value), limit)


def clean_labels(labels: dict[str, str], *, entries: int = 64, limit: int = 1024) -> dict[str, str]:
    """The first `entries` labels, names and values cleaned; what is named as a secret has no value."""
    return {clean(name, 128): clean_value(name, value, limit) for name, value in list(labels.items())[:entries]}


def _head(text: str, size: int) -> str:
    """The beginning of `text`, up to the end of a line, else of a word; in one word that has neither, anywhere."""
    cut = text.rfind("\n", size // 2, size)
    cut = cut if cut >= 0 else text.rfind(" ", size // 2, size)
    return text[: cut if cut >= 0 else size]


def _tail(text: str, size: int) -> str:
    """The end of `text`, from the beginning of a line, else of a word."""
    start = len(text) - size
    if start > 0 and text[start - 1] == "\n":
        return text[start:]
    cut = text.find("\n", start, len(text) - size // 2)
    cut = cut if cut >= 0 else text.find(" ", start, len(text) - size // 2)
    return text[cut + 1 if cut >= 0 else start :]
