"""Words given on the command line, matched against a closed set; a wrong one names the nearest."""

from __future__ import annotations

from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from ops.errors import CommandFailed

W = TypeVar("W", bound=StrEnum)


def choice_of(kind: type[W], word: str) -> W:
    """The member of `kind` with this value, in any case; raises CommandFailed."""
    for member in kind:
        if member.value.lower() == word.lower():
            return member
    raise CommandFailed(unknown_word(word, [member.value for member in kind]))


def known_word(word: str, words: list[str], what: str) -> str:
    """`word`, where it is one of `words`; raises CommandFailed."""
    if word in words:
        return word
    raise CommandFailed(f"{word!r} is no {what}: expected one of {_listed(word, words)}")


def unknown_word(word: str, words: list[str]) -> str:
    """One sentence that says that `word` is none of `words`, and which is the nearest."""
    return f"{word!r} is none of {_listed(word, words)}"


def _listed(word: str, words: list[str]) -> str:
    near = get_close_matches(word, words, 1, 0.5)
    return ", ".join(words) + (f"; did you mean {near[0]}?" if near else "")
