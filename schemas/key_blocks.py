"""Private keys in text, whole or in part: a log's last lines may hold the end of a key whose beginning they do not show.

Everything goes line by line and looks at each line a bounded number of times, so the time is linear in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left

_BEGIN = re.compile(r"-{2,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{2,5}")
_END = re.compile(r"-{2,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{2,5}")
# The lines of a key within one line: parted by spaces or by newlines that are written as an escape.
_PARTED = r"(?:\\{1,8}[rn]|[ \t]){1,4}"
_FLAT = re.compile(
    rf"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{{40,80}}(?:{_PARTED}[A-Za-z0-9+/]{{40,80}})+(?:{_PARTED}[A-Za-z0-9+/]{{1,80}}={{0,2}}(?![\w./+:-]))?"
)
_AFTER_BEGIN = re.compile(r"(?:[A-Za-z0-9+/=]|\\{1,8}[rn]|[ \t])*")
_WORD = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_AROUND = "\"',;|[]()\\"
_SHORTEST_LINE = 40  # characters of a key's line, but of its last one
_LONGEST_KEY = 400  # lines between BEGIN and END
_LONGEST_LAST = 80  # characters; the last line of a key is shorter than the others
_HEADERS = ("Proc-Type:", "DEK-Info:", "Version:", "Comment:")
# Base64 as `x`, all else as a space: one search tells whether a text has a line of a key at all.
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SHAPE = bytes(ord("x") if byte in _ALPHABET else ord(" ") for byte in range(256))
_BODY = b"x" * _SHORTEST_LINE


def without_keys(text: str) -> str:
    """`text` with the lines of private keys as `***`, what stands before them in a line kept.

    A key begins with its BEGIN or END, or with two lines of base64 in a row; hexadecimal digests are no base64.
    """
    named = "PRIVATE KEY" in text
    if not named and (len(text) < 2 * _SHORTEST_LINE or _BODY not in text.encode("utf-8", "replace").translate(_SHAPE)):
        return text
    lines = text.split("\n")
    words = [_last_word(line) for line in lines]
    marked = [bool(_BEGIN.search(line) or _END.search(line)) if named and "PRIVATE KEY" in line else False for line in lines]
    hidden = _of_runs(words) | (_of_marks(lines, words, marked) if named else set())
    for number, line in enumerate(lines):
        if marked[number]:
            lines[number] = _marks_masked(line)
        elif number in hidden:
            lines[number] = _line_masked(line, words[number])
        elif len(line) >= 2 * _SHORTEST_LINE:
            lines[number] = _FLAT.sub(_flat_masked, line)
    return "\n".join(lines)


def _last_word(line: str) -> str:
    """The base64 at the end of a line, without quotes and commas around it; empty where there is none."""
    parts = line.rsplit(maxsplit=1)
    word = parts[-1].strip(_AROUND) if parts else ""
    return word if _WORD.fullmatch(word) else ""


def _is_body(word: str) -> bool:
    """Whether this is a whole line of a key: long, and mixed as neither a path nor a hexadecimal number is."""
    return len(word) >= _SHORTEST_LINE and _is_mixed(word, 4)


def _is_mixed(word: str, least: int) -> bool:
    upper, lower = sum(map(str.isupper, word)), sum(map(str.islower, word))
    return upper >= least and lower >= least and (any(map(str.isdigit, word)) or "+" in word)


def _of_runs(words: list[str]) -> set[int]:
    """The numbers of lines in a run of two or more lines of base64, with the shorter line that ends it."""
    hidden: set[int] = set()
    run: list[int] = []
    for number, word in enumerate([*words, ""]):
        if word and _is_body(word):
            run.append(number)
            continue
        if len(run) > 1:
            hidden.update(run)
            if len(word) >= 8 and _is_mixed(word, 1):
                hidden.add(number)
        run = []
    return hidden


def _line_masked(line: str, word: str) -> str:
    if not word:
        return "***" if line.strip() else line
    start = line.rfind(word)
    return f"{line[:start]}***{line[start + len(word) :]}"


def _of_marks(lines: list[str], words: list[str], marked: list[bool]) -> set[int]:
    """The numbers of lines between BEGIN and END, or after a BEGIN or before an END that stands alone."""
    hidden: set[int] = set()
    began = -1
    for number in (number for number, mark in enumerate(marked) if mark):
        if _END.search(lines[number]):
            whole = began >= 0 and number - began <= _LONGEST_KEY
            hidden.update(range(began + 1, number) if whole else _backward(words, number - 1))
        began = -1
        if _last(_BEGIN, lines[number]) > _last(_END, lines[number]):
            began = number
            hidden.update(_forward(lines, words, number + 1))
    return hidden


def _last(pattern: re.Pattern[str], line: str) -> int:
    return max((match.start() for match in pattern.finditer(line)), default=-1)


def _forward(lines: list[str], words: list[str], number: int) -> list[int]:
    """Whole lines of a key, lines that hold one word of base64 and no other, and headers, as long as they follow each other."""
    found: list[int] = []
    while number < len(lines):
        line, word = lines[number], words[number]
        if _is_body(word) or (word and line.strip().strip(_AROUND) == word):
            found.append(number)
        elif line.strip() and not any(header in line for header in _HEADERS):
            break
        number += 1
    return found


def _backward(words: list[str], number: int) -> list[int]:
    """The line before an END may be of any length; those before it are whole lines."""
    found: list[int] = []
    if number >= 0 and 0 < len(words[number]) <= _LONGEST_LAST:
        found.append(number)
        number -= 1
    while number >= 0 and _is_body(words[number]):
        found.append(number)
        number -= 1
    return found


def _marks_masked(line: str) -> str:
    """A line with BEGIN or END in it: both, and all between them or next to them that may be a key, as `***`."""
    parts: list[str] = []
    at, ends = 0, list(_END.finditer(line))
    for begin in _BEGIN.finditer(line):
        if begin.start() < at:
            continue
        following = bisect_left(ends, begin.end(), key=re.Match.start)
        parts += [_ends_masked(line[at : begin.start()]), "***"]
        at = ends[following].end() if following < len(ends) else _rest(line, begin.end())
    return "".join(parts) + _ends_masked(line[at:])


def _rest(line: str, at: int) -> int:
    """Where the key ends of which this line shows no END. Words after a BEGIN that are no key are kept."""
    run = _AFTER_BEGIN.match(line, at)
    return run.end() if run and any(_is_body(word) for word in _WORD.findall(run[0])) else at


def _ends_masked(text: str) -> str:
    """Text in which a key may end whose BEGIN is not there."""
    parts: list[str] = []
    at = 0
    for end in _END.finditer(text):
        parts.append(_tail_masked(text[at : end.start()]) + "***")
        at = end.end()
    return "".join(parts) + text[at:]


def _tail_masked(text: str) -> str:
    start = len(text)
    while start and (text[start - 1].isalnum() or text[start - 1] in "+/=\\ \t"):
        start -= 1
    words = _WORD.findall(text[start:])
    return text[:start] if any(_is_body(word) or _is_body(word[1:]) for word in words) else text


def _flat_masked(match: re.Match[str]) -> str:
    return "***" if any(_is_body(word) for word in _WORD.findall(match[0])) else match[0]
