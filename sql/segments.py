"""Texts and queries in the words by which the knowledge base is searched: English and Chinese, and names with punctuation.

Both are cut here in the same way, so that Postgres sees nothing but words of letters and digits, and no search syntax but what was
made here. Text is normalised (NFKC: a full-width letter is the letter) and folded to lower case. What is between punctuation is a word:
`payments/api-7d4` is `payments api 7d4`, and as one word of a query these three next to each other. `KubePodCrash` is
`kube pod crash`, and beside it `kubepodcrash`.

Chinese, Japanese and Korean writing has no spaces: a run of it becomes its overlapping pairs of characters, 重新啟動 is 重新 新啟 啟動,
and beside them its single characters. No dictionary is needed, and names that are in none are found. Such an index performs comparably
to one of words: J.-Y. Nie, J. Gao, J. Zhang and M. Zhou, "On the use of words and n-grams for Chinese information retrieval", IRAL 2000,
pages 141 to 148; the CJKBigramFilter of Lucene does the same. Simplified and traditional characters are different characters.

What stands beside is put behind the text, so that words that follow each other do so in the index too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from sql.errors import QueryTooLong

QUERY_LIMIT = 1000  # characters
_WORD_LIMIT = 200  # characters: what follows in a longer word is not searched
_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U000323af"
)
_RUN = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W_{_CJK}]+")
_HUMP = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
_HUMPS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_TERM = re.compile(r'(-?)"([^"]*)"?|(\S+)')
_QUOTES = str.maketrans(dict.fromkeys("“”„«»「」『』", '"'))
_APART = "0.0"  # a word that no text has, for it has a point: what it stands between does not follow each other
_LEFT_OUT = frozenset(
    {
        *(
            "a",
            "an",
            "and",
            "are",
            "as",
            "at",
            "be",
            "been",
            "by",
            "did",
            "do",
            "does",
            "for",
            "from",
            "had",
            "has",
            "have",
            "how",
            "i",
            "if",
            "is",
            "it",
        ),
        *(
            "its",
            "of",
            "so",
            "that",
            "the",
            "then",
            "these",
            "this",
            "those",
            "to",
            "was",
            "we",
            "were",
            "what",
            "when",
            "where",
            "which",
            "who",
            "why",
            "with",
            "you",
        ),
    }
)
"""What says nothing in a query, unless it is in quotes or stands alone. Words such as `down`, `out` and `not` say something of an alert."""


class Token(msgspec.Struct, frozen=True, gc=False):
    """One word of a text: `text[start:end]` of the normalised text. `beside` says that it is one more reading of a word or a run."""

    word: str
    start: int
    end: int
    beside: bool = False


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for. `text` is in the syntax of `to_tsquery`; empty where nothing can be searched for.

    `everything` says that no words were given at all. `words` are those that a found text is to be marked at.
    """

    text: str
    everything: bool
    words: frozenset[str]


def normalised(text: str) -> str:
    """The text in which full-width and other forms of the same characters are one."""
    return unicodedata.normalize("NFKC", text)


def tokens(text: str) -> Iterator[Token]:
    """The words of a normalised text, in order, each followed by what stands beside it."""
    for run in _RUN.finditer(text):
        yield from _pairs(run[0], run.start()) if run["cjk"] else _humps(run[0], run.start())


def _pairs(run: str, start: int) -> Iterator[Token]:
    if len(run) == 1:
        yield Token(run, start, start + 1)
        return
    for place in range(len(run)):
        yield Token(run[place], start + place, start + place + 1, beside=True)
    for place in range(len(run) - 1):
        yield Token(run[place : place + 2], start + place, start + place + 2)


def _humps(run: str, start: int) -> Iterator[Token]:
    whole = run[:_WORD_LIMIT].casefold()
    humps = _humps_of(run) if run.isascii() else ()
    if not humps:
        yield Token(whole, start, start + len(run))
        return
    yield Token(whole, start, start + len(run), beside=True)
    for word, place in humps:
        yield Token(word, start + place, start + place + len(word))


@lru_cache(maxsize=4096)
def _humps_of(run: str) -> tuple[tuple[str, int], ...]:
    """The words within `KubePodCrash`, and where each begins; none where it is one word."""
    if _HUMP.search(run) is None:
        return ()
    return tuple((hump[0].casefold()[:_WORD_LIMIT], hump.start()) for hump in _HUMPS.finditer(run))


def indexed(texts: Sequence[str]) -> str:
    """The texts as words for `to_tsvector`: those of different texts do not follow each other."""
    parts = [_indexed(text) for text in texts]
    return " ".join(part for part in parts if part)


def _indexed(text: str) -> str:
    found = list(tokens(normalised(text)))
    beside = dict.fromkeys(token.word for token in found if token.beside)
    if not found:
        return ""
    return " ".join([_APART, *(token.word for token in found if not token.beside), _APART, *beside])


def read_query(text: str) -> Query:
    """A query as people write it: words that must all be there, "words that follow each other", `or`, and -what must not be there.

    `a b or c` is a and b, or c. Words such as `the` are left out. A word with punctuation is taken as if it were in quotes. Anything
    else, such as the operators of Postgres, is punctuation. Raises QueryTooLong.
    """
    text = normalised(text) if len(text) <= QUERY_LIMIT else text
    if len(text) > QUERY_LIMIT:
        raise QueryTooLong(f"that is too much to search for: give {QUERY_LIMIT:,} characters at most")
    either: list[list[_Term]] = [[]]
    for match in _TERM.finditer(text.translate(_QUOTES)):
        minus, quoted, plain = match.groups()
        if plain is not None and plain.casefold() == "or":
            either.append([])
            continue
        either[-1].append(_term(bool(minus), quoted) if plain is None else _word(plain))
    told = [[term for term in terms if term.says_something] or terms for terms in either]
    chosen = [[term for term in terms if term.pieces] for terms in told]
    alternatives = [f"({' & '.join(str(term) for term in terms)})" for terms in chosen if terms]
    words = frozenset(word for terms in chosen for term in terms if not term.negated for piece in term.pieces for word in piece)
    return Query(text=" | ".join(alternatives), everything=not text.strip(), words=words)


class _Term(msgspec.Struct, frozen=True):
    """One word or phrase of a query, in pieces: all must be there, the words of each following each other, or not all of them."""

    negated: bool
    pieces: list[list[str]]
    says_something: bool

    def __str__(self) -> str:
        together = " & ".join(" <-> ".join(f"'{word}'" for word in piece) for piece in self.pieces)
        return f"{'!' if self.negated else ''}({together})"


def _term(negated: bool, phrase: str) -> _Term:
    pieces = _pieces(phrase)
    return _Term(negated, pieces, bool(pieces))


def _word(plain: str) -> _Term:
    """A word of a query: with one `-` it must not be there; `--force` is the name of an option."""
    term = _term(plain.startswith("-") and not plain.startswith("--"), plain)
    return _Term(term.negated, term.pieces, term.says_something and (term.negated or plain.casefold() not in _LEFT_OUT))


def _pieces(phrase: str) -> list[list[str]]:
    """What must be there of a phrase, in pieces whose words follow each other.

    A single Chinese character is a piece of its own: in the index it follows nothing, for its neighbours stand in pairs.
    """
    pieces: list[list[str]] = [[]]
    for run in _RUN.finditer(phrase):
        if run["cjk"] and len(run[0]) == 1:
            pieces += [[run[0]], []]
        else:
            pieces[-1] += [token.word for token in tokens(run[0]) if not token.beside]
    return [piece for piece in pieces if piece]
