"""Searching the knowledge base: full-text search of Postgres over the words of `sql.segments`, best match first.

The rank is the cover density of C. L. A. Clarke, G. V. Cormack and E. A. Tudhope, "Relevance Ranking for One to Three Term Queries",
Information Processing and Management 36 (2000), as `ts_rank_cd` has it. Words count 1 in the alert and the target, 0.4 in what was done,
its services and tags, 0.2 in what came of it, 0.1 in the error.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from schemas.action import Action
from schemas.words import Outcome, Result, Verdict
from sql.database import Connection, Row
from sql.segments import Token, normalised, read_query, tokens

_WIDTH = 160  # characters of an excerpt
_MARGIN = 40  # characters before what it is shown for
_TEXT_LIMIT = 2000  # characters of one text that an excerpt may come from
_action = msgspec.json.Decoder(Action)
_PLAIN = (
    *("id", "incident", "approval", "alert", "anomaly", "place", "category", "target", "pattern", "what", "risk", "path", "playbook"),
    *("seconds", "error", "executed_at", "execution", "summary", "score", "verified_at", "verification", "at"),
)
_RANK = "ts_rank_cd(search, to_tsquery('knowledge_words', $1))"
_SEARCH = """
SELECT * FROM knowledge
WHERE {matches} AND ($2 = '' OR alert = $2) AND ($3 = '' OR result = $3) AND ($4::timestamptz IS NULL OR at >= $4)
  AND ($5 = '' OR ({rank}, at, id) < (SELECT {rank}, at, id FROM knowledge WHERE id = $5))
ORDER BY {rank} DESC, at DESC, id DESC LIMIT $6
"""
_LEXEMES = "SELECT word, tsvector_to_array(to_tsvector('knowledge_words', word)) AS lexemes FROM unnest($1::text[]) AS word"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one execution has taught. `id` is the operation's, `place` the incident key, `anomaly` the anomaly key of its problem.

    `path` is automatic or approved; `outcome` and `error` tell how it ran, `verdict`, `summary` and `score` how it was judged
    (empty and None until it is); `result` is the verdict, else the outcome. `notes` are those of people, oldest first. `execution` and
    `verification` are the ids of the events that told it.
    """

    id: str
    incident: str
    approval: str
    alert: str
    anomaly: str
    place: str
    category: str
    target: str
    services: tuple[str, ...]
    pattern: str
    action: Action
    what: str
    risk: str
    path: str
    playbook: str
    tags: tuple[str, ...]
    notes: tuple[str, ...]
    result: Result
    outcome: Outcome
    seconds: float | None
    error: str
    executed_at: datetime | None
    execution: str
    verdict: Verdict | None
    summary: str
    score: float | None
    verified_at: datetime | None
    verification: str
    at: datetime


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that was found. `excerpt` is the part of its text that fits best, what was searched for within « and »."""

    entry: Entry
    excerpt: str


async def get_entry(connection: Connection, id: str) -> Entry | None:  # noqa: A002
    """The entry of one operation, or None."""
    row = await connection.fetchrow("SELECT * FROM knowledge WHERE id = $1", id)
    return _entry(row) if row else None


async def search(
    connection: Connection,
    text: str,
    *,
    alert: str = "",
    result: Result | None = None,
    since: datetime | None = None,
    after: str = "",
    limit: int = 50,
) -> list[Found]:
    """The entries that have the words of `text`, best match first, newest first among equals; all of them where it is empty.

    Only those of an alert, with a result, or since a time, where given; those after the entry `after`. `text` is a query as
    `sql.segments.read_query` reads it; raises QueryTooLong.
    """
    query = read_query(text)
    if not query.text and not query.everything:
        return []
    matches = "true" if query.everything else "search @@ to_tsquery('knowledge_words', $1)"
    chosen = (alert, result.value if result else "", since, after, limit)
    entries = [_entry(row) for row in await connection.fetch(_SEARCH.format(matches=matches, rank=_RANK), query.text, *chosen)]
    return await _with_excerpts(connection, entries, query.words)


async def _with_excerpts(connection: Connection, entries: Sequence[Entry], words: frozenset[str]) -> list[Found]:
    """The entries with their excerpts, which are made beside the event loop: somebody's long texts hold up nothing else."""
    texts = [[normalised(text[:_TEXT_LIMIT]) for text in _texts(entry)] for entry in entries]
    told = await asyncio.to_thread(_words_of, texts) if words else set()
    asked = list(told | words)
    lexemes = {row["word"]: frozenset(row["lexemes"]) for row in (await connection.fetch(_LEXEMES, asked) if asked else [])}
    wanted = frozenset(lexeme for word in words for lexeme in lexemes[word])
    hits = {word: found & wanted for word, found in lexemes.items() if found & wanted}
    excerpts = await asyncio.to_thread(lambda: [_excerpt(several, hits) for several in texts])
    return [Found(entry=entry, excerpt=excerpt) for entry, excerpt in zip(entries, excerpts, strict=True)]


