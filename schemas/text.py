"""Text from outside is hostile: bounded, printable, and without what looks like a secret, before anybody keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_SHORTEST = 6  # characters; masking shorter words would blank out ordinary text
_known: re.Pattern[str] | None = None
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# Every repetition is bounded, or starts where its word starts: the time is linear in the text, whoever wrote it.
# The words before a pattern are folded; without any of them in a text, the pattern cannot match and is not tried.
_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = (
    (("private key",), re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), "***"),
    (("@",), re.compile(r"([a-z][a-z0-9+.-]{0,20}://)[^\s/@:]{0,256}:[^\s/@]{1,1024}@", re.IGNORECASE), r"\1***@"),
    (("eyj",), re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), "***"),
    (("bearer", "bas"), re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), r"\1 ***"),
    (("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
    (
        ("gh", "glpat-", "xox", "sk-"),
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,})"),
        "***",
    ),
    (
        ("password", "passwd", "pwd", "secret", "token", "key", "credent"),
        re.compile(
            r"((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[\w.-]{0,64}[\"']?\s{0,8}[=:]\s{0,8})"
            r"(\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (("@",), re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{0,190}\w"), "***"),
)


def hide(secrets: Iterable[str]) -> None:
    """From now on `clean` masks these very texts in this process as well; those under 6 characters are left out."""
    global _known  # noqa: PLW0603 - what a process must not say is a fact about the process
    forms = {form for text in secrets if len(text) >= _SHORTEST for form in (text, json.dumps(text)[1:-1], repr(text)[1:-1])}
    _known = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))) if forms else None


def mask(text: str) -> str:
    """`text` with the secrets of this process (see `hide`) and all that looks like one replaced by `***`."""
    if _known is not None:
        text = _known.sub("***", text)
    folded = text.casefold()
    for words, pattern, replacement in _SECRETS:
        if any(word in folded for word in words):
            text = pattern.sub(replacement, text)
    return text


def printable(text: str) -> str:
    """Words of our own, without control characters and without the secrets of this process; what only looks like a secret stays."""
    text = _CONTROL.sub("", text)
    return _known.sub("***", text) if _known is not None else text


def clean(text: str, limit: int = 2000) -> str:
    """`text` without control and direction characters, with secrets and e-mail addresses masked, `limit` characters at most."""
    text = mask(_CONTROL.sub("", text[: limit * 4]))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def clean_labels(labels: dict[str, str], *, entries: int = 64, limit: int = 1024) -> dict[str, str]:
    """The first `entries` labels, names and values cleaned."""
    return {clean(name, 128): clean(value, limit) for name, value in list(labels.items())[:entries]}
