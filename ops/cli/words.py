"""Words given on the command line, matched against a closed set; a wrong one names the nearest."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from ops.errors import CommandFailed

W = TypeVar("W", bound=StrEnum)
_ALL = "all"


def choice_of(kind: type[W], word: str, also: Sequence[str] = ()) -> W:
    """The member of `kind` with this value, in any case; raises CommandFailed, which names `also` among what may be said."""
    for member in kind:
        if member.value.lower() == word.lower():
            return member
    raise CommandFailed(unknown_word(word, [*(member.value for member in kind), *also]))


def choices_of(kind: type[W], word: str) -> tuple[W, ...]:
    """The one member of `kind` with this value, or none for `all`, which leaves nothing out; raises CommandFailed."""
    return () if word.lower() == _ALL else (choice_of(kind, word, also=(_ALL,)),)


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
