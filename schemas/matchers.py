"""Alertmanager's matchers: `alertname="X", namespace=~"shop|pay"`, with its quoting, on labels that anybody may have written.

A regular expression is RE2's, as in Alertmanager: it matches the whole value, and in a time that grows with the value's length
and never with the paths through the expression, whatever the value is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

ALERT_NAME = "alertname"
_MATCHERS = 20  # of one selector
_VALUE_LIMIT = 1024  # characters
_MEMORY = 1 << 20  # bytes that one expression may take
_BLANK = re.compile(r"\s*")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SIGN = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_BARE = re.compile(r"""[^\s{}!=~,\\"'`]+""")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
_ALTERNATIVES = re.compile(r"\(?[A-Za-z0-9_ -]+(?:\|[A-Za-z0-9_ -]+)*\)?")


class MatcherWrong(ValueError):
    """The text is no selector; `offset` is the place in it, in characters, at which that shows."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


class Sign(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    LIKE = "=~"
    NOT_LIKE = "!~"


class Matcher(msgspec.Struct, frozen=True):
    """One condition on one label. A label that is not there has an empty value."""

    name: str
    sign: Sign
    value: str

    def holds(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.name, "")
        match self.sign:
            case Sign.EQUAL:
                return found == self.value
            case Sign.NOT_EQUAL:
                return found != self.value
            case Sign.LIKE:
                return _matches(self.value, found)
            case _:
                return not _matches(self.value, found)

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.sign}"{escaped}"'

    @property
    def literals(self) -> tuple[str, ...]:
        """The only values that it holds for; empty where there is no short list of them."""
        if self.sign is Sign.EQUAL:
            return (self.value,)
        if self.sign is Sign.LIKE and _ALTERNATIVES.fullmatch(self.value) and self.value.startswith("(") == self.value.endswith(")"):
            return tuple(self.value.removeprefix("(").removesuffix(")").split("|"))
        return ()


Selector = tuple[Matcher, ...]
"""Matchers all of which have to hold."""


def parse_selector(text: str) -> Selector:
    """The matchers of a text in Alertmanager's syntax, with or without braces. Raises MatcherWrong."""
    place = _skip(text, 0)
    braced = text[place : place + 1] == "{"
    place = _skip(text, place + braced)
    found: list[Matcher] = []
    while place < len(text) and text[place] != "}":
        matcher, place = _matcher(text, place)
        found.append(matcher)
        if place < len(text) and text[place] == ",":
            place = _skip(text, place + 1)
        elif place < len(text) and text[place] != "}":
            raise MatcherWrong("a comma is expected between two matchers", place)
    closed = text[place : place + 1] == "}"
    if braced != closed:
        raise MatcherWrong("the closing brace is missing" if braced else "there is a closing brace without an opening one", place)
    if end := text[place + closed :].strip():
        raise MatcherWrong(f"nothing may follow the closing brace, and {end[:20]!r} does", place + 1)
    if not found:
        raise MatcherWrong("there is no matcher", 0)
    if len(found) > _MATCHERS:
        raise MatcherWrong(f"there are {len(found)} matchers: {_MATCHERS} are allowed", 0)
    return tuple(found)


def write_selector(selector: Selector) -> str:
    return ", ".join(str(matcher) for matcher in selector)


def _matcher(text: str, place: int) -> tuple[Matcher, int]:
    name, place = _name(text, place)
    sign = _SIGN.match(text, place)
    if sign is None:
        raise MatcherWrong(f"one of = != =~ !~ is expected after the label {name}", place)
    start = _skip(text, sign.end())
    value, place = _value(text, start)
    if len(value) > _VALUE_LIMIT:
        raise MatcherWrong(f"the value has {len(value)} characters: {_VALUE_LIMIT} are allowed", start)
    matcher = Matcher(name, Sign(sign[0]), value)
    if matcher.sign in (Sign.LIKE, Sign.NOT_LIKE):
        try:
            _compiled(value)
        except ValueError as error:
            raise MatcherWrong(f"{value[:60]!r} is no regular expression: {error}", start) from None
    return matcher, place


def _name(text: str, place: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, place)
    if quoted is not None:
        return _unescaped(quoted), _skip(text, quoted.end())
    bare = _NAME.match(text, place)
    if bare is None:
        raise MatcherWrong("the name of a label is expected", place)
    return bare[0], _skip(text, bare.end())


def _value(text: str, place: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, place)
    if quoted is not None:
        return _unescaped(quoted), _skip(text, quoted.end())
    bare = _BARE.match(text, place)
    if bare is None:
        missing = "a closing quote" if text[place : place + 1] == '"' else "a value, best in double quotes,"
        raise MatcherWrong(f"{missing} is expected", place)
    return bare[0], _skip(text, bare.end())


def _unescaped(quoted: re.Match[str]) -> str:
    r"""The text between quotes: of escapes there are \" and \\ and \n, as in Alertmanager; any other stays as it is written."""
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), quoted[1])


def _skip(text: str, place: int) -> int:
    blank = _BLANK.match(text, place)
    return blank.end() if blank else place


def _matches(expression: str, value: str) -> bool:
    return _compiled(expression).fullmatch(value) is not None


@lru_cache(maxsize=32_768)
def _compiled(expression: str) -> Any:
    """The expression, ready to match. Raises ValueError with RE2's own reason."""
    import re2

    options = re2.Options()
    options.log_errors, options.max_mem, options.never_capture = False, _MEMORY, True
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None
