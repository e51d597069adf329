"""Names and passwords in URLs, also where people wrote `@` or `/` in the password without escaping it."""

from __future__ import annotations

import re

_AUTHORITY = re.compile(r"(?<=[A-Za-z0-9+.-]):(?://|\\/\\/)")
_AFTER = re.compile(r"[\s\"'<>]")
_PORT = re.compile(r"\d{1,5}[/?#\\]")
_NO_USER = re.compile(r"[/?#@\\]")
_DIGEST = re.compile(r"sha\d{1,3}:")
_LONGEST = 1300  # characters of a user name and a password
_KEY = 20  # characters; a user name without a password that is longer than that is a key


def without_user_info(text: str) -> str:
    """`text` with `user:password@` after `scheme://` as `***@`; a host with a port, a path with `@` and a digest stay."""
    parts: list[str] = []
    at = end = 0
    for match in _AUTHORITY.finditer(text):
        start = match.end()
        if start >= end:
            after = _AFTER.search(text, start)
            end = after.start() if after else len(text)
        stop = _last_at(text, start, min(end, start + _LONGEST)) if start >= at else -1
        if stop > start and _is_user_info(text[start:stop]) and not _DIGEST.match(text, stop + 1):
            parts += [text[at:start], "***"]
            at = stop
    return "".join(parts) + text[at:]


def _last_at(text: str, start: int, end: int) -> int:
    """The last `@` before a query or fragment; where there is none, `?` and `#` belong to the password."""
    question, fragment = text.find("?", start, end), text.find("#", start, end)
    first = min(question if question >= 0 else end, fragment if fragment >= 0 else end)
    found = text.rfind("@", start, first)
    return found if found >= 0 else text.rfind("@", start, end)


def _is_user_info(info: str) -> bool:
    user, colon, password = info.partition(":")
    if _NO_USER.search(user):
        return False
    return not _PORT.match(password) if colon else len(info) >= _KEY
