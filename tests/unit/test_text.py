"""Hostile text is made harmless, whatever it is, in a time that its length bounds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import _SECRETS, clean, clean_labels, mask

PIECES = [
    "a",
    "a.",
    "a_",
    "-",
    "passwor",
    "password",
    "password=",
    "secret ",
    "a@",
    "a://",
    "a://b:",
    "eyJ",
    "-eyJ",
    "bearer ",
    "sk-",
    "api_",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://ann:pa55@db/x", "postgres://***@db/x"),
        ("DB_PASSWORD=hunter22 and more", "DB_PASSWORD=*** and more"),
        ('{"api-key": "abc def"}', '{"api-key": ***}'),
        ("my.secret.name : x9", "my.secret.name : ***"),
        ("token=eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "token=***"),
        ("a jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2ln.", "a jwt ***."),
        ("Authorization: Bearer abcdefgh12", "Authorization: Bearer ***"),
        ("mail ann.b+c@mail.example.com now", "mail *** now"),
        ("long " + "x" * 80 + "@mail.example.com", "long " + "x" * 16 + "***"),
        ("red \x1b[31mtext\x00\u202e", "red [31mtext"),
        ("two\nlines\tkept", "two\nlines\tkept"),
        ("nothing to hide: api-7d9f8b6c5d-x2x4z at 10:30", "nothing to hide: api-7d9f8b6c5d-x2x4z at 10:30"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, expected: str) -> None:
    assert clean(text) == expected


PARTS = [
    *PIECES,
    "=x1234567",
    "\u017fecret=",
    "to\u212aen:",
    "BASIC ",
    "credent\u0131al=",
    "AKIA" + "A" * 16,
    "xoxb-",
    "@b.c",
    "-----BEGIN PRIVATE KEY-----",
]


@given(st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=5)), max_size=12).map("".join))
def test_no_pattern_is_left_out_that_would_have_masked_something(text: str) -> None:
    whole = text
    for _, pattern, replacement in _SECRETS:
        whole = pattern.sub(replacement, whole)
    assert mask(text) == whole


@pytest.mark.parametrize("piece", PIECES)
def test_the_time_is_bounded_by_the_length(piece: str) -> None:
    """A pattern that tries again from every place took seconds for these."""
    text = piece * (8000 // len(piece))
    started = time.perf_counter()
    clean(text)
    assert time.perf_counter() - started < 0.25


@given(text=st.text(max_size=300), limit=st.integers(1, 50))
def test_a_clean_text_is_short_and_printable(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert not set(shown) & {chr(number) for number in (*range(9), *range(11, 32), 127)}


def test_the_number_of_labels_is_bounded() -> None:
    assert len(clean_labels({str(number): "x" for number in range(1000)})) == 64
