"""Secrets that are known by their name: the value of `password=`, of `"apiKey":`, of `--token`, of a label named db_password.

Every repetition is bounded, or starts where its word starts: the time is linear in the text, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby

MASK = "***"
_KEYS = "api|access|private|encrypt(?:ion)?|signing|account|master|shared|service|auth|host|storage|hmac|aes|ssh|rsa|session"
_ANYWHERE = r"passw(?:or)?d|passwort|passphrase|passcode|pwd|secret|credential|jwt|token(?!i[sz])"
_ALONE = "pass|pw"
_WHOLE = "auth|cookie|session|sid|sig|signature"
_WORDS = (
    rf"{_ANYWHERE}|(?:{_KEYS})[ _.-]?key"
    rf"|(?<![a-z0-9])(?:{_ALONE})(?![a-z])|(?<=db|my|pg)pass(?![a-z])|(?-i:(?<=[a-z])Pass(?![a-z]))"
    rf"|(?<![a-z])(?:{_WHOLE})(?![a-z])|(?-i:(?<=[a-z])(?:Auth|Signature)(?![a-z]))"
)
_NAME = re.compile(_WORDS, re.IGNORECASE)
# What only points to a secret says which one is meant: that is the evidence when it is missing.
_POINTER = re.compile(
    r"(?-i:Names?|Refs?|File|Path|Ref\.name|Ref\.key|Ref\.optional)\Z|[_-](?:names?|refs?|file|path|stdin)\Z|\.(?:path|file)\Z|\Achecksum/",
    re.IGNORECASE,
)
# Words of sentences, too: after a colon, only what looks made up is taken for their value.
_WEAK = re.compile(r"(?:auth|pass|session|sid|sig|signature|cookie)\Z", re.IGNORECASE)
_MADE_UP = re.compile(r"[\d+/=!#$%&*@^~_]")
_NO_SECRET = re.compile(
    r"(?:true|false|null|none|nil|<nil>|yes|no|\*+|\[\]|\{\}|\$\{\w{1,64}\}|\$\(\w{1,64}\))?[)}\],.]{0,8}", re.IGNORECASE
)
_MEASURE = re.compile(r"[+-]?\d{1,7}(?:\.\d{1,9})?(?:ms|us|s|m|h|d|%|[KMG]i?)?[)}\],.]{0,8}")
_COUNTED = re.compile(r"token|auth|session|sid|sig|pass\Z", re.IGNORECASE)
_SENTENCE = frozenset(
    ("is", "or", "and", "flag", "option", "must", "was", "not", "required", "for", "to", "from", "via", "in", "with", "has", "are")
)
_SHORT = 64  # characters; what is longer is no word of a sentence

_QUOTE = r"(?:\\{0,7}[\"'])?"
_ASSIGNED = re.compile(
    rf"(?P<name>(?:{_WORDS})[\w.-]{{0,64}}){_QUOTE}\]?[ \t]{{0,8}}(?P<sign>=>|:=|[=:]|%3d)(?![=~])[ \t]{{0,8}}"
    r"(?:[|>][+-]?[ \t]{0,8}(?=\n))?(?:\n[ \t]{1,40}(?=[^\s:]{1,512}[ \t]{0,8}(?:\n|\Z)))?",
    re.IGNORECASE,
)
# Where one of _WORDS can begin, in folded text: looking for a first letter is many times as fast as trying all of them everywhere.
_FIRST = sorted([*f"{_ANYWHERE}|{_ALONE}|{_WHOLE}".split("|"), *(f"{key}[ _.-]?key" for key in _KEYS.split("|"))])
_BEGINNING = re.compile(
    "|".join(f"{letter}(?={'|'.join(word[1:] for word in words)})" for letter, words in groupby(_FIRST, key=lambda word: word[0]))
)
_AS_ASCII = {0x130: "i", 0x131: "i", 0x17F: "s", 0x212A: "k"}  # what the patterns take for these letters
_OPTION = re.compile(
    rf"(?<![\w-])--?(?P<name>[a-z][\w.-]{{0,63}}){_QUOTE}"
    r"(?:[ \t]{0,8},\s{0,40}|[ \t]{1,8}|[ \t]{0,8}\n[ \t]{0,40}-[ \t]{1,8})(?=[^\s-])",
    re.IGNORECASE,
)
_PAIR = re.compile(
    rf"\bname{_QUOTE}[ \t]{{0,8}}[:=][ \t]{{0,8}}{_QUOTE}(?P<name>[\w.-]{{1,128}}){_QUOTE}[ \t]{{0,8}},?\s{{0,40}}"
    rf"{_QUOTE}value{_QUOTE}[ \t]{{0,8}}(?P<sign>[:=])[ \t]{{0,8}}",
    re.IGNORECASE,
)
# A quotation mark after which JSON goes on has ended a text, and begins no value.
ENDS = r"(?! ?[,:}\]] ?(?:\\{0,7}\"|[{\[}\],\d-]|\Z))"
_ESCAPED = re.compile(rf"(?P<open>\\{{1,7}}[\"']){ENDS}" + r"(?P<inner>(?:[^\n\"\\]|\\+[^\n\\])*?)(?:(?<!\\)(?P=open)|(?=[\n\"])|\\*\Z)")
_MASKED = re.compile(r"(?:\\{0,7}[\"'])?\*\*\*(?!\w)")
_QUOTED = re.compile(rf"(?P<open>[\"']){ENDS}" + r"(?P<inner>(?:\\[^\n]|(?!(?P=open))[^\n\\])*)(?:(?P=open)|\\?(?=\n)|\\?\Z)")
_BARE = re.compile(r"(?:[^\s,;&\"'\\]|\\(?![\"'\\]|\Z)|[,;&](?![\s\"']|[\w.-]{1,40}[=:]|\Z))+")
# A password in a string such as `Server=db;Password=a b;Encrypt=true` ends at the semicolon, or with the whole string.
_PASSWORD = re.compile(r"passw(?:or)?d|pwd", re.IGNORECASE)
_IN_STRING = r"(?:[^;\n\"'\\]|\\(?![\"'\\]|\Z))"
_TO_ITS_END = re.compile(rf"{_IN_STRING}+")
_TO_THE_NEXT = re.compile(rf"{_IN_STRING}{{1,256}}(?=;[ \t]{{0,8}}[a-z][\w ]{{0,32}}=)", re.IGNORECASE)


def names_a_secret(name: str) -> bool:
    """Whether what is called so is secret: `db_password`, `apiKey` and `Authorization` are, `secretName` and `author` are not."""
    return (_NAME.search(name) is not None and _POINTER.search(name) is None) or name.casefold() == "authorization"


def value_by_name(name: str, value: str) -> str:
    """`value`, or `***` where its name says that it is a secret; switches, counts and references are none."""
    return MASK if names_a_secret(name) and not _spared(name, "=", value) else value


def assigned(text: str) -> str:
    """`text` with values after `name=`, `name: ` and `"name":` masked, in escaped JSON and query parameters as well."""
    folded = (text if text.isascii() else text.translate(_AS_ASCII)).lower()  # as long as the text

    def find(_: str, at: int) -> re.Match[str] | None:
        starts = (found.start() for found in _BEGINNING.finditer(folded, at))
        return next(filter(None, (_ASSIGNED.match(text, start) for start in starts)), None)

    return _masked(text, find)


def options(text: str) -> str:
    """`text` with what follows an option such as `--password` masked: on a command line, in a list in JSON or YAML."""
    return _masked(text, _OPTION.search)


def pairs(text: str) -> str:
    """`text` with values of `name: DB_PASSWORD, value: …` masked, as in the environment of a container."""
    return _masked(text, _PAIR.search)


def _masked(text: str, find: Callable[[str, int], re.Match[str] | None]) -> str:
    """`text` with the values masked that follow what `find` finds, from the place that it is given on."""
    parts: list[str] = []
    at = 0
    found = find(text, 0)
    while found:
        here = found.end()
        if names_a_secret(found["name"]) and not _MASKED.match(text, here):
            whole, shown = _in_string(found) or _value(text, here)
            if whole and not _is_spared(found, whole):
                parts += [text[at:here], shown]
                here = at = here + len(whole)
        found = find(text, here)
    return "".join(parts) + text[at:] if parts else text


def _in_string(found: re.Match[str]) -> tuple[str, str] | None:
    """The password that begins here, and how it is shown, where it stands among other pairs `name=value;`; None anywhere else."""
    if found.re is not _ASSIGNED or found["sign"] != "=" or not _PASSWORD.fullmatch(found["name"]):
        return None
    text = found.string
    earlier = text[max(found.start() - 256, 0) : found.start()].rpartition("\n")[2].rstrip(" \t")
    follows = earlier.endswith(";") and "=" in earlier[:-1].rpartition(";")[2]
    value = (_TO_ITS_END if follows else _TO_THE_NEXT).match(text, found.end())
    return (value[0], MASK) if value else None


def _value(text: str, at: int) -> tuple[str, str]:
    """The value that begins here, and how it is shown; a quotation without its end reaches to the end of the line."""
    quoted = _ESCAPED.match(text, at) or _QUOTED.match(text, at)
    if quoted:
        closed = quoted.end() - quoted.end("inner") >= len(quoted["open"])
        return quoted[0], f"{quoted['open']}{MASK}{quoted['open'] if closed else ''}"
    bare = _BARE.match(text, at)
    return (bare[0], MASK) if bare else ("", "")


def _is_spared(found: re.Match[str], whole: str) -> bool:
    """Whether the value says by itself that it is no secret; an opening quotation mark alone does not say what would follow."""
    value = whole.strip("\\\"'")
    if not value:
        return len(whole) > 1
    if found.re is _OPTION and value in _SENTENCE:
        return True
    alone = found.start() == 0 or found.string[found.start() - 1].isspace()
    return _spared(found["name"] if alone else "-" + found["name"], "=" if found.re is _OPTION else found["sign"], value)


def _spared(name: str, sign: str, value: str) -> bool:
    if len(value) > _SHORT:
        return False
    if _NO_SECRET.fullmatch(value) or (_COUNTED.search(name) and _MEASURE.fullmatch(value)):
        return True
    return sign == ":" and (value.endswith(":") or (_WEAK.match(name) is not None and not _MADE_UP.search(value)))