def _texts(entry: Entry) -> list[str]:
    """What an excerpt is taken from; of equals the first."""
    notes, named = "; ".join(entry.notes), ", ".join((*entry.services, *entry.tags))
    return [entry.summary, entry.error, notes, f"{entry.alert}: {entry.what}", entry.target, named]


def _words_of(texts: Sequence[Sequence[str]]) -> set[str]:
    return {token.word for several in texts for text in several for token in tokens(text)}


def _excerpt(texts: Sequence[str], hits: Mapping[str, frozenset[str]]) -> str:
    """The part of the texts with the most of what is wanted; the beginning of the first text where nothing is.

    `hits` are the words to mark, each with what it stands for.
    """
    best, most, start = next((text for text in texts if text), ""), 0, 0
    marked: list[Token] = []
    for text in texts if hits else ():
        found = sorted((token for token in tokens(text) if token.word in hits), key=lambda token: (token.start, token.end))
        count, place = _densest(found, hits)
        if count > most:
            best, most, start, marked = text, count, place, found
    return _marked(best, max(0, start - _MARGIN), [(token.start, token.end) for token in marked])


def _densest(found: Sequence[Token], hits: Mapping[str, frozenset[str]]) -> tuple[int, int]:
    """How many different things stand where most of them stand close together, and where that begins."""
    most, start, end = 0, 0, 0
    near: Counter[str] = Counter()
    for place, first in enumerate(found):
        while end < len(found) and (end <= place or found[end].end <= first.start + _WIDTH - _MARGIN):
            near.update(hits[found[end].word])
            end += 1
        if (count := sum(number > 0 for number in near.values())) > most:
            most, start = count, first.start
        near.subtract(hits[first.word])
    return most, start


def _marked(text: str, start: int, spans: Sequence[tuple[int, int]]) -> str:
    """`_WIDTH` characters of a text from `start` on, every character of a span within marks; marks of the text's own are no marks."""
    end = min(len(text), start + _WIDTH)
    inside = {place for first, last in spans for place in range(first, last)}
    said = []
    for place in range(start, end):
        if place in inside and (place == start or place - 1 not in inside):
            said.append("«")
        said.append({"«": '"', "»": '"', "\n": " ", "\t": " "}.get(text[place], text[place]))
        if place in inside and (place + 1 == end or place + 1 not in inside):
            said.append("»")
    return f"{'…' if start else ''}{''.join(said)}{'…' if end < len(text) else ''}"


def _entry(row: Row) -> Entry:
    return Entry(
        **{name: row[name] for name in _PLAIN},
        services=tuple(row["services"]),
        tags=tuple(row["tags"]),
        notes=tuple(row["notes"]),
        action=_action.decode(row["action"]),
        result=Result(row["result"]),
        outcome=Outcome(row["outcome"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
    )
